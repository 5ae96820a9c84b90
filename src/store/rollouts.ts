/** Rollout objects: made and superseded as the configuration moves, every change of state with its history. */
import { randomUUID } from "node:crypto";
import type { Kysely } from "kysely";
import type { RolloutState } from "../rollout/model.ts";
import { DEFAULT_RETRY, DEFAULT_STAGES, planRollouts } from "../rollout/plan.ts";
import { loadParts } from "./fleet.ts";
import type { Tables } from "./tables.ts";

/** Who did it, as the history shows it: `system`, or the name of the token. */
export interface Actor {
  readonly name: string;
}
export const SYSTEM: Actor = { name: "system" };

/**
 * After any change of the configuration, in its transaction: makes the rollouts that are wanted now, supersedes the ones
 * that are not, and moves the revision, so that every process reads the configuration again.
 */
export async function settleConfiguration(tx: Kysely<Tables>, actor: Actor, now: number): Promise<void> {
  const { groups, rollouts } = await loadParts(tx);
  const plan = planRollouts(groups, rollouts);
  for (const rolloutNo of plan.supersede) {
    await moveRollout(tx, rolloutNo, "superseded", actor, "the group no longer wants this package", now);
  }
  for (const { groupNo, packageNo } of plan.create) await createRollout(tx, groupNo, packageNo, actor, now);
  await tx
    .updateTable("meta")
    .set((eb) => ({ revision: eb("revision", "+", 1) }))
    .execute();
}

async function createRollout(
  tx: Kysely<Tables>,
  groupNo: number,
  packageNo: number,
  actor: Actor,
  now: number,
): Promise<void> {
  const { no } = await tx
    .insertInto("rollouts")
    .values({
      id: randomUUID(),
      group_no: groupNo,
      package_no: packageNo,
      state: "running" satisfies RolloutState,
      stages: JSON.stringify(DEFAULT_STAGES),
      retry: JSON.stringify(DEFAULT_RETRY),
      created_at: now,
      state_at: now,
    })
    .returning("no")
    .executeTakeFirstOrThrow();
  await tx.insertInto("rollout_counters").values({ rollout_no: no }).execute();
  await writeHistory(tx, no, null, "running", actor, "the group's channel points to this package", now);
}

/** Moves a rollout to another state and writes why. A rollout that is gone or already there is left alone. */
export async function moveRollout(
  tx: Kysely<Tables>,
  rolloutNo: number,
  state: RolloutState,
  actor: Actor,
  reason: string,
  now: number,
): Promise<void> {
  const before = await tx.selectFrom("rollouts").select("state").where("no", "=", rolloutNo).executeTakeFirst();
  if (before === undefined || before.state === state) return;
  await tx.updateTable("rollouts").set({ state, state_at: now }).where("no", "=", rolloutNo).execute();
  await writeHistory(tx, rolloutNo, before.state, state, actor, reason, now);
}

async function writeHistory(
  tx: Kysely<Tables>,
  rolloutNo: number,
  from: string | null,
  to: RolloutState,
  actor: Actor,
  reason: string,
  now: number,
): Promise<void> {
  const counters = await tx
    .selectFrom("rollout_counters")
    .selectAll()
    .where("rollout_no", "=", rolloutNo)
    .executeTakeFirstOrThrow();
  const { rollout_no: _, ...standing } = counters;
  await tx
    .insertInto("rollout_history")
    .values({
      rollout_no: rolloutNo,
      at: now,
      from_state: from,
      to_state: to,
      actor: actor.name,
      reason,
      counters: JSON.stringify(standing),
    })
    .execute();
}
