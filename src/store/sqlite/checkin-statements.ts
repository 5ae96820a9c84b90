/** The hot path's statements, each prepared once. */
import type Database from "better-sqlite3";
import type { FetchingRollout } from "../../rollout/downloads.ts";
import type { CountersRow } from "../counters.ts";
import { NODE_COLUMNS, type NodeRow } from "./node-rows.ts";

export function prepareCheckIns(db: Database.Database) {
  const columns = NODE_COLUMNS.map((column) => `nodes.${column}`).join(", ");
  return {
    begin: db.prepare("BEGIN"),
    commit: db.prepare("COMMIT"),
    revision: db.prepare<[], number>("SELECT revision FROM meta").pluck(),
    moveRevision: db.prepare<[]>("UPDATE meta SET revision = revision + 1"),
    node: db
      .prepare<[string, number], NodeRow>(`SELECT ${columns} FROM nodes WHERE id = ? AND application_no = ?`)
      .raw(),
    nodeByNumber: db.prepare<[number], NodeRow>(`SELECT ${columns} FROM nodes WHERE no = ?`).raw(),
    insertNode: db.prepare<unknown[]>(`
      INSERT INTO nodes (
        id, application_no, group_no, version, created_at, machine_alias, ip,
        arch, oem, oem_version, aleph_version, boot_id, broken_quotes, former_boots, shared_since, shared_at,
        status, status_at,
        rollout_no, grant_group_no, grant_version, from_version, needs_reboot, granted_at, attempt, grant_boot_id, deadline, error_code,
        failure, cell, watched_until, folded_id, folded_machine_alias
      ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    describeNode: db.prepare<unknown[]>(`
      UPDATE nodes
      SET arch = ?, oem = ?, oem_version = ?, aleph_version = ?, boot_id = ?, broken_quotes = ?,
          former_boots = ?, shared_since = ?, shared_at = ?
      WHERE no = ?`),
    renameNode: db.prepare<[string, string | null, number]>(
      "UPDATE nodes SET machine_alias = ?, folded_machine_alias = ? WHERE no = ?",
    ),
    readdressNode: db.prepare<[string, number]>("UPDATE nodes SET ip = ? WHERE no = ?"),
    regroupNode: db.prepare<[number, number]>("UPDATE nodes SET group_no = ? WHERE no = ?"),
    rebootNode: db.prepare<[string | null, number]>("UPDATE nodes SET grant_boot_id = ? WHERE no = ?"),
    moveNode: db.prepare<unknown[]>(`
      UPDATE nodes
      SET version = ?, status = ?, status_at = ?,
          rollout_no = ?, grant_group_no = ?, grant_version = ?, from_version = ?, needs_reboot = ?, granted_at = ?, attempt = ?,
          grant_boot_id = ?, deadline = ?, error_code = ?, failure = ?, cell = ?, watched_until = ?
      WHERE no = ?`),
    insertEvent: db.prepare<unknown[]>(`
      INSERT INTO events (node_no, at, type, result, error_code, version, previous_version)
      VALUES (?, ?, ?, ?, ?, ?, ?)`),
    insertHistory: db.prepare<unknown[]>(`
      INSERT INTO status_history (node_no, at, status, version, group_no, rollout_no, error_code)
      VALUES (?, ?, ?, ?, ?, ?, ?)`),
    insertPastGrant: db.prepare<unknown[]>(`
      INSERT INTO past_grants (
        rollout_no, node_no, status, version, granted_at, ended_at, attempt, error_code, failure, cell, relapsed
      ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    rolloutCounters: db.prepare<[number], CountersRow>(`
      SELECT granted, downloading, downloaded, installed, complete, failed, timed_out, rolled_back, lost, withdrawn, retrying,
             relapsed, cells, causes
      FROM rollout_counters
      WHERE rollout_no = ?`),
    writeRolloutCounters: db.prepare<unknown[]>(`
      UPDATE rollout_counters
      SET granted = ?, downloading = ?, downloaded = ?, installed = ?, complete = ?, failed = ?,
          timed_out = ?, rolled_back = ?, lost = ?, withdrawn = ?, retrying = ?, relapsed = ?, cells = ?, causes = ?
      WHERE rollout_no = ?`),
    // The condition as its index has it.
    fetching: db.prepare<[], FetchingRollout>(`
      SELECT c.rollout_no AS rolloutNo, rollouts.package_no AS packageNo, c.granted + c.downloading AS nodes
      FROM rollout_counters AS c
      JOIN rollouts ON rollouts.no = c.rollout_no
      WHERE c.granted + c.downloading > 0`),
    groupCounters: db.prepare<[number], { in_flight: number; slices: string }>(`
      SELECT in_flight, slices
      FROM group_counters
      WHERE group_no = ?`),
    writeGroupCounters: db.prepare<unknown[]>(`
      INSERT INTO group_counters (group_no, in_flight, slices)
      VALUES (?, ?, ?)
      ON CONFLICT (group_no) DO UPDATE SET in_flight = excluded.in_flight, slices = excluded.slices`),
    moveNodeCount: db.prepare<unknown[]>(`
      INSERT INTO node_counts (group_no, version, status, count)
      VALUES (?, ?, ?, ?)
      ON CONFLICT (group_no, version, status) DO UPDATE SET count = count + excluded.count`),
    dropEmptyNodeCount: db.prepare<unknown[]>(`
      DELETE FROM node_counts
      WHERE group_no = ? AND version = ? AND status = ? AND count <= 0`),
    addStatusSlot: db.prepare<unknown[]>(`
      INSERT INTO status_slots (group_no, slot, status, version, entries)
      VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (group_no, slot, status, version) DO UPDATE SET entries = entries + excluded.entries`),
    seen: db
      .prepare<[number], [at: number, dueAt: number | null, away: string | null]>(`
      SELECT at, due_at, away FROM seen
      WHERE node_no = ?`)
      .raw(),
    updateSeen: db.prepare<[number, number | null, number]>("UPDATE seen SET at = ?, due_at = ? WHERE node_no = ?"),
    rememberAway: db.prepare<[string, number, number]>("UPDATE seen SET away = ?, away_until = ? WHERE node_no = ?"),
    // A mark may have waited while somebody deleted its node.
    insertSeen: db.prepare<[number, number | null, number]>(`
      INSERT INTO seen (node_no, at, due_at)
      SELECT no, ?, ? FROM nodes
      WHERE no = ?`),
    lastSeenAt: db.prepare<[], number | null>("SELECT max(at) FROM seen").pluck(),
    writeMirror: db.prepare<unknown[]>(`
      INSERT INTO mirroring_servers (
        address, group_id, arch, application, track, version, multi_manifest, reason, left_out, first_at, last_at, asked
      ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (address, group_id, arch) DO UPDATE
      SET application = excluded.application, track = excluded.track, version = excluded.version,
          multi_manifest = excluded.multi_manifest, reason = excluded.reason, left_out = excluded.left_out,
          last_at = excluded.last_at, asked = asked + excluded.asked`),
    // An invented address asks once: it makes room for others that do, and not for the ones that come back.
    dropMirrors: db.prepare<[number]>(`
      DELETE FROM mirroring_servers
      WHERE no IN (
        SELECT no FROM mirroring_servers
        ORDER BY asked > 1 DESC, last_at DESC, no DESC
        LIMIT -1 OFFSET ?)`),
    // The first is what a person looks for.
    stopUpdates: db.prepare<[string, number]>(
      "UPDATE groups SET updates_stopped = ? WHERE no = ? AND updates_stopped IS NULL",
    ),
    recentActivity: db
      .prepare<[number | null, number, string, number], number>(`
      SELECT no FROM activity
      WHERE group_no IS ? AND class = ? AND version = ? AND at > ?
      LIMIT 1`)
      .pluck(),
    insertActivity: db.prepare<unknown[]>(`
      INSERT INTO activity (id, at, class, severity, application_no, group_no, channel_no, instance_id, version)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    dueNodes: db
      .prepare<[number, number], unknown[]>(`
      SELECT ${columns}, COALESCE(seen.at, nodes.created_at)
      FROM nodes
      LEFT JOIN seen ON seen.node_no = nodes.no
      WHERE nodes.deadline <= ?
      ORDER BY nodes.deadline
      LIMIT ?`)
      .raw(),
    // The oldest rows come first in each of these tables, so the search ends with the first row that is young enough.
    deleteOld: ["events", "status_history", "activity"]
      .map((table) =>
        db.prepare<[number, number]>(`
        DELETE FROM ${table}
        WHERE at < ? AND no <= (SELECT min(no) FROM ${table}) + ?`),
      )
      .concat(
        // Of the rollouts that still stand, they are what the counters can be counted from again.
        db.prepare<[number, number]>(`
        DELETE FROM past_grants
        WHERE no IN (
          SELECT no FROM past_grants
          WHERE ended_at < ? AND rollout_no NOT IN (SELECT no FROM rollouts WHERE present = 1)
          ORDER BY no
          LIMIT ?)`),
        // Deliveries that still wait are none of the history yet.
        db.prepare<[number, number]>(`
        DELETE FROM webhook_deliveries
        WHERE at < ? AND due_at IS NULL AND no <= (SELECT min(no) FROM webhook_deliveries) + ?`),
        db.prepare<[number, number]>(`
        DELETE FROM mirroring_servers
        WHERE no IN (
          SELECT no FROM mirroring_servers
          WHERE last_at < ?
          ORDER BY no
          LIMIT ?)`),
      ),
    deleteOldSlots: ["status_slots", "census"].map((table) =>
      db.prepare<[number, number]>(`
        DELETE FROM ${table}
        WHERE slot < ? AND slot < (SELECT min(slot) FROM ${table}) + ?`),
    ),
    nodeNumbers: db
      .prepare<[number, number, number], number>(`
      SELECT no FROM nodes
      WHERE no > ? AND created_at < ?
      ORDER BY no
      LIMIT ?`)
      .pluck(),
    // A node's first mark may have been lost: it is durable, the mark is not.
    seenOnce: db
      .prepare<[number], NodeRow>(`
      SELECT ${columns} FROM nodes
      LEFT JOIN seen ON seen.node_no = nodes.no
      WHERE nodes.no = ? AND COALESCE(seen.at, 0) <= nodes.created_at AND nodes.rollout_no IS NULL
        AND nodes.alias = '' AND nodes.held IS NULL AND nodes.own_group IS NULL AND nodes.labels IS NULL`)
      .raw(),
    forgetNode: [
      "DELETE FROM nodes WHERE no = ?",
      "DELETE FROM seen WHERE node_no = ?",
      "DELETE FROM events WHERE node_no = ?",
      "DELETE FROM status_history WHERE node_no = ?",
      "DELETE FROM silent_nodes WHERE node_no = ?",
      // They stay counted in their rollouts; the number may be another node's one day.
      "UPDATE past_grants SET node_no = 0 WHERE node_no = ?",
    ].map((statement) => db.prepare<[number]>(statement)),
  };
}
