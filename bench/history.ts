/** A month in the life of a fleet: what lists, statistics and timelines are read from. */
import { join } from "node:path";
import { openWriter } from "../src/store/sqlite/connection.ts";
import { FLATCAR, RELEASE, STABLE_GROUP } from "./fill.ts";

const SLOT_MS = 900_000;
const SLOTS = (30 * 86_400_000) / SLOT_MS;
const VERSIONS = ["4081.2.0", "4152.2.0", RELEASE];
const STATUSES = ["granted", "downloading", "downloaded", "installed", "complete"];

/** For each node an update's history; rollups of 30 days; activity. The nodes must be there. */
export function fillHistory(dataDir: string, nodes: number): void {
  const db = openWriter(join(dataDir, "turnout.db"));
  db.pragma("synchronous = OFF");
  const { groupNo, applicationNo } = db
    .prepare<[string], { groupNo: number; applicationNo: number }>(
      "SELECT no AS groupNo, application_no AS applicationNo FROM groups WHERE id = ?",
    )
    .get(STABLE_GROUP) ?? { groupNo: 0, applicationNo: 0 };
  const now = Date.now();
  const history = db.prepare<unknown[]>(
    "INSERT INTO status_history (node_no, at, status, version, group_no, rollout_no) VALUES (?, ?, ?, ?, ?, NULL)",
  );
  for (const [index, status] of STATUSES.entries()) {
    db.transaction(() => {
      for (let no = 1; no <= nodes; no += 1) {
        history.run(no, now - (no % SLOTS) * SLOT_MS + index * 60_000, status, RELEASE, groupNo);
      }
    })();
  }
  const slots = db.prepare<unknown[]>(
    "INSERT OR REPLACE INTO status_slots (group_no, slot, status, version, entries) VALUES (?, ?, ?, ?, ?)",
  );
  const census = db.prepare<unknown[]>(`
    INSERT OR REPLACE INTO census (group_no, slot, version, status, at, total, within_1h, within_1d, within_7d, within_30d)
    VALUES (?, ?, ?, 'complete', ?, ?, ?, ?, ?, ?)`);
  const activity = db.prepare<unknown[]>(`
    INSERT INTO activity (id, at, class, severity, application_no, group_no, channel_no, instance_id, version)
    VALUES (?, ?, 5, 4, ?, ?, NULL, ?, ?)`);
  const present = Math.floor(now / SLOT_MS);
  db.transaction(() => {
    for (let age = 1; age < SLOTS; age += 1) {
      for (const version of VERSIONS) {
        for (const status of STATUSES) slots.run(groupNo, present - age, status, version, Math.round(nodes / SLOTS));
        const third = Math.round(nodes / 3);
        census.run(groupNo, present - age, version, (present - age) * SLOT_MS, third, third, third, third, third);
      }
    }
    for (let n = 0; n < nodes / 10; n += 1) {
      activity.run(`activity-${n}`, now - n * 25_000, applicationNo, groupNo, `node-${n}`, RELEASE);
    }
  })();
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
}

/** What an operator's tools read, with what differs from one request to the next left to `n`. */
export function readings(n: number): Readonly<Record<string, string>> {
  const app = `/api/apps/${FLATCAR}`;
  const group = `${app}/groups/${STABLE_GROUP}`;
  const hex = (0xb7d94e + n * 0x1357).toString(16);
  const page = 1 + (n % 50);
  return {
    applications: "/api/apps",
    groups: `${app}/groups?perpage=100`,
    "statistics, 1 hour": `${group}/instances_stats?duration=1h`,
    "statistics, 30 days": `${group}/instances_stats?duration=30d`,
    "count, 1 day": `${group}/instancescount?duration=1d`,
    "version breakdown": `${group}/version_breakdown`,
    "version timeline, 1 day": `${group}/version_timeline?duration=1d`,
    "version timeline, 30 days": `${group}/version_timeline?duration=30d`,
    "status timeline, 1 day": `${group}/status_timeline?duration=1d`,
    "status timeline, 30 days": `${group}/status_timeline?duration=30d`,
    "nodes by name": `${group}/instances?status=0&duration=1d&perpage=100&page=${page}&sortOrder=0`,
    "nodes by address": `${group}/instances?status=0&duration=1d&perpage=100&page=${page}&sortFilter=1&sortOrder=0`,
    "nodes by last check, oldest first": `${group}/instances?status=0&duration=1d&perpage=100&page=${page}&sortFilter=2&sortOrder=0`,
    "nodes by last check, newest first": `${group}/instances?status=0&duration=1d&perpage=100&sortFilter=2&sortOrder=1`,
    "nodes with an error": `${group}/instances?status=3&duration=7d&perpage=100`,
    "nodes of a version": `${group}/instances?status=0&duration=7d&perpage=100&version=${RELEASE}`,
    "search for part of an id": `${group}/instances?status=0&duration=1d&searchFilter=id&searchValue=${hex}`,
    "search for what many have": `${group}/instances?status=0&duration=1d&searchFilter=All&searchValue=${hex.slice(0, 2)}`,
    "search for what none has": `${group}/instances?status=0&duration=1d&searchFilter=All&searchValue=nowhere`,
    "activity of 3 days": "/api/activity?perpage=50",
    "activity of 30 days": `/api/activity?perpage=50&start=${new Date(Date.now() - 30 * 86_400_000).toISOString()}`,
    rollouts: `${group}/rollouts`,
    "audit log": "/api/audit?perpage=50",
  };
}
