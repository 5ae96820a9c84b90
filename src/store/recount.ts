/** Counts the nodes again, and says where the kept counters differ: the repair of last resort, and a law of the tests. */
import { type Kysely, sql } from "kysely";
import { count, emptyRolloutCounters, emptyTally, TALLY_KEYS } from "../rollout/counters.ts";
import { noDownloads } from "../rollout/downloads.ts";
import type { CountedStatus, Counters, RolloutCounters } from "../rollout/model/counters.ts";
import type { Failure } from "../rollout/model/node.ts";
import { loadCounters, writeRolloutCounters } from "./counters.ts";
import type { Tables } from "./tables.ts";

export interface Difference {
  /** The rollout's, or the group's, UUID. */
  readonly id: string;
  /** e.g. `complete`, or `in flight` of a group. */
  readonly what: string;
  readonly kept: number;
  readonly counted: number;
}

/**
 * Counts the rollouts that stand for their group and package, and what is in flight in each group. Older rollouts are left
 * out: their past grants are deleted in time.
 * @param repair write what was counted. To be called in a transaction that no check-in shares.
 */
export async function recount(db: Kysely<Tables>, repair: boolean): Promise<Difference[]> {
  const rollouts = await db.selectFrom("rollouts").select(["no", "id"]).where("present", "=", 1).execute();
  const groups = await db.selectFrom("groups").select(["no", "id"]).execute();
  const nos = rollouts.map(({ no }) => no);
  const groupNos = groups.map(({ no }) => no);
  const kept = await loadCounters(db, nos, groupNos);
  const counted = await countAll(db);
  const differences: Difference[] = [];
  for (const { no, id } of rollouts) {
    const before = kept.rollouts.get(no) ?? emptyRolloutCounters();
    const now = counted.rollouts.get(no) ?? emptyRolloutCounters();
    const found = differencesOf(id, before, now);
    differences.push(...found);
    if (repair && found.length > 0) await writeRolloutCounters(db, no, now);
  }
  for (const { no, id } of groups) {
    const before = kept.groups.get(no)?.inFlight ?? 0;
    const now = counted.groups.get(no)?.inFlight ?? 0;
    if (before === now) continue;
    differences.push({ id, what: "in flight", kept: before, counted: now });
    if (repair) {
      await db
        .insertInto("group_counters")
        .values({ group_no: no, in_flight: now, slices: "[]" })
        .onConflict((conflict) => conflict.column("group_no").doUpdateSet({ in_flight: now }))
        .execute();
    }
  }
  return differences;
}

/** As `hasRelapsed` has it. */
const relapsed = sql<number>`(failure IS NOT NULL AND watched_until IS NOT NULL)`;

async function countAll(db: Kysely<Tables>): Promise<Counters> {
  const counters: Counters = { rollouts: new Map(), groups: new Map(), downloads: noDownloads() };
  const add = (row: CountedRow) => {
    const standing = {
      rolloutNo: row.rollout_no ?? 0,
      groupNo: row.group_no ?? 0,
      cell: row.cell ?? "",
      // Written from the engine's own types.
      // On hold for its next version, a node has completed the grant that it keeps.
      status: row.status === "on-hold" ? "complete" : (row.status as CountedStatus),
      failure: row.failure as Failure | null,
      errorCode: row.error_code,
      relapsed: row.relapsed === 1,
    };
    count(counters, standing, Number(row.nodes));
  };
  const present = await db
    .selectFrom("nodes")
    .select(["rollout_no", "grant_group_no as group_no", "cell", "status", "failure", "error_code"])
    .select([relapsed.as("relapsed"), (eb) => eb.fn.countAll().as("nodes")])
    .where("rollout_no", "is not", null)
    .where("status", "!=", "unknown")
    .groupBy(["rollout_no", "grant_group_no", "cell", "status", "failure", "error_code", relapsed])
    .execute();
  const past = await db
    .selectFrom("past_grants")
    .select(["rollout_no", "cell", "status", "failure", "error_code", "relapsed"])
    .select((eb) => eb.fn.countAll().as("nodes"))
    .groupBy(["rollout_no", "cell", "status", "failure", "error_code", "relapsed"])
    .execute();
  for (const row of present) add(row);
  for (const row of past) add({ ...row, group_no: null });
  return counters;
}

interface CountedRow {
  readonly rollout_no: number | null;
  readonly group_no: number | null;
  readonly cell: string | null;
  readonly status: string;
  readonly failure: string | null;
  readonly error_code: number | null;
  readonly relapsed: number;
  readonly nodes: number | string | bigint;
}

function differencesOf(id: string, kept: RolloutCounters, counted: RolloutCounters): Difference[] {
  const found: Difference[] = [];
  const compare = (what: string, before: number, now: number) => {
    if (before !== now) found.push({ id, what, kept: before, counted: now });
  };
  for (const key of TALLY_KEYS) compare(key, kept.total[key], counted.total[key]);
  for (const cell of new Set([...kept.cells.keys(), ...counted.cells.keys()])) {
    const before = kept.cells.get(cell) ?? emptyTally();
    const now = counted.cells.get(cell) ?? emptyTally();
    for (const key of TALLY_KEYS) compare(`${key} in cell "${cell}"`, before[key], now[key]);
  }
  for (const code of new Set([...kept.causes.keys(), ...counted.causes.keys()])) {
    compare(`failed with ${code}`, kept.causes.get(code) ?? 0, counted.causes.get(code) ?? 0);
  }
  return found;
}
