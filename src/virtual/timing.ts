/** When a node asks again. All in virtual milliseconds. Source: CLIENTS.md §1.4. */
import type { Random } from "./random.ts";

const MINUTE = 60_000;
const LONGEST_MS = 4 * 60 * MINUTE;
const FIRST_CHECK_MS = 7 * MINUTE;

export interface Timing {
  readonly pollMs: number;
  /** More or less than `pollMs` by at most this. */
  readonly jitterMs: number;
  readonly downloadMs: number;
  readonly installMs: number;
  /** How long an installed update waits for the reboot. */
  readonly rebootMs: number;
}

export const DEFAULT_TIMING: Timing = {
  pollMs: 45 * MINUTE,
  jitterMs: 5 * MINUTE,
  downloadMs: 4 * MINUTE,
  installMs: MINUTE,
  rebootMs: 2 * MINUTE,
};

/** From the boot. */
export function firstCheckIn({ jitterMs }: Timing, random: Random): number {
  return around(FIRST_CHECK_MS, Math.min(jitterMs, FIRST_CHECK_MS), random);
}

/** While it waits for the reboot: the server's wish is not heard. */
export function nextPingIn({ pollMs, jitterMs }: Timing, random: Random): number {
  return around(pollMs, Math.min(jitterMs, pollMs), random);
}

/** What the last answer means: `slower` after HTTP 500 and 503, doubling the interval; else the server's wish, in bounds. */
export function nextCheckIn(
  last: { readonly intervalMs: number; readonly pollIntervalSeconds: number | null; readonly slower: boolean },
  timing: Timing,
  random: Random,
): { readonly intervalMs: number; readonly delayMs: number } {
  const wished = (last.pollIntervalSeconds ?? 0) * 1000;
  const doubled = last.slower ? last.intervalMs * 2 : 0;
  const intervalMs = Math.max(timing.pollMs, Math.min(LONGEST_MS, Math.max(wished, doubled)));
  // Any other than its own interval is spread by half of it.
  const delayMs =
    intervalMs === timing.pollMs ? nextPingIn(timing, random) : around(intervalMs, intervalMs / 2, random);
  return { intervalMs, delayMs };
}

function around(middle: number, spread: number, random: Random): number {
  return Math.round(middle + (random() * 2 - 1) * spread);
}
