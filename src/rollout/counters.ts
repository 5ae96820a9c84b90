/** How nodes stand in a rollout, moved along with each transition. */
import { isFetching } from "./downloads.ts";
import type { CountedStatus, Counters, GroupCounters, RolloutCounters, Tally } from "./model/counters.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Grant, Node, NodeStatus } from "./model/node.ts";
import type { Standing, Transition } from "./model/outcome.ts";
import { withGrant } from "./quota.ts";

export const IN_FLIGHT = ["granted", "downloading", "downloaded", "installed"] as const satisfies readonly NodeStatus[];
export type InFlightStatus = (typeof IN_FLIGHT)[number];

export function isInFlight(status: NodeStatus | CountedStatus): status is InFlightStatus {
  return status === "granted" || status === "downloading" || status === "downloaded" || status === "installed";
}

/** In the order in which the store keeps them. */
export const TALLY_KEYS = [
  "granted",
  "downloading",
  "downloaded",
  "installed",
  "complete",
  "failed",
  "timed-out",
  "rolled-back",
  "lost",
  "withdrawn",
  "retrying",
  "relapsed",
] as const satisfies readonly (keyof Tally)[];

export function emptyTally(): Tally {
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
    retrying: 0,
    relapsed: 0,
  };
}

export function emptyRolloutCounters(): RolloutCounters {
  return { total: emptyTally(), cells: new Map(), causes: new Map() };
}

const NOBODY: RolloutCounters = emptyRolloutCounters();

/** To be read, not moved. */
export function rolloutCounters(counters: Counters, rolloutNo: number): RolloutCounters {
  return counters.rollouts.get(rolloutNo) ?? NOBODY;
}

export function groupCounters(counters: Counters, groupNo: number): GroupCounters {
  return counters.groups.get(groupNo) ?? { inFlight: 0, slices: [] };
}

export function inFlight(of: Tally): number {
  return of.granted + of.downloading + of.downloaded + of.installed;
}

/** Every node that was ever granted this rollout. */
export function grantedTotal(of: Tally): number {
  return inFlight(of) + of.complete + of.failed + of["timed-out"] + of["rolled-back"] + of.lost + of.withdrawn;
}

/** Whether it has completed its grant, and not come to a bad end since. A node on hold for its next version keeps that grant. */
export function hasCompleted({ status, grant }: Pick<Node, "status" | "grant">): boolean {
  return status === "complete" || (status === "on-hold" && grant !== null);
}

/** Where a node of this status is counted; null: nowhere. */
export function standingOf(status: NodeStatus, grant: Grant | null): Standing | null {
  if (grant === null || status === "unknown") return null;
  const { rolloutNo, groupNo, cell, failure, errorCode } = grant;
  const counted = status === "on-hold" ? "complete" : status;
  return { rolloutNo, groupNo, cell, status: counted, failure, errorCode, relapsed: hasRelapsed(grant) };
}

/** Whether it has come to a bad end after it had completed; it stays so until it completes again. */
export function hasRelapsed({ failure, watchedUntil }: Grant): boolean {
  return failure !== null && watchedUntil !== null;
}

/** Moves the counters along with one transition. */
export function applyTransition(
  counters: Counters,
  { left, entered, grants, groupNo, at }: Transition,
  fleet: Fleet,
): void {
  if (left !== null) {
    if (left.rolloutNo === entered?.rolloutNo) count(counters, left, -1);
    else leave(counters, left);
  }
  if (entered !== null) count(counters, entered, 1);
  if (grants) {
    const group = groupCounters(counters, groupNo);
    const periodMs = fleet.groupByNo.get(groupNo)?.policy.periodMs ?? 1;
    counters.groups.set(groupNo, { ...group, slices: withGrant(group.slices, periodMs, at) });
  }
}

/** A node leaves a rollout, or is deleted: it stays counted there. */
export function leave(counters: Counters, standing: Standing): void {
  count(counters, standing, -1);
  count(counters, archived(standing), 1);
}

/** How a standing looks once its node has left the rollout: where it ended, or as withdrawn if it had not. */
export function archived(standing: Standing): Standing {
  return isInFlight(standing.status) ? { ...standing, status: standing.failure ?? "withdrawn" } : standing;
}

/** Of a code that update_engine does not have. */
export const OTHER_CAUSE = -1;

/** update_engine's own codes, and its 2000 + HTTP status: nodes can invent others, and each would be counted on its own. */
function causeOf(code: number): number {
  return code < 128 || (code >= 2_000 && code < 3_000) ? code : OTHER_CAUSE;
}

/** Counts so many nodes more in one standing, or less. */
export function count(counters: Counters, standing: Standing, by: number): void {
  let rollout = counters.rollouts.get(standing.rolloutNo);
  if (rollout === undefined) {
    rollout = emptyRolloutCounters();
    counters.rollouts.set(standing.rolloutNo, rollout);
  }
  let cell = rollout.cells.get(standing.cell);
  if (cell === undefined) {
    cell = emptyTally();
    rollout.cells.set(standing.cell, cell);
  }
  if (isFetching(standing.status) && counters.downloads.rollouts.has(standing.rolloutNo)) {
    counters.downloads.fetching += by;
  }
  const inFlight = isInFlight(standing.status);
  for (const tally of [rollout.total, cell]) {
    tally[standing.status] += by;
    if (inFlight && standing.failure !== null) tally.retrying += by;
    if (standing.relapsed) tally.relapsed += by;
  }
  if (standing.failure === "failed") {
    const code = causeOf(standing.errorCode ?? 0);
    const nodes = (rollout.causes.get(code) ?? 0) + by;
    if (nodes === 0) rollout.causes.delete(code);
    else rollout.causes.set(code, nodes);
  }
  if (inFlight) {
    const group = groupCounters(counters, standing.groupNo);
    counters.groups.set(standing.groupNo, { ...group, inFlight: group.inFlight + by });
  }
}
