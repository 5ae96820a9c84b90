/**
 * When a node is missed. Machines that are switched off at night, or at weekends, are not missed then: a time at which a node was
 * away the day before, or a week before, does not count.
 */
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** What a node was away for is remembered for so long: a week, and a day for the week's end to come a little later. */
export const HABIT_MS = 8 * DAY;
/** It may go so much earlier than it did, and come so much later. */
const MARGIN_MS = 2 * HOUR;
const MOST = 100;

/** Times that a node was away: when it was last due, and when it was back. The oldest first. */
export type Away = readonly (readonly [from: number, to: number])[];

/** It is back after it was away. */
export function withAbsence(away: Away, from: number, to: number): Away {
  return [...away.filter(([, back]) => back > to - HABIT_MS), [from, to] as const].slice(-MOST);
}

export interface Mark {
  readonly createdAt: number;
  readonly seenAt: number;
  /** By when it was to be back at the latest, if that is later than usual. */
  readonly dueAt: number | null;
  readonly away: Away;
}

/**
 * From when on the node is silent, if it is not heard before: it has then been away for so long beyond what it is used to.
 * Null: it is sometimes away, and has not been known for long enough to say when.
 */
export function missedFrom(
  { createdAt, seenAt, dueAt, away }: Mark,
  now: number,
  silentAfterMs: number,
): number | null {
  const due = Math.max(seenAt, dueAt ?? 0);
  const known = away.filter(([, back]) => back > now - HABIT_MS);
  if (known.length === 0) return due + silentAfterMs;
  if (createdAt > now - HABIT_MS) return null;
  const usuallyAway = known
    .flatMap(([from, to]) => [DAY, 7 * DAY].map((later) => [from + later - MARGIN_MS, to + later + MARGIN_MS] as const))
    .sort(([a], [b]) => a - b);
  let [at, left] = [due, silentAfterMs];
  for (const [from, to] of usuallyAway) {
    if (to <= at) continue;
    if (from - at >= left) break;
    left -= Math.max(0, from - at);
    at = to;
  }
  return at + left;
}
