/**
 * A census takes it that a node which stands elsewhere now has been seen since. Nodes that people move or delete may not have
 * been, and those of mirrors are never counted as seen: of these the last census is told.
 */
import type { Kysely, Selectable } from "kysely";
import { isFake, WITHIN } from "./census.ts";
import type { NodeRow } from "./node-list.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;
type CensusRow = Selectable<Tables["census"]>;

/** @param to the group that they are moved to; null: they are deleted. */
export async function moveInCensus(tx: Db, nodes: readonly NodeRow[], to: number | null): Promise<void> {
  const there = to === null ? undefined : await newestOf(tx, to);
  const sums = new Map<string, CensusRow>();
  for (const [groupNo, own] of Map.groupBy(nodes, (node) => node.group_no)) {
    const here = await newestOf(tx, groupNo);
    if (here === undefined) continue;
    for (const node of own) {
      if (!standsAsCounted(node, here)) continue;
      add(sums, node, here, -1);
      if (there !== undefined) add(sums, node, there, 1);
    }
  }
  if (sums.size === 0) return;
  await tx
    .insertInto("census")
    .values([...sums.values()])
    .onConflict((conflict) =>
      conflict.columns(["group_no", "slot", "version", "status"]).doUpdateSet((eb) => ({
        total: eb("census.total", "+", eb.ref("excluded.total")),
        within_1h: eb("census.within_1h", "+", eb.ref("excluded.within_1h")),
        within_1d: eb("census.within_1d", "+", eb.ref("excluded.within_1d")),
        within_7d: eb("census.within_7d", "+", eb.ref("excluded.within_7d")),
        within_30d: eb("census.within_30d", "+", eb.ref("excluded.within_30d")),
      })),
    )
    .execute();
}

interface Taken {
  readonly group_no: number;
  readonly slot: number;
  readonly at: number;
}

async function newestOf(tx: Db, groupNo: number): Promise<Taken | undefined> {
  return tx
    .selectFrom("census")
    .select(["group_no", "slot", "at"])
    .where("group_no", "=", groupNo)
    .orderBy("slot", "desc")
    .limit(1)
    .executeTakeFirst();
}

function standsAsCounted(node: NodeRow, { at }: Taken): boolean {
  if (isFake(node.id)) return node.created_at <= at;
  return seenAt(node) <= at && node.status_at <= at;
}

function seenAt(node: NodeRow): number {
  return node.at ?? node.created_at;
}

function add(sums: Map<string, CensusRow>, node: NodeRow, census: Taken, nodes: 1 | -1): void {
  const { version, status } = node;
  const key = `${census.group_no} ${status} ${version}`;
  const sum = sums.get(key);
  const recently = (ms: number) => (!isFake(node.id) && seenAt(node) > census.at - ms ? nodes : 0);
  sums.set(key, {
    ...census,
    version,
    status,
    total: (sum?.total ?? 0) + nodes,
    within_1h: (sum?.within_1h ?? 0) + recently(WITHIN["1h"]),
    within_1d: (sum?.within_1d ?? 0) + recently(WITHIN["1d"]),
    within_7d: (sum?.within_7d ?? 0) + recently(WITHIN["7d"]),
    within_30d: (sum?.within_30d ?? 0) + recently(WITHIN["30d"]),
    // How silent the groups were stays as it was.
    judged: 0,
    silent: 0,
  });
}
