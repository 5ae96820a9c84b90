/**
 * Maintenance windows and freezes on the command line, the same way in and out: `mon-thu 22:00-04:00`,
 * `fri 22:00 to mon 06:00`, `thu 23:00 + 1h30m`.
 */
import { InvalidArgumentError } from "commander";
import type { FreezeView, WindowView } from "./objects.ts";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const START = /^(?:(\S+) )?(\d\d:\d\d)/;
const END = /^ ?(?:-|to) ?(?:(\S+) )?(\d\d:\d\d)$/;
const LENGTH = /^ ?\+ ?(\S.*)$/;

/** @throws InvalidArgumentError */
export function readWindow(text: string): WindowView {
  const written = text.trim().toLowerCase().replace(/\s+/g, " ");
  const [start = "", days, from = ""] = START.exec(written) ?? [];
  const rest = written.slice(start.length);
  const on = days === undefined ? {} : { days: days.split(",").flatMap(daysIn) };
  const [, length] = LENGTH.exec(rest) ?? [];
  if (from !== "" && length !== undefined) return { ...on, from, length };
  const [, lastDay, to] = END.exec(rest) ?? [];
  if (from === "" || to === undefined) throw notAWindow();
  if (lastDay === undefined) return { ...on, from, to };
  if (on.days?.length !== 1) throw notAWindow();
  return { from: `${on.days[0]} ${from}`, to: `${oneDay(lastDay)} ${to}` };
}

function notAWindow(): InvalidArgumentError {
  const forms = '"mon-thu 22:00-04:00", "fri 22:00 to mon 06:00" or "thu 23:00 + 1h30m"';
  return new InvalidArgumentError(`Write days and times, e.g. ${forms}.`);
}

function oneDay(text: string): string {
  if (!DAYS.includes(text)) throw notADay(text, "mon");
  return text;
}

function notADay(text: string, examples: string): InvalidArgumentError {
  return new InvalidArgumentError(`"${text}" is no day; write e.g. ${examples}. There are: ${DAYS.join(", ")}.`);
}

/** One day, or those from one to another. */
function daysIn(text: string): string[] {
  const [first = "", last = first, ...more] = text.split("-");
  const [from, to] = [DAYS.indexOf(first), DAYS.indexOf(last)];
  if (from < 0 || to < 0 || more.length > 0) {
    throw notADay(text, "mon, or mon-thu");
  }
  const length = ((to - from + DAYS.length) % DAYS.length) + 1;
  return Array.from({ length }, (_, day) => DAYS[(from + day) % DAYS.length] ?? "");
}

/** The same time twice is shown as the whole day that it stands for, or as the whole week. */
export function windowText({ days, from, to, length }: WindowView): string {
  const start = `${days === undefined ? "" : `${daysText(days)} `}${from.toLowerCase()}`;
  if (to === undefined) return `${start} + ${length}`;
  if (to.toLowerCase() === from.toLowerCase()) {
    if (from.includes(" ")) return `${start} + 7d`;
    return from === "00:00" ? `${start}-24:00` : `${start} + 24h`;
  }
  return from.includes(" ") ? `${start} to ${to.toLowerCase()}` : `${start}-${to}`;
}

function daysText(days: readonly string[]): string {
  const first = DAYS.indexOf(days[0] ?? "");
  const inARow = days.every((day, index) => day === DAYS[(first + index) % DAYS.length]);
  return inARow && days.length > 2 ? `${days[0]}-${days.at(-1)}` : days.join(",");
}

/** @throws InvalidArgumentError */
export function readFreeze(text: string): FreezeView {
  const [, from, to, reason] = /^(\S+?)\.\.(\S+)(?: (.+))?$/.exec(text.trim()) ?? [];
  if (from === undefined || to === undefined) {
    throw new InvalidArgumentError('Write two days and why, e.g. "2026-12-20..2027-01-06 holidays".');
  }
  return { from, to, ...(reason !== undefined && { reason }) };
}

export function freezeText({ from, to, reason }: FreezeView): string {
  return `${from}..${to}${reason === undefined ? "" : ` ${reason}`}`;
}
