import { describe, expect, it } from "vitest";
import { count } from "../../src/rollout/counters.ts";
import { buildFleet } from "../../src/rollout/fleet.ts";
import type { CountedStatus, Counters, RolloutCounters } from "../../src/rollout/model/counters.ts";
import type { Fleet } from "../../src/rollout/model/fleet.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { planRollouts } from "../../src/rollout/plan.ts";
import {
  abort,
  advance,
  due,
  firstRun,
  gated,
  halt,
  NotPossible,
  opensNotBefore,
  outlook,
  pause,
  replan,
  resume,
  stageFinished,
  stoodStillFor,
} from "../../src/rollout/run.ts";
import { readStrategy, type StrategyDocument } from "../../src/rollout/strategy.ts";
import { readWindow } from "../../src/rollout/windows.ts";
import {
  aChannel,
  aCheckIn,
  aFleet,
  aGroup,
  anEvent,
  aPackage,
  aReport,
  aStagedFleet,
  HOUR,
  MINUTE,
  NOON,
  noCounters,
  SOME,
  World,
} from "./builders.ts";

const THREE: StrategyDocument = {
  stages: [
    { percent: 10, bake: "2h" },
    { percent: 50, over: "4h", approval: "manual" },
    { percent: 100, bake: "1h" },
  ],
};
const fleet = aFleet();
function aRollout(document: StrategyDocument = THREE, changes: Partial<Rollout> = {}): Rollout {
  const [rollout] = aStagedFleet(document, changes).rollouts;
  if (rollout === undefined) throw new Error("no rollout");
  return rollout;
}
function nodes(standing: Partial<Record<CountedStatus, number>>): RolloutCounters {
  const counters: Counters = noCounters();
  for (const [status, number] of Object.entries(standing)) {
    const where = { rolloutNo: 1, groupNo: 1, cell: "0 1 azure", failure: null, errorCode: null, relapsed: false };
    count(counters, { ...where, status: status as CountedStatus }, number);
  }
  return counters.rollouts.get(1) ?? { total: noCounters().rollouts as never, cells: new Map(), causes: new Map() };
}
const some = nodes({ complete: 5 });
const flying = nodes({ complete: 5, downloading: 1 });
/** The rollout as its change makes it. */
const moved = (rollout: Rollout, change: ReturnType<typeof due>): Rollout => {
  if (change === null || change === "look") throw new Error("nothing has changed");
  return { ...rollout, ...change.next };
};

describe("time", () => {
  it("ends a stage when nobody is in flight or waited for, lets it bake, and opens the next", () => {
    let rollout = aRollout();
    expect(due(rollout, fleet, flying, SOME, NOON + HOUR)).toBeNull();
    expect(due(rollout, fleet, some, SOME, NOON + HOUR)).toBe("look");
    rollout = moved(rollout, stageFinished(rollout, NOON + HOUR));
    expect(rollout).toMatchObject({ stage: 0, bakingSince: NOON + HOUR, state: "running" });
    expect(due(rollout, fleet, some, SOME, NOON + 3 * HOUR - 1)).toBeNull();
    const opened = due(rollout, fleet, flying, SOME, NOON + 3 * HOUR);
    rollout = moved(rollout, opened);
    expect(opened).toMatchObject({ reason: "stage 2 of 3 opened by itself" });
    expect(rollout).toMatchObject({ stage: 1, stageOpenedAt: NOON + 3 * HOUR, bakingSince: null });

    // A rise is not over before its time; then a person is asked.
    expect(due(rollout, fleet, some, SOME, NOON + 6 * HOUR)).toBeNull();
    expect(due(rollout, fleet, some, SOME, NOON + 7 * HOUR)).toBe("look");
    rollout = moved(rollout, stageFinished(rollout, NOON + 7 * HOUR));
    expect(rollout).toMatchObject({ stage: 1, awaitsApproval: true });
    expect(due(rollout, fleet, some, SOME, NOON + 99 * HOUR)).toBeNull();
    rollout = moved(rollout, advance(rollout, NOON + 8 * HOUR, "looks good"));
    expect(rollout).toMatchObject({ stage: 2, awaitsApproval: false });

    rollout = moved(rollout, stageFinished(rollout, NOON + 9 * HOUR));
    expect(rollout.state).toBe("running");
    rollout = moved(rollout, due(rollout, fleet, some, SOME, NOON + 10 * HOUR));
    expect(rollout).toMatchObject({ state: "completed", stateAt: NOON + 10 * HOUR });
    expect(due(rollout, fleet, some, SOME, NOON + 99 * HOUR)).toBeNull();
  });

  it("ends a stage whose longest time is over, though nodes are still under way", () => {
    const rollout = aRollout({ stages: [{ percent: 10, max_duration: "1h" }, { percent: 100 }] });
    expect(due(rollout, fleet, flying, SOME, NOON + HOUR - 1)).toBeNull();
    expect(due(rollout, fleet, flying, SOME, NOON + HOUR)).toMatchObject({ next: { stage: 1 } });
  });

  it("says what it was completed on, and without whom", () => {
    const last = { stages: [{ percent: 100, max_duration: "1h" }] };
    const closed = [{ slice: { by: "oem", value: "vmware" } as const, at: NOON, why: "", watched: false }];
    expect(stageFinished(aRollout(last), NOON).reason).toBe("the last stage is over: its nodes have finished");
    expect(due(aRollout(last, { closed }), fleet, flying, SOME, NOON + HOUR)).toMatchObject({
      next: { state: "completed" },
      reason: "the last stage is over: its longest time is over, but for oem=vmware",
    });
  });

  it("does not complete a rollout that nobody has completed", () => {
    const plain = aRollout({});
    expect(due(plain, fleet, nodes({ failed: 3 }), SOME, NOON + HOUR)).toBeNull();
    expect(due(plain, fleet, some, SOME, NOON + HOUR)).toBe("look");
    expect(stageFinished(plain, NOON)).toMatchObject({ next: { state: "completed" } });
  });

  it("starts what is scheduled at its time", () => {
    const strategy = readStrategy({});
    const scheduled = { ...aRollout({}), ...firstRun(strategy, NOON + HOUR, NOON) };
    expect(scheduled.state).toBe("scheduled");
    expect(due(scheduled, fleet, some, SOME, NOON + HOUR - 1)).toBeNull();
    expect(outlook(scheduled, fleet, some, NOON)).toMatchObject({ until: NOON + HOUR });
    expect(due(scheduled, fleet, some, SOME, NOON + HOUR)).toMatchObject({
      next: { state: "running", stageOpenedAt: NOON + HOUR },
    });
    expect(firstRun(strategy, NOON - 1, NOON).state).toBe("running");
  });

  it("starts a rollout when the group before it has completed and baked", () => {
    const canary = aGroup({ no: 2, id: "canary-id", name: "Canary", track: "canary", channel: aChannel({ no: 2 }) });
    const base = aFleet([aGroup(), canary]);
    const strategy = readStrategy({ after: [{ group: "canary", bake: "1d" }] });
    const [first, second] = base.rollouts;
    if (first === undefined || second === undefined) throw new Error("two rollouts");
    const waiting: Rollout = { ...first, strategy, ...firstRun(strategy, null, NOON) };
    const fleetWith = (changes: Partial<Rollout>): Fleet =>
      buildFleet(1, { ...base, rollouts: [waiting, { ...second, ...changes }] });
    expect(waiting.state).toBe("scheduled");
    expect(due(waiting, fleetWith({}), some, SOME, NOON + HOUR)).toBeNull();
    expect(outlook(waiting, fleetWith({}), some, NOON)?.on).toContain('the rollout in group "canary" (running)');
    const done = fleetWith({ state: "completed", stateAt: NOON + HOUR });
    expect(due(waiting, done, some, SOME, NOON + 24 * HOUR)).toBeNull();
    expect(opensNotBefore(waiting, 0, done, NOON + 2 * HOUR)).toBe(NOON + 25 * HOUR);
    expect(due(waiting, done, some, SOME, NOON + 25 * HOUR)).toMatchObject({ next: { state: "running" } });
    // Another version does not count, nor does a group that is not there.
    const other = fleetWith({ state: "completed", package: aPackage({ version: "4593.2.5" }) });
    expect(due(waiting, other, some, SOME, NOON + 99 * HOUR)).toBeNull();
    expect(outlook(waiting, aFleet(), some, NOON)?.on).toContain('a rollout of 4230.2.1 in group "canary"');
  });

  it("starts it as well when that group has gone on to another version since", () => {
    const canary = aGroup({ no: 2, id: "canary-id", name: "Canary", track: "canary", channel: aChannel({ no: 2 }) });
    const base = aFleet([aGroup(), canary]);
    const [first] = base.rollouts;
    if (first === undefined) throw new Error("no rollout");
    const strategy = readStrategy({ after: [{ group: "canary", bake: "1d" }] });
    const waiting: Rollout = { ...first, strategy, ...firstRun(strategy, null, NOON) };
    const { no: packageNo, version } = first.package;
    const completions = [{ groupNo: 2, packageNo, version, at: NOON - HOUR }];
    const fleetWith = (past: typeof completions) => buildFleet(1, { ...base, rollouts: [waiting], completions: past });
    expect(due(waiting, fleetWith(completions), some, SOME, NOON)).toBeNull();
    expect(outlook(waiting, fleetWith(completions), some, NOON)?.until).toBe(NOON + 23 * HOUR);
    expect(due(waiting, fleetWith(completions), some, SOME, NOON + 23 * HOUR)).toMatchObject({
      next: { state: "running" },
    });
    const other = completions.map((one) => ({ ...one, version: "4593.2.5" }));
    expect(due(waiting, fleetWith(other), some, SOME, NOON + 99 * HOUR)).toBeNull();
  });

  it("stands still while the server was away, where it goes by time", () => {
    expect(stoodStillFor(aRollout(), HOUR)).toBeNull();
    expect(stoodStillFor(aRollout(THREE, { stage: 1, awaitsApproval: true }), HOUR)).toBeNull();
    expect(stoodStillFor(aRollout(THREE, { stage: 1, state: "paused" }), HOUR)).toBeNull();
    expect(stoodStillFor(aRollout(THREE, { stage: 1 }), HOUR)?.next).toMatchObject({ stageOpenedAt: NOON + HOUR });
    const baking = aRollout(THREE, { bakingSince: NOON + 1 });
    expect(stoodStillFor(baking, HOUR)).toMatchObject({
      next: { bakingSince: NOON + 1 + HOUR },
      reason: expect.stringContaining("60 minutes"),
    });
    const longest = aRollout({ stages: [{ percent: 10, max_duration: "1h" }, { percent: 100 }] });
    expect(stoodStillFor(longest, HOUR)?.next).toMatchObject({ stageOpenedAt: NOON + HOUR });
  });

  it("does nothing to what is paused by hand or halted", () => {
    for (const state of ["paused", "halted", "aborted", "superseded"] as const) {
      expect(due(aRollout(THREE, { state }), fleet, some, SOME, NOON + 99 * HOUR)).toBeNull();
    }
  });
});

describe("a person", () => {
  it("pauses and resumes: stage, rise and bake stand still meanwhile", () => {
    const baking = aRollout(THREE, { bakingSince: NOON });
    const paused = moved(baking, pause(baking, NOON + HOUR, "lunch"));
    expect(paused).toMatchObject({ state: "paused", stateAt: NOON + HOUR });
    const resumed = moved(paused, resume(paused, some, NOON + 5 * HOUR, "back"));
    expect(resumed).toMatchObject({ state: "running", stageOpenedAt: NOON + 4 * HOUR, bakingSince: NOON + 4 * HOUR });
  });

  it("halts what is paused: all of the time that it stood still is made up for", () => {
    const baking = aRollout(THREE, { bakingSince: NOON });
    const paused = moved(baking, pause(baking, NOON + HOUR, "lunch"));
    const halted = moved(paused, halt(paused, NOON + 3 * HOUR, "not good"));
    const resumed = moved(halted, resume(halted, some, NOON + 7 * HOUR, "good after all"));
    expect(resumed).toMatchObject({ stageOpenedAt: NOON + 6 * HOUR, bakingSince: NOON + 6 * HOUR });
  });

  it("opens closed slices again with resume", () => {
    const closed = [{ slice: { by: "oem", value: "vmware" } as const, at: NOON, why: "", watched: false }];
    const rollout = aRollout(THREE, { closed, stageOpenedAt: NOON - HOUR });
    expect(resume(rollout, some, NOON + HOUR, "mended").next).toMatchObject({
      state: "running",
      closed: [],
      stageOpenedAt: NOON - HOUR,
    });
  });

  it("starts a scheduled rollout, and opens the next stage, at once", () => {
    const scheduled = aRollout(THREE, { state: "scheduled", startAt: NOON + HOUR });
    expect(advance(scheduled, NOON, "now").next).toMatchObject({ state: "running", stage: 0, stageOpenedAt: NOON });
    expect(advance(aRollout(), NOON + 1, "urgent").next).toMatchObject({ stage: 1, stageOpenedAt: NOON + 1 });
  });

  it.each([
    ["pause what is halted", () => pause(aRollout(THREE, { state: "halted" }), NOON, ""), "only a running one"],
    ["pause what has ended", () => pause(aRollout(THREE, { state: "completed" }), NOON, ""), "is completed"],
    ["resume what runs", () => resume(aRollout(), some, NOON, ""), "is running"],
    [
      "resume what has not started",
      () => resume(aRollout(THREE, { state: "scheduled" }), some, NOON, ""),
      "has not started",
    ],
    ["halt what has not started", () => halt(aRollout(THREE, { state: "scheduled" }), NOON, ""), "abort it instead"],
    ["halt twice", () => halt(aRollout(THREE, { state: "halted" }), NOON, ""), "halted already"],
    ["advance what is paused", () => advance(aRollout(THREE, { state: "paused" }), NOON, ""), "resume it first"],
    ["advance past the end", () => advance(aRollout(THREE, { stage: 2 }), NOON, ""), "last stage"],
    ["abort twice", () => abort(aRollout(THREE, { state: "aborted" }), NOON, ""), "is aborted"],
    [
      "change what has opened",
      () => replan(aRollout(THREE, { stage: 1 }), readStrategy({ stages: [{ percent: 20 }, { percent: 50 }] })),
      "stage 1 has opened",
    ],
  ] as const)("can't %s", (_, act, message) => {
    expect(act).toThrow(NotPossible);
    expect(act).toThrow(message);
  });

  it("aborts, also what has completed", () => {
    for (const state of ["running", "paused", "halted", "scheduled", "completed"] as const) {
      expect(abort(aRollout(THREE, { state }), NOON, "bad").next.state).toBe("aborted");
    }
  });

  it("changes stages that have not opened", () => {
    const [first, second] = THREE.stages ?? [];
    const rollout = aRollout(THREE, { stage: 1 });
    const stages = [first ?? {}, second ?? {}, { percent: 60 }, { percent: 100 }];
    expect(() => replan(rollout, readStrategy({ stages }))).not.toThrow();
    expect(() => replan(aRollout(THREE, { state: "scheduled" }), readStrategy({}))).not.toThrow();
  });
});

describe("a rollout that had completed", () => {
  const gate: StrategyDocument = { ...THREE, health: {} };
  const done = { state: "completed", stage: 2, stateAt: NOON, bakingSince: NOON - HOUR } as const;
  const bad = nodes({ complete: 5, "rolled-back": 5 });

  it.each([
    ["halt", { state: "halted", stateAt: NOON + HOUR }],
    ["pause", { state: "paused", pausedByGate: true }],
    ["ask", { state: "paused", pausedByGate: false }],
    ["watch", { state: "completed", closed: [{ watched: true }] }],
  ] as const)("is stopped by its gate as one that runs is: %s", (onBreach, expected) => {
    const rollout = aRollout({ ...gate, health: { on_breach: onBreach } }, done);
    expect(gated(rollout, bad, NOON + HOUR)?.next).toMatchObject(expected);
  });

  it.each(["scheduled", "superseded", "aborted"] as const)("is not what is %s", (state) => {
    expect(gated(aRollout(gate, { ...done, state }), bad, NOON + HOUR)).toBeNull();
  });

  it("is completed again soon after a person has resumed it, and lets nothing start meanwhile that comes after it", () => {
    const halted = moved(aRollout(gate, done), gated(aRollout(gate, done), bad, NOON + HOUR));
    const resumed = moved(halted, resume(halted, bad, NOON + 9 * HOUR, "seen"));
    expect(resumed).toMatchObject({ state: "running", bakingSince: NOON + 7 * HOUR });
    expect(due(resumed, fleet, bad, SOME, NOON + 9 * HOUR)).toMatchObject({ next: { state: "completed" } });
  });

  it("closes a slice, which a person opens again with resume", () => {
    const mixed = noCounters();
    const where = { rolloutNo: 1, groupNo: 1, errorCode: null, relapsed: false } as const;
    count(mixed, { ...where, cell: "0 1 vmware", status: "rolled-back", failure: "rolled-back" }, 9);
    count(mixed, { ...where, cell: "0 1 azure", status: "complete", failure: null }, 90);
    const counters = mixed.rollouts.get(1) ?? some;
    const closed = moved(aRollout(gate, done), gated(aRollout(gate, done), counters, NOON + HOUR));
    expect(closed).toMatchObject({ state: "completed", stateAt: NOON, closed: [{ slice: { value: "vmware" } }] });
    const opened = moved(closed, resume(closed, counters, NOON + 2 * HOUR, "mended"));
    expect(opened).toMatchObject({ state: "completed", stateAt: NOON, closed: [] });
    expect(gated(opened, counters, NOON + 3 * HOUR)).toBeNull();
    expect(() => resume(opened, counters, NOON + 3 * HOUR, "")).toThrow("it can't be resumed any more");
  });

  it("can be halted by a person, too", () => {
    const halted = moved(aRollout(gate, done), halt(aRollout(gate, done), NOON + HOUR, "nodes hang after a day"));
    expect(halted).toMatchObject({ state: "halted", stateAt: NOON + HOUR });
    expect(() => halt(aRollout(gate, { ...done, state: "aborted" }), NOON, "")).toThrow("it can't be halted any more");
  });

  it("keeps back what comes after it for as long as it is halted", () => {
    const canary = aGroup({ no: 2, id: "canary-id", name: "Canary", track: "canary", channel: aChannel({ no: 2 }) });
    const base = aFleet([aGroup(), canary]);
    const strategy = readStrategy({ after: [{ group: "canary" }] });
    const [first, second] = base.rollouts;
    if (first === undefined || second === undefined) throw new Error("two rollouts");
    const waiting: Rollout = { ...first, strategy, ...firstRun(strategy, null, NOON) };
    const fleetWith = (state: Rollout["state"]): Fleet =>
      buildFleet(1, { ...base, rollouts: [waiting, { ...second, state }] });
    expect(due(waiting, fleetWith("halted"), some, SOME, NOON)).toBeNull();
    expect(outlook(waiting, fleetWith("halted"), some, NOON)?.on).toContain('the rollout in group "canary" (halted)');
    expect(due(waiting, fleetWith("completed"), some, SOME, NOON)).toMatchObject({ next: { state: "running" } });
  });
});

describe("the outlook", () => {
  it.each([
    [{}, "stage 2, after the nodes of stage 1 of 3 have finished", null],
    [{ bakingSince: NOON }, "stage 2, when it has baked", NOON + 2 * HOUR],
    [{ stage: 1 }, "the wait for approval, after", null],
    [{ stage: 1, awaitsApproval: true }, "a person to open stage 3", null],
    [{ stage: 2, bakingSince: NOON }, "completion, when it has baked", NOON + HOUR],
    [{ state: "paused" }, "a person to resume it", null],
    [{ state: "paused", pausedByGate: true }, "the gate to open again", null],
    [{ state: "halted" }, "a person to resume or abort it", null],
  ] as const)("of %j", (changes, on, until) => {
    const next = outlook(aRollout(THREE, changes), fleet, some, NOON);
    expect(next?.on).toContain(on);
    expect(next?.until).toBe(until);
  });

  it("knows when a later stage can open at the earliest", () => {
    expect(opensNotBefore(aRollout(), 1, fleet, NOON)).toBe(NOON + 2 * HOUR);
    expect(opensNotBefore(aRollout(THREE, { bakingSince: NOON - HOUR }), 1, fleet, NOON)).toBe(NOON + HOUR);
    expect(opensNotBefore(aRollout(), 2, fleet, NOON)).toBeNull();
    expect(opensNotBefore(aRollout(THREE, { state: "halted" }), 1, fleet, NOON)).toBeNull();
    const risen: StrategyDocument = { stages: [{ percent: 1, over: "3h", bake: "1h" }, { percent: 2, over: "5h" }, { percent: 100 }] }; // biome-ignore format: one line
    expect(opensNotBefore(aRollout(risen), 2, fleet, NOON + HOUR)).toBe(NOON + 9 * HOUR);
  });
});

describe("going back", () => {
  const group = aGroup();
  const back: Partial<Rollout> = { no: 9, id: "back", package: aPackage({ version: "4081.2.0" }), undoes: "4230.2.1" };
  function aWorld(): World {
    const world = new World(aFleet([group]));
    world.checkIn(aCheckIn());
    world.checkIn(aCheckIn({ version: "4230.2.1" }));
    expect(world.node().status).toBe("complete");
    const [bad] = world.fleet.rollouts;
    if (bad === undefined) throw new Error("no rollout");
    world.fleet = buildFleet(2, {
      ...world.fleet,
      rollouts: [
        { ...bad, state: "aborted" },
        { ...bad, ...back },
      ],
    });
    return world;
  }

  it("offers the version before to nodes that took the bad one, and sees them through", () => {
    const world = aWorld();
    const outcome = world.checkIn(aCheckIn({ version: "4230.2.1" }));
    expect(outcome.reason).toBe("granted");
    expect(outcome.offer?.manifests[0]?.package.version).toBe("4081.2.0");
    expect(world.node()).toMatchObject({ status: "granted", grant: { rolloutNo: 9, fromVersion: "4230.2.1" } });
    world.checkIn(aReport(anEvent(3, 1), { version: "4230.2.1" }));
    world.now += MINUTE;
    expect(world.checkIn(aCheckIn({ version: "4081.2.0", bootId: "{2}" })).reason).toBe("rollout-not-running");
    expect(world.node().status).toBe("complete");
    expect(world.counters.rollouts.get(9)?.total.complete).toBe(1);
  });

  it("sees a node that falls back from it to the bad version", () => {
    const world = aWorld();
    world.checkIn(aCheckIn({ version: "4230.2.1" }));
    world.checkIn(aReport(anEvent(3, 1), { version: "4230.2.1" }));
    world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{2}" }));
    expect(world.node()).toMatchObject({ status: "rolled-back", grant: { rolloutNo: 9 } });
  });

  it("takes back every node that took the bad version, also one that a limit holds back first", () => {
    const world = new World(aFleet([group]));
    const nodes = ["1", "2", "3"].map((digit) => digit.repeat(32));
    for (const machineId of nodes) {
      world.checkIn(aCheckIn({ machineId }));
      world.checkIn(aCheckIn({ machineId, version: "4230.2.1" }));
    }
    const [bad] = world.fleet.rollouts;
    if (bad === undefined) throw new Error("no rollout");
    const limited = aFleet([aGroup({ policy: { maxUpdatesPerPeriod: 1, periodMs: MINUTE } })]);
    world.fleet = buildFleet(2, { ...limited, rollouts: [{ ...bad, state: "aborted" }, { ...bad, ...back }] }); // biome-ignore format: one line
    const taken: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      world.now += 10 * MINUTE;
      for (const machineId of nodes) {
        if (taken.includes(machineId)) continue;
        if (world.checkIn(aCheckIn({ machineId, version: "4230.2.1" })).offer !== null) taken.push(machineId);
      }
      for (const machineId of taken) world.checkIn(aCheckIn({ machineId, version: "4081.2.0" }));
    }
    expect(taken).toEqual(nodes);
  });

  it("takes back a node also when it was offered that, did not begin, and was then held back", () => {
    const world = aWorld();
    const check = () => world.checkIn(aCheckIn({ version: "4230.2.1" })).reason;
    expect(check()).toBe("granted");
    const way = world.fleet;
    const windows = [readWindow({ from: "20:00", to: "21:00" })];
    world.fleet = buildFleet(3, { ...way, groups: [aGroup({ policy: { windows } })] });
    expect(check()).toBe("outside-window");
    world.fleet = way;
    expect(check()).toBe("offered-again");
  });

  it("leaves nodes alone that did not get the bad version from here, or never had it", () => {
    const world = aWorld();
    const other = "1".repeat(32);
    expect(world.checkIn(aCheckIn({ machineId: other, version: "4230.2.1" })).reason).toBe("up-to-date");
    expect(world.checkIn(aCheckIn({ machineId: "2".repeat(32) })).reason).toBe("rollout-not-running");
  });

  it("is over when the channel goes beyond what was taken back; the aborted rollout is not made again before", () => {
    const { rollouts } = aWorld().fleet;
    expect(planRollouts([group], rollouts)).toEqual({ create: [], retire: [] });
    const older = aGroup({ channel: aChannel({ package: aPackage({ version: "4081.2.0" }) }) });
    expect(planRollouts([older], rollouts)).toMatchObject({ retire: [1] });
    // Once the bad version is rolled out again, nobody is to be taken back from it any more.
    const [bad, way] = rollouts;
    if (bad === undefined || way === undefined) throw new Error("two rollouts");
    expect(planRollouts([group], [way, { ...bad, no: 10, state: "running" }])).toEqual({ create: [], retire: [9] });
    expect(planRollouts([group], [way])).toMatchObject({ create: [{ groupNo: 1 }], retire: [9] });
    const newer = aGroup({ channel: aChannel({ package: aPackage({ version: "4593.2.5" }) }) });
    expect(planRollouts([newer], rollouts).retire).toEqual([9, 1]);
  });
});
