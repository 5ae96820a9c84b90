/** A rollout as the API shows it: where it stands, stage by stage, and what comes next. */
import type { Selectable } from "kysely";
import { z } from "zod";
import { stageFields, strategyObject } from "../fleet/strategy.ts";
import { readCell } from "../rollout/cell.ts";
import { emptyTally, grantedTotal, inFlight, OTHER_CAUSE, rolloutCounters, TALLY_KEYS } from "../rollout/counters.ts";
import { breachesOf, describeBreach, finishedOf, lowerBound, sliceName } from "../rollout/health.ts";
import type { Counters, RolloutCounters, Tally } from "../rollout/model/counters.ts";
import type { Fleet } from "../rollout/model/fleet.ts";
import { ROLLOUT_STATES, type Rollout, type RolloutState } from "../rollout/model/rollout.ts";
import { rampOf } from "../rollout/ramp.ts";
import { outlook } from "../rollout/run.ts";
import { percentNow } from "../rollout/stages.ts";
import { type SilenceRecord, silenceOf } from "../store/silence-record.ts";
import type { Tables } from "../store/tables.ts";
import { timestamp } from "./context.ts";

/** A row of `rollouts` with its package. */
export type RolloutRow = Selectable<Tables["rollouts"]> & { package_id: string; version: string };

const time = z.iso.datetime();
const nodes = z.int().nonnegative();

export const countersObject = z
  .object({
    granted: nodes,
    in_flight: nodes,
    complete: nodes,
    failed: nodes,
    timed_out: nodes,
    rolled_back: nodes,
    lost: nodes,
    withdrawn: nodes,
    retrying: nodes,
    /** Of those that came to a bad end, the ones that had completed before. */
    relapsed: nodes,
  })
  .meta({ id: "RolloutCounters" });

const stageObject = z.object({
  ...stageFields,
  number: z.int(),
  state: z.enum(["done", "not open", "awaits approval", "open", "baking"]),
  percent_now: z.number().optional(),
  /** Nodes that have it, or have still to go and are not held, as last counted (`eligible_ts`). Null: it has ended. */
  eligible: nodes.nullable(),
  counters: countersObject,
});

export const rolloutObject = z
  .object({
    id: z.uuid(),
    group_id: z.uuid(),
    package_id: z.uuid(),
    version: z.string(),
    /** Of a way back: the version that it takes back. */
    undoes: z.string().nullable(),
    state: z.enum(ROLLOUT_STATES),
    revision: z.int(),
    stage: z.int(),
    next: z.object({ on: z.string(), not_before: time.nullable() }).nullable(),
    awaits_approval: z.boolean(),
    created_ts: time,
    state_ts: time,
    start_at: time.nullable(),
    stage_opened_ts: time.nullable(),
    baking_since: time.nullable(),
    stages: z.array(stageObject),
    eligible_ts: time.nullable(),
    awaits_nodes: z.boolean(),
    counters: countersObject,
    failed_by_cause: z.record(z.string(), nodes),
    health: z.object({
      finished: nodes,
      bad: nodes,
      lost: nodes,
      /** Of those that have completed: not heard any more, and not away as they usually are. */
      silent: nodes,
      /** How that compared when it was last looked at; null: nobody has looked, or there is nothing to compare with. */
      silence: z
        .object({
          looked_ts: time,
          nodes,
          silent: nodes,
          against: z.enum(["others", "week before"]),
          other_nodes: nodes,
          other_silent: nodes,
          at_least_percent: z.number(),
        })
        .nullable(),
      bad_percent: z.number(),
      at_least_bad_percent: z.number(),
      breach: z.string().nullable(),
      closed: z.array(z.object({ slice: z.string(), since: time, why: z.string(), only_watched: z.boolean() })),
    }),
    /** Slow start: nodes at risk, and how many may be. Null: it has no ramp, or has ended. */
    ramp: z.object({ exposed: nodes, limit: nodes }).nullable(),
    strategy: strategyObject,
    seed: z.string(),
  })
  .meta({ id: "Rollout" });
export type RolloutObject = z.input<typeof rolloutObject>;

/** As it is answered alone: with its history, the oldest line first. */
export const rolloutWithHistory = rolloutObject
  .extend({
    history: z.array(
      z.object({
        created_ts: time,
        from_state: z.string().nullable(),
        to_state: z.string(),
        stage: z.int(),
        actor: z.string(),
        reason: z.string(),
        counters: z.record(z.string(), z.unknown()),
      }),
    ),
  })
  .meta({ id: "RolloutWithHistory" });

type StrategyView = z.input<typeof strategyObject>;
type StageView = NonNullable<StrategyView["stages"]>[number];
const PLAIN_STAGES: StageView[] = [{ percent: 100 }];

/** @param fleet in which a rollout that stands for its group and package is found; an older one has only its row. */
export function toRolloutView(
  row: RolloutRow,
  groupId: string,
  counters: Counters,
  fleet: Fleet,
  now: number,
): RolloutObject {
  const strategy = JSON.parse(row.strategy) as StrategyView; // checked when it came in
  const standing = rolloutCounters(counters, row.no);
  const rollout = fleet.rolloutByNo.get(row.no) ?? null;
  const next = rollout === null ? null : outlook(rollout, fleet, standing, now);
  return {
    id: row.id,
    group_id: groupId,
    package_id: row.package_id,
    version: row.version,
    undoes: row.undoes,
    state: row.state as RolloutState, // the store writes no other
    revision: row.revision,
    stage: row.stage + 1,
    next: next === null ? null : { on: next.on, not_before: next.until === null ? null : timestamp(next.until) },
    awaits_approval: row.awaits_approval === 1,
    created_ts: timestamp(row.created_at),
    state_ts: timestamp(row.state_at),
    start_at: row.start_at === null ? null : timestamp(row.start_at),
    stage_opened_ts: row.state === "scheduled" ? null : timestamp(row.stage_opened_at),
    baking_since: row.baking_since === null ? null : timestamp(row.baking_since),
    eligible_ts: row.eligible_at === null || !isUnderWay(row) ? null : timestamp(row.eligible_at),
    awaits_nodes: row.awaits_nodes === 1,
    stages: toStages(row, strategy.stages ?? PLAIN_STAGES, standing, rollout, now),
    counters: toCountersView(standing.total),
    failed_by_cause: Object.fromEntries(
      [...standing.causes].map(([code, nodes]) => [code === OTHER_CAUSE ? "other" : code, nodes]),
    ),
    health: { ...toHealth(rollout, standing), ...toSilence(silenceOf(row.silence)) },
    ramp: toRamp(rollout, standing),
    strategy: { ...strategy, stages: strategy.stages ?? PLAIN_STAGES },
    seed: row.seed,
  };
}

function toStages(
  row: RolloutRow,
  stages: readonly StageView[],
  counters: RolloutCounters,
  rollout: Rollout | null,
  now: number,
) {
  const eligible = JSON.parse(row.eligible) as number[]; // written by the conductor alone
  const tallies = stages.map(() => emptyTally());
  for (const [cell, tally] of counters.cells) {
    const own = tallies[readCell(cell).stage];
    if (own !== undefined) for (const key of TALLY_KEYS) own[key] += tally[key];
  }
  return stages.map((stage, index) => {
    const counters = toCountersView(tallies[index] ?? emptyTally());
    const counted = isUnderWay(row) ? (eligible[index] ?? null) : null;
    return {
      ...stage,
      number: index + 1,
      state: stageState(row, index),
      ...(rollout !== null && index === row.stage && { percent_now: percentNow(rollout, now) }),
      // Whoever has been granted since the count is eligible, too.
      eligible: counted === null ? null : Math.max(counted, counters.granted - counters.withdrawn),
      counters,
    };
  });
}

/** Nodes are counted only while it may still go on. */
function isUnderWay({ state }: RolloutRow): boolean {
  return state === "running" || state === "paused" || state === "halted";
}

function stageState(row: RolloutRow, index: number): z.input<typeof stageObject>["state"] {
  if (row.state === "completed" || index < row.stage) return "done";
  if (index > row.stage || row.state === "scheduled") return "not open";
  if (row.awaits_approval === 1) return "awaits approval";
  return row.baking_since === null ? "open" : "baking";
}

export function toCountersView(tally: Tally) {
  return {
    granted: grantedTotal(tally),
    in_flight: inFlight(tally),
    complete: tally.complete,
    failed: tally.failed,
    timed_out: tally["timed-out"],
    rolled_back: tally["rolled-back"],
    lost: tally.lost,
    withdrawn: tally.withdrawn,
    retrying: tally.retrying,
    relapsed: tally.relapsed,
  };
}

function toRamp(rollout: Rollout | null, counters: RolloutCounters): RolloutObject["ramp"] {
  const standing = rollout === null ? null : rampOf(rollout, counters);
  return standing === null ? null : { exposed: standing.exposed, limit: standing.limit };
}

function toSilence(looked: SilenceRecord | null) {
  if (looked === null || looked.compared === null) return { silent: looked?.silent ?? 0, silence: null };
  const { complete, other, against, bound } = looked.compared;
  return {
    silent: looked.silent,
    silence: {
      looked_ts: timestamp(looked.at),
      nodes: complete.nodes,
      silent: complete.silent,
      against,
      other_nodes: other.nodes,
      other_silent: other.silent,
      at_least_percent: Math.max(0, bound * 100),
    },
  };
}

function toHealth(rollout: Rollout | null, counters: RolloutCounters) {
  const { finished, bad, lost } = finishedOf(counters.total);
  const health = rollout?.strategy.health ?? null;
  const breaches =
    rollout === null || health === null
      ? []
      : breachesOf(rollout, counters).map((breach) => {
          const where = breach.slice === null ? "" : `${sliceName(breach.slice)}: `;
          return where + describeBreach(breach, health);
        });
  return {
    finished,
    bad,
    lost,
    bad_percent: finished === 0 ? 0 : (bad * 100) / finished,
    at_least_bad_percent: lowerBound(bad, finished) * 100,
    breach: breaches.length === 0 ? null : breaches.join("; "),
    closed: (rollout?.closed ?? []).map(({ slice, at, why, watched }) => ({
      slice: sliceName(slice),
      since: timestamp(at),
      why,
      only_watched: watched,
    })),
  };
}
