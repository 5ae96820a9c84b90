import { describe, expect, it } from "vitest";
import { type Away, missedFrom, withAbsence } from "../../src/rollout/habits.ts";
import { HOUR, MINUTE } from "./builders.ts";

const DAY = 24 * HOUR;
const AFTER = 105 * MINUTE;
/** Midnight before a Monday. */
const MONDAY = Date.UTC(2026, 2, 2);
const at = (day: number, hour: number) => MONDAY + day * DAY + hour * HOUR;
/** Off from 19:00 to 7:00, and at weekends, for two weeks. */
const NIGHTS: Away = Array.from(
  { length: 14 },
  (_, day) => [at(day, 19), at(day + (day % 7 === 4 ? 3 : 1), 7)] as const,
).filter((_, day) => day % 7 < 5);
const missed = (seenAt: number, away: Away = [], more = {}) =>
  missedFrom({ createdAt: 0, seenAt, dueAt: null, away, ...more }, seenAt, AFTER);

describe("a node is missed", () => {
  it("two checks and a quarter of an hour after it was due", () => {
    expect(missed(at(9, 12))).toBe(at(9, 12) + AFTER);
    expect(missed(at(9, 12), [], { dueAt: at(9, 14) })).toBe(at(9, 14) + AFTER);
    expect(missed(at(9, 12), [], { dueAt: at(9, 11) })).toBe(at(9, 12) + AFTER);
  });

  it("not at a time at which it was away the day before, or the week before, give or take two hours", () => {
    const known = (until: number) => NIGHTS.filter(([, back]) => back <= until);
    // The second Wednesday: at noon, in the evening, and when it should have gone off already.
    expect(missed(at(9, 12), known(at(9, 12)))).toBe(at(9, 12) + AFTER);
    expect(missed(at(9, 16), known(at(9, 16)))).toBe(at(10, 9) + AFTER - HOUR);
    expect(missed(at(9, 18.5), known(at(9, 18.5)))).toBe(at(10, 9) + AFTER);
    // On Friday evening: when it does not come on Monday. On Monday at noon: on Tuesday, since Sunday is no example for that.
    expect(missed(at(11, 18), known(at(11, 18)))).toBe(at(14, 9) + AFTER);
    expect(missed(at(14, 12), known(at(14, 12)))).toBe(at(15, 9) + AFTER);
  });

  it("if it was away in the last eight days, only when it has been known for as long", () => {
    const once: Away = [[at(8, 12), at(8, 20)]];
    expect(missed(at(9, 23), once)).not.toBeNull();
    expect(missed(at(9, 23), once, { createdAt: at(2, 0) })).toBeNull();
    expect(missed(at(9, 23), [], { createdAt: at(9, 22) })).not.toBeNull();
    // And what was longer ago is forgotten.
    expect(missed(at(17, 12), once, { createdAt: at(17, 0) })).toBe(at(17, 12) + AFTER);
  });
});

describe("what is remembered of a node's absences", () => {
  it("are those of the last eight days, and no more than a hundred", () => {
    expect(
      withAbsence(
        [
          [at(0, 1), at(0, 5)],
          [at(1, 1), at(1, 5)],
        ],
        at(8, 6),
        at(8, 20),
      ),
    ).toEqual([
      // biome-ignore format: one line
      [at(1, 1), at(1, 5)],
      [at(8, 6), at(8, 20)],
    ]);
    let away: Away = [];
    for (let hour = 0; hour < 150; hour += 1) away = withAbsence(away, at(0, hour), at(0, hour + 0.9));
    expect(away).toHaveLength(100);
    expect(away.at(-1)).toEqual([at(0, 149), at(0, 149.9)]);
  });
});
