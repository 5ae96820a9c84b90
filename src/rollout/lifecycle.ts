/**
 * A node's life: how what it says moves it. Within one grant it only ever goes forward, however late or often an event
 * arrives. Source: ROLLOUTS.md, "A node's lifecycle"; OMAHA.md, "The life of one update, as events".
 */
import { isInFlight } from "./counters.ts";
import { ACTIVITY, type Activity, SEVERITY } from "./model/activity.ts";
import type { CheckIn, OmahaEvent } from "./model/check-in.ts";
import type { Policy } from "./model/configuration.ts";
import type { Grant, Node, NodeStatus } from "./model/node.ts";
import type { Progress } from "./progress.ts";
import { compareVersions } from "./version.ts";

/** Only upwards within a grant. `complete` is above every end: a node that runs the version has it, whatever was thought. */
const RANK: Readonly<Record<NodeStatus, number>> = {
  unknown: 0,
  "on-hold": 0,
  granted: 1,
  downloading: 2,
  downloaded: 3,
  installed: 4,
  failed: 5,
  "timed-out": 5,
  lost: 5,
  "rolled-back": 6,
  complete: 7,
};

const CODE_MASK = 0x0fffffff;
const ROLLED_BACK_CODE = 44;
/** The client put the update off by itself. */
const DEFERRED_CODES = [35, 36, 40];

/** 2000 + HTTP status: no update check came through. That is the server's doing, or the network's, and not the release's. */
function isOfTheCheck(code: number): boolean {
  return code >= 2_000 && code < 3_000;
}

/** The part of an error code that says what went wrong, without the flags (private server, resumed download, …). */
export function baseErrorCode(code: number): number {
  return (code >>> 0) & CODE_MASK;
}

/** Every update check of update_engine carries one of these; it says nothing. */
export function isNoise({ type, result, previousVersion }: OmahaEvent): boolean {
  return type === 3 && result === 2 && (previousVersion === "" || previousVersion === "0.0.0.0");
}

/** Events first, then what the version, the boot id and a ping alone give away. */
export function live(progress: Progress, policy: Policy, checkIn: CheckIn): void {
  followBootId(progress, checkIn);
  for (const event of checkIn.events) {
    if (isNoise(event)) continue;
    progress.log(event, checkIn.version);
    const step = stepOf(event, progress.node, checkIn);
    if (step !== null) advance(progress, policy, step.to, step.errorCode);
  }
  const grant = progress.node.grant;
  if (grant === null) return;
  if (hasReached(checkIn.version, grant)) {
    advance(progress, policy, "complete", null);
  } else if (fellBack(progress.node, grant, checkIn)) {
    advance(progress, policy, "rolled-back", null);
  } else if (waitsForReboot(progress.node, grant, checkIn)) {
    advance(progress, policy, "installed", null);
  }
}

interface Step {
  readonly to: NodeStatus;
  readonly errorCode: number | null;
}

function stepOf(event: OmahaEvent, { grant }: Node, checkIn: CheckIn): Step | null {
  if (grant === null) return null;
  const to = (status: NodeStatus): Step => ({ to: status, errorCode: null });
  switch (`${event.type}/${event.result}`) {
    case "13/1":
      return to("downloading");
    case "14/1":
    case "1/1":
      return to("downloaded");
    case "2/1":
    case "800/1":
      return to("installed");
    case "3/1":
      return to(grant.needsReboot ? "installed" : "complete");
    case "3/2":
      return grant.needsReboot && !hasReached(checkIn.version, grant) ? null : to("complete");
    case "3/0":
      return failure(event.errorCode);
    default:
      return null;
  }
}

function failure(errorCode: number | null): Step | null {
  const code = baseErrorCode(errorCode ?? 0);
  if (DEFERRED_CODES.includes(code) || isOfTheCheck(code)) return null;
  return { to: code === ROLLED_BACK_CODE ? "rolled-back" : "failed", errorCode: code };
}

/** It runs the granted version, or one beyond; a rollback goes the other way. */
export function hasReached(version: string, grant: Grant): boolean {
  const distance = compareVersions(version, grant.version);
  return isRollback(grant) ? distance <= 0 : distance >= 0;
}

function isRollback({ version, fromVersion }: Grant): boolean {
  return compareVersions(version, fromVersion) < 0;
}

/**
 * Installed, rebooted (the boot id is another) and still on the old version: the machine took its other partition. It may
 * have been given up for lost before it was back.
 */
function fellBack({ status }: Node, grant: Grant, { bootId }: CheckIn): boolean {
  return (
    (status === "installed" || status === "lost") && bootId !== "" && grant.bootId !== "" && bootId !== grant.bootId
  );
}

/** update_engine sends a ping alone only while it waits for the reboot. */
function waitsForReboot({ status }: Node, grant: Grant, checkIn: CheckIn): boolean {
  return (
    checkIn.updateEngine &&
    checkIn.ping &&
    !checkIn.updateCheck &&
    checkIn.events.length === 0 &&
    grant.needsReboot &&
    isInFlight(status)
  );
}

/** Until it is installed, the grant follows the node's boot id: the one it is installed under is what a reboot changes. */
function followBootId(progress: Progress, { bootId }: CheckIn): void {
  const { grant, status } = progress.node;
  if (grant === null || bootId === "" || grant.bootId === bootId) return;
  if (isInFlight(status) && status !== "installed") progress.node = { ...progress.node, grant: { ...grant, bootId } };
}

/**
 * Moves the node on, if that is forward; a failure comes with what follows from it.
 * @param policy of the grant's group; null when that group is gone.
 */
export function advance(progress: Progress, policy: Policy | null, to: NodeStatus, errorCode: number | null): void {
  const { node, now } = progress;
  const grant = node.grant;
  if (grant === null || RANK[to] <= RANK[node.status]) return;
  const deadline = !isInFlight(to) ? null : to === "installed" ? now + (policy?.updateTimeoutMs ?? 0) : grant.deadline;
  progress.move(to, { ...grant, deadline, ...endedAs(to, grant, errorCode) }, { grants: false });
  const activity = badEnd(to);
  if (activity === null) return;
  progress.note({ ...activity, groupNo: grant.groupNo, version: grant.version, ofNode: true });
  if (policy?.safeMode) progress.brake(grant, "the first node did not come through");
}

/** A failure sticks to the node until it completes, also while it tries again. */
function endedAs(to: NodeStatus, grant: Grant, errorCode: number | null): Pick<Grant, "failure" | "errorCode"> {
  if (to === "complete") return { failure: null, errorCode: null };
  if (to === "failed" || to === "timed-out" || to === "rolled-back" || to === "lost") return { failure: to, errorCode };
  return { failure: grant.failure, errorCode: grant.errorCode };
}

function badEnd(status: NodeStatus): Pick<Activity, "class" | "severity"> | null {
  switch (status) {
    case "failed":
      return { class: ACTIVITY.nodeFailed, severity: SEVERITY.error };
    case "rolled-back":
      return { class: ACTIVITY.nodeRolledBack, severity: SEVERITY.error };
    case "timed-out":
      return { class: ACTIVITY.nodeTimedOut, severity: SEVERITY.error };
    case "lost":
      return { class: ACTIVITY.nodeLost, severity: SEVERITY.error };
    default:
      return null;
  }
}
