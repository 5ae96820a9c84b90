import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { explain, nextCheckIn } from "../../src/rollout/explain.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { isExposed, rampOf } from "../../src/rollout/ramp.ts";
import { outlook, resume } from "../../src/rollout/run.ts";
import { PRESETS, readStrategy, type StrategyDocument, strategyInFull } from "../../src/rollout/strategy.ts";
import { APP_ID, aCheckIn, anEvent, aReport, aStagedFleet, HOUR, MINUTE, World } from "./builders.ts";

const machine = (n: number) => n.toString(16).padStart(32, "0");
const NEW = "4230.2.1";

/** A world in which nodes 1, 2, 3 … ask, each of its OEM. */
class Fleet {
  readonly world: World;

  constructor(document: StrategyDocument, changes: Partial<Rollout> = {}) {
    this.world = new World(aStagedFleet(document, { ...changes, policy: { updateTimeoutMs: 1_000 * HOUR } }));
  }

  ask(n: number, oem = "azure") {
    return this.world.checkIn(aCheckIn({ machineId: machine(n), oem }));
  }
  /** Of these, who is granted. */
  askAll(nodes: readonly number[], oem?: string): number[] {
    return nodes.filter((n) => this.ask(n, oem).reason === "granted");
  }
  comesBack(n: number, oem = "azure"): void {
    this.world.checkIn(aCheckIn({ machineId: machine(n), oem, version: NEW, bootId: "{boot-2}" }));
  }
  fails(n: number, oem = "azure"): void {
    this.world.checkIn(aReport(anEvent(3, 0, { errorCode: 9 }), { machineId: machine(n), oem }));
  }
  get rollout(): Rollout {
    const [rollout] = this.world.fleet.rollouts;
    if (rollout === undefined) throw new Error("no rollout");
    return rollout;
  }
  get counters() {
    const counters = this.world.counters.rollouts.get(this.rollout.no);
    if (counters === undefined) throw new Error("nobody was granted anything");
    return counters;
  }
  set rollout(next: Rollout) {
    const { rolloutByNo, rolloutByTarget } = this.world.fleet;
    (rolloutByNo as Map<number, Rollout>).set(next.no, next);
    for (const key of rolloutByTarget.keys()) (rolloutByTarget as Map<string, Rollout>).set(key, next);
    (this.world.fleet.rollouts as Rollout[])[0] = next;
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe("a ramp", () => {
  it("lets ten nodes go first, and each success two more", () => {
    const fleet = new Fleet({ ramp: {} });
    expect(fleet.askAll(range(1, 100))).toEqual(range(1, 10));
    fleet.comesBack(1);
    // One place is free again, and the success gives another.
    expect(fleet.askAll(range(11, 100))).toEqual([11, 12]);
    fleet.comesBack(2);
    fleet.comesBack(3);
    expect(fleet.askAll(range(13, 100))).toEqual([13, 14, 15, 16]);
  });

  it("gives nothing for silence, however long it lasts", () => {
    const fleet = new Fleet({ ramp: {} });
    fleet.askAll(range(1, 10));
    fleet.world.now += 900 * HOUR;
    expect(fleet.askAll(range(11, 50))).toEqual([]);
  });

  it("counts a node that came to a bad end for good, and lets it try again in its own place", () => {
    const fleet = new Fleet({ ramp: { start: 2 }, retry: { after: "1h", max: 5 } });
    expect(fleet.askAll([1, 2, 3])).toEqual([1, 2]);
    fleet.fails(1);
    fleet.fails(2);
    expect(fleet.ask(3).reason).toBe("ramp");
    fleet.world.now += HOUR;
    expect(fleet.askAll([1, 2, 3])).toEqual([1, 2]);
    expect(fleet.ask(3).reason).toBe("ramp");
    fleet.comesBack(1);
    expect(fleet.askAll([3, 4, 5])).toEqual([3, 4]);
  });

  it("has an OEM without a success start by itself, however well the others do", () => {
    const fleet = new Fleet({ ramp: { start: 2, grow: 5 }, health: { max_lost: null } });
    fleet.askAll([1, 2]);
    fleet.comesBack(1);
    fleet.comesBack(2);
    expect(fleet.askAll(range(10, 30), "vmware")).toEqual([10, 11]);
    expect(fleet.ask(12, "vmware").trace.at(-1)).toMatchObject({
      rule: "ramp",
      facts: { slice: "oem=vmware", exposed: 2, limit: 2 },
    });
    // The others go on meanwhile.
    expect(fleet.askAll(range(40, 60))).toHaveLength(10);
    fleet.comesBack(10, "vmware");
    expect(fleet.askAll(range(12, 30), "vmware")).toEqual([12, 13, 14, 15, 16, 17]);
  });

  it("looks at no slices where the gate does not", () => {
    const fleet = new Fleet({ ramp: { start: 2, grow: 5 }, health: { max_lost: null, slices: [] } });
    fleet.askAll([1, 2]);
    fleet.comesBack(1);
    expect(fleet.askAll(range(10, 30), "vmware")).toHaveLength(6);
  });

  it("may start with a share of the group, one node at least", () => {
    expect(new Fleet({ ramp: { start: "1%" } }, { groupNodes: 1_000 }).askAll(range(1, 30))).toHaveLength(10);
    expect(new Fleet({ ramp: { start: "1%" } }, { groupNodes: 30 }).askAll(range(1, 30))).toHaveLength(1);
  });

  it("says how many are exposed, and what a success would bring", () => {
    const fleet = new Fleet({ ramp: { start: 2, grow: 3 } });
    fleet.askAll([1, 2]);
    fleet.ask(3);
    const { world } = fleet;
    const node = world.node(machine(3));
    const group = world.fleet.groups[0];
    if (group === undefined) throw new Error("no group");
    const said = explain(world.fleet, node, nextCheckIn(node, group, APP_ID), world.counters, world.now);
    expect(said.reason).toBe("ramp");
    expect(said.text).toBe(
      "ramp: 2 of 2 nodes are exposed to the release (in flight, or failed); 4 more may go when one of them has come back well",
    );
  });

  it("used up by failures, waits for a person, who may let it go on", () => {
    const fleet = new Fleet({ ramp: { start: 2 } });
    fleet.askAll([1, 2]);
    expect(() => resume(fleet.rollout, fleet.counters, fleet.world.now, "on")).toThrow("nor its ramp used up");
    fleet.fails(1);
    fleet.fails(2);
    const { world } = fleet;
    expect(outlook(fleet.rollout, world.fleet, fleet.counters, world.now)?.on).toContain("the ramp is used up");
    const { next } = resume(fleet.rollout, fleet.counters, world.now, "the network is mended");
    fleet.rollout = { ...fleet.rollout, ...next };
    expect(fleet.askAll(range(3, 30))).toEqual([3, 4]);
    world.now += HOUR;
    expect(fleet.askAll([1, 2])).toEqual([1, 2]);
    expect(rampOf(fleet.rollout, fleet.counters)).toMatchObject({ exposed: 2, limit: 2 });
  });

  it("is kept to whatever nodes do: none is granted beyond what successes allow", () => {
    const what = fc.record({
      n: fc.integer({ min: 1, max: 25 }),
      oem: fc.constantFrom("azure", "vmware"),
      does: fc.constantFrom("asks", "asks", "comes back", "fails"),
      minutes: fc.constantFrom(0, 0, 30, 90),
    });
    const ramps = fc.record({ start: fc.integer({ min: 1, max: 4 }), grow: fc.constantFrom(0, 0.5, 1, 2) });
    fc.assert(
      fc.property(ramps, fc.array(what, { maxLength: 150, size: "max" }), (ramp, steps) => {
        const fleet = new Fleet({ ramp });
        for (const { n, oem, does, minutes } of steps) {
          fleet.world.now += minutes * MINUTE;
          const before = fleet.world.nodes.get(machine(n));
          if (does === "comes back") fleet.comesBack(n, oem);
          else if (does === "fails") fleet.fails(n, oem);
          // One that tries again is exposed already, also where the limit has come down since: a node that had completed fell back.
          else if (fleet.ask(n, oem).reason === "granted" && !(before && isExposed(before, fleet.rollout))) {
            const { total } = fleet.counters;
            const bad = total.failed + total["timed-out"] + total["rolled-back"] + total.lost;
            const flying = total.granted + total.downloading + total.downloaded + total.installed;
            expect(flying + bad).toBeLessThanOrEqual(ramp.start + Math.floor(ramp.grow * total.complete));
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("the preset guarded", () => {
  it("stops by the ramp alone after 24 nodes where 60 % fail, and after ten where all do", () => {
    const ramp = PRESETS.guarded.ramp;
    for (const [failing, atMost] of [
      [10, 10],
      [6, 40],
    ] as const) {
      const fleet = new Fleet({ ramp });
      for (let round = 0; round < 30; round += 1) {
        for (const n of fleet.askAll(range(1, 500))) {
          if (n % 10 < failing) fleet.fails(n);
          else fleet.comesBack(n);
        }
      }
      const { total } = fleet.counters;
      expect(total.failed + total.complete).toBeLessThanOrEqual(atMost);
    }
  });

  it("reads in full as it reads in short", () => {
    for (const document of [
      ...Object.values(PRESETS),
      {},
      { ramp: { start: "1%" }, retry: { max: 2 } },
      { health: {} },
    ]) {
      const full = strategyInFull(document);
      expect(readStrategy(full)).toEqual(readStrategy(document));
      expect(Object.keys(full).sort()).toEqual(Object.keys(strategyInFull({})).sort());
    }
  });
});
