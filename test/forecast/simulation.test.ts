import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { simulate } from "../../src/forecast/simulation.ts";
import { readFreeze, readWindow } from "../../src/rollout/windows.ts";
import { type Asked, DAY, forecast, HOUR, STAGES, START, scenario } from "./builders.ts";

describe("a good release", () => {
  it("opens stage after stage as each has finished and baked", () => {
    const { end, stages, history, reached, complete, broken, brokenAtHalt } = forecast();
    expect({ end, reached, complete, broken, brokenAtHalt }).toEqual({
      end: "completed",
      reached: 10_000,
      complete: 10_000,
      broken: 0,
      brokenAtHalt: null,
    });
    expect(stages.map(({ eligible }) => eligible).reduce((sum, count) => sum + count, 0)).toBe(10_000);
    for (const [index, stage] of stages.entries()) {
      expect(stage.granted).toBe(stage.eligible);
      expect(stage.complete).toBe(stage.eligible);
      // All have asked within a poll interval, and are through seven minutes later.
      const took = (stage.finishedAt ?? Number.NaN) - (stage.openedAt ?? Number.NaN);
      expect(took).toBeGreaterThan(7 * 60_000);
      expect(took).toBeLessThan(54 * 60_000);
      const next = stages[index + 1];
      if (next !== undefined) expect(next.openedAt).toBe((stage.finishedAt ?? 0) + 2 * HOUR);
    }
    expect(history.at(-1)).toMatchObject({ state: "completed", stage: 4 });
  });

  it("has a curve that rises to the whole fleet and never falls", () => {
    const { curve, startsAt, endsAt } = forecast({ strategy: { stages: [{ percent: 100, over: "5d" }] } });
    expect(curve.length).toBeGreaterThan(100);
    expect(curve.length).toBeLessThanOrEqual(401);
    expect([curve[0]?.at, curve.at(-1)?.at]).toEqual([startsAt, endsAt]);
    for (const [index, { at, granted, complete }] of curve.entries()) {
      const before = curve[index - 1];
      expect(complete).toBeGreaterThanOrEqual(before?.complete ?? 0);
      expect(granted).toBeGreaterThanOrEqual(complete);
      expect(at).toBeGreaterThan(before?.at ?? 0);
    }
    expect(curve.at(-1)).toMatchObject({ granted: 10_000, complete: 10_000, inFlight: 0, bad: 0 });
    // A steady rise over five days.
    const half = curve.find(({ at }) => at >= startsAt + 2.5 * DAY);
    expect(half?.complete).toBeGreaterThan(4_700);
    expect(half?.complete).toBeLessThan(5_300);
  });

  it("keeps to the limits of its strategy and its group", () => {
    const few = forecast({ nodes: 500, strategy: { max_in_flight: 20 } });
    expect(few).toMatchObject({ end: "completed", peakInFlight: 20 });
    // 30 an hour.
    const slow = forecast({ nodes: 300, strategy: {}, policy: { maxUpdatesPerPeriod: 30, periodMs: HOUR } });
    expect(slow.end).toBe("completed");
    expect(slow.peakInFlight).toBeLessThanOrEqual(30);
    expect(slow.endsAt - START).toBeGreaterThan(9 * HOUR);
    expect(slow.endsAt - START).toBeLessThan(14 * HOUR);
  });

  it("waits for downloads, where the server serves only so many at a time", () => {
    const asked = { nodes: 400, strategy: {}, download: "30m", install: "1m", reboot: "1m" };
    const [free, slow] = [forecast(asked), forecast({ ...asked, mostDownloads: 20 })];
    expect([free, slow]).toMatchObject([
      { end: "completed", mostDownloads: null },
      { end: "completed", complete: 400, broken: 0, mostDownloads: 20 },
    ]);
    expect(free.peakInFlight).toBeGreaterThan(200);
    // Twenty that download, and those of the last two minutes that install and reboot.
    expect(slow.peakInFlight).toBeGreaterThanOrEqual(20);
    expect(slow.peakInFlight).toBeLessThanOrEqual(40);
    expect(slow.endsAt - START).toBeGreaterThan(20 * 30 * 60_000);
    expect(slow.endsAt - START).toBeLessThan(20 * 45 * 60_000);
  });

  it.each([
    { version: "1.3.36.102" },
    { version: "1.3.36.102", from_version: "1.3.9.200" },
    { version: "4845.0.0+nightly-20261007-2100", from_version: "4845.0.0+nightly-20261006-2100" },
  ])("may be of any kind of version: %j", (versions) => {
    expect(forecast({ nodes: 50, strategy: {}, ...versions })).toMatchObject({
      version: versions.version,
      end: "completed",
      complete: 50,
    });
    expect(() => forecast({ nodes: 50, version: versions.version, from_version: versions.version })).toThrow(
      "is not below",
    );
  });

  it("starts nothing outside the windows and in freezes", () => {
    const windows = [readWindow({ days: ["mon", "tue", "wed", "thu"], from: "22:00", to: "04:00" })];
    const timezone = "Europe/Berlin"; // an hour ahead of UTC in March
    const freezes = [readFreeze({ from: "2026-03-05T00:00", to: "2026-03-10T00:00" }, timezone)];
    const { end, stages, curve } = forecast({ nodes: 1_000, policy: { windows, freezes, timezone } });
    expect(end).toBe("completed");
    const opening = Date.UTC(2026, 2, 4, 21);
    const frozen = Date.UTC(2026, 2, 4, 23);
    const thawed = Date.UTC(2026, 2, 9, 23);
    const grantedBy = (at: number) => curve.findLast((point) => point.at <= at)?.granted ?? 0;
    expect(grantedBy(opening)).toBe(0);
    expect(stages[0]?.finishedAt).toBeGreaterThan(opening);
    expect(grantedBy(thawed)).toBe(grantedBy(frozen));
    expect(grantedBy(frozen)).toBeGreaterThan(0);
  });

  it("waits for people as long as they take, or for ever", () => {
    const strategy = { stages: [{ percent: 10, approval: "manual" as const }, { percent: 100 }] };
    const manual = { strategy, nodes: 200 };
    const approved = forecast({ ...manual, approve_after: "5h" });
    expect(approved.end).toBe("completed");
    const [first, second] = approved.stages;
    expect((second?.openedAt ?? 0) - (first?.finishedAt ?? 0)).toBeGreaterThanOrEqual(5 * HOUR);
    expect(forecast({ ...manual, approve_after: null })).toMatchObject({
      end: "waiting for approval",
      stages: [{ finishedAt: expect.any(Number) }, { openedAt: null, granted: 0 }],
    });
  });

  it("ends when its time is over", () => {
    const { end, endsAt, complete } = forecast({ strategy: { stages: [{ percent: 100, over: "10d" }] }, for: "5d" });
    expect([end, endsAt]).toEqual(["time over", START + 5 * DAY]);
    expect(complete).toBeGreaterThan(4_700);
    expect(complete).toBeLessThan(5_300);
  });

  it("says so when the group's updates are turned off", () => {
    expect(forecast({ nodes: 10, policy: { updatesEnabled: false } })).toMatchObject({
      end: "updates turned off",
      reached: 0,
    });
  });
});

describe("a bad release", () => {
  it("that no node comes back from reaches one in a hundred at most", () => {
    const { end, reached, lost, brokenAtHalt, stages } = forecast({ die: ["100%"] });
    expect(end).toBe("halted");
    expect(brokenAtHalt).toBe(3);
    expect(lost).toBe(reached);
    expect(reached).toBeGreaterThan(0);
    expect(reached).toBeLessThanOrEqual(100);
    expect(stages[1]).toMatchObject({ openedAt: null, granted: 0 });
  });

  it("that fails on a fifth of the nodes breaks a handful", () => {
    const { end, broken, stages, history } = forecast({ fail: ["20%:9"] });
    expect(end).toBe("halted");
    expect(broken).toBeLessThanOrEqual(30);
    expect(stages[2]?.granted).toBe(0);
    expect(history.at(-1)?.reason).toMatch(/finished nodes failed/);
  });

  it("that falls back is halted with the first few", () => {
    const { end, brokenAtHalt, reached } = forecast({ fall_back: ["100%"] });
    expect(end).toBe("halted");
    expect(brokenAtHalt).toBe(5);
    expect(reached).toBeLessThanOrEqual(100);
  });

  it("that comes up and dies an hour later is halted while the first stage bakes", () => {
    const { end, reached, silent, brokenAtHalt, history, stages } = forecast({ die_later: ["100%"] });
    expect(end).toBe("halted");
    expect(history.at(-1)?.reason).toMatch(
      /nodes that had completed have fallen silent, and 0 of 99\d\d of the others/,
    );
    expect(reached).toBeLessThanOrEqual(100);
    expect([silent, brokenAtHalt]).toEqual([reached, reached]);
    expect(stages[1]).toMatchObject({ openedAt: null });
    // One that takes longer than the stage bakes gets further.
    expect(forecast({ die_later: ["100%"], later: "6h" }).reached).toBeGreaterThan(500);
    const off = { ...STAGES, health: { silence: "off" as const } };
    expect(forecast({ die_later: ["100%"], strategy: off, nodes: 500 })).toMatchObject({
      end: "completed",
      silent: 500,
    });
  });

  it("that comes up and falls back an hour later is halted while the first stage bakes", () => {
    const { end, reached, history } = forecast({ fall_back_later: ["100%"] });
    expect(end).toBe("halted");
    expect(history.at(-1)?.reason).toMatch(/finished nodes failed/);
    expect(reached).toBeLessThanOrEqual(100);
  });

  it("on one OEM alone is held back there, and goes out to the others", () => {
    for (const kind of ["die", "fall_back", "die_later"] as const) {
      const { end, broken, silent, complete, history } = forecast({ [kind]: ["100%,oem=vmware"] });
      expect(end).toBe("completed");
      expect(history.map(({ reason }) => reason).join("\n")).toContain("oem=vmware");
      expect(broken + silent).toBeLessThanOrEqual(100);
      expect(complete - silent).toBe(7_500);
    }
  });

  it("with no gate reaches everybody", () => {
    expect(forecast({ die: ["100%"], nodes: 200, strategy: {} })).toMatchObject({
      reached: 200,
      lost: 200,
      brokenAtHalt: null,
    });
  });
});

describe("a forecast", () => {
  it("is the same every time, and another with another seed", () => {
    const asked = { nodes: 500, fail: ["3%:9"] };
    expect(forecast(asked)).toEqual(forecast(asked));
    const [one, other] = [forecast(asked), forecast({ ...asked, seed: "another" })];
    expect(other.stages.map(({ eligible }) => eligible)).not.toEqual(one.stages.map(({ eligible }) => eligible));
  });

  const duration = (...texts: string[]) => fc.constantFrom(...texts);
  const share = fc.integer({ min: 0, max: 60 }).map((percent) => `${percent}%`);
  const asked: fc.Arbitrary<Asked> = fc.record({
    nodes: fc.integer({ min: 1, max: 120 }),
    poll_interval: duration("5m", "45m", "2h"),
    download: duration("0s", "4m", "90m"),
    reboot: duration("0s", "2m", "3h"),
    fail: share.map((text) => [`${text}:9`]),
    die: share.map((text) => [text]),
    fall_back: share.map((text) => [text]),
    die_later: share.map((text) => [text]),
    fall_back_later: share.map((text) => [text]),
    later: duration("30m", "5h"),
    for: fc.constant("2d"),
    seed: fc.string({ maxLength: 5 }),
    mostDownloads: fc.constantFrom(null, null, null, 1, 10),
    strategy: fc.record(
      {
        stages: fc.constantFrom(
          [{ percent: 10, bake: "1h" }, { percent: 50 }, { percent: 100 }],
          [{ percent: 100, over: "1d" }],
          [{ percent: 20, approval: "manual" as const }, { percent: 60, over: "3h" }, { percent: 100 }],
          [{ match: { oem: ["vmware"] } }, { percent: 100 }],
        ),
        health: fc.constantFrom({}, { on_breach: "watch" as const }, { max_failure_percent: 40, slices: [] }),
        ramp: fc.constantFrom(null, { start: 1 }, { start: 3, grow: 0.5 }, { start: "10%", grow: 2 }),
        max_in_flight: fc.option(fc.integer({ min: 1, max: 10 }), { nil: null }),
        retry: fc.constantFrom({ after: "1h", max: 2 }, { after: "10m", max: 5 }),
      },
      { requiredKeys: [] },
    ),
    policy: fc.record(
      {
        maxUpdatesPerPeriod: fc.integer({ min: 1, max: 20 }),
        safeMode: fc.boolean(),
        updateTimeoutMs: fc.constantFrom(HOUR, 4 * HOUR),
        windows: fc.constant([readWindow({ from: "10:00", to: "15:00" })]),
      },
      { requiredKeys: [] },
    ),
  });

  it("lets nodes that try again go ahead of those that a ramp holds", () => {
    const given = scenario({
      nodes: 6,
      poll_interval: "5m",
      fall_back: ["32%"],
      for: "2d",
      seed: " \\",
      strategy: { ramp: { start: 3, grow: 0.5 } },
      policy: { maxUpdatesPerPeriod: 1 },
    });
    expect(simulate(given)).toEqual(simulate(given, { everyPoll: true }));
  });

  it("comes out as if every node asked every time", () => {
    fc.assert(
      fc.property(asked, (one) => {
        const given = scenario(one);
        expect(simulate(given)).toEqual(simulate(given, { everyPoll: true }));
      }),
      { numRuns: 100 },
    );
  });
});
