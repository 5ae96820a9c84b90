/** Numbers that are given once, and never again after their owner is gone. */
import type { Kysely } from "kysely";
import type { Tables } from "./tables.ts";

/** The next number of a table's, within the transaction that uses it. */
export async function nextNumber(tx: Kysely<Tables>, of: "groups" | "channels" | "rollouts"): Promise<number> {
  const { last } = await tx
    .updateTable("numbers")
    .set((eb) => ({ last: eb("last", "+", 1) }))
    .where("of", "=", of)
    .returning("last")
    .executeTakeFirstOrThrow();
  return last;
}
