/**
 * Silence after success: nodes that came up with the release, were heard, and then were heard no more. How many is normal, the
 * nodes of the group tell that do not have it. Source: ROLLOUTS.md, "After success".
 */
import type { Cell } from "./cell.ts";
import { closedSlice, isInSlice, lowerBound, slicesOf } from "./health.ts";
import type { Rollout, Slice } from "./model/rollout.ts";
import type { Health } from "./model/strategy.ts";

/** Of so many nodes, so many are silent. */
export interface Heard {
  readonly nodes: number;
  readonly silent: number;
}

/** Nodes of one OEM and architecture. Whoever was silent before the rollout began, or was resumed, is left out. */
export interface SilenceCell {
  readonly cell: Pick<Cell, "oem" | "arch">;
  /** Those that have completed it. */
  readonly complete: Heard;
  /** The same, without those that have been silent for over a day. */
  readonly today: Heard;
  /** Those that do not have it, nor are about to. */
  readonly others: Heard;
  /** Of these, the ones that are never away. */
  readonly steady: Heard;
}

export interface Silence {
  readonly cells: readonly SilenceCell[];
  /** How it was in the worst hour of the week before, of all of the group's nodes; null: nobody knows. */
  readonly weekBefore: Heard | null;
}

export interface Comparison {
  readonly complete: Heard;
  readonly other: Heard;
  readonly against: "others" | "week before";
  /** The lower bound of the difference between the two shares. */
  readonly bound: number;
}

export interface SilenceBreach extends Comparison {
  /** Null: the whole rollout. */
  readonly slice: Slice | null;
}

export const NOBODY_WATCHED: Silence = { cells: [], weekBefore: null };

/** A node is missed so long after it was due: when it has left out two checks, and the minutes by which they come late. */
export function missedAfterMs(pollMs: number): number {
  return 2 * pollMs + GRACE_MS;
}

const GRACE_MS = 15 * 60_000;

/** Fewer others than this share of those that have it are no control: they are what is left, and that for a reason. */
const LEFT_OVER = 0.1;

/**
 * The lower bound of the difference between two shares that these are samples of. Newcombe's, from Wilson's bounds of each:
 * as good with five nodes as with five thousand.
 */
export function lowerBoundOfDifference(one: Heard, other: Heard): number {
  const share = one.silent / one.nodes;
  const otherShare = other.silent / other.nodes;
  const below = share - lowerBound(one.silent, one.nodes);
  const above = 1 - lowerBound(other.nodes - other.silent, other.nodes) - otherShare;
  return share - otherShare - Math.sqrt(below * below + above * above);
}

/** What is breached by silence now: a slice that is to blame alone, or else all of it. Slices that are closed are not asked again. */
export function silenceBreaches(rollout: Rollout, { cells, weekBefore }: Silence): readonly SilenceBreach[] {
  const { health } = rollout.strategy;
  if (health === null || health.silence === null) return [];
  const open = cells.filter(({ cell }) => closedSlice(rollout.closed, cell) === null);
  const whole = exceeds(health, open, weekBefore);
  const within: SilenceBreach[] = [];
  for (const slice of slicesOf(health, open)) {
    const isOwn = ({ cell }: SilenceCell) => isInSlice(slice, cell);
    const breach = exceeds(health, open.filter(isOwn), weekBefore);
    if (breach === null) continue;
    const othersAreFine = isFine(
      health,
      open.filter((cell) => !isOwn(cell)),
      weekBefore,
    );
    within.push({ ...breach, slice: othersAreFine ? slice : null });
  }
  const alone = within.filter(({ slice }) => slice !== null);
  if (alone.length > 0) return alone;
  // It is in a slice that it shows first.
  const all = whole ?? within[0];
  return all === undefined ? [] : [{ ...all, slice: null }];
}

/**
 * Against whichever of the others are the more silent. Those that are never away are missed soonest when something befalls all
 * of them; those that sometimes are, when they stay away for longer than they used to.
 * @returns null: there is nothing to compare with, or too little.
 */
function compared({ minFinished }: Health, cells: readonly SilenceCell[], weekBefore: Heard | null): Comparison | null {
  const complete = sum(cells.map((cell) => cell.complete));
  const steady = sum(cells.map((cell) => cell.steady));
  if (steady.nodes >= minFinished && steady.nodes >= complete.nodes * LEFT_OVER) {
    if (complete.nodes < minFinished) return null;
    const against = (other: Heard): Comparison => {
      return { complete, other, against: "others", bound: lowerBoundOfDifference(complete, other) };
    };
    const [toSteady, toAll] = [against(steady), against(sum(cells.map((cell) => cell.others)))];
    return toAll.bound < toSteady.bound ? toAll : toSteady;
  }
  const today = sum(cells.map((cell) => cell.today));
  if (weekBefore === null || weekBefore.nodes < minFinished || today.nodes < minFinished) return null;
  const bound = lowerBoundOfDifference(today, weekBefore);
  return { complete: today, other: weekBefore, against: "week before", bound };
}

function exceeds(health: Health, cells: readonly SilenceCell[], weekBefore: Heard | null): SilenceBreach | null {
  const found = compared(health, cells, weekBefore);
  if (found === null || health.silence === null) return null;
  return found.bound * 100 > health.silence.maxPercent ? { ...found, slice: null } : null;
}

/** Whether these can be said not to be silent. When in doubt, more is stopped than needs to be. */
function isFine(health: Health, cells: readonly SilenceCell[], weekBefore: Heard | null): boolean {
  const pair = compared(health, cells, weekBefore);
  if (pair === null || health.silence === null) return false;
  const difference = pair.complete.silent / pair.complete.nodes - pair.other.silent / pair.other.nodes;
  return difference * 100 <= health.silence.maxPercent;
}

function sum(all: readonly Heard[]): Heard {
  const total = { nodes: 0, silent: 0 };
  for (const { nodes, silent } of all) {
    total.nodes += nodes;
    total.silent += silent;
  }
  return total;
}

/** How all of it compares now, to be shown; null: there is nothing to compare with, or too little. */
export function compareSilence(rollout: Rollout, { cells, weekBefore }: Silence): Comparison | null {
  const { health } = rollout.strategy;
  const open = cells.filter(({ cell }) => closedSlice(rollout.closed, cell) === null);
  return health && compared(health, open, weekBefore);
}

/** What is wrong, for the history; where it is, `slice` says. */
export function describeSilence({ complete, other, against, bound }: SilenceBreach, health: Health): string {
  const others = against === "others" ? "of the others" : "in the worst hour of the week before";
  const percent = (bound * 100).toFixed(1);
  return (
    `${complete.silent} of ${complete.nodes} nodes that had completed have fallen silent, ` +
    `and ${other.silent} of ${other.nodes} ${others}: at least ${percent} % more, more than ${health.silence?.maxPercent} %`
  );
}
