/** When an upstream is asked again. Pure. */
import { parseInterval } from "../rollout/interval.ts";

/** A process that has died is taken for dead after this long; one that lives says so in time. */
export const LEASE_MS = 300_000;
/** By how much the clocks of several processes may differ. */
export const SKEW_MS = 300_000;
/** After a failure: 2 min, 4 min … 6 h. */
const FIRST_RETRY_MS = 120_000;
const LONGEST_RETRY_MS = 6 * 3_600_000;
/** By how much an interval is longer or shorter each time, so that servers don't ask in step. */
const JITTER = 0.1;

export interface Turn {
  /** As people write it. */
  readonly check_interval: string;
  /** Checks that failed in a row, before this one. */
  readonly failures: number;
}

/**
 * @param until when something that is held back may move; null: nothing waits for its time
 * @param random in [0, 1)
 */
export function nextCheckAt(
  { check_interval, failures }: Turn,
  { error, until }: { readonly error: string | null; readonly until: number | null },
  { now, random }: { readonly now: number; readonly random: number },
): number {
  const retry = Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures, 20), LONGEST_RETRY_MS);
  const spread = 1 - JITTER + 2 * JITTER * random;
  const next = now + Math.round((error === null ? intervalOf(check_interval) : retry) * spread);
  return until === null ? next : Math.min(next, until);
}

/** Also what is put off for longer than any check is: that was written when the clock was wrong. */
export function isDue(at: number, { check_interval }: Pick<Turn, "check_interval">, now: number): boolean {
  const longest = Math.max(intervalOf(check_interval), LONGEST_RETRY_MS) * (1 + JITTER);
  return at <= now || at > now + longest + SKEW_MS;
}

function intervalOf(text: string): number {
  return parseInterval(text) ?? LONGEST_RETRY_MS; // it was checked when it came in
}
