/** Rollout objects: made and superseded as the configuration moves, every change with its history. */
import { randomUUID } from "node:crypto";
import type { Kysely } from "kysely";
import { emptyRolloutCounters } from "../rollout/counters.ts";
import { ACTIVITY, SEVERITY } from "../rollout/model/activity.ts";
import type { Group } from "../rollout/model/configuration.ts";
import type { RolloutCounters } from "../rollout/model/counters.ts";
import type { Rollout, Run } from "../rollout/model/rollout.ts";
import { planRollouts } from "../rollout/plan.ts";
import { type Change, firstRun, runOf, supersede } from "../rollout/run.ts";
import { type DefaultStrategy, defaultStrategy, readStrategy, type StrategyDocument } from "../rollout/strategy.ts";
import { noteActivity } from "./activity.ts";
import { countersAsTexts, loadCounters } from "./counters.ts";
import { loadParts } from "./fleet.ts";
import { nextNumber } from "./numbers.ts";
import type { Store } from "./store.ts";
import type { Tables } from "./tables.ts";

/** Who did it, as the history shows it: `system`, or the name of the token. */
export interface Actor {
  readonly name: string;
}
export const SYSTEM: Actor = { name: "system" };

/** Somebody else has changed the rollout since it was read. */
export class RolloutMoved extends Error {
  override readonly name = "RolloutMoved";
}

/**
 * After any change of the configuration, in its transaction: makes the rollouts that are wanted now, supersedes the ones
 * that are not, and moves the revision, so that every process reads the configuration again.
 */
export async function settleConfiguration(tx: Kysely<Tables>, actor: Actor, now: number): Promise<void> {
  const { groups, rollouts } = await loadParts(tx);
  const plan = planRollouts(groups, rollouts);
  for (const no of plan.retire) {
    const rollout = rollouts.find((one) => one.no === no);
    if (rollout !== undefined) await retire(tx, rollout, "the group no longer wants this package", actor, now);
  }
  for (const { groupNo, packageNo } of plan.create) {
    await createRollout(tx, {
      groupNo,
      packageNo,
      strategy: await strategyOf(tx, groupNo),
      startAt: null,
      undoes: null,
      reason: "the group's channel points to this package",
      actor,
      now,
    });
  }
  await moveRevision(tx);
}

export async function moveRevision(tx: Kysely<Tables>): Promise<void> {
  await tx
    .updateTable("meta")
    .set((eb) => ({ revision: eb("revision", "+", 1) }))
    .execute();
}

/** The template for the group's rollouts: its own strategy, or the server's default. */
export async function strategyOf(tx: Kysely<Tables>, groupNo: Group["no"]): Promise<StrategyDocument> {
  const row = await tx.selectFrom("groups").select("strategy").where("no", "=", groupNo).executeTakeFirstOrThrow();
  return effectiveStrategy(tx, row.strategy);
}

/** @param own as the group has it; null: it has none. */
export async function effectiveStrategy(tx: Kysely<Tables>, own: string | null): Promise<StrategyDocument> {
  if (own !== null) return JSON.parse(own) as StrategyDocument; // checked when it came in
  const { default_strategy: name } = await tx.selectFrom("meta").select("default_strategy").executeTakeFirstOrThrow();
  return defaultStrategy(name as DefaultStrategy); // written by `setDefaultStrategy` alone
}

/** Of the server's settings. It is kept with the configuration, so that whoever makes a rollout finds it there. */
export async function setDefaultStrategy(store: Pick<Store, "read" | "write">, name: DefaultStrategy): Promise<void> {
  const { default_strategy: before } = await store.read
    .selectFrom("meta")
    .select("default_strategy")
    .executeTakeFirstOrThrow();
  if (before === name) return;
  await store.write(async (tx) => {
    await tx.updateTable("meta").set({ default_strategy: name }).execute();
    await moveRevision(tx);
  });
}

export interface NewRollout {
  readonly groupNo: number;
  readonly packageNo: number;
  readonly strategy: StrategyDocument;
  readonly startAt: number | null;
  readonly undoes: string | null;
  readonly reason: string;
  readonly actor: Actor;
  readonly now: number;
}

/** Makes a rollout and writes why; answers its id. */
export async function createRollout(tx: Kysely<Tables>, wanted: NewRollout): Promise<string> {
  const { groupNo, packageNo, strategy, startAt, undoes, reason, actor, now } = wanted;
  const id = randomUUID();
  const run = firstRun(readStrategy(strategy), startAt, now);
  const no = await nextNumber(tx, "rollouts");
  await tx
    .insertInto("rollouts")
    .values({
      no,
      id,
      group_no: groupNo,
      package_no: packageNo,
      strategy: JSON.stringify(strategy),
      seed: strategy.seed ?? id,
      undoes,
      present: 1,
      created_at: now,
      ...columnsOf(run),
    })
    .execute();
  await tx.insertInto("rollout_counters").values({ rollout_no: no }).execute();
  await writeHistory(tx, no, null, run, reason, actor, emptyRolloutCounters(), now);
  return id;
}

/** It no longer stands for its group and package. One that has been aborted stays so. */
export async function retire(
  tx: Kysely<Tables>,
  rollout: Rollout,
  reason: string,
  actor: Actor,
  now: number,
): Promise<void> {
  await tx.updateTable("rollouts").set({ present: 0 }).where("no", "=", rollout.no).execute();
  if (rollout.state === "aborted") return;
  const { rollouts } = await loadCounters(tx, [rollout.no]);
  const counters = rollouts.get(rollout.no) ?? emptyRolloutCounters();
  await writeRun(tx, rollout, supersede(rollout, now, reason), counters, actor, now);
}

/**
 * Writes what becomes of a rollout: its history, its activity, and the configuration's revision.
 * @throws RolloutMoved when it is no longer as `rollout` has it; then nothing is written.
 */
export async function recordChange(
  tx: Kysely<Tables>,
  rollout: Rollout,
  change: Change,
  counters: RolloutCounters,
  actor: Actor,
  now: number,
): Promise<void> {
  await writeRun(tx, rollout, change, counters, actor, now);
  await writeActivity(tx, rollout, change.next, now);
  await moveRevision(tx);
}

/** Other stages from the next one on. @throws RolloutMoved */
export async function recordReplan(
  tx: Kysely<Tables>,
  rollout: Rollout,
  strategy: StrategyDocument,
  reason: string,
  counters: RolloutCounters,
  actor: Actor,
  now: number,
): Promise<void> {
  await tx
    .updateTable("rollouts")
    .set({ strategy: JSON.stringify(strategy) })
    .where("no", "=", rollout.no)
    .execute();
  await recordChange(tx, rollout, { next: runOf(rollout), reason: `new plan: ${reason}` }, counters, actor, now);
}

async function writeRun(
  tx: Kysely<Tables>,
  rollout: Rollout,
  { next, reason }: Change,
  counters: RolloutCounters,
  actor: Actor,
  now: number,
): Promise<void> {
  const { numUpdatedRows } = await tx
    .updateTable("rollouts")
    .set({ ...columnsOf(next), revision: rollout.revision + 1 })
    .where("no", "=", rollout.no)
    .where("revision", "=", rollout.revision)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) throw new RolloutMoved(`rollout ${rollout.id} has changed meanwhile`);
  await writeHistory(tx, rollout.no, rollout.state, next, reason, actor, counters, now);
}

function columnsOf(run: Run) {
  return {
    state: run.state,
    state_at: run.stateAt,
    start_at: run.startAt,
    stage: run.stage,
    stage_opened_at: run.stageOpenedAt,
    awaits_nodes: Number(run.awaitsNodes),
    baking_since: run.bakingSince,
    awaits_approval: Number(run.awaitsApproval),
    paused_by_gate: Number(run.pausedByGate),
    closed: JSON.stringify(run.closed),
    baseline: JSON.stringify(run.baseline),
  };
}

async function writeHistory(
  tx: Kysely<Tables>,
  rolloutNo: number,
  from: string | null,
  next: Run,
  reason: string,
  actor: Actor,
  counters: RolloutCounters,
  now: number,
): Promise<void> {
  const { causes } = countersAsTexts(counters);
  await tx
    .insertInto("rollout_history")
    .values({
      rollout_no: rolloutNo,
      at: now,
      from_state: from,
      to_state: next.state,
      stage: next.stage,
      actor: actor.name,
      reason,
      counters: JSON.stringify({ ...counters.total, causes: JSON.parse(causes) }),
    })
    .execute();
}

/** What the whole fleet's operators want to hear of: an end, a halt, a pause, a part closed, a person waited for. */
async function writeActivity(tx: Kysely<Tables>, rollout: Rollout, next: Run, now: number): Promise<void> {
  const told = toldBy(rollout, next);
  if (told === null) return;
  const { application_no } = await tx
    .selectFrom("groups")
    .select("application_no")
    .where("no", "=", rollout.groupNo)
    .executeTakeFirstOrThrow();
  const about = { application_no, group_no: rollout.groupNo, version: rollout.package.version };
  await noteActivity(tx, told.class, told.severity, about, now);
}

function toldBy(before: Rollout, next: Run): { class: number; severity: number } | null {
  if (next.state !== before.state) {
    if (next.state === "completed") return { class: ACTIVITY.rolloutFinished, severity: SEVERITY.success };
    if (next.state === "halted") return { class: ACTIVITY.rolloutFailed, severity: SEVERITY.error };
    if (next.state === "paused") return { class: ACTIVITY.rolloutPaused, severity: SEVERITY.warning };
  }
  if (next.closed.length > before.closed.length) {
    const severity = next.closed.at(-1)?.watched ? SEVERITY.warning : SEVERITY.error;
    return { class: ACTIVITY.rolloutUnhealthy, severity };
  }
  if (next.awaitsApproval && !before.awaitsApproval) {
    return { class: ACTIVITY.rolloutAwaitsApproval, severity: SEVERITY.info };
  }
  return null;
}
