/** Two machines, or more, with one machine id: cloned disks. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emptyTally } from "../../src/rollout/counters.ts";
import { explain, nextCheckIn } from "../../src/rollout/explain.ts";
import { buildFleet } from "../../src/rollout/fleet.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import type { Outcome } from "../../src/rollout/model/outcome.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { isShared } from "../../src/rollout/shared-id.ts";
import { readStrategy } from "../../src/rollout/strategy.ts";
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
  aStagedFleet,
  HOUR,
  MINUTE,
  NOON,
  World,
} from "./builders.ts";

const DAY = 24 * HOUR;
const OTHER = "f".repeat(32);

/** Everybody up to date: nothing is granted, unless a test says so. */
const quiet = () => new World(aFleet([aGroup({ channel: aChannel({ package: aPackage({ version: "4081.2.0" }) }) })]));
const checks = (world: World, what: Partial<CheckIn>, minutes = 20, ip?: string): Outcome => {
  const outcome = world.checkIn(aCheckIn(what), ip);
  world.now += minutes * MINUTE;
  return outcome;
};
const total = (world: World) => world.counters.rollouts.get(1)?.total ?? emptyTally();
const classes = ({ changes }: Outcome) => changes.activities.map((activity) => activity.class);

describe("two machines with one machine id", () => {
  it("are noticed when the first is heard again after the second, and people are told", () => {
    const world = quiet();
    checks(world, { bootId: "{a}" }, 20, "192.0.2.1");
    checks(world, { bootId: "{b}" }, 20, "192.0.2.2");
    expect(world.node().shared).toBeNull();
    const { changes } = checks(world, { bootId: "{a}" }, 20, "192.0.2.1");
    expect(world.node().shared).toEqual({ since: NOON + 20 * MINUTE, lastAt: NOON + 40 * MINUTE });
    expect(changes.activities).toMatchObject([{ class: 108, severity: 3, ofNode: true, version: "4081.2.0" }]);
  });

  it.each([3, 4, 7])("%i of them are noticed as well", (machines) => {
    const world = quiet();
    for (let turn = 0; turn <= machines; turn += 1) checks(world, { bootId: `{${turn % machines}}` }, 45 / machines);
    expect(isShared(world.node().shared, world.now)).toBe(true);
  });

  it("get no update, neither of them, and explain says why and what to do", () => {
    const world = new World();
    for (const bootId of ["{a}", "{b}", "{a}"]) checks(world, { bootId, version: "4593.2.5" });
    for (const bootId of ["{b}", "{a}"]) {
      const { reason, offer } = checks(world, { bootId });
      expect([reason, offer]).toEqual(["shared-machine-id", null]);
    }
    const group = world.fleet.groups[0] ?? aGroup();
    const told = explain(
      world.fleet,
      world.node(),
      nextCheckIn(world.node(), group, APP_ID),
      world.counters,
      world.now,
    );
    expect(told.reason).toBe("shared-machine-id");
    expect(told.text).toBe(
      "two machines or more report with this machine id since 2026-03-04T12:20Z: none of them is updated until each has an id of its own (a new /etc/machine-id on all but one)",
    );
    // They are up to date all the same.
    expect(checks(world, { bootId: "{b}", version: "4593.2.5" }).reason).toBe("up-to-date");
    expect(total(world)).toEqual(emptyTally());
  });

  it("have an update that is under way withdrawn: what they report from then on is logged, and counts nowhere", () => {
    const world = new World(aStagedFleet({ health: { min_finished: 1 } }));
    checks(world, { bootId: "{a}" });
    world.checkIn(aReport(anEvent(13, 1), { bootId: "{a}" }));
    checks(world, { bootId: "{b}" });
    checks(world, { bootId: "{a}" });
    expect(world.node()).toMatchObject({ status: "on-hold", grant: null });
    expect(total(world)).toEqual({ ...emptyTally(), withdrawn: 1 });
    expect(world.counters.groups.get(1)?.inFlight).toBe(0);
    const { changes } = world.checkIn(aReport(anEvent(3, 0, { errorCode: 9 }), { bootId: "{a}" }));
    expect(changes.events).toHaveLength(1);
    expect(checks(world, { bootId: "{b}", version: "4230.2.1" }).reason).toBe("up-to-date");
    expect(total(world)).toEqual({ ...emptyTally(), withdrawn: 1 });
    expect(changes.activities).toEqual([]);
  });

  it("are not counted with what the one was taken for when the other was heard: neither fallen back nor complete", () => {
    const fellBack = new World();
    checks(fellBack, { bootId: "{a}" });
    fellBack.checkIn(aReport(anEvent(3, 1), { bootId: "{a}" }));
    checks(fellBack, { bootId: "{b}" });
    expect(total(fellBack)).toMatchObject({ "rolled-back": 1 });
    checks(fellBack, { bootId: "{a}" });
    expect(total(fellBack)).toEqual({ ...emptyTally(), withdrawn: 1 });

    const complete = new World();
    checks(complete, { bootId: "{a}" });
    checks(complete, { bootId: "{b}", version: "4230.2.1" });
    expect(total(complete)).toMatchObject({ complete: 1 });
    checks(complete, { bootId: "{a}" });
    expect(total(complete)).toEqual({ ...emptyTally(), withdrawn: 1 });
    expect(complete.pastGrants).toMatchObject([{ status: "withdrawn", grant: { failure: null, deadline: null } }]);
  });

  it("stay counted as the machine ended before it had a twin", () => {
    const world = new World();
    checks(world, { bootId: "{a}" });
    checks(world, { bootId: "{a2}", version: "4230.2.1" }, 60 * 24 * 30);
    for (const bootId of ["{a2}", "{b}", "{a2}"]) checks(world, { bootId, version: "4230.2.1" });
    expect(isShared(world.node().shared, world.now)).toBe(true);
    expect(total(world)).toEqual({ ...emptyTally(), complete: 1 });

    const failed = new World();
    checks(failed, { bootId: "{a}" });
    failed.checkIn(aReport(anEvent(3, 0, { errorCode: 9 }), { bootId: "{a}" }));
    failed.now += 2 * HOUR;
    checks(failed, { bootId: "{a}" });
    for (const bootId of ["{b}", "{a}"]) checks(failed, { bootId });
    expect(total(failed)).toEqual({ ...emptyTally(), failed: 1 });
  });

  it("stay complete when the other one was taken for a late fall-back", () => {
    const world = new World();
    checks(world, { bootId: "{a}" });
    checks(world, { bootId: "{a2}", version: "4230.2.1" }, 60 * 24);
    checks(world, { bootId: "{b}" });
    expect(total(world)).toMatchObject({ "rolled-back": 1, complete: 0 });
    checks(world, { bootId: "{a2}", version: "4230.2.1" });
    expect(isShared(world.node().shared, world.now)).toBe(true);
    expect(total(world)).toEqual({ ...emptyTally(), complete: 1 });
    // For the next version, it is on hold and keeps that grant: it has completed it, too.
    const waits = new World(aFleet([aGroup({ policy: { maxUpdatesPerPeriod: 1 } })]));
    checks(waits, { bootId: "{a}" });
    checks(waits, { bootId: "{a2}", version: "4230.2.1" }, 60);
    const channel = aChannel({ package: aPackage({ version: "4593.2.5" }) });
    const rollout = { ...waits.fleet.rollouts[0], no: 2, id: "rollout-2", package: channel.package } as Rollout;
    const group = aGroup({ policy: { maxUpdatesPerPeriod: 1 }, channel });
    waits.fleet = buildFleet(2, { applications: waits.fleet.applications, groups: [group], rollouts: [rollout] });
    checks(waits, { machineId: OTHER, bootId: "{c}", version: "4230.2.1" }, 0);
    for (const bootId of ["{a2}", "{b}", "{a2}"]) checks(waits, { bootId, version: "4230.2.1" });
    expect(waits.node()).toMatchObject({ status: "on-hold", grant: null });
    expect(total(waits)).toEqual({ ...emptyTally(), complete: 1 });
  });

  it("leave safe mode's place of the first node to another one", () => {
    const world = new World(aFleet([aGroup({ policy: { safeMode: true } })]));
    checks(world, { bootId: "{a}" }, 10);
    expect(checks(world, { machineId: OTHER, bootId: "{c}" }, 0).reason).toBe("canary-pending");
    for (const bootId of ["{b}", "{a}"]) checks(world, { bootId }, 10);
    expect(checks(world, { machineId: OTHER, bootId: "{c}" }, 0).reason).toBe("granted");
  });

  it("are told of once a day for as long as it lasts", () => {
    const world = quiet();
    const told: number[] = [];
    for (let turn = 0; turn < 4 * 72; turn += 1) {
      if (classes(checks(world, { bootId: turn % 2 === 0 ? "{a}" : "{b}" })).includes(108)) told.push(turn);
    }
    // 96 hours: at the first return, and then every 24 hours after the other one came.
    expect(told).toEqual([2, 73, 145, 217]);
  });

  it("are one again when only one was heard for a day: it is updated as any that comes late", () => {
    const world = new World();
    for (const bootId of ["{a}", "{b}", "{a}"]) checks(world, { bootId });
    const last = world.node().shared?.lastAt ?? 0;
    while (world.now < last + DAY) expect(checks(world, { bootId: "{a}" }).reason).toBe("shared-machine-id");
    expect(checks(world, { bootId: "{a}" }).reason).toBe("granted");
    expect(world.node()).toMatchObject({ shared: null, formerBoots: "" });
    checks(world, { bootId: "{a2}", version: "4230.2.1" });
    expect(total(world)).toEqual({ ...emptyTally(), withdrawn: 1, complete: 1 });
    expect(world.node().shared).toBeNull();
  });

  it("are noticed by their versions where they send no boot id, when these keep going to and fro", () => {
    const world = quiet();
    checks(world, { bootId: "", version: "4081.2.0" });
    const seen: boolean[] = [];
    for (let turn = 1; turn <= 7; turn += 1) {
      checks(world, { bootId: "", version: turn % 2 === 0 ? "4081.2.0" : "4230.2.1" });
      seen.push(isShared(world.node().shared, world.now));
    }
    expect(seen).toEqual([false, false, false, false, false, true, true]);
  });

  it("keep only the few boots that were heard lately, however many there are and whatever they are", () => {
    const world = quiet();
    for (let turn = 0; turn < 50; turn += 1) checks(world, { bootId: `{${turn}${"x".repeat(1_000)}}` }, 1);
    expect(world.node().formerBoots.length).toBeLessThan(2_000);
    expect(world.node().shared).toBeNull();
    checks(world, { bootId: "{next}" }, 60 * 7);
    checks(world, { bootId: "{last}" });
    expect(world.node().formerBoots.length).toBeLessThan(200);
  });
});

describe("one machine is never taken for two", () => {
  const neverShared = (world: World) => expect(world.node().shared).toBeNull();

  it("however quickly it reboots, or falls back", () => {
    const world = new World();
    for (let boot = 1; boot <= 30; boot += 1) checks(world, { bootId: `{${boot}}` }, 2);
    world.checkIn(aReport(anEvent(3, 1), { bootId: "{30}" }));
    checks(world, { bootId: "{31}", version: "4230.2.1" }, 5);
    checks(world, { bootId: "{32}" }, 5);
    world.checkIn(aReport(anEvent(3, 0, { errorCode: 44 }), { bootId: "{32}" }));
    checks(world, { bootId: "{33}", version: "4230.2.1" }, 5);
    neverShared(world);
  });

  it("when it writes its boot id with braces or without, in other letters, or leaves it out", () => {
    const world = quiet();
    for (const bootId of ["{0A-1B}", "0a-1b", "", "{0a-1b}", "0A-1B", "", "{0A-1B}"]) checks(world, { bootId }, 5);
    checks(world, { bootId: "{9c}" }, 5);
    checks(world, { bootId: "" }, 5);
    checks(world, { bootId: "9C" }, 5);
    neverShared(world);
  });

  it("when an event of the boot before comes late", () => {
    const world = quiet();
    checks(world, { bootId: "{a}" });
    for (let turn = 0; turn < 5; turn += 1) {
      checks(world, { bootId: "{b}" }, 1);
      world.checkIn(aReport(anEvent(3, 1), { bootId: "{a}" }));
    }
    checks(world, { bootId: "{b}" });
    neverShared(world);
  });

  it("when it boots from the network and only sends events", () => {
    const world = quiet();
    for (let boot = 1; boot <= 6; boot += 1) {
      for (const minutes of [7, 41]) {
        world.checkIn(aReport(anEvent(3, 2), { bootId: `{${boot}}`, updateEngine: false }));
        world.now += minutes * MINUTE;
      }
    }
    neverShared(world);
  });

  it("without a boot id: when it is updated, falls back, and tries again as fast as its strategy lets it", () => {
    const channel = aChannel({ package: aPackage({ type: 4 }) });
    const strategy = readStrategy({ retry: { after: "1m", max: 50 } });
    const world = new World(aFleet([aGroup({ channel })], { strategy }));
    let grants = 0;
    while (world.now < NOON + 4 * HOUR) {
      if (checks(world, { bootId: "" }, 1).reason !== "granted") continue;
      grants += 1;
      world.checkIn(aReport(anEvent(3, 1), { bootId: "" }));
      checks(world, { bootId: "", version: "4230.2.1" }, 1);
    }
    expect(grants).toBeGreaterThan(5);
    neverShared(world);
  });

  it("without a boot id: when somebody puts another version on it by hand, and back, and again", () => {
    const world = quiet();
    for (const version of ["4081.2.0", "4230.2.1", "4081.2.0", "4230.2.1", "4081.2.0"])
      checks(world, { bootId: "", version }, 5);
    neverShared(world);
  });

  it("when an old boot comes back after hours: a machine that was put back to a snapshot", () => {
    const world = quiet();
    for (const bootId of ["{a}", "{b}"]) checks(world, { bootId }, 7 * 60);
    checks(world, { bootId: "{a}" });
    neverShared(world);
  });

  it("whatever it lives through", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(1, 5, 20, 45, 240).map((minutes) => ({ kind: "waits", minutes }) as const) },
      { weight: 6, arbitrary: fc.constantFrom("checks", "pings", "13", "14", "31", "failed").map((what) => ({ kind: "says", what }) as const) },
      { weight: 3, arbitrary: fc.constant({ kind: "reboots" } as const) },
      { weight: 2, arbitrary: fc.constantFrom("4081.2.0", "4230.2.1").map((version) => ({ kind: "boots", version }) as const) },
    ); // biome-ignore format: a line for each
    fc.assert(
      fc.property(fc.boolean(), fc.array(step, { maxLength: 60, size: "max" }), (leavesOut, steps) => {
        const world = new World();
        let [boot, version] = [1, "4081.2.0"];
        for (const [index, one] of steps.entries()) {
          if (one.kind === "waits") world.now += one.minutes * MINUTE;
          else if (one.kind === "says") {
            const self = { bootId: leavesOut && index % 3 === 0 ? "" : `{${boot}}`, version };
            const event = { "13": anEvent(13, 1), "14": anEvent(14, 1), "31": anEvent(3, 1), failed: anEvent(3, 0) };
            if (one.what === "checks") world.checkIn(aCheckIn(self));
            else if (one.what === "pings") world.checkIn(aPing(self));
            else world.checkIn(aReport(event[one.what], self));
          } else {
            boot += 1;
            if (one.kind === "boots") version = one.version;
          }
          expect(world.nodes.get(aCheckIn().machineId)?.shared ?? null).toBeNull();
        }
      }),
      { numRuns: 500 },
    );
  });
});
