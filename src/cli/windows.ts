/** Maintenance windows and freezes on the command line, the same way in and out: `mon-thu 22:00-04:00`. */
import { InvalidArgumentError } from "commander";
import type { FreezeView, WindowView } from "./objects.ts";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/** @throws InvalidArgumentError */
export function readWindow(text: string): WindowView {
  const [, days, from = "", to = ""] = /^(?:(\S+) )?(\d\d:\d\d)-(\d\d:\d\d)$/.exec(text.trim()) ?? [];
  if (from === "") {
    throw new InvalidArgumentError('Write days and times, e.g. "mon-thu 22:00-04:00" or "22:00-04:00".');
  }
  return days === undefined ? { from, to } : { days: days.toLowerCase().split(",").flatMap(daysIn), from, to };
}

/** One day, or those from one to another. */
function daysIn(text: string): string[] {
  const [first = "", last = first, ...more] = text.split("-");
  const [from, to] = [DAYS.indexOf(first), DAYS.indexOf(last)];
  if (from < 0 || to < 0 || more.length > 0) {
    throw new InvalidArgumentError(`"${text}" is no day; write e.g. mon, or mon-thu. There are: ${DAYS.join(", ")}.`);
  }
  const length = ((to - from + DAYS.length) % DAYS.length) + 1;
  return Array.from({ length }, (_, day) => DAYS[(from + day) % DAYS.length] ?? "");
}

export function windowText({ days, from, to }: WindowView): string {
  return `${days === undefined ? "" : `${daysText(days)} `}${from}-${to}`;
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
