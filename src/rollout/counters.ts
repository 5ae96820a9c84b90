/** How nodes stand in a rollout, moved along with each transition. */
import type {
  CountedStatus,
  Counters,
  Fleet,
  GroupCounters,
  NodeStatus,
  RolloutCounters,
  Transition,
} from "./model.ts";
import { withGrant } from "./quota.ts";

export const IN_FLIGHT = ["granted", "downloading", "downloaded", "installed"] as const satisfies readonly NodeStatus[];
export type InFlightStatus = (typeof IN_FLIGHT)[number];

export function isInFlight(status: NodeStatus | CountedStatus): status is InFlightStatus {
  return status === "granted" || status === "downloading" || status === "downloaded" || status === "installed";
}

export function emptyRolloutCounters(): RolloutCounters {
  return {
    granted: 0,
    downloading: 0,
    downloaded: 0,
    installed: 0,
    complete: 0,
    failed: 0,
    "timed-out": 0,
    "rolled-back": 0,
    lost: 0,
    withdrawn: 0,
  };
}

export function rolloutCounters(counters: Counters, rolloutNo: number): RolloutCounters {
  return counters.rollouts.get(rolloutNo) ?? emptyRolloutCounters();
}

export function groupCounters(counters: Counters, groupNo: number): GroupCounters {
  return counters.groups.get(groupNo) ?? { inFlight: 0, slices: [] };
}

export function inFlight(of: RolloutCounters): number {
  return of.granted + of.downloading + of.downloaded + of.installed;
}

/** Every node that was ever granted this rollout. */
export function grantedTotal(of: RolloutCounters): number {
  return Object.values(of).reduce((sum, count) => sum + count, 0);
}

/**
 * Moves the counters along with one transition.
 *
 * Within a rollout the node leaves its old status for the new one. When it leaves the rollout for another (or for none), an
 * ended grant stays counted where it ended; one that was in flight becomes `withdrawn`.
 */
export function applyTransition(counters: Counters, transition: Transition, fleet: Fleet): void {
  const { from, to, fromRolloutNo, fromGroupNo, rolloutNo, groupNo, at } = transition;
  const stays = fromRolloutNo === rolloutNo;
  if (fromRolloutNo !== null && fromGroupNo !== null && isCounted(from)) {
    if (stays) move(counters, fromRolloutNo, from, -1);
    else if (isInFlight(from)) {
      move(counters, fromRolloutNo, from, -1);
      move(counters, fromRolloutNo, "withdrawn", 1);
    }
    if (isInFlight(from)) moveInFlight(counters, fromGroupNo, -1);
  }
  if (rolloutNo !== null && isCounted(to)) {
    move(counters, rolloutNo, to, 1);
    if (isInFlight(to)) moveInFlight(counters, groupNo, 1);
  }
  if (transition.grants) {
    const group = groupCounters(counters, groupNo);
    const periodMs = fleet.groupByNo.get(groupNo)?.policy.periodMs ?? 1;
    counters.groups.set(groupNo, { ...group, slices: withGrant(group.slices, periodMs, at) });
  }
}

function isCounted(status: NodeStatus): status is Exclude<NodeStatus, "unknown" | "on-hold"> {
  return status !== "unknown" && status !== "on-hold";
}

function move(counters: Counters, rolloutNo: number, status: CountedStatus, by: number): void {
  const before = rolloutCounters(counters, rolloutNo);
  counters.rollouts.set(rolloutNo, { ...before, [status]: before[status] + by });
}

function moveInFlight(counters: Counters, groupNo: number, by: number): void {
  const before = groupCounters(counters, groupNo);
  counters.groups.set(groupNo, { ...before, inFlight: before.inFlight + by });
}
