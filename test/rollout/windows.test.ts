import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checkFreeze,
  frozenBy,
  inWindows,
  nextOpening,
  OFFICE_HOURS,
  readFreeze,
  readWindow,
  type WindowDocument,
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

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const WEEK_MINUTES = 7 * 1440;

/** Slowly: from each moment at which it opens, minute by minute until its end is there or its length is over. */
function openMinutes({ days, from, to, length }: WindowDocument): Set<number> {
  const [start = "", startDay] = from.split(" ").reverse();
  const [end = "", endDay] = (to ?? "").split(" ").reverse();
  const open = new Set<number>();
  for (const day of startDay === undefined ? (days ?? DAYS) : [startDay]) {
    const first = DAYS.indexOf(day.toLowerCase()) * 1440 + minutesOf(start);
    for (let passed = 0; passed < WEEK_MINUTES; passed += 1) {
      const minute = (first + passed) % WEEK_MINUTES;
      const here = { day: DAYS[Math.floor(minute / 1440)], minutes: minute % 1440 };
      const isEnd =
        here.minutes === minutesOf(end) % 1440 && (endDay === undefined || here.day === dayOfEnd(end, endDay));
      if (passed > 0 && (length === undefined ? isEnd : passed === LENGTHS[length])) break;
      open.add(minute);
    }
  }
  return open;
}
const LENGTHS: Readonly<Record<string, number>> = {
  "1h30m": 90,
  "5m": 5,
  "24h": 1440,
  "3d": 3 * 1440,
  "90 minutes": 90,
};
const minutesOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
const dayOfEnd = (end: string, day: string): string | undefined =>
  DAYS[(DAYS.indexOf(day.toLowerCase()) + (end === "24:00" ? 1 : 0)) % 7];

function isIn(open: ReadonlySet<number>, zone: string, at: number): boolean {
  const { day, minutes } = yearsWall(zone, at);
  return open.has((day - 1) * 1440 + minutes);
}
const minutesOfAll = (documents: readonly WindowDocument[]): Set<number> =>
  new Set(documents.flatMap((document) => [...openMinutes(document)]));

const NIGHTS: readonly WindowDocument[] = [{ days: ["tue", "sat"], from: "22:30", to: "02:30" }];
const THREE: readonly WindowDocument[] = [
  { days: ["sun"], from: "01:00", to: "03:00" },
  { from: "12:15", to: "12:45" },
  { days: ["fri", "sat", "sun"], from: "23:00", to: "23:00" },
];
const WEEKEND: readonly WindowDocument[] = [
  { from: "Fri 22:00", to: "Mon 06:00" },
  { from: "Thu 23:00", length: "1h30m" },
  { days: ["wed"], from: "20:00", to: "24:00" },
];
const OFFICE: readonly WindowDocument[] = [{ days: ["mon", "tue", "wed", "thu", "fri"], from: "09:00", to: "17:00" }];

describe("maintenance windows", () => {
  it.each(ZONES)("are open by the wall clock of %s, through a year with its clock changes", (zone) => {
    for (const documents of [NIGHTS, THREE, WEEKEND, OFFICE]) {
      const windows = documents === OFFICE ? OFFICE_HOURS : documents.map(readWindow);
      const open = minutesOfAll(documents);
      expect(YEAR.filter((at) => inWindows(windows, zone, at) !== isIn(open, zone, at))).toEqual([]);
    }
  });

  /** Of every form that may be written. */
  const aWindow = (() => {
    const two = (value: number): string => String(value).padStart(2, "0");
    const time = fc.integer({ min: 0, max: 1439 }).map((at) => `${two(Math.floor(at / 60))}:${two(at % 60)}`);
    const end = fc.oneof(time, fc.constantFrom("24:00", "02:30", "00:00"));
    const day = fc.constantFrom("Mon", "tue", "Wed", "thu", "FRI", "Sat", "sun");
    const dayAndTime = fc.tuple(day, time).map((parts) => parts.join(" "));
    const days = fc.uniqueArray(fc.constantFrom(...DAYS), { minLength: 1, maxLength: 3 });
    const length = fc.constantFrom(...Object.keys(LENGTHS));
    return fc.oneof(
      fc.record({ days, from: time, to: end }),
      fc.record({ from: dayAndTime, to: end }),
      fc.record({ from: dayAndTime, to: fc.tuple(day, end).map((parts) => parts.join(" ")) }),
      fc.record({ days, from: time, length }),
      fc.record({ from: dayAndTime, length }),
    );
  })();

  it("are open in the very minutes that a slow look at what was written finds, while clocks change", () => {
    // Lord Howe moves its clock by half an hour; Cairo at midnight, so that a day has no first hour, or two last ones.
    const changes: readonly (readonly [string, number])[] = [
      ["Europe/Berlin", Date.UTC(2026, 2, 29, 1)],
      ["Europe/Berlin", Date.UTC(2026, 9, 25, 1)],
      ["America/New_York", Date.UTC(2026, 2, 8, 7)],
      ["Australia/Lord_Howe", Date.UTC(2026, 3, 4, 15)],
      ["Australia/Lord_Howe", Date.UTC(2026, 9, 3, 15, 30)],
      ["Africa/Cairo", Date.UTC(2026, 3, 23, 22)],
      ["Africa/Cairo", Date.UTC(2026, 9, 29, 21)],
    ];
    for (const [zone, at] of changes)
      expect(wall(zone, at).minutes).not.toBe((wall(zone, at - MINUTE).minutes + 1) % 1440);
    fc.assert(
      fc.property(
        fc.constantFrom(...changes),
        fc.array(aWindow, { minLength: 1, maxLength: 2 }),
        fc.integer({ min: -700, max: -100 }),
        ([zone, change], documents, start) => {
          const windows = documents.map(readWindow);
          const open = minutesOfAll(documents);
          const wrong: string[] = [];
          for (let minute = start; minute < start + 900; minute += 1) {
            const at = change + minute * MINUTE;
            if (inWindows(windows, zone, at) !== isIn(open, zone, at)) wrong.push(new Date(at).toISOString());
          }
          expect(wrong).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("tell their next opening to the minute, also across a change of the clock", () => {
    // Around the changes of 2026 in both zones, and anywhere else.
    const changes = [Date.UTC(2026, 2, 8), Date.UTC(2026, 2, 29), Date.UTC(2026, 9, 25), Date.UTC(2026, 10, 1)];
    const when = fc.oneof(
      fc.tuple(fc.constantFrom(...changes), fc.integer({ min: -6 * DAY, max: DAY })).map(([at, by]) => at + by),
      fc.integer({ min: Date.UTC(2026, 0, 1), max: Date.UTC(2027, 0, 1) }),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...ZONES),
        fc.array(aWindow, { minLength: 1, maxLength: 2 }),
        when,
        (zone, documents, at) => {
          const opening = nextOpening(documents.map(readWindow), zone, at);
          if (opening === null) throw new Error("a window opens every week");
          const open = minutesOfAll(documents);
          expect(isIn(open, zone, opening)).toBe(true);
          if (opening === at) return;
          expect(isIn(open, zone, at)).toBe(false);
          for (let minute = at; minute < opening; minute += 97 * MINUTE) expect(isIn(open, zone, minute)).toBe(false);
          expect(isIn(open, zone, opening - 1)).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each<[WindowDocument, number]>([
    [{ from: "20:00", to: "24:00" }, 4 * 60],
    [{ from: "00:00", to: "24:00" }, 24 * 60],
    [{ days: ["sat"], from: "00:00", to: "00:00" }, 24 * 60],
    [{ from: "Fri 22:00", to: "Mon 06:00" }, 56 * 60],
    [{ from: "Friday 22:00", to: "MONDAY 06:00" }, 56 * 60],
    [{ from: "Fri 22:00", to: "Sun 24:00" }, 50 * 60],
    [{ from: "Fri 22:00", to: "06:00" }, 8 * 60],
    [{ from: "Mon 00:00", to: "Sun 24:00" }, 7 * 24 * 60],
    [{ from: "Fri 22:00", to: "Fri 22:00" }, 7 * 24 * 60],
    [{ from: "Fri 22:00", to: "Fri 20:00" }, 7 * 24 * 60 - 120],
    [{ from: "Thu 23:00", length: "1h30m" }, 90],
    [{ days: ["sat", "sun"], from: "23:30", length: "60 minutes" }, 60],
    [{ from: "Mon 00:00", length: "7d" }, 7 * 24 * 60],
  ])("are as long as %j says", (document, minutes) => {
    expect(readWindow(document).lengthMinutes).toBe(minutes);
  });

  it("that fall into the hour which never comes, open when the clock has jumped over it", () => {
    // Berlin, 29 March 2026: 02:00 becomes 03:00.
    const windows = [readWindow({ days: ["sun"], from: "02:15", to: "03:30" })];
    const opening = nextOpening(windows, "Europe/Berlin", Date.UTC(2026, 2, 28, 12));
    expect(new Date(opening ?? 0).toISOString()).toBe("2026-03-29T01:00:00.000Z");
  });

  it("in a zone that does not exist never open", () => {
    const always = [readWindow({ from: "00:00", to: "24:00" })];
    expect(inWindows(always, "Mars/Olympus", Date.now())).toBe(false);
    expect(nextOpening(always, "Mars/Olympus", Date.now())).toBeNull();
    expect(nextOpening([], "Europe/Berlin", Date.now())).toBeNull();
  });

  it.each([
    [{ days: ["someday"], from: "10:00", to: "11:00" }, "days are mon"],
    [{ days: [], from: "10:00", to: "11:00" }, "days are mon"],
    [{ from: "24:00", to: "11:00" }, '"24:00" is not a time of day'],
    [{ from: "10:00", to: "11" }, '"11" is not a time of day'],
    [{ from: "10:00", to: "24:30" }, '"24:30" is not a time of day'],
    [{ from: "Fri 24:00", to: "Sat 02:00" }, '"Fri 24:00" is not a time of day'],
    [{ from: "Someday 10:00", to: "11:00" }, '"Someday 10:00" is not a time of day'],
    [{ from: "10:00" }, "needs an end or a length"],
    [{ from: "10:00", to: "11:00", length: "1h" }, "an end or a length, not both"],
    [{ days: ["fri"], from: "Fri 10:00", to: "11:00" }, "its day stands in from"],
    [{ from: "22:00", to: "Mon 06:00" }, 'from must name one, too: e.g. from: "Fri 22:00", to: "Mon 06:00"'],
    [{ from: "22:00", length: "ages" }, '"ages" is not a duration'],
    [{ from: "22:00", length: "8d" }, "7 days at most"],
    [{ from: "22:00", length: "90s" }, "whole minutes"],
  ])("say what is wrong with %j", (document, message) => {
    expect(() => readWindow(document)).toThrow(message);
  });

  it.each(ZONES)("hold every grant, for a year of checks in %s", (zone) => {
    for (const documents of [THREE, WEEKEND]) {
      const fleet = aFleet([aGroup({ policy: { windows: documents.map(readWindow), timezone: zone } })]);
      const open = minutesOfAll(documents);
      let granted = 0;
      const wrong = YEAR.filter((at) => {
        const world = new World(fleet);
        world.now = at;
        const { reason, trace } = world.checkIn(aCheckIn());
        if (reason === "granted") granted += 1;
        else if (!((trace.at(-1)?.until ?? 0) > at)) return true;
        return (reason === "granted") !== isIn(open, zone, at);
      });
      expect(wrong).toEqual([]);
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
