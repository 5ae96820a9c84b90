import { describe, expect, it } from "vitest";
import { isOverloaded, type PollingOptions, pollIntervalSeconds } from "../../src/checkin/polling.ts";

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 2, 4, 12);
const options: PollingOptions = { normalSeconds: null, longestMs: 4 * HOUR, adaptive: true, overloadWaitMs: 1_000 };
const interval = (waitMs: number | null, load = 0, changes: Partial<PollingOptions> = {}) =>
  pollIntervalSeconds({ ...options, ...changes }, waitMs === null ? null : NOW + waitMs, NOW, load);

describe("the poll interval", () => {
  it("is left to the node when nothing is known, and when what is known is near", () => {
    expect(interval(null)).toBeNull();
    expect(interval(HOUR)).toBeNull(); // two thirds of it are 40 minutes
    expect(interval(-HOUR)).toBeNull();
    expect(interval(null, 0, { normalSeconds: 3_600 })).toBe(3_600);
    expect(interval(1.5 * HOUR, 0, { normalSeconds: 3_600 })).toBe(3_600);
  });

  it("brings a node back no later than when its time has come, though it adds half", () => {
    for (const hours of [1.2, 2, 3, 4]) {
      expect((interval(hours * HOUR) ?? 0) * 1.5 * 1000).toBeLessThanOrEqual(hours * HOUR);
    }
    expect(interval(3 * HOUR)).toBe(2 * 3_600);
  });

  it("never keeps a node away longer than it may", () => {
    expect(interval(99 * HOUR)).toBe((4 * 3_600 * 2) / 3);
    expect(interval(99 * HOUR, 0, { longestMs: 2 * HOUR })).toBe((2 * 3_600 * 2) / 3);
    expect(interval(null, 1_000_000)).toBe((4 * 3_600 * 2) / 3);
  });

  it("is not adapted where that is off", () => {
    expect(interval(3 * HOUR, 0, { adaptive: false })).toBeNull();
  });

  it("rises with the load", () => {
    expect(interval(null, 999)).toBeNull();
    expect(interval(null, 1_000)).toBe(3_600);
    expect(interval(null, 2_000)).toBe(5_400);
    expect(isOverloaded(options, 4_999)).toBe(false);
    expect(isOverloaded(options, 5_000)).toBe(true);
  });
});
