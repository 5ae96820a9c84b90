import { describe, expect, it } from "vitest";
import { expire } from "../../src/rollout/expire.ts";
import { baseErrorCode } from "../../src/rollout/lifecycle.ts";
import type { NodeStatus } from "../../src/rollout/model/node.ts";
import {
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
  World,
} from "./builders.ts";

/** A world with a node that got this far. */
function at(status: "granted" | "downloading" | "downloaded" | "installed" | "failed" | "complete"): World {
  const world = new World();
  world.checkIn(aCheckIn());
  if (status === "downloading") world.checkIn(aReport(anEvent(13, 1)));
  if (status === "downloaded") world.checkIn(aReport(anEvent(14, 1)));
  if (status === "installed") world.checkIn(aReport(anEvent(3, 1)));
  if (status === "failed") world.checkIn(aReport(anEvent(3, 0, { errorCode: 268435466 })));
  if (status === "complete") world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{boot-2}" }));
  expect(world.node().status).toBe(status);
  return world;
}

describe("events", () => {
  const steps: [number, number, NodeStatus][] = [
    [13, 1, "downloading"],
    [14, 1, "downloaded"],
    [1, 1, "downloaded"],
    [2, 1, "installed"],
    [800, 1, "installed"],
    [3, 1, "installed"],
    [3, 0, "failed"],
    [99, 1, "granted"],
    [13, 0, "granted"],
    [6, 1, "granted"],
  ];
  it.each(steps)("%i/%i makes a granted node %s, and is logged", (type, result, status) => {
    const world = at("granted");
    const { changes } = world.checkIn(aReport(anEvent(type, result)));
    expect(world.node().status).toBe(status);
    expect(changes.events).toMatchObject([{ type, result, version: "4081.2.0" }]);
  });

  it("3/2 completes when the version says so, not before", () => {
    const world = at("installed");
    world.checkIn(aReport(anEvent(3, 2, { previousVersion: "4081.2.0" })));
    expect(world.node().status).toBe("installed");
    world.checkIn(aReport(anEvent(3, 2, { previousVersion: "4081.2.0" }), { version: "4230.2.1", bootId: "{boot-2}" }));
    expect(world.node().status).toBe("complete");
  });

  it("3/2 with an empty previous version or 0.0.0.0 is noise: neither progress nor log", () => {
    const world = at("granted");
    for (const previousVersion of ["", "0.0.0.0"]) {
      const { changes } = world.checkIn(aReport(anEvent(3, 2, { previousVersion })));
      expect(changes.events).toEqual([]);
    }
    expect(world.checkIn(aReport(anEvent(3, 2, { previousVersion: "0.0.0" }))).changes.events).toHaveLength(1);
    expect(world.node().status).toBe("granted");
  });

  it("3/1 completes what needs no reboot", () => {
    const world = new World(aFleet([aGroup({ channel: aChannel({ package: aPackage({ type: 4 }) }) })]));
    world.checkIn(aCheckIn());
    world.checkIn(aReport(anEvent(3, 1)));
    expect(world.node().status).toBe("complete");
    const other = new World(aFleet([aGroup({ channel: aChannel({ package: aPackage({ type: 4 }) }) })]));
    other.checkIn(aCheckIn());
    other.checkIn(aReport(anEvent(3, 2, { previousVersion: "1.0.0" })));
    expect(other.node().status).toBe("complete");
  });

  it("keep the base of an error code with the failure, and the whole of it in the log", () => {
    const world = at("granted");
    const { changes } = world.checkIn(aReport(anEvent(3, 0, { errorCode: 268435466 })));
    expect(world.grant().errorCode).toBe(10);
    expect(changes.transitions).toMatchObject([{ to: "failed", errorCode: 10 }]);
    expect(changes.events).toMatchObject([{ errorCode: 268435466 }]);
    expect(baseErrorCode(-1879048182)).toBe(10);
    expect(baseErrorCode(0x10000000 + 2503)).toBe(2503);
  });

  it.each([35, 36, 40])("with code %i put the update off, which is no failure", (code) => {
    const world = at("granted");
    world.checkIn(aReport(anEvent(3, 9, { errorCode: 0x10000000 + code })));
    world.checkIn(aReport(anEvent(3, 0, { errorCode: 0x10000000 + code })));
    expect(world.node().status).toBe("granted");
  });

  it.each([2000, 2404, 2503])("with code %i say that a check failed, and nothing about the release", (code) => {
    const world = at("granted");
    const { changes } = world.checkIn(aReport(anEvent(3, 0, { errorCode: 0x10000000 + code })));
    expect(changes.events).toHaveLength(1);
    expect(world.node().status).toBe("granted");
    expect(world.checkIn(aCheckIn()).reason).toBe("offered-again");
  });

  it("without a grant are logged and change nothing", () => {
    const world = new World(aFleet([aGroup({ channel: aChannel({ package: null }) })]));
    const { changes } = world.checkIn(aReport(anEvent(3, 0, { errorCode: 268437959 })));
    expect(changes.events).toHaveLength(1);
    expect(changes.activities).toEqual([]);
    expect(world.node().status).toBe("unknown");
  });

  it("that come twice or late are logged, and move nothing back", () => {
    const world = at("installed");
    for (const event of [anEvent(13, 1), anEvent(14, 1), anEvent(3, 1)]) {
      const { changes } = world.checkIn(aReport(event));
      expect(changes.events).toHaveLength(1);
      expect(changes.transitions).toEqual([]);
    }
    const failed = at("failed");
    failed.checkIn(aReport(anEvent(3, 1)));
    failed.checkIn(aReport(anEvent(3, 0)));
    expect(failed.node().status).toBe("failed");
    const complete = at("complete");
    complete.checkIn(aReport(anEvent(3, 0), { version: "4230.2.1" }));
    expect(complete.node().status).toBe("complete");
  });
});

describe("the version alone", () => {
  it.each(["granted", "downloading", "downloaded", "installed", "failed"] as const)(
    "completes a node that was %s",
    (status) => {
      const world = at(status);
      const { reason } = world.checkIn(aCheckIn({ version: "4593.2.5", bootId: "{boot-2}" }));
      expect([world.node().status, reason]).toEqual(["complete", "up-to-date"]);
      expect(world.grant().deadline).toBeNull();
    },
  );
});

describe("a ping alone", () => {
  it.each(["granted", "downloading", "downloaded"] as const)(
    "means installed for update_engine when it was %s",
    (status) => {
      const world = at(status);
      world.checkIn(aPing());
      expect(world.node().status).toBe("installed");
      expect(world.grant().deadline).toBe(world.now + HOUR);
    },
  );

  it("means nothing from other clients, after a failure, or with an event beside it", () => {
    const world = at("granted");
    world.checkIn(aPing({ updateEngine: false }));
    world.checkIn(aPing({ events: [anEvent(99, 1)] }));
    world.checkIn(aPing({ ping: false }));
    expect(world.node().status).toBe("granted");
    const failed = at("failed");
    failed.checkIn(aPing());
    expect(failed.node().status).toBe("failed");
  });
});

describe("an installed node", () => {
  it("waits for its reboot, also when it sends whole checks, and whatever the target is by then", () => {
    const world = at("installed");
    expect(world.checkIn(aCheckIn()).reason).toBe("waiting-for-reboot");
    expect(world.checkIn(aCheckIn({ bootId: "" })).reason).toBe("waiting-for-reboot");
    world.fleet = aFleet([aGroup({ channel: aChannel({ package: aPackage({ version: "4593.2.5" }) }) })], { no: 2 });
    expect(world.checkIn(aCheckIn()).reason).toBe("waiting-for-reboot");
  });

  it("has fallen back when its boot id is new and its version old", () => {
    const world = at("installed");
    const { changes, reason } = world.checkIn(aCheckIn({ bootId: "{boot-2}" }));
    expect([world.node().status, reason]).toEqual(["rolled-back", "retry-later"]);
    expect(changes.activities).toMatchObject([{ class: 102, severity: 4, ofNode: true }]);
  });

  it("has fallen back when it says so", () => {
    const world = at("installed");
    world.checkIn(aCheckIn({ bootId: "{boot-2}", events: [anEvent(3, 0, { errorCode: 44 })] }));
    expect(world.node()).toMatchObject({ status: "rolled-back", grant: { errorCode: 44 } });
  });

  it("is judged by the boot id that it was installed under", () => {
    const world = at("granted");
    world.checkIn(aCheckIn({ bootId: "{boot-2}" }));
    world.checkIn(aReport(anEvent(13, 1), { bootId: "{boot-3}" }));
    world.checkIn(aReport(anEvent(3, 1), { bootId: "{boot-3}" }));
    world.checkIn(aPing({ bootId: "{boot-3}" }));
    expect(world.node().status).toBe("installed");
    world.checkIn(aCheckIn({ bootId: "{boot-4}" }));
    expect(world.node().status).toBe("rolled-back");
  });
});

describe("a deadline", () => {
  const expired = (world: World, lastSeenAt: number) => {
    const changes = expire(world.fleet, world.node(), lastSeenAt, world.counters, world.now);
    if (changes !== null) world.apply(changes);
    return changes;
  };

  it.each(["granted", "downloading", "downloaded"] as const)("times a node out that is still %s", (status) => {
    const world = at(status);
    world.now += HOUR - 1;
    expect(expired(world, world.now)).toBeNull();
    world.now += 1;
    expect(expired(world, world.now)?.activities).toMatchObject([{ class: 100, severity: 4 }]);
    expect(world.node()).toMatchObject({ status: "timed-out", grant: { deadline: null } });
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ [status]: 0, "timed-out": 1 });
    expect(world.counters.groups.get(1)?.inFlight).toBe(0);
    expect(expired(world, world.now)).toBeNull();
  });

  it("loses an installed node that was not seen since, but only then", () => {
    const world = at("installed");
    world.now += HOUR;
    const seenAt = world.now - 10 * MINUTE;
    expect(expired(world, seenAt)?.transitions).toEqual([]);
    expect(world.grant().deadline).toBe(seenAt + HOUR);
    world.now = seenAt + HOUR;
    expect(expired(world, seenAt)?.activities).toMatchObject([{ class: 101 }]);
    expect(world.node().status).toBe("lost");
  });

  it("is not the end: a lost node that comes back is complete, or has fallen back", () => {
    for (const [version, bootId, events, status] of [
      ["4230.2.1", "{boot-2}", [], "complete"],
      ["4081.2.0", "{boot-2}", [anEvent(3, 0, { errorCode: 44 })], "rolled-back"],
      ["4081.2.0", "{boot-2}", [], "rolled-back"],
      ["4081.2.0", "{boot-1}", [], "lost"], // it was off the network, and has yet to reboot
    ] as const) {
      const world = at("installed");
      world.now += 3 * HOUR;
      expired(world, world.now - 2 * HOUR);
      expect(world.node().status).toBe("lost");
      world.checkIn(aCheckIn({ version, bootId, events }));
      expect(world.node().status).toBe(status);
    }
  });

  it("pulls safe mode's brake", () => {
    const world = new World(aFleet([aGroup({ policy: { safeMode: true } })]));
    world.checkIn(aCheckIn());
    world.now += HOUR;
    expect(expired(world, world.now)?.stopUpdates).toMatchObject({ groupNo: 1 });
  });

  it("is kept also when the grant's group is gone", () => {
    const world = at("granted");
    world.fleet = aFleet([aGroup({ no: 9, id: "other", track: "other" })]);
    world.now += HOUR;
    expired(world, world.now);
    expect(world.node().status).toBe("timed-out");
    const installed = at("installed");
    installed.fleet = aFleet([]);
    installed.now += 2 * HOUR;
    expect(expired(installed, installed.now - HOUR)?.transitions).toMatchObject([{ to: "lost" }]);
  });
});
