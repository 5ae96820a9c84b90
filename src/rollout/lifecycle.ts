/**
 * A node's life: how what it says moves it. Within one grant it only ever goes forward, however late or often an event
 * arrives. Source: ROLLOUTS.md, "A node's lifecycle"; OMAHA.md, "The life of one update, as events".
 */
import { hasCompleted, isInFlight } from "./counters.ts";
import { cutByStart, cutOff, isOfDownload } from "./downloads.ts";
import { fellBack, hasReached, isOtherBoot, isRollback, isTheRelease, wasSentThere } from "./fall-back.ts";
import { ACTIVITY, type Activity, SEVERITY } from "./model/activity.ts";
import type { CheckIn, OmahaEvent } from "./model/check-in.ts";
import type { Application, Group, VersionOrder } from "./model/configuration.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Grant, Node, NodeStatus } from "./model/node.ts";
import type { CutDownload, ServerFacts } from "./model/server.ts";
import type { Progress } from "./progress.ts";
import { PLAIN } from "./strategy.ts";

/** `complete` is above every end: a node that runs the version has it, whatever was thought. */
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

/** 3/2 by itself, where nothing reboots: "complete and restarted" in the words of the older API's updater. */
function saysRestarted({ grant }: Node, { updateCheck, ping }: CheckIn): boolean {
  return grant !== null && !grant.needsReboot && !updateCheck && !ping;
}

/**
 * Events first, then what the version, the boot id and a ping alone give away. Answers what the server had to do with a failure
 * that is none, if it remembers it.
 * @param group that the node is in now.
 * @param before the node's record before this check-in; null: it is new.
 */
export function live(
  progress: Progress,
  fleet: Fleet,
  group: Group,
  checkIn: CheckIn,
  before: Node | null,
  { id: applicationId, versionOrder: order }: Application,
  server: ServerFacts,
): CutDownload | null {
  const bootIdBefore = progress.node.grant?.bootId ?? "";
  followBootId(progress, checkIn);
  let excused: CutDownload | null = null;
  for (const event of checkIn.events) {
    if (isNoise(event) && !saysRestarted(progress.node, checkIn)) continue;
    progress.log(event, checkIn.version);
    const excuse = excuseFor(event, progress, fleet, applicationId, server);
    if (excuse !== null) {
      if (excuse !== "start") excused = excuse;
      letTryAgain(progress, fleet, group, order);
    } else if (isRollbackReport(event)) reportsFallBack(progress, fleet, group, checkIn, order, before, bootIdBefore);
    else {
      const step = stepOf(event, progress.node, checkIn, order);
      if (step !== null) advance(progress, fleet, group, step.to, step.errorCode);
    }
  }
  runsWhatItInstalled(progress, checkIn, before, order);
  const grant = progress.node.grant;
  if (grant === null) return excused;
  if (hasReached(checkIn.version, grant, order)) {
    advance(progress, fleet, group, "complete", null);
    if (hasCompleted(progress.node)) keepBootId(progress, checkIn.bootId);
  } else if (hasCompleted(progress.node)) {
    if (isOtherBoot(grant, checkIn)) fallsBackLate(progress, fleet, group, checkIn, order, before, null);
  } else if (fellBack(progress.node, grant, checkIn)) {
    advance(progress, fleet, group, "rolled-back", null);
  } else if (waitsForReboot(progress.node, grant, checkIn)) {
    advance(progress, fleet, group, "installed", null);
  }
  return excused;
}

/**
 * What needs no reboot runs as soon as it is installed, while the report of that, and what comes late, still has the version before.
 * A check is believed: somebody may have put that version back.
 */
function runsWhatItInstalled(progress: Progress, checkIn: CheckIn, before: Node | null, order: VersionOrder): void {
  const { grant, version } = progress.node;
  if (grant === null || grant.needsReboot || !hasCompleted(progress.node)) return;
  if (hasReached(version, grant, order)) return;
  const isNew = before === null || !hasCompleted(before) || before.grant?.rolloutNo !== grant.rolloutNo;
  const isLate = !checkIn.updateCheck && !checkIn.ping && version === grant.fromVersion;
  if (isNew || isLate) progress.node = { ...progress.node, version: grant.version };
}

/** Why a download that failed is nobody's fault but the server's own; null: it is not known to be. */
function excuseFor(
  event: OmahaEvent,
  { node: { grant, status }, now }: Progress,
  fleet: Fleet,
  applicationId: string,
  server: ServerFacts,
): CutDownload | "start" | null {
  if (grant === null || !isInFlight(status) || status === "installed") return null;
  const code = baseErrorCode(event.errorCode ?? 0);
  if (!isOfDownload(event, code)) return null;
  return cutOff(server, grant, applicationId, code) ?? (cutByStart(server, fleet, grant, now) ? "start" : null);
}

/** As if this try had not been. A node on its way back keeps its grant, which is all that leads it there: it is offered again. */
function letTryAgain(progress: Progress, fleet: Fleet, present: Group, order: VersionOrder): void {
  const { node, now } = progress;
  const { grant } = node;
  if (grant === null || !isRollback(grant, order)) takeBack(progress);
  else {
    const { policy } = fleet.groupByNo.get(grant.groupNo) ?? present;
    progress.node = { ...node, grant: { ...grant, deadline: now + policy.updateTimeoutMs } };
  }
}

interface Step {
  readonly to: NodeStatus;
  readonly errorCode: number | null;
}

function stepOf(event: OmahaEvent, { grant }: Node, checkIn: CheckIn, order: VersionOrder): Step | null {
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
      return grant.needsReboot && !hasReached(checkIn.version, grant, order) ? null : to("complete");
    case "3/0":
      return failure(event.errorCode);
    default:
      return null;
  }
}

function failure(errorCode: number | null): Step | null {
  const code = baseErrorCode(errorCode ?? 0);
  return DEFERRED_CODES.includes(code) || isOfTheCheck(code) ? null : { to: "failed", errorCode: code };
}

function isRollbackReport({ type, result, errorCode }: OmahaEvent): boolean {
  return type === 3 && result === 0 && baseErrorCode(errorCode ?? 0) === ROLLED_BACK_CODE;
}

/**
 * Code 44: update_engine finds the update that it had installed gone, and the old version running. If the node has not rebooted,
 * a person has dropped that update (`update_engine_client -reset_status`): nobody fell back, and nothing counts. What had ended
 * before stays as it ended.
 * @param bootIdBefore the grant's, before this check-in.
 */
function reportsFallBack(
  progress: Progress,
  fleet: Fleet,
  group: Group,
  checkIn: CheckIn,
  order: VersionOrder,
  before: Node | null,
  bootIdBefore: string,
): void {
  const { grant } = progress.node;
  if (grant === null) return;
  const dropped = bootIdBefore !== "" && checkIn.bootId === bootIdBefore;
  if (!hasCompleted(progress.node)) {
    if (!dropped) advance(progress, fleet, group, "rolled-back", ROLLED_BACK_CODE);
    else if (isInFlight(progress.node.status)) takeBack(progress);
  } else if (!dropped && !hasReached(checkIn.version, grant, order)) {
    fallsBackLate(progress, fleet, group, checkIn, order, before, ROLLED_BACK_CODE);
  }
}

/** A first try leaves the rollout; a later one goes back to how the one before it ended. */
export function takeBack(progress: Progress): void {
  const { grant } = progress.node;
  if (grant === null || grant.failure === null) progress.move("on-hold", null, { grants: false });
  else {
    const before = { ...grant, attempt: grant.attempt - 1, deadline: null };
    progress.move(grant.failure, before, { grants: false });
  }
}

/** A node that had completed runs an older version. */
function fallsBackLate(
  progress: Progress,
  fleet: Fleet,
  group: Group,
  checkIn: CheckIn,
  order: VersionOrder,
  before: Node | null,
  errorCode: number | null,
): void {
  const { node, now } = progress;
  const { grant } = node;
  if (grant === null || !isTheRelease(grant, checkIn, order, now)) return;
  // From there on, nothing that the node does is a word about the release.
  if (wasSentThere(node, grant, checkIn, before))
    progress.node = { ...node, grant: { ...grant, watchedUntil: now - 1 } };
  else advance(progress, fleet, group, "rolled-back", errorCode);
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
  const { status } = progress.node;
  if (isInFlight(status) && status !== "installed") keepBootId(progress, bootId);
}

function keepBootId(progress: Progress, bootId: string): void {
  const { grant } = progress.node;
  if (grant === null || bootId === "" || grant.bootId === bootId) return;
  progress.node = { ...progress.node, grant: { ...grant, bootId } };
}

/** Only upwards within a grant, but for one step down: what had completed can still fall back. */
function isForward(from: NodeStatus, to: NodeStatus): boolean {
  return RANK[to] > RANK[from] || (from === "complete" && to === "rolled-back");
}

/**
 * Moves the node on, if that is forward; a failure comes with what follows from it.
 * @param present the group that the node is in now: where the grant's own is gone, its policy holds; undefined: it is gone, too.
 */
export function advance(
  progress: Progress,
  fleet: Fleet,
  present: Group | undefined,
  to: NodeStatus,
  errorCode: number | null,
): void {
  const { node, now } = progress;
  const { grant } = node;
  const hadCompleted = hasCompleted(node);
  if (grant === null || !isForward(hadCompleted ? "complete" : node.status, to)) return;
  // The policy that a grant lives under is its own group's, also when the node has moved on.
  const policy = (fleet.groupByNo.get(grant.groupNo) ?? present)?.policy;
  const rollout = fleet.rolloutByNo.get(grant.rolloutNo);
  const deadline = !isInFlight(to) ? null : to === "installed" ? now + (policy?.updateTimeoutMs ?? 0) : grant.deadline;
  const watchedUntil = to === "complete" ? now + (rollout?.strategy ?? PLAIN).watchAfterMs : grant.watchedUntil;
  progress.move(to, { ...grant, deadline, watchedUntil, ...endedAs(to, grant, errorCode) }, { grants: false });
  const activity = badEnd(to);
  if (activity === null) return;
  progress.note({ ...activity, groupNo: grant.groupNo, version: grant.version, ofNode: true });
  // Late, and in a rollout that is over, it only counts.
  const isOver = rollout === undefined || rollout.state === "aborted";
  if (policy?.safeMode && !(hadCompleted && isOver)) {
    progress.brake(grant, "the first node did not come through", hadCompleted);
  }
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
