/** Intervals as people write them: `15 minutes`, `1 hours`, `1 days` (PostgreSQL's way), or `30s 15m 2h 1d`. */

const UNIT_MS: Readonly<Record<string, number>> = {
  millisecond: 1,
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const ONE = /^(\d{1,9}) (millisecond|second|minute|hour|day)s?$/;
const MANY = /^\d{1,9}(?:ms|[smhd])(?: ?\d{1,9}(?:ms|[smhd]))*$/;
const PART = /(\d+)(ms|[smhd])/g;

/** @returns milliseconds, more than 0; null when the text is not an interval. */
export function parseInterval(text: string): number | null {
  const one = ONE.exec(text);
  if (one !== null) return positive(Number(one[1]) * (UNIT_MS[one[2] ?? ""] ?? 0));
  if (!MANY.test(text)) return null;
  let total = 0;
  for (const [, count, unit = ""] of text.matchAll(PART)) total += Number(count) * (UNIT_MS[unit] ?? 0);
  return positive(total);
}

/** The same, where nothing at all is as good a length of time: `0s`. */
export function parseDuration(text: string): number | null {
  return /^0 ?(?:[smhd]|ms)?$/.test(text) ? 0 : parseInterval(text);
}

/** What to say about a text that is no duration. */
export function notADuration(text: string): string {
  return `"${text}" is not a duration; write e.g. "30s", "15m", "2h" or "1d"`;
}

function positive(milliseconds: number): number | null {
  return milliseconds > 0 ? milliseconds : null;
}
