/**
 * The decision: what a check-in is answered, and what it changes. Pure: the same arguments give the same outcome.
 * Source: ROLLOUTS.md, "What a check-in does, in order".
 */
import { newCell } from "./cell.ts";
import { grantedTotal, isInFlight, rolloutCounters } from "./counters.ts";
import { findApplication, findGroup, rollbackKey, rolloutKey } from "./fleet.ts";
import { live } from "./lifecycle.ts";
import { ACTIVITY, SEVERITY } from "./model/activity.ts";
import { ARCH } from "./model/arch.ts";
import type { CheckIn } from "./model/check-in.ts";
import { type Group, PACKAGE_TYPE } from "./model/configuration.ts";
import type { Counters } from "./model/counters.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Grant, Node, NodeStatus } from "./model/node.ts";
import type { AppStatus, Changes, Offer, Outcome, Reason, TraceStep } from "./model/outcome.ts";
import type { Rollout } from "./model/rollout.ts";
import { isValidNode, newNode, updated } from "./node.ts";
import { factsOfStop, heldBackBy, NOT_STOPPED, offerHeldBackBy, type PolicyQuestion } from "./policy.ts";
import { Progress } from "./progress.ts";
import { retryAt } from "./retry.ts";
import { waitsFor } from "./run.ts";
import { isShared, watchIdentity } from "./shared-id.ts";
import { stageOf } from "./stages.ts";
import { mirrorOffer, offerOf, type Target, targetBack, targetOf } from "./target.ts";
import { compareVersions, matchesPrefix } from "./version.ts";

const UNCHANGED: Changes = {
  node: null,
  transitions: [],
  pastGrants: [],
  events: [],
  activities: [],
  stopUpdates: null,
};

/** The rules' verdicts, and the last of them as the answer. */
interface Verdict {
  readonly reason: Reason;
  readonly offer: Offer | null;
}

export function decide(
  fleet: Fleet,
  node: Node | null,
  checkIn: CheckIn,
  ip: string,
  counters: Counters,
  now: number,
): Outcome {
  const trace: TraceStep[] = [];
  const application = findApplication(fleet, checkIn.appId);
  step(trace, "application known", application !== undefined, { appId: checkIn.appId });
  if (application === undefined) return refused("error-unknownApplication", "unknown-application", trace);

  const group = findGroup(fleet, application.no, node, checkIn);
  const byHand = group !== undefined && node?.ownGroup === group.id && !checkIn.syncer;
  const names = { track: checkIn.track, arch: checkIn.arch, group: group?.name ?? null, ...(byHand && { byHand }) };
  step(trace, "group found", group !== undefined, names);
  if (group === undefined) return refused("error-unknownApplicationOrGroup", "unknown-group", trace);

  if (checkIn.syncer) return { status: "ok", trace, changes: UNCHANGED, ...mirror(group, checkIn, trace) };

  const valid = isValidNode(checkIn);
  step(trace, "machine id and version valid", valid, { machineId: checkIn.machineId, version: checkIn.version });
  if (!valid) return refused("error-instanceRegistrationFailed", "invalid-node", trace);

  const record = node === null ? newNode(checkIn, group, ip, now) : updated(node, checkIn, group, ip);
  const progress = new Progress(record, counters, now);
  watchIdentity(progress, node, checkIn);
  live(progress, groupOfGrant(fleet, record, group).policy, checkIn);
  const verdict = checkIn.updateCheck ? updateCheck(fleet, group, checkIn, progress, counters, trace) : NO_UPDATE_CHECK;
  return { status: "ok", trace, changes: progress.changes, reason: verdict.reason, offer: verdict.offer };
}

const NO_UPDATE_CHECK: Verdict = { reason: "no-update-check", offer: null };

/** The policy that a grant lives under is its own group's, also when the node has moved on. */
function groupOfGrant(fleet: Fleet, node: Node, present: Group): Group {
  return node.grant === null ? present : (fleet.groupByNo.get(node.grant.groupNo) ?? present);
}

function updateCheck(
  fleet: Fleet,
  group: Group,
  checkIn: CheckIn,
  progress: Progress,
  counters: Counters,
  trace: TraceStep[],
): Verdict {
  const rollback = rollbackFor(fleet, group, checkIn, progress.node, trace);
  const target = rollback === null ? targetOf(group, checkIn.version) : targetBack(group, rollback);
  step(trace, "package to install", target !== null, { channel: group.channel?.name ?? null });
  if (target === null) {
    progress.note({ ...NO_PACKAGE, groupNo: group.no, version: "0.0.0", ofNode: false, oncePerDay: true });
    return stopped("no-package");
  }
  if (rollback === null) {
    const behind = compareVersions(checkIn.version, target.package.version) < 0;
    step(trace, "below the target", behind, { version: checkIn.version, target: target.package.version });
    if (!behind) return stopped("up-to-date");
  }
  const unfit = unfitFor(target, progress, checkIn, trace);
  if (unfit !== null) return stopped(unfit);

  const rollout = rollback ?? fleet.rolloutByTarget.get(rolloutKey(group.no, target.package.no));
  step(trace, "rollout exists", rollout !== undefined, { version: target.package.version });
  if (rollout === undefined) return stopped("no-rollout");
  const granting = rollout.state === "running" || rollout.state === "completed";
  running(rollout, granting, fleet, progress.now, trace);
  const { node, now } = progress;
  const question = { fleet, group, rollout, node, onDemand: checkIn.onDemand, counters, now };
  if (holdsGrant(node, rollout)) return offerAgain(question, granting, progress, trace);
  if (!granting) return stopped("rollout-not-running");

  const tooSoon = backingOff(progress, rollout, trace);
  if (tooSoon !== null) return stopped(tooSoon);
  const heldBack = heldBackBy(question, trace);
  if (heldBack !== null) {
    // Of a node that goes back, its grant is all that says where it got its version from.
    if (OF_THIS_NODE.has(heldBack) && rollback === null) putOnHold(progress, rollout);
    return stopped(heldBack);
  }
  grant(group, rollout, progress, counters);
  return { reason: "granted", offer: offerOf(rollout.package) };
}

/** The rollout that takes the node's version back, if it took that version from us. */
function rollbackFor(
  fleet: Fleet,
  group: Group,
  { version }: CheckIn,
  { grant }: Node,
  trace: TraceStep[],
): Rollout | null {
  const rollback = fleet.rollbackByVersion.get(rollbackKey(group.no, version));
  if (rollback === undefined) return null;
  const took = grant !== null && (grant.version === version || grant.rolloutNo === rollback.no);
  const facts = { version, to: rollback.package.version };
  trace.push({ rule: "version taken back", verdict: took ? "pass" : "skip", facts });
  return took ? rollback : null;
}

function running(rollout: Rollout, granting: boolean, fleet: Fleet, now: number, trace: TraceStep[]): void {
  const waiting = rollout.state === "scheduled" ? waitsFor(rollout, fleet, now) : null;
  const until = waiting?.until ?? null;
  const facts = { rollout: rollout.id, state: rollout.state, ...(waiting !== null && { waitsFor: waiting.on, until }) };
  trace.push({
    rule: "rollout running",
    verdict: granting ? "pass" : "stop",
    facts,
    ...(until !== null && { until }),
  });
}

const NO_PACKAGE = { class: ACTIVITY.packageNotFound, severity: SEVERITY.warning } as const;

/** Reasons that have nothing to do with policy: it is nothing for this node, or not now. */
function unfitFor(target: Target, { node, now }: Progress, checkIn: CheckIn, trace: TraceStep[]): Reason | null {
  const { package: wanted, channel } = target;
  if (isShared(node.shared, now)) {
    step(trace, "machine id of its own", false, { since: node.shared.since });
    return "shared-machine-id";
  }
  const rebooted = node.status !== "installed";
  step(trace, "not waiting for its reboot", rebooted, { status: node.status });
  if (!rebooted) return "waiting-for-reboot";
  const sameArch = wanted.arch === checkIn.arch || wanted.arch === ARCH.all;
  step(trace, "architecture", sameArch, { node: checkIn.arch, package: wanted.arch });
  if (!sameArch) return "other-arch";
  const allowed = !wanted.blacklistedChannelNos.includes(channel.no);
  step(trace, "not blacklisted", allowed, { channel: channel.name, package: wanted.version });
  if (!allowed) return "blacklisted";
  const available = wanted.urls.length > 0;
  step(trace, "files to be had", available, { package: wanted.version });
  if (!available) return "files-missing";
  const within = matchesPrefix(wanted.version, checkIn.targetVersionPrefix);
  step(trace, "target version prefix", within, { prefix: checkIn.targetVersionPrefix, target: wanted.version });
  return within ? null : "outside-prefix";
}

function holdsGrant({ grant, status }: Node, rollout: Rollout): boolean {
  return grant?.rolloutNo === rollout.no && isInFlight(status);
}

/**
 * The client retries: the same again, not counted again. While nothing may be offered, a grant not begun is taken back; but for
 * one of a way back, without which the node would not be known any more: it times out, and may try again.
 */
function offerAgain(question: PolicyQuestion, granting: boolean, progress: Progress, trace: TraceStep[]): Verdict {
  const heldBack = granting ? offerHeldBackBy(question, trace) : "rollout-not-running";
  if (heldBack === null) return { reason: "offered-again", offer: offerOf(question.rollout.package) };
  if (progress.node.status === "granted" && question.rollout.undoes === null) takeBack(progress);
  return stopped(heldBack);
}

/** A first try leaves the rollout; a later one goes back to how the one before it ended. */
function takeBack(progress: Progress): void {
  const { grant } = progress.node;
  if (grant === null || grant.failure === null) progress.move("on-hold", null, { grants: false });
  else {
    const before = { ...grant, attempt: grant.attempt - 1, deadline: null };
    progress.move(grant.failure, before, { grants: false });
  }
}

function backingOff({ node, now }: Progress, rollout: Rollout, trace: TraceStep[]): Reason | null {
  if (node.grant?.rolloutNo !== rollout.no) return null;
  const at = retryAt(node, node.grant, rollout.strategy.retry);
  const due = at !== null && at <= now;
  const facts = { attempt: node.grant.attempt, max: rollout.strategy.retry.max, at };
  trace.push({
    rule: "may try again",
    verdict: due ? "pass" : "stop",
    facts,
    ...(!due && at !== null && { until: at }),
  });
  if (due) return null;
  return at === null ? "retries-exhausted" : "retry-later";
}

/** A person has picked this node out, or a limit makes it wait for its turn; the other rules hold for the whole group. */
const OF_THIS_NODE: ReadonlySet<Reason> = new Set<Reason>([
  "held",
  "canary-pending",
  "max-in-flight",
  "max-per-period",
]);
const MAY_HOLD: ReadonlySet<NodeStatus> = new Set<NodeStatus>(["unknown", "complete"]);

function putOnHold(progress: Progress, rollout: Rollout): void {
  const { status, grant } = progress.node;
  if (MAY_HOLD.has(status) && grant?.rolloutNo !== rollout.no) progress.move("on-hold", null, { grants: false });
}

function grant(group: Group, rollout: Rollout, progress: Progress, counters: Counters): void {
  const { node, now } = progress;
  const again = node.grant?.rolloutNo === rollout.no ? node.grant : null;
  const { version, type } = rollout.package;
  const standing = rolloutCounters(counters, rollout.no);
  if (grantedTotal(standing.total) === 0) {
    const about = { groupNo: group.no, version, ofNode: false };
    progress.note({ class: ACTIVITY.rolloutStarted, severity: SEVERITY.info, ...about });
  }
  const next: Grant = {
    rolloutNo: rollout.no,
    groupNo: group.no,
    version,
    fromVersion: node.version,
    needsReboot: type === PACKAGE_TYPE.flatcar,
    grantedAt: now,
    attempt: (again?.attempt ?? 0) + 1,
    bootId: node.bootId,
    deadline: now + group.policy.updateTimeoutMs,
    failure: again?.failure ?? null,
    errorCode: again?.errorCode ?? null,
    cell: again?.cell ?? newCell(standing.cells, stageOf(rollout, node) ?? rollout.stage, node.arch, node.oem),
  };
  progress.move("granted", next, { grants: true });
}

/** Another update server asks for everything that it lacks. It is no node: never stored, never counted, under no limit. */
function mirror(group: Group, checkIn: CheckIn, trace: TraceStep[]): Verdict {
  const target = checkIn.updateCheck ? targetOf(group, checkIn.version) : null;
  step(trace, "package to install", target !== null, { channel: group.channel?.name ?? null });
  if (target === null) return stopped(checkIn.updateCheck ? "no-package" : "no-update-check");
  const offer = mirrorOffer(target, checkIn.version);
  step(trace, "below the target", offer !== null, { version: checkIn.version, target: target.last.version });
  if (offer === null) return stopped("up-to-date");
  const allowed = offer.manifests.every(
    (manifest) => !manifest.package.blacklistedChannelNos.includes(target.channel.no),
  );
  step(trace, "not blacklisted", allowed, { channel: target.channel.name });
  if (!allowed) return stopped("blacklisted");
  const available = offer.manifests.every((manifest) => manifest.package.urls.length > 0);
  step(trace, "files to be had", available, { package: target.last.version });
  if (!available) return stopped("files-missing");
  step(trace, "updates enabled", group.policy.updatesEnabled, { group: group.name });
  if (!group.policy.updatesEnabled) return stopped("updates-disabled");
  if (group.updatesStopped !== null) {
    trace.push({ rule: NOT_STOPPED, verdict: "stop", facts: factsOfStop(group.name, group.updatesStopped) });
    return stopped("stopped-by-safe-mode");
  }
  const readable = checkIn.multiManifest || offer.manifests.length === 1;
  step(trace, "takes several manifests", readable, { manifests: offer.manifests.length });
  return readable ? { reason: "mirror", offer } : stopped("floors-need-multi-manifest");
}

function refused(status: AppStatus, reason: Reason, trace: TraceStep[]): Outcome {
  return { status, reason, trace, offer: null, changes: UNCHANGED };
}

function stopped(reason: Reason): Verdict {
  return { reason, offer: null };
}

function step(trace: TraceStep[], rule: string, holds: boolean, facts: TraceStep["facts"]): void {
  trace.push({ rule, verdict: holds ? "pass" : "stop", facts });
}
