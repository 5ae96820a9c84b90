/** How the site is now, for its central server: made when it is sent, so that the newest is all there ever is. */

import type { HeldChannel } from "../admin/central.ts";
import type { Db } from "../admin/context.ts";
import { timestamp } from "../admin/context.ts";
import { toCountersView } from "../admin/rollout-views.ts";
import { MAX_NODE_ROWS, MAX_ROLLOUT_ROWS, MAX_STOPPED_ROWS, type SiteReport } from "../admin/site-report.ts";
import { archName } from "../fleet/document.ts";
import { emptyTally } from "../rollout/counters.ts";
import { loadCounters } from "../store/counters.ts";
import { loadParts, stopOf } from "../store/fleet.ts";

const MAX_TEXT = 2_000;
/** The central server takes bodies up to 1 MiB. */
const MAX_REPORT_BYTES = 1_000_000;

export interface ReportedBy {
  readonly instance: string;
  /** Turnout's own. */
  readonly version: string;
  /** Of this round's sync; null: it went well. */
  readonly error: string | null;
  readonly now: number;
}

/** @param db a snapshot */
export async function makeReport(db: Db, { instance, version, error, now }: ReportedBy): Promise<SiteReport> {
  const row = await db.selectFrom("central").selectAll().executeTakeFirstOrThrow();
  // Both were checked when they came in.
  const applications = JSON.parse(row.applications) as string[];
  const held = JSON.parse(row.held) as HeldChannel[];
  const groups = await db
    .selectFrom("groups")
    .innerJoin("applications", "applications.no", "groups.application_no")
    .select(["groups.no", "groups.id", "groups.updates_stopped", "applications.id as application"])
    .execute();
  const ofOurs = groups.filter((one) => applications.includes(one.application));
  const ours = new Map(ofOurs.map(({ no, id }) => [no, id]));
  return fitting({
    instance,
    version,
    sent_ts: timestamp(now),
    applied: row.etag,
    applied_ts: row.applied_at === null ? null : timestamp(row.applied_at),
    error: error === null ? null : error.slice(0, MAX_TEXT),
    held: held.length,
    ...(await nodesOf(db, ours)),
    rollouts: await rolloutsOf(db, ours),
    stopped_groups: ofOurs.flatMap(stoppedRow).slice(0, MAX_STOPPED_ROWS),
  });
}

/** Long names and reasons make many rows too much: then the rarest nodes go without theirs, and the oldest rollouts. */
export function fitting(report: SiteReport, maxBytes = MAX_REPORT_BYTES): SiteReport {
  if (Buffer.byteLength(JSON.stringify(report)) <= maxBytes) return report;
  const { nodes, rollouts, other_nodes: others } = report;
  if (nodes.length + rollouts.length === 0) return report;
  const kept = nodes.slice(0, Math.floor(nodes.length / 2));
  const dropped = nodes.slice(kept.length).reduce((sum, row) => sum + row.nodes, 0);
  const newest = rollouts.slice(Math.ceil(rollouts.length / 2));
  return fitting({ ...report, nodes: kept, other_nodes: others + dropped, rollouts: newest }, maxBytes);
}

function stoppedRow(group: {
  readonly id: string;
  readonly updates_stopped: string | null;
}): SiteReport["stopped_groups"] {
  const stop = stopOf(group.updates_stopped);
  if (stop === null) return [];
  return [{ group: group.id, since: timestamp(stop.at), version: stop.version, reason: stop.why }];
}

type Groups = ReadonlyMap<number, string>;

/** The most common versions and statuses. */
async function nodesOf(db: Db, groups: Groups): Promise<Pick<SiteReport, "nodes" | "other_nodes">> {
  const counts = await db
    .selectFrom("node_counts")
    .selectAll()
    .where("count", ">", 0)
    .orderBy("count", "desc")
    .execute();
  const rows = counts.flatMap(({ group_no, version, status, count: nodes }) => {
    const group = groups.get(group_no);
    return group === undefined ? [] : [{ group, version, status, nodes }];
  });
  const nodes = rows.slice(0, MAX_NODE_ROWS);
  const other_nodes = rows.slice(MAX_NODE_ROWS).reduce((sum, row) => sum + row.nodes, 0);
  return { nodes, other_nodes };
}

/** The newest. */
async function rolloutsOf(db: Db, groups: Groups): Promise<SiteReport["rollouts"]> {
  const { rollouts } = await loadParts(db);
  const ours = rollouts.filter(({ groupNo }) => groups.has(groupNo)).slice(-MAX_ROLLOUT_ROWS);
  const counters = await loadCounters(
    db,
    ours.map(({ no }) => no),
  );
  const reported: SiteReport["rollouts"] = [];
  for (const { no, groupNo, state, stage, strategy, package: target } of ours) {
    const line = await db
      .selectFrom("rollout_history")
      .select("reason")
      .where("rollout_no", "=", no)
      .orderBy("no", "desc")
      .limit(1)
      .executeTakeFirst();
    reported.push({
      group: groups.get(groupNo) ?? "",
      version: target.version,
      arch: archName(target.arch),
      state,
      stage: stage + 1,
      stages: strategy.stages.length,
      reason: (line?.reason ?? "").slice(0, MAX_TEXT),
      counters: toCountersView(counters.rollouts.get(no)?.total ?? emptyTally()),
    });
  }
  return reported;
}
