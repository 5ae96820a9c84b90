/** Nodes in a group whose channel is for another architecture than theirs: nothing that it has fits them. */
import { type Kysely, sql } from "kysely";
import { ARCH, type Arch } from "../rollout/model/arch.ts";
import { FAKE_ID } from "./census.ts";
import type { Tables } from "./tables.ts";

export interface OtherArchitecture {
  readonly arch: number;
  /** Whether a person has put them into a group; else they came by their track. */
  readonly byHand: boolean;
  readonly nodes: number;
  /** The id of one of them. */
  readonly example: string;
}

/** @param since when they were seen at the earliest */
export async function otherArchitectures(
  db: Kysely<Tables>,
  groupNo: number,
  arch: Arch,
  since: number,
): Promise<readonly OtherArchitecture[]> {
  if (arch === ARCH.all) return [];
  if (arch !== ARCH.amd64 && (await areAll(db, groupNo, arch))) return [];
  // Written out, or the database does not see that the index has all of them: see migration 17.
  const others = arch === ARCH.amd64 ? sql`nodes INDEXED BY nodes_arch` : sql`nodes`;
  const isOther = arch === ARCH.amd64 ? sql`nodes.arch <> 1` : sql`nodes.arch <> ${arch}`;
  const { rows } = await sql<{ arch: number; by_hand: number; nodes: number; example: string }>`
    SELECT nodes.arch, nodes.own_group IS NOT NULL AS by_hand, count(*) AS nodes, min(nodes.id) AS example
    FROM ${others}
    LEFT JOIN seen ON seen.node_no = nodes.no
    WHERE nodes.group_no = ${groupNo} AND ${isOther}
      AND coalesce(seen.at, nodes.created_at) > ${since} AND nodes.id NOT LIKE ${FAKE_ID}
    GROUP BY 1, 2
    ORDER BY 1, 2`.execute(db);
  return rows.map(({ by_hand: byHand, ...row }) => ({ ...row, byHand: byHand === 1 }));
}

/** From counts alone, since most groups have no other nodes. */
async function areAll(db: Kysely<Tables>, groupNo: number, arch: Arch): Promise<boolean> {
  const { rows } = await sql<{ others: number }>`
    SELECT coalesce((SELECT sum(count) FROM node_counts WHERE group_no = ${groupNo}), 0)
      - (SELECT count(*) FROM nodes INDEXED BY nodes_arch WHERE group_no = ${groupNo} AND arch <> 1 AND arch = ${arch})
      AS others`.execute(db);
  return rows[0]?.others === 0;
}
