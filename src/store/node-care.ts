/**
 * What people do to nodes. Each of these takes a few hundred nodes at most, as they are in the transaction that it is given, and
 * moves every counter along: check-ins wait meanwhile, and find it done.
 */
import type { Kysely } from "kysely";
import { archived, leave, standingOf } from "../rollout/counters.ts";
import type { Hold, Labels } from "../rollout/model/node.ts";
import { textOfHold, textOfLabels } from "./care.ts";
import { moveInCensus } from "./census-moves.ts";
import { loadCounters, writeRolloutCounters } from "./counters.ts";
import { keptFoldOfLabels } from "./folded.ts";
import type { NodeRow } from "./node-list.ts";
import { type NodeColumns, nodeOf } from "./nodes.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

/** @param hold null: they are released. */
export async function holdNodes(tx: Db, nodes: readonly NodeColumns[], hold: Hold | null): Promise<void> {
  await setColumns(tx, nodes, { held: hold === null ? null : textOfHold(hold) });
}

/** Gives all of them the same labels, and takes those away that they had. */
export async function labelNodes(tx: Db, nodes: readonly NodeColumns[], labels: Labels): Promise<void> {
  await setColumns(tx, nodes, { labels: textOfLabels(labels), folded_labels: keptFoldOfLabels(labels) });
}

/** A grant in flight stays counted in the group where it was granted. */
export async function moveNodes(
  tx: Db,
  nodes: readonly NodeRow[],
  group: { readonly no: number; readonly id: string },
): Promise<void> {
  await setColumns(tx, nodes, { own_group: group.id, group_no: group.no });
  const moved = nodes.filter(({ group_no: before }) => before !== group.no);
  await moveInCensus(tx, moved, group.no);
  await moveCounts(tx, [
    ...moved.map((node) => ({ ...cellOf(node), count: -1 })),
    ...moved.map((node) => ({ ...cellOf(node), group_no: group.no, count: 1 })),
  ]);
}

/** They go by their track again: their next check-ins tell where that leads. */
export async function letNodesGo(tx: Db, nodes: readonly NodeColumns[]): Promise<void> {
  await setColumns(tx, nodes, { own_group: null });
}

/**
 * Deletes nodes with all that they have said. What became of them stays counted in their rollouts: no gate opens because
 * somebody has cleared away what closed it. One in flight counts as withdrawn.
 */
export async function deleteNodes(tx: Db, nodes: readonly NodeRow[], now: number): Promise<void> {
  if (nodes.length === 0) return;
  await leaveRollouts(tx, nodes, now);
  await moveInCensus(tx, nodes, null);
  const nos = nodes.map(({ no }) => no);
  await tx.updateTable("past_grants").set({ node_no: NOBODY }).where("node_no", "in", nos).execute();
  for (const table of ["seen", "events", "status_history", "silent_nodes"] as const) {
    await tx.deleteFrom(table).where("node_no", "in", nos).execute();
  }
  await tx.deleteFrom("nodes").where("no", "in", nos).execute();
  await moveCounts(
    tx,
    nodes.map((node) => ({ ...cellOf(node), count: -1 })),
  );
}

/** In past grants: of a node that is no more. Its number may be another node's one day. */
const NOBODY = 0;

async function leaveRollouts(tx: Db, nodes: readonly NodeColumns[], now: number): Promise<void> {
  const leaving = nodes.flatMap((row) => {
    const { status, grant } = nodeOf(row);
    const standing = standingOf(status, grant);
    return standing === null || grant === null ? [] : [{ grant, standing }];
  });
  if (leaving.length === 0) return;
  const counters = await loadCounters(
    tx,
    leaving.map(({ grant }) => grant.rolloutNo),
    leaving.map(({ grant }) => grant.groupNo),
  );
  for (const { standing } of leaving) leave(counters, standing);
  for (const [no, rollout] of counters.rollouts) await writeRolloutCounters(tx, no, rollout);
  for (const [no, { inFlight }] of counters.groups) {
    await tx.updateTable("group_counters").set({ in_flight: inFlight }).where("group_no", "=", no).execute();
  }
  await tx
    .insertInto("past_grants")
    .values(
      leaving.map(({ grant, standing }) => ({
        rollout_no: grant.rolloutNo,
        node_no: NOBODY,
        status: archived(standing).status,
        version: grant.version,
        granted_at: grant.grantedAt,
        ended_at: now,
        attempt: grant.attempt,
        error_code: grant.errorCode,
        failure: grant.failure,
        cell: grant.cell,
        relapsed: Number(standing.relapsed),
      })),
    )
    .execute();
}

async function setColumns(
  tx: Db,
  nodes: readonly NodeColumns[],
  columns: Partial<Pick<NodeColumns, "held" | "labels" | "folded_labels" | "own_group" | "group_no">>,
): Promise<void> {
  if (nodes.length === 0) return;
  const nos = nodes.map(({ no }) => no);
  await tx.updateTable("nodes").set(columns).where("no", "in", nos).execute();
}

type NodeCount = Tables["node_counts"];

function cellOf({ group_no, version, status }: NodeColumns): Omit<NodeCount, "count"> {
  return { group_no, version, status };
}

async function moveCounts(tx: Db, changes: readonly NodeCount[]): Promise<void> {
  const sums = new Map<string, NodeCount>();
  for (const change of changes) {
    const key = `${change.group_no} ${change.status} ${change.version}`;
    sums.set(key, { ...change, count: change.count + (sums.get(key)?.count ?? 0) });
  }
  if (sums.size === 0) return;
  await tx
    .insertInto("node_counts")
    .values([...sums.values()])
    .onConflict((conflict) =>
      conflict
        .columns(["group_no", "version", "status"])
        .doUpdateSet((eb) => ({ count: eb("node_counts.count", "+", eb.ref("excluded.count")) })),
    )
    .execute();
  const groupNos = [...new Set(changes.map(({ group_no: groupNo }) => groupNo))];
  await tx.deleteFrom("node_counts").where("group_no", "in", groupNos).where("count", "<=", 0).execute();
}
