import { describe, expect, it } from "vitest";
import { count, OTHER_CAUSE } from "../../src/rollout/counters.ts";
import { baselineOf, breachesOf, breachOf, describeBreach, lowerBound } from "../../src/rollout/health.ts";
import type { Arch } from "../../src/rollout/model/arch.ts";
import type { CountedStatus, Counters, RolloutCounters } from "../../src/rollout/model/counters.ts";
import type { Failure } from "../../src/rollout/model/node.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { due, gated, resume } from "../../src/rollout/run.ts";
import type { HealthDocument } from "../../src/rollout/strategy.ts";
import {
  aCheckIn,
  aFleet,
  anEvent,
  aReport,
  aStagedFleet,
  HOUR,
  MINUTE,
  NOON,
  noCounters,
  SOME,
  World,
} from "./builders.ts";
import { gateFigure } from "./gate-figures.ts";

const machine = (n: number) => n.toString(16).padStart(32, "0");

function aRollout(health: HealthDocument = {}, changes: Partial<Rollout> = {}): Rollout {
  const [rollout] = aStagedFleet({ health }, changes).rollouts;
  if (rollout === undefined) throw new Error("no rollout");
  return rollout;
}

type Standing = readonly [status: CountedStatus, nodes: number, oem?: string, arch?: Arch];
function standing(...all: readonly Standing[]): RolloutCounters {
  const counters: Counters = noCounters();
  for (const [status, nodes, oem = "azure", arch = 1] of all) {
    const failure = ["failed", "timed-out", "rolled-back", "lost"].includes(status) ? (status as Failure) : null;
    const cell = `0 ${arch} ${oem}`;
    count(counters, { rolloutNo: 1, groupNo: 1, cell, status, failure, errorCode: null, relapsed: false }, nodes);
  }
  const rollout = counters.rollouts.get(1);
  if (rollout === undefined) throw new Error("nobody stands anywhere");
  return rollout;
}

describe("the lower bound", () => {
  // Worked out by hand from Wilson's formula with z = 3.29.
  it.each([
    [0, 0, 0],
    [0, 50, 0],
    [5, 5, 5 / (5 + 3.29 ** 2)],
    [2, 5, 0.0574],
    [2, 10, 0.0281],
    [50, 100, 0.345],
  ])("of %i in %i", (bad, finished, bound) => {
    expect(lowerBound(bad, finished)).toBeCloseTo(bound, 2);
  });
});

describe("the gate", () => {
  it("closes on what has finished, whatever is still under way or never came", () => {
    expect(breachOf(aRollout(), standing(["failed", 4], ["granted", 900]))).toBeNull();
    expect(breachOf(aRollout(), standing(["failed", 5], ["granted", 900]))).toMatchObject({
      finished: 5,
      bad: 5,
      slice: null,
    });
    expect(breachOf(aRollout(), standing(["failed", 5], ["complete", 95]))).toBeNull();
    expect(breachOf(aRollout(), standing(["failed", 20], ["complete", 80]))).toMatchObject({ why: "failures" });
    expect(breachOf(aRollout(), standing(["withdrawn", 500], ["complete", 5]))).toBeNull();
  });

  it("counts every bad end, and a node that tries again until it completes", () => {
    for (const bad of ["failed", "timed-out", "rolled-back"] as const) {
      expect(breachOf(aRollout(), standing([bad, 5])), bad).not.toBeNull();
    }
    const again = noCounters();
    count(
      again,
      {
        rolloutNo: 1,
        groupNo: 1,
        cell: "0 1 ",
        status: "downloading",
        failure: "failed",
        errorCode: 9,
        relapsed: false,
      },
      5,
    );
    expect(breachOf(aRollout(), again.rollouts.get(1) ?? standing())).toMatchObject({ bad: 5 });
  });

  it("closes at once on more lost nodes than it may, however many are fine", () => {
    expect(breachOf(aRollout(), standing(["lost", 2], ["complete", 5_000]))).toBeNull();
    expect(breachOf(aRollout(), standing(["lost", 3], ["complete", 5_000]))).toMatchObject({ why: "lost", lost: 3 });
    expect(breachOf(aRollout({ max_lost: null }), standing(["lost", 3], ["complete", 5_000]))).toBeNull();
    expect(breachOf(aRollout({ max_lost: 0 }), standing(["lost", 1], ["complete", 5_000]))).toMatchObject({ lost: 1 });
  });

  it("blames one slice when the others are fine", () => {
    const rollout = aRollout();
    expect(breachOf(rollout, standing(["failed", 5, "vmware"], ["complete", 20]))).toMatchObject({
      slice: { by: "oem", value: "vmware" },
    });
    expect(breachOf(rollout, standing(["failed", 5, "azure", 2], ["complete", 20, "azure", 1]))).toMatchObject({
      slice: { by: "arch", value: "aarch64" },
    });
    // Failures show sooner than successes: whoever is under way could have failed as well.
    expect(breachOf(rollout, standing(["failed", 5, "vmware"], ["downloading", 20]))).toMatchObject({
      slice: { value: "vmware" },
    });
    expect(breachOf(rollout, standing(["failed", 5, "vmware"], ["granted", 1]))).toMatchObject({ slice: null });
    expect(breachOf(rollout, standing(["failed", 5, "vmware"], ["failed", 2], ["complete", 5]))).toMatchObject({
      slice: null,
    });
    // It stands out, but the others are no good either.
    expect(
      breachOf(
        rollout,
        standing(["failed", 40, "vmware"], ["failed", 60], ["complete", 340], ["complete", 1, "vmware"]),
      ),
    ).toMatchObject({ slice: null });
    // It could well be chance.
    expect(
      breachOf(rollout, standing(["failed", 2, "vmware"], ["complete", 2, "vmware"], ["complete", 1])),
    ).toMatchObject({ slice: null });
    expect(breachOf(aRollout({ slices: [] }), standing(["failed", 5, "vmware"], ["complete", 20]))).toMatchObject({
      slice: null,
    });
  });

  it("blames no slice that no node can be told to be of", () => {
    const others = standing(["failed", 40, "other"], ["complete", 40], ["complete", 40, "vmware"]);
    expect(breachesOf(aRollout(), others)).toMatchObject([{ slice: null }]);
    expect(breachesOf(aRollout(), standing(["lost", 3, "other"], ["complete", 4_000]))).toMatchObject([
      { slice: null },
    ]);
  });

  it("finds a slice that is unhealthy though the whole is not", () => {
    const mixed = standing(["failed", 6, "vmware"], ["complete", 4_000]);
    expect(breachOf(aRollout({ slices: [] }), mixed)).toBeNull();
    expect(breachOf(aRollout(), mixed)).toMatchObject({ slice: { by: "oem", value: "vmware" }, bad: 6 });
  });

  it("finds every slice that is unhealthy, and not only the worst", () => {
    const two = standing(["failed", 40, "vmware"], ["failed", 8, "qemu"], ["complete", 4_000]);
    expect(breachesOf(aRollout(), two).map(({ slice }) => slice?.value)).toEqual(["vmware", "qemu"]);
    const bad = standing(["failed", 40, "vmware"], ["failed", 8, "qemu"], ["failed", 8], ["complete", 8]);
    expect(breachesOf(aRollout(), bad).at(-1)).toMatchObject({ slice: null });
  });

  it("leaves what a closed slice has done out of account", () => {
    const closed = [{ slice: { by: "oem", value: "vmware" } as const, at: NOON, why: "", watched: false }];
    const rollout = aRollout({}, { closed });
    expect(breachOf(rollout, standing(["failed", 50, "vmware"], ["complete", 5]))).toBeNull();
    expect(breachOf(rollout, standing(["failed", 50, "vmware"], ["failed", 5]))).toMatchObject({ slice: null, bad: 5 });
  });

  it("looks only at what comes after, once a person has resumed", () => {
    const before = standing(["failed", 5]);
    const halted = aRollout({}, { state: "halted", stateAt: NOON });
    const resumed = { ...halted, ...resume(halted, before, NOON + HOUR, "seen").next };
    expect(resumed).toMatchObject({ state: "running", baseline: baselineOf(before) });
    expect(breachOf(resumed, before)).toBeNull();
    expect(breachOf(resumed, standing(["failed", 9]))).toBeNull();
    expect(breachOf(resumed, standing(["failed", 10]))).toMatchObject({ bad: 5, finished: 5 });
  });

  it("after a resume, holds fall-backs against all who had completed by then, and failures against those who came after", () => {
    const relapsed = (completed: number, relapses: number, ...more: readonly Standing[]) => {
      const rollouts = new Map([[1, standing(["complete", completed], ...more)]]);
      const counters: Counters = { ...noCounters(), rollouts };
      const where = { rolloutNo: 1, groupNo: 1, cell: "0 1 azure", errorCode: null } as const;
      count(counters, { ...where, status: "rolled-back", failure: "rolled-back", relapsed: true }, relapses);
      return counters.rollouts.get(1) ?? standing();
    };
    const before = standing(["complete", 10_000], ["failed", 5]);
    const halted = aRollout({}, { state: "halted", stateAt: NOON });
    const resumed = { ...halted, ...resume(halted, before, NOON + HOUR, "seen").next };
    expect(breachOf(resumed, relapsed(9_990, 10, ["failed", 5]))).toBeNull();
    // The same beside a few that completed since; and one of these that fails is not lost among the ten thousand.
    expect(breachOf(resumed, relapsed(9_995, 10, ["failed", 5]))).toBeNull();
    expect(breachOf(resumed, relapsed(9_995, 10, ["failed", 10]))).toMatchObject({
      why: "failures",
      bad: 5,
      finished: 10,
    });
    const many = breachOf(resumed, relapsed(9_300, 700, ["failed", 5]));
    expect(many).toMatchObject({ why: "relapses", bad: 700, finished: 10_000, slice: null });
    if (many === null || resumed.strategy.health === null) throw new Error("no breach, or no gate");
    expect(describeBreach(many, resumed.strategy.health)).toMatch(
      /^700 of 10000 nodes that had completed before it was resumed fell back since: at least 6\.\d % fall back/,
    );
    // Resumed once more, that is known, too.
    const again = {
      ...resumed,
      ...resume({ ...resumed, state: "halted" }, relapsed(9_300, 700, ["failed", 5]), NOON, "").next,
    };
    expect(breachOf(again, relapsed(9_300, 700, ["failed", 5]))).toBeNull();
    expect(breachOf(again, relapsed(9_800, 200, ["failed", 5]))).toBeNull(); // some are back
  });

  it("counts fall-backs after success like any failure, where nobody has resumed", () => {
    const world = new World(aStagedFleet({ health: {} }));
    for (let n = 1; n <= 8; n += 1) {
      world.checkIn(aCheckIn({ machineId: machine(n) }));
      world.checkIn(aCheckIn({ machineId: machine(n), version: "4230.2.1", bootId: "{boot-2}" }));
    }
    const [rollout] = world.fleet.rollouts;
    const breach = () => rollout && breachOf(rollout, world.counters.rollouts.get(1) ?? standing());
    for (let n = 1; n <= 8; n += 1) {
      if (n === 3) expect(breach()).toBeNull();
      world.checkIn(aCheckIn({ machineId: machine(n), bootId: "{boot-3}" }));
    }
    expect(breach()).toMatchObject({ why: "failures", bad: 8, finished: 8, slice: null });
  });

  it.each([
    ["halt", { state: "halted", closed: [] }],
    ["pause", { state: "paused", pausedByGate: true }],
    ["ask", { state: "paused", pausedByGate: false }],
    ["watch", { state: "running", closed: [{ watched: true }] }],
  ] as const)("does as it is told: %s", (onBreach, expected) => {
    const bad = standing(["failed", 5]);
    const rollout = aRollout({ on_breach: onBreach });
    const change = gated(rollout, bad, NOON);
    expect(change?.next).toMatchObject(expected);
    expect(change?.reason).toContain("5 of 5 finished nodes failed");
    if (change !== null) expect(gated({ ...rollout, ...change.next }, bad, NOON)).toBeNull();
  });

  it("with `watch`, says of each slice once that it would have been closed", () => {
    const two = standing(["failed", 40, "vmware"], ["failed", 8, "qemu"], ["complete", 4_000]);
    let rollout = aRollout({ on_breach: "watch" });
    for (const said of ["would have closed oem=vmware", "would have closed oem=qemu"]) {
      const change = gated(rollout, two, NOON);
      expect(change?.reason).toContain(said);
      rollout = { ...rollout, ...change?.next };
    }
    expect(gated(rollout, two, NOON)).toBeNull();
  });

  it("with `pause`, pauses all of it only for what is no slice's fault", () => {
    const rollout = aRollout({ on_breach: "pause" });
    const slice = standing(["failed", 40, "vmware"], ["complete", 4_000]);
    expect(gated(rollout, slice, NOON)).toBeNull();
    const all = standing(["failed", 40, "vmware"], ["failed", 40], ["complete", 40]);
    const change = gated(rollout, all, NOON);
    expect(change?.next).toMatchObject({ state: "paused", pausedByGate: true });
    // When only the slice is left, its nodes alone go on waiting.
    expect(due({ ...rollout, ...change?.next }, aFleet(), slice, SOME, NOON + HOUR)).toMatchObject({
      next: { state: "running" },
    });
  });

  it("paused by `pause` goes on by itself when enough have completed, by `ask` it does not", () => {
    const fleet = aFleet();
    const fine = standing(["failed", 5], ["complete", 200]);
    const paused = { state: "paused", stateAt: NOON, stageOpenedAt: NOON - HOUR } as const;
    const pause = aRollout({ on_breach: "pause" }, { ...paused, pausedByGate: true });
    expect(due(pause, fleet, standing(["failed", 5]), SOME, NOON + HOUR)).toBeNull();
    expect(due(pause, fleet, fine, SOME, NOON + HOUR)).toMatchObject({
      next: { state: "running", stageOpenedAt: NOON },
    });
    expect(due(aRollout({ on_breach: "ask" }, paused), fleet, fine, SOME, NOON + HOUR)).toBeNull();
  });
});

describe("a halted or closed rollout", () => {
  const broken = (n: number, oem: string) => aReport(anEvent(3, 0, { errorCode: 9 }), { machineId: machine(n), oem });
  const whole = (n: number, oem: string) => aCheckIn({ machineId: machine(n), oem, version: "4230.2.1" });

  it("grants nothing while the gate is breached, and takes back what has not begun", () => {
    const world = new World(aStagedFleet({ health: {} }));
    for (let n = 1; n <= 7; n += 1) world.checkIn(aCheckIn({ machineId: machine(n) }));
    for (let n = 1; n <= 5; n += 1) world.checkIn(broken(n, "azure"));
    expect(world.checkIn(aCheckIn({ machineId: machine(99) })).reason).toBe("health-gate");
    expect(world.checkIn(aCheckIn({ machineId: machine(6) })).reason).toBe("health-gate");
    expect(world.node(machine(6)).status).toBe("on-hold");
    world.checkIn(aReport(anEvent(13, 1), { machineId: machine(7) }));
    expect(world.checkIn(aCheckIn({ machineId: machine(7) })).reason).toBe("health-gate");
    expect(world.node(machine(7)).status).toBe("downloading");
  });

  it("goes on in the other slices", () => {
    const world = new World(aStagedFleet({ health: {} }));
    for (let n = 1; n <= 30; n += 1) {
      const oem = n % 3 === 0 ? "vmware" : "azure";
      world.checkIn(aCheckIn({ machineId: machine(n), oem }));
      world.checkIn(oem === "vmware" ? broken(n, oem) : whole(n, oem));
      const [rollout] = world.fleet.rollouts;
      const counters = world.counters.rollouts.get(1);
      const change = rollout && counters ? gated(rollout, counters, NOON) : null;
      if (rollout && change) world.fleet = aStagedFleet({ health: {} }, change.next);
    }
    expect(world.fleet.rollouts[0]).toMatchObject({ state: "running", closed: [{ slice: { value: "vmware" } }] });
    expect(world.checkIn(aCheckIn({ machineId: machine(98), oem: "vmware" })).reason).toBe("health-gate");
    expect(world.checkIn(aCheckIn({ machineId: machine(99), oem: "azure" })).reason).toBe("granted");
  });

  it("with `pause`, grants nothing in any of the slices that are unhealthy, and goes on in the others", () => {
    const world = new World(aStagedFleet({ health: { on_breach: "pause" } }));
    for (let n = 1; n <= 300; n += 1) {
      const oem = n <= 20 ? "vmware" : n <= 26 ? "qemu" : "azure";
      world.checkIn(aCheckIn({ machineId: machine(n), oem }));
    }
    for (let n = 27; n <= 300; n += 1) world.checkIn(whole(n, "azure"));
    for (let n = 1; n <= 26; n += 1) world.checkIn(broken(n, n <= 20 ? "vmware" : "qemu"));
    const asked = (oem: string) => world.checkIn(aCheckIn({ machineId: machine(900), oem })).reason;
    expect(asked("vmware")).toBe("health-gate");
    expect(asked("qemu")).toBe("health-gate");
    expect(asked("azure")).toBe("granted");
  });

  it("keeps a failure that tries again, and puts it back where it was when its new offer is taken back", () => {
    const world = new World(aStagedFleet({ health: {} }));
    world.checkIn(aCheckIn());
    world.checkIn(aReport(anEvent(3, 0, { errorCode: 9 })));
    world.now += HOUR;
    expect(world.checkIn(aCheckIn()).reason).toBe("granted");
    expect(world.node()).toMatchObject({ status: "granted", grant: { attempt: 2, failure: "failed", errorCode: 9 } });
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ granted: 1, retrying: 1, failed: 0 });
    world.fleet = aStagedFleet({ health: {} }, { state: "halted" });
    world.now += MINUTE;
    expect(world.checkIn(aCheckIn()).reason).toBe("rollout-not-running");
    expect(world.node()).toMatchObject({ status: "failed", grant: { attempt: 1, failure: "failed", deadline: null } });
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ granted: 0, retrying: 0, failed: 1, withdrawn: 0 });
    expect(world.counters.rollouts.get(1)?.causes).toEqual(new Map([[9, 1]]));
    world.checkIn(aCheckIn({ version: "4230.2.1" }));
    expect(world.counters.rollouts.get(1)?.causes).toEqual(new Map());
  });

  it("counts the codes that nodes invent as one, so that they are no more than there are", () => {
    const counters = noCounters();
    const standing = {
      rolloutNo: 1,
      groupNo: 1,
      cell: "0 1 azure",
      status: "failed",
      failure: "failed",
      relapsed: false,
    } as const;
    for (let code = 0; code < 10_000; code += 1) count(counters, { ...standing, errorCode: code }, 1);
    const causes = counters.rollouts.get(1)?.causes;
    expect(causes?.size).toBe(128 + 1_000 + 1);
    expect(causes?.get(OTHER_CAUSE)).toBe(10_000 - 1_128);
    for (let code = 0; code < 10_000; code += 1) count(counters, { ...standing, errorCode: code }, -1);
    expect(causes?.size).toBe(0);
  });
});

describe("simulated releases, 400 of each kind", () => {
  it.each([
    [1, 5, 5],
    [0.5, 3, 12],
    [0.2, 4, 40],
    [0.1, 10, 400],
  ])("one that fails on %d of its nodes breaks about %i before the halt", (share, median, most) => {
    const figure = gateFigure(share, 400);
    expect(figure.halted).toBe(1);
    expect(Math.abs(figure.medianBroken - median)).toBeLessThanOrEqual(Math.max(1, median / 2));
    expect(figure.mostBroken).toBeLessThanOrEqual(most);
  });

  it.each([0.01, 0.02])("one that fails on %d is hardly ever halted", (share) => {
    expect(gateFigure(share, 400).halted).toBeLessThanOrEqual(0.01);
  });
});
