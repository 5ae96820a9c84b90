import { describe, expect, it } from "vitest";
import { OpenDownloads } from "../../src/payloads/open-downloads.ts";
import { Rate } from "../../src/payloads/rate.ts";

describe("a rate", () => {
  it("lets bytes pass one after another, and forgets time in which nobody came", () => {
    const rate = new Rate(1_000);
    expect(rate.reserve(500, 0)).toBe(0);
    expect(rate.reserve(1_000, 0)).toBe(500);
    expect(rate.reserve(1_000, 100)).toBe(1_400);
    expect(rate.reserve(1_000, 10_000)).toBe(0);
  });
});

describe("open downloads", () => {
  it("are counted in all and for each address, and leave once", () => {
    const open = new OpenDownloads(3, 2);
    const [a, b] = [open.enter("a"), open.enter("a")];
    expect(open.enter("a")).toBeNull();
    expect(open.enter("b")).not.toBeNull();
    expect(open.enter("c")).toBeNull();
    a?.();
    a?.();
    expect(open.count).toBe(2);
    expect(open.enter("a")).not.toBeNull();
    b?.();
    expect(open.count).toBe(2);
  });

  it("have no limit with 0", () => {
    const open = new OpenDownloads(0, 0);
    for (let n = 0; n < 1_000; n += 1) expect(open.enter("a")).not.toBeNull();
  });
});
