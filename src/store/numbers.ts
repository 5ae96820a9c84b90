/**
 * Numbers of rows that others refer to without a foreign key: nodes keep those of their grant, statistics those of a group.
 * Left to itself, SQLite gives the highest number again when its row was deleted, and the new row would inherit them.
 */
import type { Kysely } from "kysely";
import type { Tables } from "./tables.ts";

export async function nextRolloutNo(tx: Kysely<Tables>): Promise<number> {
  const used = await Promise.all([
    tx
      .selectFrom("rollouts")
      .select((eb) => eb.fn.max("no").as("no"))
      .executeTakeFirst(),
    tx.selectFrom("nodes").select((eb) => eb.fn.max("rollout_no").as("no")).where("rollout_no", "is not", null).executeTakeFirst(), // biome-ignore format: one line
    tx
      .selectFrom("past_grants")
      .select((eb) => eb.fn.max("rollout_no").as("no"))
      .executeTakeFirst(),
  ]);
  return after(used);
}

export async function nextGroupNo(tx: Kysely<Tables>): Promise<number> {
  const used = await Promise.all([
    tx
      .selectFrom("groups")
      .select((eb) => eb.fn.max("no").as("no"))
      .executeTakeFirst(),
    tx
      .selectFrom("nodes")
      .select((eb) => eb.fn.max("group_no").as("no"))
      .executeTakeFirst(),
    // Whatever was granted in a group is counted here, for as long as a grant may last.
    tx
      .selectFrom("status_slots")
      .select((eb) => eb.fn.max("group_no").as("no"))
      .executeTakeFirst(),
    tx
      .selectFrom("census")
      .select((eb) => eb.fn.max("group_no").as("no"))
      .executeTakeFirst(),
    tx
      .selectFrom("activity")
      .select((eb) => eb.fn.max("group_no").as("no"))
      .executeTakeFirst(),
  ]);
  return after(used);
}

function after(used: readonly ({ readonly no: number | null } | undefined)[]): number {
  return 1 + Math.max(0, ...used.map((row) => row?.no ?? 0));
}
