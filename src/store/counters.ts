/** A rollout's counters as the store keeps them: totals in columns, cells and causes as JSON. */
import { type Kysely, sql } from "kysely";
import { emptyTally, TALLY_KEYS } from "../rollout/counters.ts";
import { type FetchingRollout, noDownloads } from "../rollout/downloads.ts";
import type { Counters, GroupCounters, RolloutCounters, Tally } from "../rollout/model/counters.ts";
import type { Tables } from "./tables.ts";

export interface CountersRow {
  readonly granted: number;
  readonly downloading: number;
  readonly downloaded: number;
  readonly installed: number;
  readonly complete: number;
  readonly failed: number;
  readonly timed_out: number;
  readonly rolled_back: number;
  readonly lost: number;
  readonly withdrawn: number;
  readonly retrying: number;
  readonly relapsed: number;
  readonly cells: string;
  readonly causes: string;
}

export function toRolloutCounters(row: CountersRow): RolloutCounters {
  // Written by `countersAsTexts` alone.
  const cells = JSON.parse(row.cells) as Record<string, number[]>;
  const causes = JSON.parse(row.causes) as Record<string, number>;
  return {
    total: {
      granted: row.granted,
      downloading: row.downloading,
      downloaded: row.downloaded,
      installed: row.installed,
      complete: row.complete,
      failed: row.failed,
      "timed-out": row.timed_out,
      "rolled-back": row.rolled_back,
      lost: row.lost,
      withdrawn: row.withdrawn,
      retrying: row.retrying,
      relapsed: row.relapsed,
    },
    cells: new Map(Object.entries(cells).map(([cell, counts]) => [cell, toTally(counts)])),
    causes: new Map(Object.entries(causes).map(([code, nodes]) => [Number(code), nodes])),
  };
}

function toTally(counts: readonly number[]): Tally {
  const tally = emptyTally();
  for (const [index, key] of TALLY_KEYS.entries()) tally[key] = counts[index] ?? 0;
  return tally;
}

export function countersAsTexts({ cells, causes }: RolloutCounters): { cells: string; causes: string } {
  const counts = [...cells].map(([cell, tally]) => [cell, TALLY_KEYS.map((key) => tally[key])]);
  return {
    cells: JSON.stringify(Object.fromEntries(counts)),
    causes: JSON.stringify(Object.fromEntries(causes)),
  };
}

export function toGroupCounters(row: { in_flight: number; slices: string } | undefined): GroupCounters {
  // Written by the engine's stores alone: pairs of numbers.
  const slices = JSON.parse(row?.slices ?? "[]") as [number, number][];
  return { inFlight: row?.in_flight ?? 0, slices: slices.map(([startsAt, count]) => ({ startsAt, count })) };
}

/** The counters of these rollouts and groups, for whoever is not a check-in. */
export async function loadCounters(
  db: Kysely<Tables>,
  rolloutNos: readonly number[],
  groupNos: readonly number[] = [],
): Promise<Counters> {
  const rollouts = await db
    .selectFrom("rollout_counters")
    .selectAll()
    .where("rollout_no", "in", [...rolloutNos, -1])
    .execute();
  const groups = await db
    .selectFrom("group_counters")
    .selectAll()
    .where("group_no", "in", [...groupNos, -1])
    .execute();
  return {
    rollouts: new Map(rollouts.map((row) => [row.rollout_no, toRolloutCounters(row)])),
    groups: new Map(groups.map((row) => [row.group_no, toGroupCounters(row)])),
    downloads: noDownloads(),
  };
}

/** Rollouts with nodes that are granted or downloading. */
export async function loadFetching(db: Kysely<Tables>): Promise<FetchingRollout[]> {
  const rows = await db
    .selectFrom("rollout_counters as c")
    .innerJoin("rollouts", "rollouts.no", "c.rollout_no")
    .select(["c.rollout_no as rolloutNo", "rollouts.package_no as packageNo"])
    .select(sql<number>`c.granted + c.downloading`.as("nodes"))
    // As its index has it.
    .where(sql<boolean>`c.granted + c.downloading > 0`)
    .execute();
  return rows;
}

export async function writeRolloutCounters(db: Kysely<Tables>, no: number, counters: RolloutCounters): Promise<void> {
  const { "timed-out": timedOut, "rolled-back": rolledBack, ...total } = counters.total;
  await db
    .updateTable("rollout_counters")
    .set({ ...total, timed_out: timedOut, rolled_back: rolledBack, ...countersAsTexts(counters) })
    .where("rollout_no", "=", no)
    .execute();
}
