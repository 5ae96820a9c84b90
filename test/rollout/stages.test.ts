import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { inclusionOf, isWaitedFor, type StageNode, type Straggler, stageOf } from "../../src/rollout/stages.ts";
import { PRESETS, readStrategy, type StageDocument } from "../../src/rollout/strategy.ts";
import { aCheckIn, anEvent, aStagedFleet, HOUR, MINUTE, NOON, World } from "./builders.ts";

const machine = (n: number) => n.toString(16).padStart(32, "0");
const aNode = (changes: Partial<StageNode> = {}): StageNode => ({
  id: machine(1),
  oem: "azure",
  version: "4081.2.0",
  machineAlias: "",
  alias: "",
  labels: {},
  ...changes,
});
function aRollout(stages: readonly StageDocument[], changes: Partial<Rollout> = {}): Rollout {
  const [rollout] = aStagedFleet({ stages }, changes).rollouts;
  if (rollout === undefined) throw new Error("no rollout");
  return rollout;
}

describe("stages by percentile", () => {
  it("take their share of a fleet, and never drop a node when they rise", () => {
    const rollout = aRollout([{ percent: 1 }, { percent: 10 }, { percent: 50 }, { percent: 100 }]);
    const nodes = Array.from({ length: 20_000 }, (_, n) => aNode({ id: machine(n) }));
    const counts = [0, 1, 2, 3].map((stage) => {
      const open = { ...rollout, stage };
      return nodes.filter((node) => inclusionOf(open, node, NOON).included);
    });
    expect(counts.map(({ length }) => length / nodes.length)).toEqual([
      expect.closeTo(0.01, 2),
      expect.closeTo(0.1, 2),
      expect.closeTo(0.5, 1),
      1,
    ]);
    for (const [stage, included] of counts.entries()) {
      const next = new Set(counts[stage + 1] ?? nodes);
      expect(included.every((node) => next.has(node))).toBe(true);
    }
  });

  it("are sticky for any stages and any seed, at any time", () => {
    const stage = fc.record({
      percent: fc.double({ min: 0, max: 100, noNaN: true }),
      over: fc.constantFrom(undefined, "1h", "1d"),
      match: fc.constantFrom(undefined, undefined, { oem: ["azure"] }, { alias: "lab-*" }, { version: "<4100.0.0" }, { labels: { rack: "7" } }), // biome-ignore format: one line
    });
    const stages = fc.array(stage, { minLength: 1, maxLength: 5 }).map((list) => {
      const shares = list.map(({ percent }) => percent).sort((a, b) => a - b);
      return list.map((one, index) => ({ ...one, percent: shares[index] ?? 100 }));
    });
    const node = fc.record({
      id: fc.integer({ min: 0, max: 1_000 }).map(machine),
      oem: fc.constantFrom("azure", "vmware"),
      version: fc.constantFrom("4081.2.0", "4152.0.0"),
      machineAlias: fc.constantFrom("", "lab-7", "web-1"),
      alias: fc.constantFrom("", "lab-1"),
      labels: fc.constantFrom<Record<string, string>>({}, { rack: "7" }, { rack: "7", env: "prod" }),
    });
    const minutes = fc.array(fc.integer({ min: 0, max: 600 }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(stages, fc.string(), node, minutes, (documents, seed, one, waits) => {
        let rollout = aRollout(documents, { seed });
        let now = NOON;
        let included = false;
        for (const wait of waits) {
          const inclusion = inclusionOf(rollout, one, now);
          expect(inclusion.included || !included).toBe(true);
          ({ included } = inclusion);
          if (inclusion.reachedAt !== null) {
            expect(inclusionOf(rollout, one, inclusion.reachedAt).included).toBe(true);
            if (inclusion.reachedAt > now + 1) expect(inclusionOf(rollout, one, inclusion.reachedAt - 2).included).toBe(false); // biome-ignore format: one line
          }
          now += wait * MINUTE;
          // The next stage opens only when the rise is over.
          const rise = rollout.strategy.stages[rollout.stage]?.overMs ?? 0;
          if (now - rollout.stageOpenedAt >= rise && rollout.stage < documents.length - 1) {
            rollout = { ...rollout, stage: rollout.stage + 1, stageOpenedAt: now };
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it("rise linearly over their time", () => {
    const rollout = aRollout([{ percent: 10 }, { percent: 50, over: "10h" }], { stage: 1 });
    const share = (hours: number) =>
      Array.from({ length: 4_000 }, (_, n) => aNode({ id: machine(n) })).filter(
        (node) => inclusionOf(rollout, node, NOON + hours * HOUR).included,
      ).length / 4_000;
    expect([0, 5, 10, 20].map(share)).toEqual([
      expect.closeTo(0.1, 1),
      expect.closeTo(0.3, 1),
      expect.closeTo(0.5, 1),
      expect.closeTo(0.5, 1),
    ]);
  });

  it("choose other nodes for another seed", () => {
    const nodes = Array.from({ length: 1_000 }, (_, n) => aNode({ id: machine(n) }));
    const first = (seed: string) =>
      nodes.filter((node) => stageOf(aRollout([{ percent: 10 }, { percent: 100 }], { seed }), node) === 0);
    const both = first("a").filter((node) => first("b").includes(node));
    expect(first("a").length).toBeGreaterThan(70);
    expect(both.length).toBeLessThan(30);
    expect(first("a")).toEqual(first("a"));
  });
});

describe("stages by name", () => {
  const stage = (match: StageDocument["match"], node: Partial<StageNode>, percent = 100) =>
    stageOf(aRollout([{ match, percent }, { percent: 0 }]), aNode(node));

  it.each([
    [{ oem: ["azure", "ami"] }, {}, 0],
    [{ oem: ["ami"] }, {}, null],
    [{ version: "<4100.0.0" }, {}, 0],
    [{ version: ">=4100.0.0" }, {}, null],
    [{ id: ["{00000000-0000-0000-0000-000000000001}"] }, {}, 0],
    [{ id: [machine(2)] }, {}, null],
    [{ alias: "lab-*" }, { machineAlias: "lab-3" }, 0],
    [{ alias: "lab-*" }, { machineAlias: "lab-3", alias: "db-3" }, null],
    [{ alias: "l?b-3" }, { alias: "LAB-3" }, 0],
    [{ alias: "lab.3" }, { alias: "labX3" }, null],
    [{ alias: "MÜNCHEN-?" }, { alias: "München-3" }, 0],
    [{ alias: "m?nchen-*" }, { machineAlias: "MÜNCHEN-3" }, 0],
    [{ alias: "straße*" }, { alias: "STRASSE 7" }, 0],
    [{ alias: "*istanbul*" }, { machineAlias: "dc-İSTANBUL-1" }, 0],
    [{ alias: "münchen-*" }, { alias: "Mu\u0308nchen-3" }, 0],
    [{ alias: "lab＊" }, { alias: "lab-3" }, null],
    [{ alias: "lab＊" }, { alias: "LAB＊" }, 0],
    [{ alias: "?" }, { alias: "🚂" }, 0],
    [{ alias: "lab-*", oem: ["ami"] }, { alias: "lab-3" }, null],
    [{ labels: { rack: "7" } }, { labels: { rack: "7", env: "prod" } }, 0],
    [{ labels: { rack: "7", env: "prod" } }, { labels: { rack: "7", env: "lab" } }, null],
    [{ labels: { rack: "7" } }, { labels: { Rack: "7" } }, null],
    [{ labels: { site: "MÜNCHEN" } }, { labels: { site: "München" } }, 0],
    [{ labels: { site: "Lab" } }, { labels: { site: "lab" } }, 0],
    [{ labels: { rack: "" } }, { labels: { rack: "" } }, 0],
    [{ labels: { constructor: "" } }, {}, null],
    [{ labels: { rack: "7" }, oem: ["ami"] }, { labels: { rack: "7" } }, null],
  ])("%j on %j: %j", (match, node, expected) => {
    expect(stage(match, node)).toBe(expected);
  });

  it("may take a share of those they name", () => {
    const rollout = aRollout([{ match: { oem: ["azure"] }, percent: 50 }, { percent: 100 }]);
    const nodes = Array.from({ length: 2_000 }, (_, n) => aNode({ id: machine(n), oem: n % 2 ? "azure" : "ami" }));
    const first = nodes.filter((node) => stageOf(rollout, node) === 0);
    expect(first.length).toBeGreaterThan(420);
    expect(first.length).toBeLessThan(580);
    expect(first.every(({ oem }) => oem === "azure")).toBe(true);
  });
});

describe("a staged rollout", () => {
  const stages = [{ percent: 30, bake: "2h" }, { percent: 60, bake: "1h" }, { percent: 100 }];

  it("grants to its stage, and tells the others when theirs could open", () => {
    const world = new World(aStagedFleet({ stages }));
    const [rollout] = world.fleet.rollouts;
    if (rollout === undefined) throw new Error("no rollout");
    for (let n = 0; n < 50; n += 1) {
      const own = stageOf(rollout, aNode({ id: machine(n) }));
      const { reason, trace } = world.checkIn(aCheckIn({ machineId: machine(n) }));
      expect(reason).toBe(own === 0 ? "granted" : "not-in-stage");
      if (own !== 0) expect(trace.at(-1)?.until).toBe(NOON + (own === 1 ? 2 : 3) * HOUR);
    }
    expect([...world.nodes.values()].some(({ status }) => status === "on-hold")).toBe(false);
  });

  it("lets a person at the node go ahead, if it may be; but not past a limit", () => {
    const late = machine(1); // of the last stage
    const eager = { machineId: late, onDemand: true };
    const held = new World(aStagedFleet({ stages: [{ percent: 0 }, { percent: 100 }] }));
    expect(held.checkIn(aCheckIn(eager)).reason).toBe("not-in-stage");
    const open = { stages: [{ percent: 0 }, { percent: 100 }], on_demand: "skip-stages" } as const;
    expect(new World(aStagedFleet(open)).checkIn(aCheckIn(eager)).reason).toBe("granted");
    expect(new World(aStagedFleet(open)).checkIn(aCheckIn({ ...eager, onDemand: false })).reason).toBe("not-in-stage");
    const full = new World(aStagedFleet({ ...open, max_in_flight: 1 }));
    full.checkIn(aCheckIn({ machineId: machine(2), onDemand: true }));
    expect(full.checkIn(aCheckIn(eager)).reason).toBe("max-in-flight");
    const off = new World(aStagedFleet(open, { policy: { updatesEnabled: false } }));
    expect(off.checkIn(aCheckIn(eager)).reason).toBe("updates-disabled");
  });

  it("never has more in flight than it may, whatever is said", () => {
    const world = new World(aStagedFleet({ max_in_flight: 3 }));
    for (let n = 0; n < 40; n += 1) {
      world.checkIn(aCheckIn({ machineId: machine(n % 9) }));
      if (n % 5 === 0) world.checkIn(aCheckIn({ machineId: machine(n % 9), updateCheck: false, events: [anEvent(3, 0, { errorCode: 9 })] })); // biome-ignore format: one line
      const flying = [...world.nodes.values()].filter(({ grant }) => grant?.deadline != null);
      expect(flying.length).toBeLessThanOrEqual(3);
    }
  });

  it("waits for nodes that it is for, that were seen, and that are not through", () => {
    const rollout = aRollout([{ percent: 0 }, { match: { oem: ["azure"] } }, { percent: 100 }], { stage: 1 });
    const straggler: Straggler = {
      ...aNode(),
      arch: 1,
      status: "unknown",
      held: null,
      shared: null,
      lastSeenAt: NOON,
      rolloutNo: null,
      grantVersion: null,
    };
    const waited = (changes: Partial<Straggler>, of: Partial<Rollout> = {}) =>
      isWaitedFor({ ...rollout, ...of }, { ...straggler, ...changes }, NOON + HOUR);
    expect(waited({})).toBe(true);
    expect(waited({ oem: "ami" })).toBe(false);
    expect(waited({ shared: { lastAt: NOON } })).toBe(false);
    expect(waited({ shared: { lastAt: NOON - 24 * HOUR } })).toBe(true);
    expect(waited({ oem: "ami" }, { stage: 2 })).toBe(true);
    expect(waited({ version: "4230.2.1" })).toBe(false);
    expect(waited({ lastSeenAt: NOON - 23 * HOUR + 1 })).toBe(true);
    expect(waited({ lastSeenAt: NOON - 23 * HOUR })).toBe(false);
    expect(waited({ arch: 2 })).toBe(false);
    expect(waited({ held: { at: NOON, by: "ops", why: "disk" } })).toBe(false);
    expect(waited({ rolloutNo: rollout.no, status: "failed" })).toBe(false);
    expect(waited({ rolloutNo: rollout.no, status: "downloading" })).toBe(true);
    const slice = { by: "oem", value: "azure" } as const;
    expect(waited({}, { closed: [{ slice, at: NOON, why: "", watched: false }] })).toBe(false);
    expect(waited({}, { closed: [{ slice, at: NOON, why: "", watched: true }] })).toBe(true);
    const back = { undoes: "4230.2.1" };
    expect(waited({ version: "4230.2.1", grantVersion: "4230.2.1" }, back)).toBe(true);
    expect(waited({ version: "4230.2.1" }, back)).toBe(false);
    expect(waited({}, back)).toBe(false);
  });
});

describe("a strategy", () => {
  it("without anything is one stage of 100 % and no gate", () => {
    expect(readStrategy({})).toMatchObject({ stages: [{ percent: 100 }], health: null, maxInFlight: null });
    expect(readStrategy({ health: {} }).health).toEqual({
      maxFailurePercent: 5,
      minFinished: 5,
      maxLost: 2,
      onBreach: "halt",
      slices: ["oem", "arch"],
      silence: { maxPercent: 5 },
    });
    expect(readStrategy({ health: { silence: { max_percent: 12 } } }).health?.silence).toEqual({ maxPercent: 12 });
    expect(readStrategy({ health: { silence: "off" } }).health?.silence).toBeNull();
    expect(readStrategy({}).watchAfterMs).toBe(7 * 24 * HOUR);
  });

  it("careful takes six days", () => {
    const { stages } = readStrategy(PRESETS.careful);
    expect(stages.map(({ percent }) => percent)).toEqual([1, 5, 15, 40, 60, 100]);
    expect(stages.reduce((sum, { bakeMs, overMs }) => sum + bakeMs + overMs, 0)).toBe(6 * 24 * HOUR);
  });

  it("says which text is no duration", () => {
    expect(() => readStrategy({ active_within: "soon" })).toThrow('"soon" is not a duration');
    expect(readStrategy({ stages: [{ percent: 1, bake: "0s" }] }).stages[0]?.bakeMs).toBe(0);
  });
});
