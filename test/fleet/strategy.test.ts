import { describe, expect, it } from "vitest";
import { freezesSchema, strategySchema, windowsSchema } from "../../src/fleet/strategy.ts";
import { PRESETS } from "../../src/rollout/strategy.ts";

const complaints = (schema: typeof strategySchema | typeof windowsSchema | typeof freezesSchema, input: unknown) =>
  (schema.safeParse(input).error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);

describe("a strategy that comes in", () => {
  it("is kept as written", () => {
    const written = {
      stages: [
        { percent: 1, bake: "2h" },
        { percent: 50, over: "24 hours", approval: "manual", max_duration: "2d" },
        { match: { oem: ["azure"], version: "<4000.0.0", id: ["{1}"], alias: "lab-*" } },
        { match: { labels: { rack: "7", "example.org/env": "" } } },
        { percent: 100 },
      ],
      health: { max_failure_percent: 5, min_finished: 5, max_lost: null, on_breach: "ask", slices: ["oem"] },
      max_in_flight: 50,
      retry: { after: "1h 30m", max: 5 },
      on_demand: "skip-stages",
      after: [{ group: "canary", bake: "1d" }],
      seed: "canaries",
      active_within: "2d",
    };
    expect(strategySchema.parse(written)).toEqual(written);
  });

  it("may be a preset: written out, and changed by what stands beside it", () => {
    expect(strategySchema.parse({ preset: "careful" })).toEqual(PRESETS.careful);
    expect(strategySchema.parse({ preset: "fast", max_in_flight: 7 })).toEqual({ ...PRESETS.fast, max_in_flight: 7 });
    for (const preset of ["careful", "normal", "fast", "hotfix"]) {
      expect(strategySchema.safeParse(strategySchema.parse({ preset })).success).toBe(true);
    }
  });

  it.each([
    [{ preset: "reckless" }, "preset: "],
    [{ stages: [] }, "stages: "],
    [{ stages: [{}] }, "stages.0: needs percent, match or both"],
    [{ stages: [{ percent: 101 }] }, "stages.0.percent: "],
    [{ stages: [{ percent: 50 }, { percent: 10 }] }, "stages.1.percent: is less than the 50 % of an earlier stage"],
    [{ stages: [{ percent: 5, bake: "soon" }] }, 'stages.0.bake: "soon" is not a duration'],
    [{ stages: [{ percent: 5, bake: 7 }] }, "stages.0.bake: "],
    [{ stages: [{ percent: 5, approval: "yes" }] }, "stages.0.approval: "],
    [{ stages: [{ match: {} }] }, "stages.0.match: name at least one of"],
    [{ stages: [{ match: { labels: {} } }] }, "stages.0.match.labels: name at least one label"],
    [{ stages: [{ match: { labels: { "": "7" } } }] }, 'stages.0.match.labels: "" is not a label\'s name'],
    [{ stages: [{ match: { labels: { "a b": "7" } } }] }, 'stages.0.match.labels: "a b" is not a label\'s name'],
    [{ stages: [{ match: { labels: { rack: 7 } } }] }, "stages.0.match.labels.rack: "],
    [{ stages: [{ match: { labels: { rack: "7".repeat(256) } } }] }, "stages.0.match.labels.rack: "],
    [{ stages: [{ match: { version: "new" } }] }, 'stages.0.match.version: "new" is not a version range'],
    [{ stages: [{ match: { alias: "*a*b*c*d*" } }] }, "stages.0.match.alias: may have 4 stars"],
    [{ stages: [{ percent: 5, cook: "2h" }] }, "stages.0: "],
    [{ health: { max_failure_percent: -1 } }, "health.max_failure_percent: "],
    [{ health: { on_breach: "explode" } }, "health.on_breach: "],
    [{ health: { slices: ["planet"] } }, "health.slices.0: "],
    [{ max_in_flight: 0 }, "max_in_flight: "],
    [{ retry: { max: 1.5 } }, "retry.max: "],
    [{ after: [{ bake: "1d" }] }, "after.0.group: "],
    [{ speed: 9 }, ": "],
  ])("is refused where it is wrong: %j", (input, complaint) => {
    const found = complaints(strategySchema, input);
    expect(
      found.some((one) => one.startsWith(complaint)),
      found.join("; "),
    ).toBe(true);
  });

  it("says what is wrong with windows and freezes", () => {
    expect(complaints(windowsSchema, [{ days: ["mon"], from: "22:00", to: "04:00" }])).toEqual([]);
    expect(complaints(windowsSchema, [{ from: "22:00", to: "4" }])).toEqual([
      '0: "4" is not a time of day; write e.g. "22:30", or "Fri 22:30"',
    ]);
    for (const window of [
      { from: "20:00", to: "24:00" },
      { from: "Fri 22:00", to: "Mon 06:00" },
      { from: "Thu 23:00", length: "1h30m" },
    ])
      expect(windowsSchema.parse([window])).toEqual([window]);
    expect(complaints(windowsSchema, [{ from: "Fri 22:00", length: "8d" }])).toEqual([
      '0: "8d" is too long: a window is open for 7 days at most',
    ]);
    expect(complaints(windowsSchema, [{ days: ["moonday"], from: "22:00", to: "04:00" }])[0]).toContain("0.days.0");
    expect(complaints(freezesSchema, [{ from: "2026-12-20", to: "2027-01-06", reason: "holidays" }])).toEqual([]);
    expect(complaints(freezesSchema, [{ from: "2026-12-20", to: "2026-12-01" }])[0]).toContain("ends after it starts");
  });
});
