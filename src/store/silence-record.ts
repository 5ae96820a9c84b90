/** What was found when a rollout's nodes were last looked at for silence, as it is kept with the rollout. */
import type { Kysely } from "kysely";
import type { Comparison } from "../rollout/silence.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

export interface SilenceRecord {
  readonly at: number;
  readonly silentAfterMs: number;
  /** Of those that have completed, all that fell silent while they were watched. */
  readonly silent: number;
  readonly compared: Comparison | null;
}

export function silenceOf(text: string | null): SilenceRecord | null {
  return text === null ? null : (JSON.parse(text) as SilenceRecord); // written by `writeSilence` alone
}

/** Not a change of the rollout: no revision moves. */
export async function writeSilence(tx: Db, rolloutNo: number, record: SilenceRecord): Promise<void> {
  await tx
    .updateTable("rollouts")
    .set({ silence: JSON.stringify(record) })
    .where("no", "=", rolloutNo)
    .execute();
}

export async function silentNodesOf(db: Db, rolloutNo: number): Promise<number[]> {
  const rows = await db.selectFrom("silent_nodes").select("node_no").where("rollout_no", "=", rolloutNo).execute();
  return rows.map(({ node_no: no }) => no);
}

/** Some nodes more, or less, that are silent. One that was deleted meanwhile is left out. */
export async function moveSilentNodes(
  tx: Db,
  rolloutNo: number,
  more: readonly number[],
  less: readonly number[],
): Promise<void> {
  if (more.length > 0) {
    await tx
      .insertInto("silent_nodes")
      .columns(["rollout_no", "node_no"])
      .expression((eb) =>
        eb
          .selectFrom("nodes")
          .select([eb.val(rolloutNo).as("rollout_no"), "no"])
          .where("no", "in", more),
      )
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  if (less.length > 0) {
    await tx.deleteFrom("silent_nodes").where("rollout_no", "=", rolloutNo).where("node_no", "in", less).execute();
  }
}

/** Of a rollout: the nodes that were silent when it was last looked at, and have not been heard since. */
export function silentNodes(db: Db, rolloutNo: number, { at, silentAfterMs }: SilenceRecord) {
  return db
    .selectFrom("silent_nodes")
    .innerJoin("seen", "seen.node_no", "silent_nodes.node_no")
    .select("silent_nodes.node_no")
    .where("silent_nodes.rollout_no", "=", rolloutNo)
    .where("seen.at", "<=", at - silentAfterMs);
}
