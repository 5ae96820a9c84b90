/**
 * How a rollout moves on: by time, by its gate, by people. Pure: each function answers what becomes of it and why.
 * Source: ROLLOUTS.md, "A rollout's states" and "Stages".
 */
import { readCell } from "./cell.ts";
import { grantedTotal, inFlight } from "./counters.ts";
import { baselineOf, breachesOf, describeBreach, sliceName } from "./health.ts";
import type { RolloutCounters } from "./model/counters.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Rollout, RolloutState, Run, Slice } from "./model/rollout.ts";
import type { Health, Strategy } from "./model/strategy.ts";
import { rampOf, roomOf } from "./ramp.ts";
import { describeSilence, NOBODY_WATCHED, type Silence, silenceBreaches } from "./silence.ts";

/** What a rollout becomes. One line of its history. */
export interface Change {
  readonly next: Run;
  readonly reason: string;
}

/** A person asked for something that this rollout can't do now; the message says why. */
export class NotPossible extends Error {
  override readonly name = "NotPossible";
}

export function firstRun(strategy: Strategy, startAt: number | null, now: number): Run {
  const waits = strategy.after.length > 0 || (startAt !== null && startAt > now);
  return {
    state: waits ? "scheduled" : "running",
    stateAt: now,
    startAt,
    stage: 0,
    stageOpenedAt: now,
    awaitsNodes: false,
    bakingSince: null,
    awaitsApproval: false,
    pausedByGate: false,
    closed: [],
    baseline: {},
  };
}

/** The run's own part of a rollout. */
export function runOf(rollout: Rollout): Run {
  const { state, stateAt, startAt, stage, stageOpenedAt, awaitsNodes, bakingSince } = rollout;
  const { awaitsApproval, pausedByGate, closed, baseline } = rollout;
  const stages = { stage, stageOpenedAt, awaitsNodes, bakingSince, awaitsApproval };
  return { state, stateAt, startAt, ...stages, pausedByGate, closed, baseline };
}

function into(rollout: Rollout, state: RolloutState, now: number, reason: string, more: Partial<Run> = {}): Change {
  return { next: { ...runOf(rollout), state, stateAt: now, pausedByGate: false, ...more }, reason };
}

// ------------------------------------------------------------------------------------------------ by its gate

/** What the gate does about how the rollout's nodes stand now; null: nothing. Also after it has completed: nodes fall back late. */
export function gated(rollout: Rollout, counters: RolloutCounters, now: number): Change | null {
  const { health } = rollout.strategy;
  if (health === null || (rollout.state !== "running" && rollout.state !== "completed")) return null;
  const found = breachesOf(rollout, counters);
  return stopped(
    rollout,
    found.map((breach) => ({ slice: breach.slice, why: describeBreach(breach, health) })),
    health,
    now,
  );
}

/** What the gate does about nodes that have fallen silent after they had completed; null: nothing. */
export function silenced(rollout: Rollout, silence: Silence, now: number): Change | null {
  const { health } = rollout.strategy;
  if (health === null) return null;
  const found = silenceBreaches(rollout, silence).map((breach) => ({
    // No check-in asks who is silent, so a slice can't be held back for as long as its breach lasts.
    slice: health.onBreach === "pause" ? null : breach.slice,
    why: describeSilence(breach, health),
  }));
  return stopped(rollout, found, health, now);
}

interface Found {
  /** Null: the whole rollout. */
  readonly slice: Slice | null;
  readonly why: string;
}

function stopped(rollout: Rollout, found: readonly Found[], health: Health, now: number): Change | null {
  if (health.onBreach === "watch") return watched(rollout, found, now);
  const whole = found.find(({ slice }) => slice === null);
  if (whole !== undefined) {
    if (health.onBreach === "halt") return into(rollout, "halted", now, whole.why);
    return into(rollout, "paused", now, whole.why, { pausedByGate: health.onBreach === "pause" });
  }
  const [first] = found;
  // With `pause`, the nodes of a slice wait for as long as its breach lasts.
  if (first === undefined || first.slice === null || health.onBreach === "pause") return null;
  const closing = { slice: first.slice, at: now, why: first.why, watched: false };
  return {
    next: { ...runOf(rollout), closed: [...rollout.closed, closing] },
    reason: `closed for ${sliceName(first.slice)}: ${first.why}`,
  };
}

/** `watch` says once what it would have done. */
function watched(rollout: Rollout, found: readonly Found[], now: number): Change | null {
  const said = new Set(rollout.closed.map(({ slice }) => sliceName(slice)));
  const first = found.find(({ slice }) => !said.has(sliceName(slice ?? EVERYTHING)));
  if (first === undefined) return null;
  const closing = { slice: first.slice ?? EVERYTHING, at: now, why: first.why, watched: true };
  return {
    next: { ...runOf(rollout), closed: [...rollout.closed, closing] },
    reason: `would have closed ${first.slice === null ? "all of it" : sliceName(first.slice)}: ${first.why}`,
  };
}

const EVERYTHING = { by: "oem", value: "*" } as const;

// ------------------------------------------------------------------------------------------------ by time

/** `look`: the stage may be over; whether it is depends on the nodes it still waits for. */
export type Due = Change | "look" | null;

/**
 * What time has brought about.
 * @param members of the stages that are open.
 * @param silence who of those that have completed is silent; null: that can't be told now.
 */
export function due(
  rollout: Rollout,
  fleet: Fleet,
  counters: RolloutCounters,
  members: Members,
  now: number,
  silence: Silence | null = NOBODY_WATCHED,
): Due {
  switch (rollout.state) {
    case "scheduled":
      return waitsFor(rollout, fleet, now) === null ? started(rollout, now, "its time has come") : null;
    case "paused":
      if (!rollout.pausedByGate || breachesOf(rollout, counters).some(({ slice }) => slice === null)) return null;
      if (maybeSilent(rollout, silence)) return null;
      return goOn(rollout, now, "the gate is open again");
    case "running":
      return (
        gated(rollout, counters, now) ??
        (silence && silenced(rollout, silence, now)) ??
        dueWhileRunning(rollout, fleet, counters, members, now)
      );
    case "completed":
      return silence && silenced(rollout, silence, now);
    default:
      return null;
  }
}

/** Whether the gate may have paused it for silence, and not be open yet. */
function maybeSilent(rollout: Rollout, silence: Silence | null): boolean {
  if (silence === null) return rollout.strategy.health?.silence != null;
  return silenceBreaches(rollout, silence).length > 0;
}

function dueWhileRunning(
  rollout: Rollout,
  fleet: Fleet,
  counters: RolloutCounters,
  members: Members,
  now: number,
): Due {
  const stage = rollout.strategy.stages[rollout.stage];
  if (stage === undefined || rollout.awaitsApproval) return null;
  if (rollout.bakingSince === null) {
    if (!members.any && !isForNobody(rollout)) return withoutNodes(rollout, members, now);
    if (rollout.awaitsNodes) return entered(rollout, now);
    const { maxDurationMs, overMs } = stage;
    if (maxDurationMs !== null && now >= rollout.stageOpenedAt + maxDurationMs) {
      return stageFinished(rollout, now, "its longest time is over");
    }
    const mayEnd = !isLast(rollout) || counters.total.complete > 0 || isUnneeded(rollout, fleet, counters);
    return mayEnd && inFlight(counters.total) === 0 && now >= rollout.stageOpenedAt + overMs ? "look" : null;
  }
  return now >= rollout.bakingSince + stage.bakeMs ? baked(rollout, now, "it has baked") : null;
}

/** Who is in the stages that are open, whatever they run: nodes of the group that were seen of late. */
export interface Members {
  readonly any: boolean;
  /** Of the whole group, when none of them is in these stages; else it may be fewer. */
  readonly groupNodes: number;
  /** When the latest of those was seen for the first time; null: there is none. */
  readonly newestAt: number | null;
}

/** Whether the counters tell already that the open stages have nodes, so that nobody need look for one. */
export function hasMembers(rollout: Rollout, { cells }: RolloutCounters): boolean {
  for (const [cell, tally] of cells) if (readCell(cell).stage <= rollout.stage && grantedTotal(tally) > 0) return true;
  return false;
}

/** Stages of 0 % without a match: they are there for their bake, or for the approval after it. */
function isForNobody({ strategy, stage }: Rollout): boolean {
  return strategy.stages.slice(0, stage + 1).every(({ percent, match }) => percent === 0 && match === null);
}

/**
 * A stage without nodes waits for its first one: nobody has tried anything in it. Only where a small group has settled (no new
 * node for `active_within`), and its share happens to include none of it, the stage is passed over.
 */
function withoutNodes(rollout: Rollout, { groupNodes, newestAt }: Members, now: number): Change | null {
  const { stages, activeWithinMs } = rollout.strategy;
  const byChance = stages.slice(0, rollout.stage + 1).every(({ match }) => match === null);
  const settled = newestAt !== null && newestAt <= now - activeWithinMs;
  if (byChance && settled && !isLast(rollout)) {
    const { next, reason } = baked(rollout, now, "it has no nodes");
    return { next, reason: `${reason}: ${stageName(rollout)} includes none of the group's ${groupNodes} nodes` };
  }
  if (rollout.awaitsNodes) return null;
  return { next: { ...runOf(rollout), awaitsNodes: true }, reason: `${stageName(rollout)} waits for its first node` };
}

/** Its time begins now. */
function entered(rollout: Rollout, now: number): Change {
  const next = { ...runOf(rollout), awaitsNodes: false, stageOpenedAt: now };
  return { next, reason: `${stageName(rollout)}: its first node has come` };
}

/**
 * A floor that no node was ever offered: it is through as soon as all nodes are seen to be beyond it, or whatever comes `after`
 * it would wait for ever. The channel's own package has to be taken by somebody.
 */
function isUnneeded({ groupNo, undoes, package: wanted }: Rollout, fleet: Fleet, { total }: RolloutCounters): boolean {
  const isFloor = undoes === null && fleet.groupByNo.get(groupNo)?.channel?.package?.no !== wanted.no;
  return isFloor && grantedTotal(total) === 0;
}

/** By default because no node is left that the stage would wait for. */
export function stageFinished(rollout: Rollout, now: number, why = "its nodes have finished"): Change {
  const stage = rollout.strategy.stages[rollout.stage];
  const next = { ...rollout, bakingSince: now };
  if (stage === undefined || stage.bakeMs === 0) return baked(next, now, why);
  return { next: runOf(next), reason: `${stageName(rollout)}: ${why}; it bakes` };
}

function baked(rollout: Rollout, now: number, why: string): Change {
  const stage = rollout.strategy.stages[rollout.stage];
  if (isLast(rollout)) return into(rollout, "completed", now, `the last stage is over: ${why}${butFor(rollout)}`);
  if (stage?.approval) {
    const next = { ...runOf(rollout), awaitsNodes: false, awaitsApproval: true };
    return { next, reason: `${stageName(rollout)} waits for approval` };
  }
  return openNext(rollout, now, "by itself");
}

/** A rollout completes without the nodes of its closed slices: whoever reads that it has should read that too. */
function butFor({ closed }: Rollout): string {
  const slices = closed.filter(({ watched }) => !watched).map(({ slice }) => sliceName(slice));
  return slices.length === 0 ? "" : `, but for ${slices.join(", ")}`;
}

function openNext(rollout: Rollout, now: number, how: string): Change {
  const next = {
    ...runOf(rollout),
    stage: rollout.stage + 1,
    stageOpenedAt: now,
    awaitsNodes: false,
    bakingSince: null,
    awaitsApproval: false,
  };
  return { next, reason: `${stageName({ ...rollout, ...next })} opened ${how}` };
}

function started(rollout: Rollout, now: number, reason: string): Change {
  return into(rollout, "running", now, reason, { stageOpenedAt: now });
}

export function isLast({ strategy, stage }: Rollout): boolean {
  return stage >= strategy.stages.length - 1;
}

export function stageName({ strategy, stage }: Rollout): string {
  return `stage ${stage + 1} of ${strategy.stages.length}`;
}

/** Nobody could be heard for so long, and nobody looked. Null: its present stage does not go by time. */
export function stoodStillFor(rollout: Rollout, ms: number): Change | null {
  const { overMs = 0, maxDurationMs = null } = rollout.strategy.stages[rollout.stage] ?? {};
  const goesByTime = overMs > 0 || maxDurationMs !== null || rollout.bakingSince !== null;
  if (rollout.state !== "running" || rollout.awaitsApproval || !goesByTime) return null;
  const minutes = Math.round(ms / 60_000);
  return {
    next: { ...runOf(rollout), ...later(rollout, ms) },
    reason: `no node was heard for ${minutes} minutes before the server started: stage and bake take that much longer`,
  };
}

// ------------------------------------------------------------------------------------------------ what it waits for

export interface Waiting {
  /** In words. */
  readonly on: string;
  /** When it is over; null: time alone does not tell. */
  readonly until: number | null;
}

/** What keeps a scheduled rollout from starting; null: nothing any more. */
export function waitsFor(rollout: Rollout, fleet: Fleet, now: number): Waiting | null {
  if (rollout.startAt !== null && rollout.startAt > now) return { on: "its start time", until: rollout.startAt };
  for (const { group: name, bakeMs } of rollout.strategy.after) {
    const before = rolloutOfGroup(fleet, rollout, name);
    if (before !== null && before.state !== "completed") {
      return { on: `the rollout in group "${name}" (${before.state})`, until: null };
    }
    // That group may have gone on to the next version meanwhile.
    const completedAt = before?.stateAt ?? completionInGroup(fleet, rollout, name);
    if (completedAt === null) return { on: `a rollout of ${rollout.package.version} in group "${name}"`, until: null };
    const bakedAt = completedAt + bakeMs;
    if (bakedAt > now) return { on: `the bake after group "${name}"`, until: bakedAt };
  }
  return null;
}

/** The rollouts that others wait for to be completed, and to stay so. */
export function awaitedIn(fleet: Fleet): ReadonlySet<Rollout> {
  const awaited = new Set<Rollout>();
  for (const rollout of fleet.rollouts) {
    if (rollout.state !== "scheduled") continue;
    for (const { group } of rollout.strategy.after) {
      const before = rolloutOfGroup(fleet, rollout, group);
      if (before !== null) awaited.add(before);
    }
  }
  return awaited;
}

/** The rollout of the same version in the group of that id, name or track; of several, the one for this architecture. */
function rolloutOfGroup(fleet: Fleet, rollout: Rollout, name: string): Rollout | null {
  const candidates = fleet.rollouts.filter(
    (other) =>
      other.undoes === null &&
      other.package.version === rollout.package.version &&
      isInGroupBefore(fleet, rollout, other.groupNo, name),
  );
  const same = candidates.filter((other) => other.package.no === rollout.package.no);
  return (same.length > 0 ? same : candidates).sort((a, b) => b.no - a.no)[0] ?? null;
}

/** When such a rollout, which another one has replaced since, was completed; null: there is none. */
function completionInGroup(fleet: Fleet, rollout: Rollout, name: string): number | null {
  const candidates = fleet.completions.filter(
    ({ version, groupNo }) => version === rollout.package.version && isInGroupBefore(fleet, rollout, groupNo, name),
  );
  const same = candidates.filter(({ packageNo }) => packageNo === rollout.package.no);
  const times = (same.length > 0 ? same : candidates).map(({ at }) => at);
  return times.length === 0 ? null : Math.max(...times);
}

function isInGroupBefore(fleet: Fleet, rollout: Rollout, groupNo: number, name: string): boolean {
  const own = fleet.groupByNo.get(rollout.groupNo);
  const group = fleet.groupByNo.get(groupNo);
  return (
    group !== undefined &&
    group.applicationNo === own?.applicationNo &&
    group.no !== rollout.groupNo &&
    [group.id, group.name, group.track].includes(name)
  );
}

/** What happens next by itself, or what a person has to do; null: it has ended. */
export function outlook(rollout: Rollout, fleet: Fleet, counters: RolloutCounters, now: number): Waiting | null {
  const stage = rollout.strategy.stages[rollout.stage];
  switch (rollout.state) {
    case "scheduled": {
      const waiting = waitsFor(rollout, fleet, now);
      return { on: `start, after ${waiting?.on ?? "nothing any more"}`, until: waiting?.until ?? now };
    }
    case "paused":
      return { on: rollout.pausedByGate ? "the gate to open again" : "a person to resume it", until: null };
    case "halted":
      return { on: "a person to resume or abort it", until: null };
    case "running": {
      if (fleet.groupByNo.get(rollout.groupNo)?.updatesStopped != null) {
        return { on: "a person to resume the group's updates, which safe mode has stopped", until: null };
      }
      if (rollout.awaitsApproval) return { on: `a person to open stage ${rollout.stage + 2}`, until: null };
      const then = isLast(rollout)
        ? "completion"
        : stage?.approval
          ? "the wait for approval"
          : `stage ${rollout.stage + 2}`;
      if (rollout.bakingSince !== null)
        return { on: `${then}, when it has baked`, until: rollout.bakingSince + (stage?.bakeMs ?? 0) };
      if (isRampSpent(rollout, counters)) {
        return { on: "a node that failed to come through after all, or a person to resume it: the ramp is used up", until: null }; // biome-ignore format: one line
      }
      if (rollout.awaitsNodes) return { on: `the first node of ${stageName(rollout)}`, until: null };
      return { on: `${then}, after the nodes of ${stageName(rollout)} have finished`, until: null };
    }
    default:
      return null;
  }
}

/**
 * The earliest moment at which a later stage can open by itself, if its nodes finished at once and all goes well.
 * Null: not by itself.
 */
export function opensNotBefore(rollout: Rollout, stage: number, fleet: Fleet, now: number): number | null {
  let at: number | null = now;
  if (rollout.state === "scheduled") {
    const waiting = waitsFor(rollout, fleet, now);
    at = waiting === null ? now : waiting.until;
  } else if (rollout.state !== "running" || rollout.awaitsApproval) at = null;
  if (at === null) return null;
  for (let index = rollout.stage; index < stage; index += 1) {
    const { overMs = 0, bakeMs = 0, approval = false } = rollout.strategy.stages[index] ?? {};
    if (approval) return null;
    const present = index === rollout.stage && rollout.state === "running";
    if (present && rollout.bakingSince !== null) at = Math.max(at, rollout.bakingSince + bakeMs);
    else {
      const opened: number = present && !rollout.awaitsNodes ? rollout.stageOpenedAt : at;
      at = Math.max(at, opened + overMs) + bakeMs;
    }
  }
  return at;
}

// ------------------------------------------------------------------------------------------------ by people

const ENDED: readonly RolloutState[] = ["completed", "superseded", "aborted"];

function refuseEnded(rollout: Rollout, what: string): void {
  if (ENDED.includes(rollout.state)) {
    throw new NotPossible(`the rollout is ${rollout.state}: it can't be ${what} any more`);
  }
}

export function pause(rollout: Rollout, now: number, reason: string): Change {
  refuseEnded(rollout, "paused");
  if (rollout.state !== "running") {
    throw new NotPossible(`the rollout is ${rollout.state}; only a running one can be paused`);
  }
  return into(rollout, "paused", now, reason);
}

/** Also a completed one, as its gate does. */
export function halt(rollout: Rollout, now: number, reason: string): Change {
  if (rollout.state !== "completed") refuseEnded(rollout, "halted");
  if (rollout.state === "halted") throw new NotPossible("the rollout is halted already");
  // Resumed, it would run at once, whatever it had been waiting for.
  if (rollout.state === "scheduled") throw new NotPossible("the rollout has not started; abort it instead");
  return into(rollout, "halted", now, reason, stoodStill(rollout, now));
}

/** The person has seen what failed so far: the gate looks at what comes after. Closed slices are opened. */
export function resume(rollout: Rollout, counters: RolloutCounters, now: number, reason: string): Change {
  const known = { closed: [], baseline: baselineOf(counters) };
  if (rollout.state === "completed" && rollout.closed.length > 0) {
    return { next: { ...runOf(rollout), ...known }, reason };
  }
  refuseEnded(rollout, "resumed");
  if (rollout.state === "scheduled") {
    throw new NotPossible('the rollout has not started; "advance" starts it now');
  }
  if (rollout.state === "running" && rollout.closed.length === 0 && !isRampSpent(rollout, counters)) {
    throw new NotPossible("the rollout is running, and neither is a part of it closed nor its ramp used up");
  }
  return goOn({ ...rollout, ...known }, now, reason);
}

/** As many nodes have come to a bad end as the ramp takes, and nobody is on the way: without a person it stays at that. */
function isRampSpent(rollout: Rollout, counters: RolloutCounters): boolean {
  const standing = rampOf(rollout, counters);
  return standing !== null && roomOf(standing) <= 0 && inFlight(counters.total) === 0;
}

/** As it stood: nobody has looked at what failed. */
export function goOn(rollout: Rollout, now: number, reason: string): Change {
  return into(rollout, "running", now, reason, stoodStill(rollout, now));
}

/** Stage, rise and bake have stood still while it was paused or halted. */
function stoodStill({ state, stateAt, ...rollout }: Rollout, now: number): Partial<Run> {
  return later(rollout, state === "paused" || state === "halted" ? now - stateAt : 0);
}

function later({ stageOpenedAt, bakingSince }: Pick<Run, "stageOpenedAt" | "bakingSince">, ms: number): Partial<Run> {
  return { stageOpenedAt: stageOpenedAt + ms, bakingSince: bakingSince === null ? null : bakingSince + ms };
}

/** Starts a scheduled rollout, or opens the next stage, without waiting any longer. */
export function advance(rollout: Rollout, now: number, reason: string): Change {
  refuseEnded(rollout, "advanced");
  if (rollout.state === "scheduled") return started(rollout, now, reason);
  if (rollout.state !== "running") throw new NotPossible(`the rollout is ${rollout.state}; resume it first`);
  if (isLast(rollout)) throw new NotPossible(`the rollout is in its last stage (${stageName(rollout)})`);
  return openNext(rollout, now, `by hand: ${reason}`);
}

/** Also a completed one, which still grants to nodes that come late: that a release is bad may show late, too. */
export function abort(rollout: Rollout, now: number, reason: string): Change {
  if (rollout.state !== "completed") refuseEnded(rollout, "aborted");
  return into(rollout, "aborted", now, reason);
}

export function supersede(rollout: Rollout, now: number, reason: string): Change {
  return into(rollout, "superseded", now, reason);
}

/** Other stages after the present one. */
export function replan(rollout: Rollout, strategy: Strategy): void {
  refuseEnded(rollout, "changed");
  const kept = rollout.strategy.stages.slice(0, rollout.state === "scheduled" ? 0 : rollout.stage + 1);
  for (const [index, stage] of kept.entries()) {
    if (JSON.stringify(stage) !== JSON.stringify(strategy.stages[index])) {
      throw new NotPossible(
        `stage ${index + 1} has opened already: it stays as it is; stages from ${kept.length + 1} on can be changed`,
      );
    }
  }
}
