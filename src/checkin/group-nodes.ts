/** A group's nodes, as its rollouts look at them: read in small portions, so that check-ins come in between. */
import { type Kysely, sql } from "kysely";
import type { Arch } from "../rollout/model/arch.ts";
import type { NodeStatus } from "../rollout/model/node.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { isToGo, type Straggler } from "../rollout/stages.ts";
import { holdOf, labelsOf, sharedOf } from "../store/care.ts";
import type { Tables } from "../store/tables.ts";

type Db = Kysely<Tables>;

/** Nodes read at a time: a few milliseconds each. */
export const PORTION = 1_000;

export interface GroupNode extends Straggler {
  readonly no: number;
  readonly createdAt: number;
}

/**
 * Shows the nodes that the rollout is for, as far as they have not got it yet, until `visitor` has seen enough.
 * @param db a snapshot: nodes that move meanwhile would be missed, or seen twice.
 */
export async function visitNodesToGo(db: Db, rollout: Rollout, visitor: (node: GroupNode) => boolean): Promise<void> {
  const counts = await versionCounts(db, rollout.groupNo);
  await visit(db, rollout.groupNo, counts.filter((one) => isToGo(rollout, one.version)), visitor); // biome-ignore format: one line
}

/** The same for all nodes of its group, those that have still to go first. */
export async function visitNodes(db: Db, rollout: Rollout, visitor: (node: GroupNode) => boolean): Promise<void> {
  const counts = await versionCounts(db, rollout.groupNo);
  const rank = ({ version }: VersionCount) => (isToGo(rollout, version) ? 0 : 1);
  await visit(db, rollout.groupNo, counts.toSorted((a, b) => rank(a) - rank(b)), visitor); // biome-ignore format: one line
}

async function visit(
  db: Db,
  groupNo: number,
  versions: readonly VersionCount[],
  visitor: (node: GroupNode) => boolean,
): Promise<void> {
  for (const { version } of versions) {
    let [status, no] = ["", 0];
    for (;;) {
      const rows = await rowsOf(db)
        .where("nodes.group_no", "=", groupNo)
        .where("nodes.version", "=", version)
        .where(sql<boolean>`(nodes.status, nodes.no) > (${status}, ${no})`)
        .orderBy("nodes.status")
        .orderBy("nodes.no")
        .limit(PORTION)
        .execute();
      for (const row of rows) if (!visitor(toNode(row))) return;
      const last = rows.at(-1);
      if (last === undefined || rows.length < PORTION) break;
      [status, no] = [last.status, last.no];
    }
  }
}

/** Those of these that are still in the group. */
export async function nodesOf(db: Db, groupNo: number, nos: readonly number[]): Promise<GroupNode[]> {
  const rows = await rowsOf(db).where("nodes.group_no", "=", groupNo).where("nodes.no", "in", nos).execute();
  return rows.map(toNode);
}

export interface VersionCount {
  readonly version: string;
  readonly nodes: number;
}

/** How many nodes of the group run which version. */
export async function versionCounts(db: Db, groupNo: number): Promise<VersionCount[]> {
  const rows = await db
    .selectFrom("node_counts")
    .select(["version", (eb) => eb.fn.sum("count").as("nodes")])
    .where("group_no", "=", groupNo)
    .groupBy("version")
    .execute();
  return rows.map(({ version, nodes }) => ({ version, nodes: Number(nodes) })).filter(({ nodes }) => nodes > 0);
}

/** The same of those that a person holds. */
export async function heldCounts(db: Db, groupNo: number): Promise<VersionCount[]> {
  const rows = await db
    .selectFrom("nodes")
    .select(["version", (eb) => eb.fn.countAll().as("nodes")])
    .where("group_no", "=", groupNo)
    .where("held", "is not", null)
    .groupBy("version")
    .execute();
  return rows.map(({ version, nodes }) => ({ version, nodes: Number(nodes) }));
}

function rowsOf(db: Db) {
  return db
    .selectFrom("nodes")
    .leftJoin("seen", "seen.node_no", "nodes.no")
    .select(["nodes.no", "nodes.id", "nodes.oem", "nodes.version", "nodes.machine_alias", "nodes.alias"])
    .select(["nodes.labels", "nodes.held", "nodes.arch", "nodes.status", "nodes.rollout_no", "nodes.grant_version"])
    .select(["nodes.created_at", "nodes.shared_since", "nodes.shared_at"])
    .select((eb) => eb.fn.coalesce("seen.at", "nodes.created_at").as("last_seen_at"));
}

type Row = Awaited<ReturnType<ReturnType<typeof rowsOf>["execute"]>>[number];

function toNode(row: Row): GroupNode {
  return {
    no: row.no,
    id: row.id,
    oem: row.oem,
    version: row.version,
    machineAlias: row.machine_alias,
    alias: row.alias,
    labels: labelsOf(row.labels),
    held: holdOf(row.held),
    shared: sharedOf(row.shared_since, row.shared_at),
    // Written from the engine's own types.
    arch: row.arch as Arch,
    status: row.status as NodeStatus,
    createdAt: row.created_at,
    lastSeenAt: row.last_seen_at,
    rolloutNo: row.rollout_no,
    grantVersion: row.grant_version,
  };
}
