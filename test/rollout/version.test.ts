import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { VersionOrder } from "../../src/rollout/model/configuration.ts";
import {
  compareVersions,
  countAsSame,
  isVersion,
  lowestVersion,
  matchesPrefix,
  orderOf,
} from "../../src/rollout/version.ts";
import { isInRange, isRange } from "../../src/rollout/version-range.ts";

const ORDERS: readonly VersionOrder[] = ["semver", "semver-build", "four-part"];

/** Each older than the next. */
function ascend(versions: readonly string[], order: VersionOrder): void {
  for (const [index, version] of versions.entries()) {
    for (const later of versions.slice(index + 1)) {
      expect(compareVersions(version, later, order), `${version} < ${later}`).toBeLessThan(0);
      expect(compareVersions(later, version, order), `${later} > ${version}`).toBeGreaterThan(0);
    }
  }
}

describe("a semantic version", () => {
  it("is strict semver", () => {
    for (const text of ["4230.2.1", "0.0.0", "1.2.3-rc.1", "4459.2.1+nightly-20260301-2100"])
      expect(isVersion(text, "semver")).toBe(true);
    for (const text of ["", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", " 1.2.3", "1.2.3 ", `1.2.3-${"x".repeat(300)}`]) {
      expect(isVersion(text, "semver")).toBe(false);
      expect(isVersion(text, "semver-build")).toBe(false);
    }
  });

  it("compares by number, with builds alike and pre-releases before the release", () => {
    ascend(["not-a-version", "9.0.0", "10.0.0-dev", "10.0.0", "10.0.1", "4230.2.1"], "semver");
    expect(compareVersions("1.0.0+a", "1.0.0+b", "semver")).toBe(0);
    expect(countAsSame("1.0.0+a", "1.0.0", "semver")).toBe(true);
    expect(countAsSame("1.0.0", "1.0.0", "semver")).toBe(false);
    expect(countAsSame("1.0.0+a", "1.0.0+b", "semver-build")).toBe(false);
    expect(countAsSame("one", "two", "semver")).toBe(false);
  });

  it("is ordered by the date in its build metadata, where that counts, whatever the date stands behind", () => {
    ascend(
      [
        "4845.0.0-alpha+nightly-20261101-2100",
        "4845.0.0",
        "4845.0.0+1",
        "4845.0.0+9",
        "4845.0.0+10",
        "4845.0.0+dev",
        "4845.0.0+nightly-20260131-2100",
        "4845.0.0+2026-10-05-0100",
        "4845.0.0+nightly-20261006",
        "4845.0.0+nightly-20261006-2100",
        "4845.0.0+nightly-20261006-2359",
        // Of one date, by name.
        "4845.0.0+build-20261007-2100",
        "4845.0.0+nightly-20261007-2100",
        "4845.0.0+dev-main-2026-10-08",
        "4845.0.0+nightly-20261008-2100",
        "4845.0.1",
      ],
      "semver-build",
    );
    ascend(
      ["4845.0.0", "4845.0.0+nightly-20261006-2100", "4845.0.0+nightly-20261007-2100", "4845.0.1"],
      "semver-build",
    );
    ascend(["4845.0.0+nightly-20261007-2100", "4845.0.0+dev-main-2026-10-08"], "semver-build");
    ascend(["4845.0.0+zz-20261006", "4845.0.0+aa-20261007"], "semver-build");
    ascend(["4845.0.0+build.9", "4845.0.0+build.10"], "semver-build");
    // No dates: the month, the day, and a longer number.
    ascend(["1.0.0+20261301", "1.0.0+20261006"], "semver-build");
    ascend(["1.0.0+120261006", "1.0.0+20251006"], "semver-build");
  });

  it("stays right when thousands of others were seen", () => {
    for (let n = 0; n < 5_000; n += 1) isVersion(`1.0.${n}`, "semver");
    expect(compareVersions("1.0.1", "1.0.2", "semver")).toBeLessThan(0);
  });

  it("matches a prefix by components, and build metadata is none", () => {
    expect(matchesPrefix("2.40.1", "2.4")).toBe(false);
    expect(matchesPrefix("2.4.1", "2.4")).toBe(true);
    expect(matchesPrefix("2.4.1", "2.4.1.7")).toBe(false);
    expect(matchesPrefix("4845.0.0+nightly-20261006-2100", "4845.0.0")).toBe(true);
    expect(matchesPrefix("4845.0.0+nightly.1", "4845.0.0+nightly")).toBe(true);
    expect(matchesPrefix("4845.0.0+nightly.1", "4845.0.0$")).toBe(false);
    expect(matchesPrefix("1.3.36.102", "1.3.")).toBe(true);
    expect(matchesPrefix("1.3.36.102", "1.3.36.10")).toBe(false);
  });
});

describe("a version of four numbers", () => {
  it("has four of them, each without zeros before it, and of 32 bits", () => {
    for (const text of ["0.0.0.0", "1.3.36.102", "4294967295.1.2.3"]) expect(isVersion(text, "four-part")).toBe(true);
    for (const text of [
      "",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.4.",
      ".1.2.3",
      "1.2.3.x",
      "01.2.3.4",
      "1.2.3.4+a",
      "4294967296.0.0.0",
      " 1.2.3.4",
    ])
      expect(isVersion(text, "four-part")).toBe(false);
  });

  it("compares number by number, and what is none is older than all of them", () => {
    ascend(["1.3.36", "0.0.0.0", "1.3.9.200", "1.3.36.9", "1.3.36.102", "1.10.0.0", "2.0.0.0"], "four-part");
    expect(compareVersions("1.3.36", "4230.2.1", "four-part")).toBe(0);
    expect(isVersion(lowestVersion("four-part"), "four-part")).toBe(true);
    expect(orderOf("four-part", "order")).toBe("four-part");
  });
});

describe("the order of versions", () => {
  const number = fc.constantFrom(0, 1, 9, 10, 102);
  const build = fc.constantFrom(
    "",
    "+a",
    "+1",
    "+10",
    "+nightly-20261006-2100",
    "+nightly-20261007-2100",
    "+2026-10-06",
    "+20261006",
    "+01",
    "+1.a",
  );
  const version = fc.oneof(
    fc
      .tuple(number, number, number, fc.constantFrom("", "-rc.1"), build)
      .map(([a, b, c, pre, end]) => `${a}.${b}.${c}${pre}${end}`),
    fc.tuple(number, number, number, number).map((parts) => parts.join(".")),
    fc.constantFrom("", "none"),
  );

  it.each(ORDERS)("is one, whichever of them is looked at: %s", (order) => {
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        const sign = (x: string, y: string) => Math.sign(compareVersions(x, y, order));
        expect(sign(a, b)).toBe(-sign(b, a) + 0);
        if (sign(a, b) <= 0 && sign(b, c) <= 0) expect(sign(a, c)).toBeLessThanOrEqual(0);
        if (sign(a, b) === 0) expect(sign(a, c)).toBe(sign(b, c));
        if (order !== "semver" && isVersion(a, order) && sign(a, b) === 0) expect(a).toBe(b);
      }),
      { numRuns: 3_000 },
    );
  });

  it("goes by build metadata only where all else is the same", () => {
    fc.assert(
      fc.property(version, version, (a, b) => {
        const distance = Math.sign(compareVersions(a, b, "semver"));
        if (distance !== 0) expect(Math.sign(compareVersions(a, b, "semver-build"))).toBe(distance);
      }),
    );
  });

  it.each(ORDERS)("decides about ranges: %s", (order) => {
    const operator = fc.constantFrom("<", "<=", ">", ">=", "=");
    fc.assert(
      fc.property(version, version, operator, (one, bound, how) => {
        fc.pre(isVersion(one, order) && isVersion(bound, order));
        const distance = compareVersions(one, bound, order);
        const holds = {
          "<": distance < 0,
          "<=": distance <= 0,
          ">": distance > 0,
          ">=": distance >= 0,
          "=": distance === 0,
        }[how];
        expect(isInRange(one, `${how}${bound}`, order)).toBe(holds);
        expect(isInRange(one, `${how} ${bound} || ${how}${bound}`, order)).toBe(holds);
      }),
    );
  });
});

describe("a range of versions", () => {
  it.each<[string, VersionOrder]>([
    ["<4000.0.0", "semver"],
    ["^4230.0.0", "semver-build"],
    ["4230.x || >=4593", "semver"],
    ["<1.3.36.0", "four-part"],
    [">= 1.3.36.0 < 1.4.0.0 || 2.0.0.0", "four-part"],
  ])("may be %s (%s)", (range, order) => expect(isRange(range, order)).toBe(true));

  it.each<[string, VersionOrder]>([
    ["<1.3.36.0", "semver"],
    ["nonsense", "semver"],
    ["<4000.0.0", "four-part"],
    ["^1.3.36.0", "four-part"],
    ["<1.3.36.0 ||", "four-part"],
    ["", "four-part"],
    ["<>1.3.36.0", "four-part"],
  ])('can\'t be "%s" (%s)', (range, order) => expect(isRange(range, order)).toBe(false));

  it("has in it what it says", () => {
    expect(isInRange("1.3.36.5", ">=1.3.36.0 <1.3.37.0", "four-part")).toBe(true);
    expect(isInRange("1.3.36.5", ">=1.3.36.0 <1.3.36.5 || =1.3.36.5", "four-part")).toBe(true);
    expect(isInRange("1.3.37.0", ">=1.3.36.0 <1.3.37.0", "four-part")).toBe(false);
    expect(isInRange("none", "<9.0.0.0", "four-part")).toBe(false);
    expect(isInRange("4000.0.0-rc.1", "<4000.0.0", "semver")).toBe(true);
    expect(isInRange("4845.0.0+nightly-20261006", "<=4845.0.0", "semver")).toBe(true);
    expect(isInRange("4845.0.0+nightly-20261006", "<=4845.0.0", "semver-build")).toBe(false);
    expect(isInRange("4845.0.0+nightly-20261006", "<4845.0.0+nightly-20261007", "semver-build")).toBe(true);
    expect(isInRange("4845.0.0+nightly-20261006", "4845.x", "semver-build")).toBe(true);
  });
});
