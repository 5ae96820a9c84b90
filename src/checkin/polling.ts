/**
 * When nodes are told to ask again. A node that can get nothing before a known time comes back when that time is near; under
 * load all are asked to come less often, and past that, checks are turned away for a while.
 */
import { missedAfterMs } from "../rollout/silence.ts";

/** What update_engine does by itself; smaller values have no effect. Source: OMAHA.md, CLIENTS.md §1.5. */
const NORMAL_MS = 45 * 60_000;
/** update_engine spreads what it is told over ± 50 %: two thirds of a time come out as that time at the latest. */
const AT_THE_LATEST = 2 / 3;
/** A node's checks come some minutes earlier or later. */
const GRACE_MS = 15 * 60_000;
/** Checks are turned away when they would wait this much longer than they are allowed to. */
const SHEDDING = 5;

export interface PollingOptions {
  /** What nodes are told when nothing else is to be said; null: nothing, they keep their own interval. */
  readonly normalSeconds: number | null;
  /** Nobody stays away longer than this. */
  readonly longestMs: number;
  /** Whether a node waits for what it is known to wait for. */
  readonly adaptive: boolean;
  /** A check that waits longer than this for its turn is a sign of overload. */
  readonly overloadWaitMs: number;
}

/** @returns the PollInterval in seconds; null: none is sent. */
export function pollIntervalSeconds(
  { normalSeconds, longestMs, adaptive, overloadWaitMs }: PollingOptions,
  notBefore: number | null,
  now: number,
  expectedWaitMs: number,
): number | null {
  const overload = expectedWaitMs / overloadWaitMs;
  const known = adaptive && notBefore !== null ? notBefore - now : 0;
  const raised = overload >= 1 ? NORMAL_MS * (1 + overload) : 0;
  const wanted = Math.floor((Math.min(longestMs, Math.max(known, raised)) * AT_THE_LATEST) / 1000);
  return wanted > (normalSeconds ?? NORMAL_MS / 1000) ? wanted : normalSeconds;
}

/**
 * By when a node that is told this is back at the latest; null: it is told nothing longer than usual, and is back as usual.
 */
export function dueAt(polling: PollingOptions, notBefore: number | null, now: number): number | null {
  const told = pollIntervalSeconds(polling, notBefore, now, 0);
  return told === null || told === polling.normalSeconds ? null : now + (told * 1000) / AT_THE_LATEST;
}

/** A node that has not been heard for so long since it was due has missed two of its checks. */
export function silentAfterMs({ normalSeconds }: Pick<PollingOptions, "normalSeconds">): number {
  return missedAfterMs(usualMs(normalSeconds));
}

/** When nobody at all was heard for so long, it is the server, or the way to it, that was gone. */
export function quietMs({ normalSeconds }: Pick<PollingOptions, "normalSeconds">): number {
  return usualMs(normalSeconds) + GRACE_MS;
}

function usualMs(normalSeconds: number | null): number {
  return Math.max(NORMAL_MS, (normalSeconds ?? 0) * 1000);
}

/** Nodes that keep their own pace, and are told nothing. */
export const OWN_PACE: PollingOptions = { normalSeconds: null, longestMs: 0, adaptive: false, overloadWaitMs: 1_000 };

/** Whether a check that came now is better turned away: it will ask again, later and later. */
export function isOverloaded({ overloadWaitMs }: PollingOptions, expectedWaitMs: number): boolean {
  return expectedWaitMs >= overloadWaitMs * SHEDDING;
}
