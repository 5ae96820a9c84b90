/**
 * When updates may start: weekly windows on the wall clock of a time zone, and freezes. A window is open while the wall
 * clock shows a time in it, whatever clock changes do: an hour that comes twice counts twice, one that never comes not at all.
 */
import { DateTime, IANAZone } from "luxon";
import { notADuration, parseInterval } from "./interval.ts";
import type { Freeze, Window } from "./model/configuration.ts";

const MINUTE_MS = 60_000;
const DAY_MINUTES = 1_440;
const WEEK_MINUTES = 7 * DAY_MINUTES;
/** No zone moves its clock twice within this time. */
const LOOK_AHEAD_MS = 8 * DAY_MINUTES * MINUTE_MS;

/** Nebraska's office hours: Monday to Friday, 09:00 to 17:00. */
export const OFFICE_HOURS: readonly Window[] = [{ days: [1, 2, 3, 4, 5], from: 9 * 60, lengthMinutes: 8 * 60 }];

/** Making a zone is costly, and the same few are asked for all the time. Null: there is no such zone. */
const zones = new Map<string, IANAZone | null>();

function zoneOf(timezone: string): IANAZone | null {
  const known = zones.get(timezone);
  if (known !== undefined) return known;
  if (zones.size > 1_000) zones.clear();
  const zone = IANAZone.isValidZone(timezone) ? IANAZone.create(timezone) : null;
  zones.set(timezone, zone);
  return zone;
}

/** Offsets change on the quarter of an hour, if at all: the last one of each zone is kept for that long. */
const QUARTER_MS = 15 * MINUTE_MS;
const offsets = new Map<string, { quarter: number; offset: number }>();

/** Minutes since Monday 00:00 on the zone's wall clock (an IANA name). Null: there is no such zone. */
function wallMinute(timezone: string, now: number): number | null {
  const zone = zoneOf(timezone);
  if (zone === null) return null;
  const quarter = Math.floor(now / QUARTER_MS);
  let known = offsets.get(timezone);
  if (known?.quarter !== quarter) {
    known = { quarter, offset: zone.offset(now) };
    if (offsets.size > 1_000) offsets.clear();
    offsets.set(timezone, known);
  }
  return minuteOfWeek(now, known.offset);
}

/** @param offset minutes east of UTC. Fractions of a minute stay. */
function minuteOfWeek(at: number, offset: number): number {
  // The epoch was a Thursday.
  const local = at / MINUTE_MS + offset + 3 * DAY_MINUTES;
  return local - Math.floor(local / WEEK_MINUTES) * WEEK_MINUTES;
}

/** Whether one of the windows is open. In a zone that does not exist none ever is. */
export function inWindows(windows: readonly Window[], timezone: string, now: number): boolean {
  const wall = wallMinute(timezone, now);
  return wall !== null && isOpenAt(windows, wall);
}

function isOpenAt(windows: readonly Window[], wall: number): boolean {
  return windows.some((window) => window.days.some((day) => since(window, day, wall) < window.lengthMinutes));
}

/** Minutes since the window last opened on this weekday. */
function since({ from }: Window, day: number, wall: number): number {
  return (wall - (day - 1) * DAY_MINUTES - from + WEEK_MINUTES) % WEEK_MINUTES;
}

/**
 * The first moment from `now` on when a window is open.
 * @returns milliseconds since the epoch; null: never.
 */
export function nextOpening(windows: readonly Window[], timezone: string, now: number): number | null {
  const zone = zoneOf(timezone);
  if (windows.length === 0 || zone === null) return null;
  const change = offsetChange(zone, now, now + LOOK_AHEAD_MS);
  const opening = openingAfter(windows, zone.offset(now), now);
  if (change === null || opening < change) return opening;
  return openingAfter(windows, zone.offset(change), change);
}

/** While the zone stays at this offset (minutes east of UTC): the first moment from `at` on that is in a window. */
function openingAfter(windows: readonly Window[], offset: number, at: number): number {
  const wall = minuteOfWeek(at, offset);
  if (isOpenAt(windows, wall)) return at;
  const waits = windows.flatMap((window) => window.days.map((day) => WEEK_MINUTES - since(window, day, wall)));
  return at + Math.round(Math.min(...waits) * MINUTE_MS);
}

/** When the zone's offset changes between the two; null: not. */
function offsetChange(zone: IANAZone, from: number, to: number): number | null {
  const before = zone.offset(from);
  if (zone.offset(to) === before) return null;
  let [low, high] = [from, to];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (zone.offset(middle) === before) low = middle;
    else high = middle;
  }
  return high;
}

/** The freeze that holds now; `freezes` are ascending. */
export function frozenBy(freezes: readonly Freeze[], now: number): Freeze | null {
  return freezes.find(({ startsAt, endsAt }) => startsAt <= now && now < endsAt) ?? null;
}

const WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/**
 * A window as people write it: `from` and `to` as HH:MM (`24:00` is an end, too) on `days` (`mon` … `sun`; absent: every day), or
 * with a day each (`Fri 22:00`, `Mon 06:00`). In place of `to` a `length` such as `1h30m`, which counts on the wall clock as well.
 */
export interface WindowDocument {
  readonly days?: readonly string[] | undefined;
  readonly from: string;
  readonly to?: string | undefined;
  readonly length?: string | undefined;
}

/**
 * An end that is not after its start is the next one: across midnight, or into the next week. So the same time twice is a
 * whole day, and the same day and time twice a whole week.
 * @throws Error that says what would be right
 */
export function readWindow({ days, from, to, length }: WindowDocument): Window {
  const start = readTime(from, DAY_MINUTES - 1);
  if (days !== undefined && start.day !== null) throw new Error(`leave days out: its day stands in from, "${from}"`);
  const window = { days: start.day === null ? daysOf(days ?? WEEKDAYS) : [start.day], from: start.minute };
  if (to !== undefined && length !== undefined) throw new Error("a window has an end or a length, not both");
  if (length !== undefined) return { ...window, lengthMinutes: readLength(length) };
  if (to === undefined) throw new Error('a window needs an end or a length; write e.g. to: "04:00" or length: "1h30m"');
  const end = readTime(to, DAY_MINUTES);
  if (end.day === null) return { ...window, lengthMinutes: untilNext(end.minute - start.minute, DAY_MINUTES) };
  if (start.day === null) {
    throw new Error(`"${to}" names a day, so from must name one, too: e.g. from: "Fri 22:00", to: "Mon 06:00"`);
  }
  const between = (end.day - start.day) * DAY_MINUTES + end.minute - start.minute;
  return { ...window, lengthMinutes: untilNext(between, WEEK_MINUTES) };
}

/** More than nothing, and at most once around. */
function untilNext(minutes: number, around: number): number {
  return minutes > 0 ? minutes : minutes + around;
}

function daysOf(names: readonly string[]): number[] {
  const numbers = names.map((name) => WEEKDAYS.indexOf(name.toLowerCase()) + 1);
  if (numbers.length === 0 || numbers.includes(0)) throw new Error(`days are ${WEEKDAYS.join(", ")}`);
  return numbers;
}

/** `22:30`, or on a day: `Fri 22:30`, `friday 22:30`. */
function readTime(text: string, latest: number): { readonly day: number | null; readonly minute: number } {
  const [, name, hour, minute] = TIME.exec(text) ?? [];
  const minutes = Number(hour) * 60 + Number(minute);
  if (hour === undefined || minutes > latest) {
    throw new Error(`"${text}" is not a time of day; write e.g. "22:30", or "Fri 22:30"`);
  }
  return { day: name === undefined ? null : WEEKDAYS.indexOf(name.slice(0, 3).toLowerCase()) + 1, minute: minutes };
}
const TIME =
  /^(?:(mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?) )?([01]\d|2[0-4]):([0-5]\d)$/i;

function readLength(text: string): number {
  const milliseconds = parseInterval(text);
  if (milliseconds === null) throw new Error(notADuration(text));
  const minutes = milliseconds / MINUTE_MS;
  if (!Number.isInteger(minutes)) throw new Error(`"${text}" is not a number of whole minutes`);
  if (minutes > WEEK_MINUTES) throw new Error(`"${text}" is too long: a window is open for 7 days at most`);
  return minutes;
}

/** A freeze as people write it: whole days (2026-12-20, the last one included) or times (2026-12-24T12:00). */
export interface FreezeDocument {
  readonly from: string;
  readonly to: string;
  readonly reason?: string | undefined;
}

/**
 * One that ends before it starts never holds; `checkFreeze` complains of it where it comes in.
 * @throws Error that says what would be right
 */
export function readFreeze({ from, to, reason = "" }: FreezeDocument, timezone: string): Freeze {
  const startsAt = readMoment(from, timezone);
  const end = readMoment(to, timezone);
  const endsAt = isWholeDay(to) ? end.plus({ days: 1 }) : end;
  return { startsAt: startsAt.toMillis(), endsAt: endsAt.toMillis(), reason };
}

/**
 * Whether it ends after it starts depends on the zone: its clock may leave out the time between, and a text may name another
 * offset.
 * @throws Error that says what would be right
 */
export function checkFreeze(document: FreezeDocument, timezone: string): void {
  const { startsAt, endsAt } = readFreeze(document, timezone);
  if (endsAt > startsAt) return;
  throw new Error(`a freeze ends after it starts: in ${timezone}, "${document.to}" is not after "${document.from}"`);
}

function isWholeDay(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text);
}

function readMoment(text: string, timezone: string): DateTime {
  const moment = DateTime.fromISO(text, { zone: timezone });
  if (!moment.isValid || !/^\d{4}-\d{2}-\d{2}/.test(text)) {
    throw new Error(`"${text}" is not a date; write e.g. "2026-12-20" or "2026-12-24T12:00"`);
  }
  return moment;
}
