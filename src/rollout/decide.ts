/**
 * The decision: what a check-in is answered, and what it changes. Pure: the same arguments give the same outcome.
 * Source: ROLLOUTS.md, "What a check-in does, in order".
 */
import { newCell } from "./cell.ts";
import { grantedTotal, isInFlight, rolloutCounters } from "./counters.ts";
import { findApplication, findGroup, rollbackKey, rolloutKey } from "./fleet.ts";
import { archName } from "./health.ts";
import { live, takeBack } from "./lifecycle.ts";
import { inWords } from "./missing.ts";
import { ACTIVITY, SEVERITY } from "./model/activity.ts";
import { ARCH } from "./model/arch.ts";
import type { CheckIn } from "./model/check-in.ts";
import { FLATCAR_ID, type Group, PACKAGE_TYPE } from "./model/configuration.ts";
import type { Counters } from "./model/counters.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Grant, Node, NodeStatus } from "./model/node.ts";
import type { AppStatus, Changes, Offer, Outcome, Reason, TraceStep } from "./model/outcome.ts";
import type { Rollout } from "./model/rollout.ts";
import { type DownloadLimits, NO_LIMITS, type ServerFacts } from "./model/server.ts";
import { isValidNode, newNode, updated } from "./node.ts";
import { withOneCodebase } from "./one-codebase.ts";
import { factsOfStop, heldBackBy, NOT_STOPPED, offerHeldBackBy, type PolicyQuestion } from "./policy.ts";
import { Progress } from "./progress.ts";
import { retryAt } from "./retry.ts";
import { waitsFor } from "./run.ts";
import { isShared, watchIdentity } from "./shared-id.ts";
import { stageOf } from "./stages.ts";
import { mirrorOffer, offerOf, type Target, targetBack, targetOf } from "./target.ts";
import { compareVersions, countAsSame, matchesPrefix } from "./version.ts";

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
  server: ServerFacts = NO_LIMITS,
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

  if (checkIn.syncer) {
    return { status: "ok", trace, excused: null, changes: UNCHANGED, ...mirror(group, checkIn, trace) };
  }

  const valid = isValidNode(checkIn, application.versionOrder);
  step(trace, "machine id and version valid", valid, { machineId: checkIn.machineId, version: checkIn.version });
  if (!valid) return refused("error-instanceRegistrationFailed", "invalid-node", trace);

  const record = node === null ? newNode(checkIn, group, ip, now) : updated(node, checkIn, group, ip);
  const progress = new Progress(record, counters, now);
  watchIdentity(progress, node, checkIn);
  const excused = live(progress, fleet, group, checkIn, node, application, server);
  const verdict = checkIn.updateCheck
    ? updateCheck(fleet, group, checkIn, progress, counters, server, trace)
    : NO_UPDATE_CHECK;
  return { status: "ok", trace, excused, changes: progress.changes, reason: verdict.reason, offer: verdict.offer };
}

const NO_UPDATE_CHECK: Verdict = { reason: "no-update-check", offer: null };

function updateCheck(
  fleet: Fleet,
  group: Group,
  checkIn: CheckIn,
  progress: Progress,
  counters: Counters,
  limits: DownloadLimits,
  trace: TraceStep[],
): Verdict {
  if (!isForIts(group, progress.node, trace)) return stopped("other-arch");
  const rollback = rollbackFor(fleet, group, checkIn, progress.node, trace);
  const target = rollback === null ? targetOf(group, checkIn.version) : targetBack(group, rollback);
  step(trace, "package to install", target !== null, { channel: group.channel?.name ?? null });
  if (target === null) {
    progress.note({ ...NO_PACKAGE, groupNo: group.no, version: "0.0.0", ofNode: false, oncePerDay: true });
    return stopped("no-package");
  }
  if (rollback === null) {
    const { version: wanted, versionOrder: order } = target.package;
    const behind = compareVersions(checkIn.version, wanted, order) < 0;
    const same = !behind && countAsSame(checkIn.version, wanted, order);
    step(trace, "below the target", behind, { version: checkIn.version, target: wanted, ...(same && { same }) });
    if (!behind) return stopped("up-to-date");
  }
  const unfit = unfitFor(target, progress, checkIn, trace);
  if (unfit === "incomplete-package") {
    const { version } = target.package;
    progress.note({ ...NO_PACKAGE, groupNo: group.no, version, ofNode: false, oncePerDay: true });
  }
  if (unfit !== null) return stopped(unfit);

  const rollout = rollback ?? fleet.rolloutByTarget.get(rolloutKey(group.no, target.package.no));
  step(trace, "rollout exists", rollout !== undefined, { version: target.package.version });
  if (rollout === undefined) return stopped("no-rollout");
  const granting = rollout.state === "running" || rollout.state === "completed";
  running(rollout, granting, fleet, progress.now, trace);
  const { node, now } = progress;
  const question = { fleet, group, rollout, node, onDemand: checkIn.onDemand, counters, limits, now };
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
  grant(group, rollout, progress, counters, needsReboot(fleet, group, rollout, checkIn));
  return { reason: "granted", offer: offerOf(rollout.package) };
}

/** Whether anything that the group has can fit the node. Its track may be the id of a group for another architecture. */
function isForIts({ id, track, channel }: Group, { arch, ownGroup }: Node, trace: TraceStep[]): boolean {
  const fits = channel === null || channel.arch === arch || channel.arch === ARCH.all;
  const facts = { node: archName(arch), group: channel && archName(channel.arch), track, byHand: ownGroup === id };
  step(trace, "group for its architecture", fits, facts);
  return fits;
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
  const complete = wanted.missing.length === 0;
  step(trace, "package complete", complete, { package: wanted.version, missing: inWords(wanted.missing) });
  if (!complete) return "incomplete-package";
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

function backingOff({ node, now }: Progress, rollout: Rollout, trace: TraceStep[]): Reason | null {
  if (node.grant?.rolloutNo !== rollout.no) return null;
  const at = retryAt(node, node.grant, rollout.strategy.retry);
  const due = at !== null && at <= now;
  const { attempt, failure } = node.grant;
  const facts = { attempt, max: rollout.strategy.retry.max, at, ...(failure === null && { hadCompleted: true }) };
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
  "ramp",
  "max-per-period",
  "downloads-busy",
]);
const MAY_HOLD: ReadonlySet<NodeStatus> = new Set<NodeStatus>(["unknown", "complete"]);

function putOnHold(progress: Progress, rollout: Rollout): void {
  const { status, grant } = progress.node;
  // The grant that it has completed goes on being watched.
  if (MAY_HOLD.has(status) && grant?.rolloutNo !== rollout.no) progress.move("on-hold", grant, { grants: false });
}

/**
 * Whether the node runs the package only after a reboot. Another application than Flatcar may call its packages so as well: its
 * clients reboot nothing, unless they are update_engine itself.
 */
function needsReboot({ applications }: Fleet, group: Group, rollout: Rollout, { updateEngine }: CheckIn): boolean {
  if (rollout.package.type !== PACKAGE_TYPE.flatcar) return false;
  return updateEngine || applications.find(({ no }) => no === group.applicationNo)?.id === FLATCAR_ID;
}

function grant(group: Group, rollout: Rollout, progress: Progress, counters: Counters, rebootNeeded: boolean): void {
  const { node, now } = progress;
  const again = node.grant?.rolloutNo === rollout.no ? node.grant : null;
  const { version } = rollout.package;
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
    needsReboot: rebootNeeded,
    grantedAt: now,
    attempt: (again?.attempt ?? 0) + 1,
    bootId: node.bootId,
    deadline: now + group.policy.updateTimeoutMs,
    failure: again?.failure ?? null,
    errorCode: again?.errorCode ?? null,
    cell: again?.cell ?? newCell(standing.cells, stageOf(rollout, node) ?? rollout.stage, node.arch, node.oem),
    watchedUntil: again?.watchedUntil ?? null,
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
  const lacking = offer.manifests.find((manifest) => manifest.package.missing.length > 0)?.package ?? null;
  const missing = inWords(lacking?.missing ?? []);
  step(trace, "package complete", lacking === null, { package: (lacking ?? target.last).version, missing });
  if (lacking !== null) return stopped("incomplete-package");
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
  if (!readable) return stopped("floors-need-multi-manifest");
  if (offer.manifests.length === 1) return { reason: "mirror", offer };
  const expressed = withOneCodebase(offer);
  step(trace, "on one server", expressed !== null, { manifests: offer.manifests.length });
  return expressed === null ? stopped("floors-need-one-codebase") : { reason: "mirror", offer: expressed };
}

function refused(status: AppStatus, reason: Reason, trace: TraceStep[]): Outcome {
  return { status, reason, trace, offer: null, excused: null, changes: UNCHANGED };
}

function stopped(reason: Reason): Verdict {
  return { reason, offer: null };
}

function step(trace: TraceStep[], rule: string, holds: boolean, facts: TraceStep["facts"]): void {
  trace.push({ rule, verdict: holds ? "pass" : "stop", facts });
}
