import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  count,
  emptyRolloutCounters,
  hasCompleted,
  hasRelapsed,
  isInFlight,
  standingOf,
} from "../../src/rollout/counters.ts";
import { decide } from "../../src/rollout/decide.ts";
import { expire } from "../../src/rollout/expire.ts";
import { explain, nextCheckIn } from "../../src/rollout/explain.ts";
import { buildFleet } from "../../src/rollout/fleet.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import type { Counters, RolloutCounters } from "../../src/rollout/model/counters.ts";
import type { Fleet } from "../../src/rollout/model/fleet.ts";
import type { Labels, Node, NodeStatus } from "../../src/rollout/model/node.ts";
import type { Rollout, RolloutState } from "../../src/rollout/model/rollout.ts";
import { rebased } from "../../src/rollout/quota.ts";
import { isShared } from "../../src/rollout/shared-id.ts";
import { readStrategy, type StrategyDocument } from "../../src/rollout/strategy.ts";
import { readWindow } from "../../src/rollout/windows.ts";
import {
  APP_ID,
  aChannel,
  aCheckIn,
  aFleet,
  aGroup,
  anEvent,
  aPackage,
  aPing,
  aReport,
  HOUR,
  MINUTE,
  NOON,
  noCounters,
  World,
} from "./builders.ts";

const VERSIONS = ["4081.2.0", "4152.0.0", "4230.2.1", "4593.2.5"];
const RANK: Record<NodeStatus, number> = {
  unknown: 0,
  "on-hold": 0,
  granted: 1,
  downloading: 2,
  downloaded: 3,
  installed: 4,
  failed: 5,
  "timed-out": 5,
  lost: 5,
  "rolled-back": 6,
  complete: 7,
};

/** On hold for another version, a node has completed the grant that it keeps. */
const rankOf = (node: Node) => RANK[hasCompleted(node) ? "complete" : node.status];

const machine = (n: number) => n.toString(16).padStart(32, "0");
const event = fc.constantFrom(
  anEvent(13, 1),
  anEvent(14, 1),
  anEvent(3, 1),
  anEvent(800, 1),
  anEvent(3, 2),
  anEvent(3, 2, { previousVersion: "4081.2.0" }),
  anEvent(3, 2, { previousVersion: "0.0.0.0" }),
  anEvent(3, 0, { errorCode: 268435466 }),
  anEvent(3, 0, { errorCode: 44 }),
  anEvent(3, 9, { errorCode: 268435496 }),
  anEvent(99, 1),
);
const about = fc.record({
  machineId: fc.integer({ min: 1, max: 8 }).map(machine),
  version: fc.constantFrom(...VERSIONS),
  bootId: fc.constantFrom("", "{1}", "{2}", "{3}"),
  track: fc.constantFrom("stable", "stable", "beta"),
  oem: fc.constantFrom("azure", "azure", "vmware"),
  onDemand: fc.constantFrom(false, false, true),
});
const checkIn: fc.Arbitrary<CheckIn> = fc.oneof(
  { weight: 5, arbitrary: about.map((what) => aCheckIn(what)) },
  { weight: 4, arbitrary: fc.tuple(event, about).map(([one, what]) => aReport(one, what)) },
  { weight: 1, arbitrary: about.map((what) => aPing(what)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.array(event, { maxLength: 4 }), about)
      .map(([events, what]) => aCheckIn({ ...what, events })),
  },
);

const STOP = {
  by: "safe-mode",
  at: NOON,
  why: "it fell back",
  version: "1.0.0",
  rolloutId: null,
  nodeId: "n",
} as const;
const windows = [readWindow({ from: "08:00", to: "13:30" })];
const policy = fc.record({
  windows: fc.constantFrom([], [], windows),
  updatesEnabled: fc.constantFrom(true, true, true, false),
  safeMode: fc.boolean(),
  maxUpdatesPerPeriod: fc.constantFrom(1, 2, 3, 999_999),
});
const stages = [{ percent: 30, over: "2h" }, { match: { oem: ["azure"] } }, { percent: 100, bake: "1h" }] as const;
const labelled = [{ match: { labels: { rack: "7" } } }, { match: { labels: { rack: "8", env: "lab" } }, percent: 50 }, { percent: 0 }]; // biome-ignore format: one line
const strategy: fc.Arbitrary<StrategyDocument> = fc.record(
  {
    stages: fc.constantFrom<StrategyDocument["stages"]>(stages, [{ percent: 100 }], labelled),
    health: fc.constantFrom({ min_finished: 2 }, { max_lost: 0 }, { on_breach: "watch" as const }),
    max_in_flight: fc.constantFrom(1, 2, 4),
    ramp: fc.constantFrom({ start: 1 }, { start: 2, grow: 0 }, { start: "50%" }),
    on_demand: fc.constantFrom("skip-stages" as const, "no" as const),
    watch_after: fc.constantFrom("0s", "1h", "7d"),
  },
  { requiredKeys: [] },
);
const fleet = fc
  .record({
    policies: fc.tuple(policy, policy),
    target: fc.constantFrom("4230.2.1", "4593.2.5"),
    withFloor: fc.boolean(),
    type: fc.constantFrom(1, 4),
    state: fc.constantFrom(
      "running",
      "running",
      "running",
      "running",
      "paused",
      "halted",
    ) as fc.Arbitrary<RolloutState>,
    document: strategy,
    stage: fc.integer({ min: 0, max: 2 }),
    closed: fc.boolean(),
    undoes: fc.boolean(),
    stopped: fc.constantFrom(false, false, false, true),
  })
  .map(({ policies, target, withFloor, type, state, document, stage, closed, undoes, stopped }) => {
    const floors = withFloor ? [{ package: aPackage({ version: "4152.0.0", type }), reason: null }] : [];
    const channel = (no: number) => aChannel({ no, floors, package: aPackage({ version: target, type }) });
    const groups = policies.map((one, index) =>
      aGroup({
        no: index + 1,
        id: `group-${index + 1}`,
        track: index === 0 ? "stable" : "beta",
        channel: channel(index + 1),
        policy: { ...one, periodMs: 20 * MINUTE },
        updatesStopped: stopped && index === 0 ? STOP : null,
      }),
    );
    const slice = { by: "oem", value: "vmware" } as const;
    const read = readStrategy(document);
    const made = aFleet(groups, {
      state,
      strategy: read,
      seed: "seed",
      stage: Math.min(stage, read.stages.length - 1),
      closed: closed ? [{ slice, at: NOON, why: "", watched: false }] : [],
    });
    // The same target has the same rollout in every one of these fleets.
    const updates = made.rollouts.map((rollout) => ({
      ...rollout,
      no: rollout.groupNo * 10 + VERSIONS.indexOf(rollout.package.version),
    }));
    const backs = groups.map((group) => ({
      ...updates[0],
      no: 100 + group.no,
      id: `back-${group.no}`,
      groupNo: group.no,
      package: aPackage({ version: "4081.2.0", type }),
      undoes: target,
    }));
    const rollouts = undoes ? [...updates, ...backs] : updates;
    return buildFleet(made.revision, { applications: made.applications, groups, rollouts: rollouts as Rollout[] });
  });

type Step =
  | { kind: "says"; checkIn: CheckIn }
  | { kind: "time"; minutes: number }
  | { kind: "expire" }
  | { kind: "tend"; machineId: string; care: Partial<Pick<Node, "held" | "ownGroup" | "labels">> }
  | { kind: "forget"; machineId: string }
  | { kind: "configure"; fleet: Fleet };
const care = fc.record(
  {
    held: fc.constantFrom(null, { at: NOON, by: "ops", why: "its disk" }),
    ownGroup: fc.constantFrom(null, "group-1", "group-2", "gone"),
    labels: fc.constantFrom<Labels>({}, { rack: "7" }, { rack: "8", env: "lab" }),
  },
  { requiredKeys: [] },
);
const someone = fc.integer({ min: 1, max: 8 }).map(machine);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 20, arbitrary: checkIn.map((one): Step => ({ kind: "says", checkIn: one })) },
  { weight: 4, arbitrary: fc.constantFrom(1, 5, 20, 45, 90).map((minutes): Step => ({ kind: "time", minutes })) },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: "expire" }) },
  { weight: 1, arbitrary: fleet.map((one): Step => ({ kind: "configure", fleet: one })) },
  {
    weight: 3,
    arbitrary: fc.tuple(someone, care).map(([machineId, one]): Step => ({ kind: "tend", machineId, care: one })),
  },
  { weight: 1, arbitrary: someone.map((machineId): Step => ({ kind: "forget", machineId })) },
);

/** The first two ids have several machines each, which are heard in turn; any other has one, which never has an old boot id again. */
function withBoot(checkIn: CheckIn, now: number): CheckIn {
  const isOne = checkIn.bootId !== "" && checkIn.machineId > machine(2);
  return isOne ? { ...checkIn, bootId: `{${Math.floor(now / (30 * MINUTE))}}` } : checkIn;
}

function take(world: World, one: Step): void {
  switch (one.kind) {
    case "says":
      world.checkIn(withBoot(one.checkIn, world.now));
      return;
    case "time":
      world.now += one.minutes * MINUTE;
      return;
    case "configure":
      world.fleet = one.fleet;
      return;
    case "tend":
      if (world.nodes.has(one.machineId)) world.tend(one.care, one.machineId);
      return;
    case "forget":
      if (world.nodes.has(one.machineId)) world.forget(one.machineId);
      return;
    case "expire":
      for (const node of [...world.nodes.values()]) {
        const changes = expire(world.fleet, node, world.now - 50 * MINUTE, world.counters, world.now);
        if (changes !== null) world.apply(changes);
      }
      return;
    default:
      one satisfies never;
  }
}

function recount(world: World): Map<number, RolloutCounters> {
  const counted: Counters = noCounters();
  for (const { grant, status } of world.nodes.values()) {
    const standing = standingOf(status, grant);
    if (standing !== null) count(counted, standing, 1);
  }
  for (const { grant, status } of world.pastGrants) {
    const { rolloutNo, groupNo, cell, failure, errorCode } = grant;
    count(counted, { rolloutNo, groupNo, cell, status, failure, errorCode, relapsed: hasRelapsed(grant) }, 1);
  }
  return counted.rollouts;
}

/** Without the cells that nobody is in any more. */
const peopled = ({ total, cells, causes }: RolloutCounters): RolloutCounters => ({
  total,
  causes,
  cells: new Map([...cells].filter(([, tally]) => Object.values(tally).some((nodes) => nodes !== 0))),
});

const inFlightOf = (world: World, groupNo: number) =>
  [...world.nodes.values()].filter(({ grant, status }) => grant?.groupNo === groupNo && isInFlight(status)).length;

function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !(value instanceof Map) && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(freeze);
  }
  return value;
}

describe("whatever nodes and people do", () => {
  it("counters equal a recount after every step", () => {
    fc.assert(
      fc.property(fleet, fc.array(step, { maxLength: 80, size: "max" }), (first, steps) => {
        const world = new World(first);
        for (const one of steps) {
          take(world, one);
          const counted = recount(world);
          for (const [no, counters] of world.counters.rollouts)
            expect(peopled(counters)).toEqual(counted.get(no) ?? emptyRolloutCounters());
          for (const no of counted.keys()) expect(world.counters.rollouts.has(no)).toBe(true);
          for (const [no, { inFlight }] of world.counters.groups) expect(inFlight).toBe(inFlightOf(world, no));
        }
      }),
      { numRuns: 400 },
    );
  });

  it("a node only goes forward within one grant", () => {
    fc.assert(
      fc.property(fleet, fc.array(step, { maxLength: 80, size: "max" }), (first, steps) => {
        const world = new World(first);
        for (const one of steps) {
          const before = new Map(world.nodes);
          take(world, one);
          for (const [id, node] of world.nodes) {
            const earlier = before.get(id);
            const sameGrant =
              earlier?.grant?.grantedAt === node.grant?.grantedAt && earlier?.grant?.attempt === node.grant?.attempt;
            if (
              earlier?.grant != null &&
              node.grant !== null &&
              sameGrant &&
              earlier.grant.rolloutNo === node.grant.rolloutNo
            ) {
              const fellBack = hasCompleted(earlier) && node.status === "rolled-back";
              if (fellBack) expect(world.now).toBeLessThanOrEqual(earlier.grant.watchedUntil ?? 0);
              else expect(rankOf(node)).toBeGreaterThanOrEqual(rankOf(earlier));
            }
            expect(node.grant?.deadline != null).toBe(isInFlight(node.status));
            if (isShared(node.shared, world.now)) expect(node.grant).toBeNull();
            if (id > machine(2)) expect(node.shared).toBeNull();
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it("quotas are exact: in flight at any time, and in every window as long as the period", () => {
    const limit = 3;
    const limited = aFleet([aGroup({ policy: { maxUpdatesPerPeriod: limit, periodMs: 20 * MINUTE } })]);
    const says = checkIn.map((one): Step => ({ kind: "says", checkIn: { ...one, track: "stable" } }));
    const time = fc.integer({ min: 1, max: 1500 }).map((seconds): Step => ({ kind: "time", minutes: seconds / 60 }));
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 4, arbitrary: says }, time), { maxLength: 120, size: "max" }),
        (steps) => {
          const world = new World(limited);
          for (const one of steps) {
            take(world, one);
            expect(inFlightOf(world, 1)).toBeLessThanOrEqual(limit);
          }
          for (const { at } of world.grantedAt) {
            const window = world.grantedAt.filter((other) => other.at > at - 20 * MINUTE && other.at <= at);
            expect(window.length).toBeLessThanOrEqual(limit);
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  it("no more nodes are to fetch files from here than are served at a time, and those are counted exactly", () => {
    const here = aPackage({ urls: ["/here/"] });
    const group = { channel: aChannel({ package: here }), policy: { updateTimeoutMs: HOUR } };
    const hosting = aFleet([aGroup(group), aGroup({ ...group, no: 2, id: "group-2", track: "beta" })]);
    const cut = [{ applicationId: APP_ID, version: here.version, errorCode: 9 as const }];
    const says = fc.oneof(
      { weight: 6, arbitrary: checkIn.map((one): Step => ({ kind: "says", checkIn: one })) },
      {
        weight: 1,
        arbitrary: about.map(
          (what): Step => ({
            kind: "says",
            checkIn: aReport(anEvent(3, 0, { errorCode: 9 }), { ...what, version: "4081.2.0" }),
          }),
        ),
      },
    );
    const steps = fc.oneof({ weight: 3, arbitrary: says }, step);
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 100, size: "max" }), fc.boolean(), (all, excused) => {
        const world = new World(hosting);
        world.server = { ...world.server, downloads: 3, cut: excused ? cut : [] };
        for (const one of all) {
          if (one.kind === "configure") continue;
          take(world, one);
          const fetching = [...world.nodes.values()].filter(({ status }) => status === "granted" || status === "downloading"); // biome-ignore format: one line
          expect(world.counters.downloads.fetching).toBe(fetching.length);
          expect(fetching.length).toBeLessThanOrEqual(3);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("safe mode never has two first nodes", () => {
    const safe = aFleet([aGroup({ policy: { safeMode: true } })]);
    fc.assert(
      fc.property(
        fc.array(
          step.filter(({ kind }) => kind !== "configure"),
          { maxLength: 80, size: "max" },
        ),
        (steps) => {
          const world = new World(safe);
          let succeeded = false;
          for (const one of steps) {
            take(world, one.kind === "says" ? { ...one, checkIn: { ...one.checkIn, track: "stable" } } : one);
            const counters = world.counters.rollouts.get(1) ?? emptyRolloutCounters();
            succeeded ||= counters.total.complete > 0;
            if (!succeeded) expect(inFlightOf(world, 1)).toBeLessThanOrEqual(1);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("the same question has the same answer, and asking changes nothing", () => {
    fc.assert(
      fc.property(fleet, fc.array(step, { maxLength: 30, size: "max" }), checkIn, (first, steps, last) => {
        const world = new World(first);
        for (const one of steps) take(world, one);
        const node: Node | null = freeze(world.nodes.get(last.machineId) ?? null);
        const before = structuredClone(world.counters);
        const ask = () => decide(freeze(world.fleet), node, freeze(last), "192.0.2.1", world.counters, world.now);
        expect(ask()).toEqual(ask());
        expect(world.counters).toEqual(before);
      }),
      { numRuns: 300 },
    );
  });
});

describe("an explanation", () => {
  it("is the decision that a check gets, in 10,000 cases, and changes nothing", () => {
    let cases = 0;
    const reasons = new Set<string>();
    fc.assert(
      fc.property(fleet, fc.array(step, { minLength: 10, maxLength: 60, size: "max" }), (first, steps) => {
        const world = new World(first);
        for (const one of steps) take(world, one);
        for (const node of world.nodes.values()) {
          const group = world.fleet.groupByNo.get(node.groupNo);
          if (group === undefined) throw new Error("a node of no group");
          const before = structuredClone(world.counters);
          const told = explain(world.fleet, freeze(node), nextCheckIn(node, group, APP_ID), world.counters, world.now);
          expect(world.counters).toEqual(before);
          const { version, bootId, oem } = node;
          // Whatever its track, if a person has put it there.
          const track = node.ownGroup === group.id ? "nowhere" : group.track;
          const real = aCheckIn({ machineId: node.id, version, bootId, oem, track });
          const { reason, offer, trace } = decide(world.fleet, node, real, node.ip, world.counters, world.now);
          expect(told.reason).toBe(reason);
          expect(told.offered).toBe(offer?.manifests.at(-1)?.package.version ?? null);
          expect(told.until).toBe(trace.at(-1)?.until ?? null);
          expect(told.steps.map(({ rule, verdict }) => [rule, verdict])).toEqual(
            trace.map(({ rule, verdict }) => [rule, verdict]),
          );
          for (const { text } of [told, ...told.steps]) expect(text).not.toMatch(/undefined|null|NaN|\?$/);
          cases += 1;
          reasons.add(reason);
        }
      }),
      { numRuns: 2_500 },
    );
    expect(cases).toBeGreaterThanOrEqual(10_000);
    expect(reasons.size).toBeGreaterThan(12);
    expect(reasons).toContain("held");
    expect(reasons).toContain("shared-machine-id");
    expect(reasons).toContain("stopped-by-safe-mode");
  });
});

describe("a clock that is set back", () => {
  it("neither doubles the quota nor blocks it for longer than a period", () => {
    const periodMs = 20 * MINUTE;
    const slices = [
      { startsAt: NOON - 5 * MINUTE, count: 1 },
      { startsAt: NOON, count: 2 },
    ];
    const back = NOON - HOUR;
    const kept = rebased(slices, periodMs, back);
    expect(kept).toEqual([{ startsAt: back, count: 3 }]);
    expect(rebased(kept, periodMs, back)).toBe(kept);
    expect(rebased([], periodMs, back)).toEqual([]);
  });
});
