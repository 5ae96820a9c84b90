/**
 * Grants within the last period, counted in slices of a sixtieth of it. A slice counts until all of it is out of the window,
 * so that no window of a period's length ever holds more than the limit; the price is that a slot opens a sixtieth late.
 */
import type { GrantSlice } from "./model/counters.ts";

const SLICES = 60;

function sliceMs(periodMs: number): number {
  return Math.max(1, Math.ceil(periodMs / SLICES));
}

/** The slices that still count at `now`, oldest first. One that lies in the future counts too. */
function current(slices: readonly GrantSlice[], periodMs: number, now: number): GrantSlice[] {
  const over = now - periodMs - sliceMs(periodMs);
  return slices.filter(({ startsAt }) => startsAt > over);
}

/**
 * After the clock was set back: slices of the future become one of the present, so that they end one period from now and
 * not when the clock has caught up. The very same slices when there is nothing to do.
 */
export function rebased(slices: readonly GrantSlice[], periodMs: number, now: number): readonly GrantSlice[] {
  const last = slices.at(-1);
  const length = sliceMs(periodMs);
  if (last === undefined || last.startsAt <= now) return slices;
  const present = now - (now % length);
  const past = slices.filter(({ startsAt }) => startsAt < present);
  const count = slices.reduce((sum, slice) => (slice.startsAt < present ? sum : sum + slice.count), 0);
  return [...past, { startsAt: present, count }];
}

export function grantedInPeriod(slices: readonly GrantSlice[], periodMs: number, now: number): number {
  return current(slices, periodMs, now).reduce((sum, slice) => sum + slice.count, 0);
}

/** When fewer than `limit` grants will count again, if none is added; `now` if that is so already. */
export function fallsBelow(slices: readonly GrantSlice[], periodMs: number, limit: number, now: number): number {
  let granted = grantedInPeriod(slices, periodMs, now);
  if (granted < limit) return now;
  for (const { startsAt, count } of current(slices, periodMs, now)) {
    granted -= count;
    if (granted < limit) return startsAt + periodMs + sliceMs(periodMs);
  }
  return now;
}

/** The slices after one more grant at `now`. */
export function withGrant(slices: readonly GrantSlice[], periodMs: number, now: number): GrantSlice[] {
  const length = sliceMs(periodMs);
  const startsAt = now - (now % length);
  const kept = current(slices, periodMs, now);
  const last = kept.at(-1);
  if (last?.startsAt === startsAt) return [...kept.slice(0, -1), { startsAt, count: last.count + 1 }];
  return [...kept, { startsAt, count: 1 }];
}
