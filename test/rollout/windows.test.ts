import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Window } from "../../src/rollout/model/configuration.ts";
import {
  checkFreeze,
  frozenBy,
  inWindows,
  nextOpening,
  OFFICE_HOURS,
  readFreeze,
  readWindow,
} from "../../src/rollout/windows.ts";
import { aCheckIn, aFleet, aGroup, HOUR, MINUTE, World } from "./builders.ts";

const DAY = 24 * HOUR;
const ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata"];
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/** The wall clock by another library: weekday 1 to 7, minutes after midnight. */
const formats = new Map<string, Intl.DateTimeFormat>();
function wall(zone: string, at: number): { day: number; minutes: number } {
  let format = formats.get(zone);
  if (format === undefined) {
    const parts = { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
    format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...parts });
    formats.set(zone, format);
  }
  const part = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
  return { day: WEEKDAYS.indexOf(part.weekday ?? "") + 1, minutes: Number(part.hour) * 60 + Number(part.minute) };
}

/** A year, every 47 minutes; around the clock changes of these zones, every ten. */
const YEAR: readonly number[] = (() => {
  const start = Date.UTC(2026, 0, 1);
  const times: number[] = [];
  for (let at = start; at < start + 366 * DAY; at += 47 * MINUTE) times.push(at);
  for (const change of [Date.UTC(2026, 2, 8), Date.UTC(2026, 2, 29), Date.UTC(2026, 9, 25), Date.UTC(2026, 10, 1)]) {
    for (let at = change - DAY; at < change + 2 * DAY; at += 10 * MINUTE) times.push(at);
  }
  return times;
})();
const walls = new Map(ZONES.map((zone) => [zone, new Map<number, ReturnType<typeof wall>>()]));
function yearsWall(zone: string, at: number): ReturnType<typeof wall> {
  const known = walls.get(zone)?.get(at);
  if (known !== undefined) return known;
  const read = wall(zone, at);
  walls.get(zone)?.set(at, read);
  return read;
}

/** In words: today's part of a window that opened today, or the morning of one that opened yesterday. */
function isIn(windows: readonly Window[], zone: string, at: number): boolean {
  const { day, minutes } = yearsWall(zone, at);
  const yesterday = day === 1 ? 7 : day - 1;
  return windows.some(({ days, from, to }) => {
    if (from < to) return days.includes(day) && minutes >= from && minutes < to;
    return (days.includes(day) && minutes >= from) || (days.includes(yesterday) && minutes < to);
  });
}

const NIGHTS = [readWindow({ days: ["tue", "sat"], from: "22:30", to: "02:30" })];
const THREE = [
  readWindow({ days: ["sun"], from: "01:00", to: "03:00" }),
  readWindow({ from: "12:15", to: "12:45" }),
  readWindow({ days: ["fri", "sat", "sun"], from: "23:00", to: "23:00" }),
];

describe("maintenance windows", () => {
  it.each(ZONES)("are open by the wall clock of %s, through a year with its clock changes", (zone) => {
    for (const windows of [NIGHTS, THREE, OFFICE_HOURS]) {
      for (const at of YEAR) {
        expect(inWindows(windows, zone, at), new Date(at).toISOString()).toBe(isIn(windows, zone, at));
      }
    }
  });

  it("tell their next opening to the minute, also across a change of the clock", () => {
    const time = fc.integer({ min: 0, max: 1439 });
    const window = fc.record({
      days: fc.uniqueArray(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 3 }),
      from: time,
      to: time,
    });
    // Around the changes of 2026 in both zones, and anywhere else.
    const changes = [Date.UTC(2026, 2, 8), Date.UTC(2026, 2, 29), Date.UTC(2026, 9, 25), Date.UTC(2026, 10, 1)];
    const when = fc.oneof(
      fc.tuple(fc.constantFrom(...changes), fc.integer({ min: -6 * DAY, max: DAY })).map(([at, by]) => at + by),
      fc.integer({ min: Date.UTC(2026, 0, 1), max: Date.UTC(2027, 0, 1) }),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...ZONES),
        fc.array(window, { minLength: 1, maxLength: 2 }),
        when,
        (zone, windows, at) => {
          const opening = nextOpening(windows, zone, at);
          if (opening === null) throw new Error("a window opens every week");
          expect(isIn(windows, zone, opening)).toBe(true);
          if (opening === at) return;
          expect(isIn(windows, zone, at)).toBe(false);
          for (let minute = at; minute < opening; minute += 97 * MINUTE)
            expect(isIn(windows, zone, minute)).toBe(false);
          expect(isIn(windows, zone, opening - 1)).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("that fall into the hour which never comes, open when the clock has jumped over it", () => {
    // Berlin, 29 March 2026: 02:00 becomes 03:00.
    const windows = [readWindow({ days: ["sun"], from: "02:15", to: "03:30" })];
    const opening = nextOpening(windows, "Europe/Berlin", Date.UTC(2026, 2, 28, 12));
    expect(new Date(opening ?? 0).toISOString()).toBe("2026-03-29T01:00:00.000Z");
  });

  it("in a zone that does not exist never open", () => {
    expect(inWindows(NIGHTS, "Mars/Olympus", Date.now())).toBe(false);
    expect(nextOpening(NIGHTS, "Mars/Olympus", Date.now())).toBeNull();
    expect(nextOpening([], "Europe/Berlin", Date.now())).toBeNull();
  });

  it.each([
    [{ days: ["someday"], from: "10:00", to: "11:00" }, "days are mon"],
    [{ days: [], from: "10:00", to: "11:00" }, "days are mon"],
    [{ from: "24:00", to: "11:00" }, '"24:00" is not a time of day'],
    [{ from: "10:00", to: "11" }, '"11" is not a time of day'],
  ])("say what is wrong with %j", (document, message) => {
    expect(() => readWindow(document)).toThrow(message);
  });

  it.each(ZONES)("hold every grant, for a year of checks in %s", (zone) => {
    for (const windows of [NIGHTS, THREE]) {
      const fleet = aFleet([aGroup({ policy: { windows, timezone: zone } })]);
      let granted = 0;
      for (const at of YEAR) {
        const world = new World(fleet);
        world.now = at;
        const { reason, trace } = world.checkIn(aCheckIn());
        expect(reason === "granted", new Date(at).toISOString()).toBe(isIn(windows, zone, at));
        if (reason === "granted") granted += 1;
        else expect(trace.at(-1)?.until).toBeGreaterThan(at);
      }
      expect(granted).toBeGreaterThan(200);
    }
  });
});

describe("freezes", () => {
  const christmas = readFreeze({ from: "2026-12-20", to: "2027-01-06", reason: "holidays" }, "Europe/Berlin");

  it("hold from the first day to the end of the last, in the group's zone", () => {
    expect(new Date(christmas.startsAt).toISOString()).toBe("2026-12-19T23:00:00.000Z");
    expect(new Date(christmas.endsAt).toISOString()).toBe("2027-01-06T23:00:00.000Z");
    expect(frozenBy([christmas], christmas.startsAt - 1)).toBeNull();
    expect(frozenBy([christmas], christmas.startsAt)).toBe(christmas);
    expect(frozenBy([christmas], christmas.endsAt)).toBeNull();
  });

  it("take times of day, with or without an offset", () => {
    const noon = readFreeze({ from: "2026-12-24T12:00", to: "2026-12-24T18:00+01:00" }, "Europe/Berlin");
    expect(noon.endsAt - noon.startsAt).toBe(6 * HOUR);
  });

  it.each([
    [{ from: "2026-13-01", to: "2026-12-20" }, "is not a date"],
    [{ from: "tomorrow", to: "2026-12-20" }, "is not a date"],
    [{ from: "2026-12-20", to: "2026-12-19" }, "ends after it starts"],
  ])("say what is wrong with %j", (document, message) => {
    expect(() => checkFreeze(document, "UTC")).toThrow(message);
  });

  it("are no reason not to start, though the zone's clock leaves out all of their time", () => {
    const hour = { from: "2027-03-28T02:00", to: "2027-03-28T03:00" };
    expect(() => checkFreeze(hour, "UTC")).not.toThrow();
    expect(() => checkFreeze(hour, "Europe/Berlin")).toThrow("in Europe/Berlin");
    const { startsAt, ...freeze } = readFreeze(hour, "Europe/Berlin");
    expect(frozenBy([{ startsAt, ...freeze }], startsAt)).toBeNull();
  });

  it("stop what has been offered and not begun, and nothing that has", () => {
    const frozen = aFleet([aGroup({ policy: { freezes: [christmas], updateTimeoutMs: 30 * DAY } })]);
    for (const begun of [false, true]) {
      const world = new World(frozen);
      world.now = christmas.startsAt - MINUTE;
      expect(world.checkIn(aCheckIn()).reason).toBe("granted");
      if (begun) world.checkIn(aCheckIn({ updateCheck: false, events: [{ type: 13, result: 1, errorCode: null, previousVersion: "" }] })); // biome-ignore format: one line
      world.now = christmas.startsAt + MINUTE;
      expect(world.checkIn(aCheckIn()).reason).toBe(begun ? "offered-again" : "freeze");
      expect(world.node().status).toBe(begun ? "downloading" : "on-hold");
    }
  });
});
