import { describe, expect, it } from "vitest";
import { CutDownloads } from "../../src/payloads/cut-downloads.ts";
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

describe("a rate that is shared", () => {
  it("gives everybody a turn within ten seconds, however many there are", () => {
    expect(new Rate(128 * 1024).part).toBe(1_280 * 1024);
    for (let takers = 1; takers <= 1_000; takers *= 10) {
      const rate = new Rate(128 * 1024, () => takers);
      const turns = Array.from({ length: takers }, () => rate.reserve(rate.part, 0));
      expect(Math.max(...turns)).toBeLessThanOrEqual(10_000);
    }
    expect(new Rate(128 * 1024, () => 100_000).part).toBe(1_024);
  });
});

describe("downloads that were cut off", () => {
  const of = (version: string, errorCode: 5 | 9 = 9) => ({ applicationId: "app", version, errorCode });

  it("are remembered for their address, each until it has explained something, or half an hour is over", () => {
    const cut = new CutDownloads();
    cut.add("a", of("1.0.0"), 0);
    cut.add("a", of("1.0.0"), 1_000);
    cut.add("a", of("1.0.0", 5), 1_000);
    cut.add("b", of("2.0.0"), 0);
    expect(cut.of("a", 1_000)).toEqual([of("1.0.0"), of("1.0.0"), of("1.0.0", 5)]);
    cut.take("a", of("1.0.0"));
    cut.take("a", of("3.0.0"));
    cut.take("c", of("1.0.0"));
    expect(cut.of("a", 1_000)).toEqual([of("1.0.0"), of("1.0.0", 5)]);
    expect(cut.of("b", 30 * 60_000)).toEqual([of("2.0.0")]);
    expect(cut.of("b", 30 * 60_000 + 1)).toEqual([]);
    expect(cut.of("c", 0)).toEqual([]);
  });

  it("are bounded: the longest ago are forgotten", () => {
    const cut = new CutDownloads();
    for (let n = 0; n < 1_500; n += 1) cut.add("a", of(`1.0.${n}`), n);
    expect(cut.of("a", 1_500)).toHaveLength(1_000);
    expect(cut.of("a", 1_500)[0]).toEqual(of("1.0.500"));
    for (let n = 0; n < 10_000; n += 1) cut.add(`x${n}`, of("1.0.0"), 2_000);
    expect(cut.of("a", 2_000)).toEqual([]);
    expect(cut.of("x0", 2_000)).toEqual([of("1.0.0")]);
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

  it("let nodes in beyond the limits that were offered what they fetch, a few times each", () => {
    const open = new OpenDownloads(1, 1);
    const stranger = open.enter("a");
    expect(open.enter("a")).toBeNull();
    expect(open.enterBeyond("a", 0)).toBeNull();
    const beyond = Array.from({ length: 8 }, () => open.enterBeyond("a", 2));
    expect(beyond).not.toContain(null);
    expect(open.count).toBe(9);
    expect(open.enterBeyond("a", 2)).toBeNull();
    expect(open.enterBeyond("b", 1)).not.toBeNull();
    for (const leave of beyond) leave?.();
    expect(open.count).toBe(2);
    // They took nobody's place.
    expect(open.enter("a")).toBeNull();
    stranger?.();
    expect(open.enter("a")).toBeNull();
  });

  it("have no limit with 0", () => {
    const open = new OpenDownloads(0, 0);
    for (let n = 0; n < 1_000; n += 1) expect(open.enter("a")).not.toBeNull();
  });
});
