/**
 * A time without a server: nobody could report meanwhile, so nothing may be concluded from having heard nothing. A node that
 * was on its way is not lost, a stage is not over because none of its nodes was seen, and what baked unwatched did not bake.
 */
import { emptyRolloutCounters } from "../rollout/counters.ts";
import { stoodStillFor } from "../rollout/run.ts";
import { loadCounters } from "../store/counters.ts";
import { loadFleet } from "../store/fleet.ts";
import { recordChange, SYSTEM } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";

/** From when a node was last heard until the server was back. */
export interface Absence {
  readonly from: number;
  readonly to: number;
}

/** A restart is no absence: nodes ask every 45 minutes. */
const SHORTEST_MS = 5 * 60_000;

/** To be called as the server starts, before it listens. Answers what it has made up for; null: there was nothing. */
export async function makeUpForAbsence(store: Store, now: number): Promise<Absence | null> {
  const { at } = await store.read
    .selectFrom("seen")
    .select((eb) => eb.fn.max("at").as("at"))
    .executeTakeFirstOrThrow();
  if (at === null || now - at < SHORTEST_MS) return null;
  await store.write(async (tx) => {
    const fleet = await loadFleet(tx);
    for (const { no, policy } of fleet.groups) {
      const deadline = now + policy.updateTimeoutMs;
      await tx
        .updateTable("nodes")
        .set({ deadline })
        .where("grant_group_no", "=", no)
        .where("deadline", "<", deadline)
        .execute();
    }
    for (const rollout of fleet.rollouts) {
      const change = stoodStillFor(rollout, now - at);
      if (change === null) continue;
      const { rollouts } = await loadCounters(tx, [rollout.no]);
      await recordChange(tx, rollout, change, rollouts.get(rollout.no) ?? emptyRolloutCounters(), SYSTEM, now);
    }
  });
  return { from: at, to: now };
}

/** When a node was last seen, as if the absence had not been. */
export function seenBut(absence: Absence | null, at: number): number {
  return absence !== null && at <= absence.from ? at + absence.to - absence.from : at;
}
