/** What people set of a node, and what comes of it with its next check-in. */
import { describe, expect, it } from "vitest";
import { explain, nextCheckIn } from "../../src/rollout/explain.ts";
import { ARCH } from "../../src/rollout/model/arch.ts";
import { APP_ID, aChannel, aCheckIn, aFleet, aGroup, anEvent, aPackage, aReport, aStagedFleet, HOUR, NOON, World } from "./builders.ts"; // biome-ignore format: one line

const machine = (n: number) => n.toString(16).padStart(32, "0");
const HELD = { at: NOON, by: "ops", why: "its disk is full" };

const canary = aGroup({ no: 2, id: "canary-id", name: "Canary", track: "canary", channel: aChannel({ no: 2, package: aPackage({ version: "4593.2.5" }) }) }); // biome-ignore format: one line

/** A node that the server knows, and nothing else of it. */
function known(world: World, changes: Parameters<typeof aCheckIn>[0] = {}): void {
  world.checkIn(aCheckIn({ updateCheck: false, ...changes }));
}

describe("a node that a person holds", () => {
  it("gets nothing until it is released, and who holds it since when and why is told", () => {
    const world = new World();
    known(world);
    world.tend({ held: HELD });
    const { reason, offer, trace } = world.checkIn(aCheckIn());
    expect([reason, offer]).toEqual(["held", null]);
    expect(trace.at(-1)).toEqual({
      rule: "not held by hand",
      verdict: "stop",
      facts: { by: "ops", why: "its disk is full", since: NOON },
    });
    expect(world.node().status).toBe("on-hold");
    expect(world.checkIn(aCheckIn()).changes.transitions).toEqual([]);
    world.tend({ held: null });
    expect(world.checkIn(aCheckIn()).reason).toBe("granted");
  });

  it("loses an offer that it has not begun, and a slot is free again", () => {
    const world = new World(aFleet([aGroup({ policy: { maxUpdatesPerPeriod: 1, periodMs: HOUR / 60 } })]));
    world.checkIn(aCheckIn());
    world.tend({ held: HELD });
    expect(world.checkIn(aCheckIn()).reason).toBe("held");
    expect(world.node()).toMatchObject({ status: "on-hold", grant: null });
    expect(world.counters.groups.get(1)).toMatchObject({ inFlight: 0 });
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ granted: 0, withdrawn: 1 });
  });

  it("goes on with what it has begun", () => {
    const world = new World();
    world.checkIn(aCheckIn());
    world.checkIn(aReport(anEvent(13, 1)));
    world.tend({ held: HELD });
    expect(world.checkIn(aCheckIn()).reason).toBe("offered-again");
    world.checkIn(aCheckIn({ version: "4230.2.1" }));
    expect(world.node().status).toBe("complete");
  });

  it("is held after its stage, before the limits, and a person at the node can't go ahead", () => {
    const fleet = aStagedFleet({
      stages: [{ percent: 0 }, { percent: 100 }],
      on_demand: "skip-stages",
      max_in_flight: 1,
    });
    const world = new World(fleet);
    known(world);
    world.tend({ held: HELD });
    expect(world.checkIn(aCheckIn()).reason).toBe("not-in-stage");
    expect(world.checkIn(aCheckIn({ onDemand: true })).reason).toBe("held");
    world.checkIn(aCheckIn({ machineId: machine(2), onDemand: true }));
    expect(world.checkIn(aCheckIn({ onDemand: true })).reason).toBe("held");
  });

  it("explains itself", () => {
    const world = new World();
    known(world);
    world.tend({ held: HELD });
    const told = explain(world.fleet, world.node(), nextCheckIn(world.node(), aGroup(), APP_ID), world.counters, NOON);
    expect(told).toMatchObject({ reason: "held", until: null });
    expect(told.text).toBe("ops has held it since 2026-03-04T12:00Z: its disk is full");
  });
});

describe("a node that a person has put into a group", () => {
  it("is of that group whatever its track, and of its track's when it is let go", () => {
    const world = new World(aFleet([aGroup(), canary]));
    known(world);
    world.tend({ ownGroup: canary.id });
    const { offer, trace } = world.checkIn(aCheckIn());
    expect(offer?.manifests[0]?.package.version).toBe("4593.2.5");
    expect(trace.find(({ rule }) => rule === "group found")?.facts).toMatchObject({ group: "Canary", byHand: true });
    expect(world.node()).toMatchObject({ groupNo: 2, grant: { groupNo: 2 } });
    expect(world.checkIn(aCheckIn({ track: "no such track" })).reason).toBe("offered-again");
    world.tend({ ownGroup: null });
    expect(world.checkIn(aCheckIn()).offer?.manifests[0]?.package.version).toBe("4230.2.1");
    expect(world.node().groupNo).toBe(1);
  });

  it("goes by its track when there is no such group any more", () => {
    const world = new World(aFleet([aGroup(), canary]));
    known(world);
    world.tend({ ownGroup: canary.id });
    world.fleet = aFleet([aGroup()]);
    const { reason, trace } = world.checkIn(aCheckIn());
    expect(reason).toBe("granted");
    expect(trace.find(({ rule }) => rule === "group found")?.facts).not.toHaveProperty("byHand");
    expect(world.node().groupNo).toBe(1);
  });

  it("can't be put into another application's group", () => {
    const world = new World(aFleet([aGroup(), { ...canary, applicationNo: 2 }]));
    known(world);
    world.tend({ ownGroup: canary.id });
    world.checkIn(aCheckIn());
    expect(world.node().groupNo).toBe(1);
  });

  it("gets nothing that is for another architecture", () => {
    const arm = aGroup({ no: 2, id: "arm-id", track: "arm", channel: aChannel({ no: 2, arch: ARCH.aarch64, package: aPackage({ arch: ARCH.aarch64, no: 77 }) }) }); // biome-ignore format: one line
    const world = new World(aFleet([aGroup(), arm]));
    known(world);
    world.tend({ ownGroup: arm.id });
    expect(world.checkIn(aCheckIn()).reason).toBe("other-arch");
  });

  it("keeps a grant in flight where it was granted, until it gets another", () => {
    const world = new World(aFleet([aGroup(), canary]));
    world.checkIn(aCheckIn());
    world.checkIn(aReport(anEvent(13, 1)));
    world.tend({ ownGroup: canary.id });
    world.checkIn(aReport(anEvent(14, 1)));
    expect(world.node()).toMatchObject({ groupNo: 2, status: "downloaded", grant: { groupNo: 1 } });
    expect([1, 2].map((no) => world.counters.groups.get(no)?.inFlight ?? 0)).toEqual([1, 0]);
    world.checkIn(aCheckIn());
    expect([1, 2].map((no) => world.counters.groups.get(no)?.inFlight ?? 0)).toEqual([0, 1]);
  });

  it("does not take a mirror of the same id along", () => {
    const world = new World(aFleet([aGroup(), canary]));
    known(world);
    world.tend({ ownGroup: canary.id });
    const { offer } = world.checkIn(aCheckIn({ syncer: true, multiManifest: true }));
    expect(offer?.manifests.at(-1)?.package.version).toBe("4230.2.1");
  });
});

describe("labels", () => {
  it("decide about a stage with the very next check-in", () => {
    const world = new World(aStagedFleet({ stages: [{ match: { labels: { rack: "7" } } }, { percent: 100 }] }));
    known(world);
    expect(world.checkIn(aCheckIn()).reason).toBe("not-in-stage");
    world.tend({ labels: { rack: "7", env: "lab" } });
    expect(world.checkIn(aCheckIn()).reason).toBe("granted");
    expect(world.grant().cell).toMatch(/^0 /);
  });
});
