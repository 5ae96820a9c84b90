import { describe, expect, it } from "vitest";
import { expire } from "../../src/rollout/expire.ts";
import { explain, nextCheckIn } from "../../src/rollout/explain.ts";
import { buildFleet } from "../../src/rollout/fleet.ts";
import { baseErrorCode } from "../../src/rollout/lifecycle.ts";
import type { Fleet } from "../../src/rollout/model/fleet.ts";
import type { NodeStatus } from "../../src/rollout/model/node.ts";
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
    expect(other.node()).toMatchObject({ status: "complete", version: "4230.2.1" });
  });

  it("3/1 of what needs no reboot is the end: the new version is there at once, and what comes late does not take it back", () => {
    const world = new World(aFleet([aGroup({ channel: aChannel({ package: aPackage({ type: 4 }) }) })]));
    const app = { bootId: "", updateEngine: false };
    expect(world.checkIn(aCheckIn({ ...app, ping: false, events: [] })).reason).toBe("granted");
    // In the order of the older API's own updater.
    for (const type of [14, 2]) {
      world.checkIn(aReport(anEvent(type, 1), app));
      expect(world.node().version).toBe("4081.2.0");
    }
    const { changes } = world.checkIn(aReport(anEvent(3, 1), app));
    expect(changes.transitions).toMatchObject([{ to: "complete", version: "4230.2.1" }]);
    expect(world.node()).toMatchObject({ status: "complete", version: "4230.2.1" });
    for (const type of [3, 14]) world.checkIn(aReport(anEvent(type, 1), app));
    expect(world.node()).toMatchObject({ status: "complete", version: "4230.2.1" });
    expect(world.checkIn(aCheckIn({ ...app, version: "4230.2.1" })).reason).toBe("up-to-date");
    // A check is believed: somebody has put the old version there again.
    world.checkIn(aCheckIn(app));
    expect(world.node()).toMatchObject({ status: "complete", version: "4081.2.0" });
  });

  it("3/2 by itself says that what needs no reboot is complete and restarted; in a check, as every one has it, it says nothing", () => {
    const world = new World(aFleet([aGroup({ channel: aChannel({ package: aPackage({ type: 4 }) }) })]));
    const app = { bootId: "", updateEngine: false };
    world.checkIn(aCheckIn(app));
    world.checkIn(aReport(anEvent(14, 1), app));
    expect(world.checkIn(aCheckIn(app)).reason).toBe("offered-again");
    expect(world.node().status).toBe("downloaded");
    const { changes } = world.checkIn(aReport(anEvent(3, 2), app));
    expect(changes.events).toHaveLength(1);
    expect(world.node()).toMatchObject({ status: "complete", version: "4230.2.1" });
    const flatcar = at("downloaded");
    flatcar.checkIn(aReport(anEvent(3, 2)));
    expect(flatcar.node().status).toBe("downloaded");
  });

  it("3/1 waits for a reboot in Flatcar, whatever the client, and in other applications from update_engine alone", () => {
    const flatcar = aFleet();
    const { groups, rollouts } = flatcar;
    const applications = flatcar.applications.map((one) => ({ ...one, id: "d6b1a5f4-2f6e-4d7b-9a55-1b1f4ad0c001" }));
    const ours = buildFleet(1, { applications, groups, rollouts });
    const installed = (fleet: Fleet, updateEngine: boolean): string => {
      const world = new World(fleet);
      const says = { updateEngine, appId: fleet.applications[0]?.id ?? "" };
      world.checkIn(aCheckIn(says));
      world.checkIn(aReport(anEvent(3, 1), says));
      return `${world.node().status} ${world.node().version}`;
    };
    expect(installed(flatcar, true)).toBe("installed 4081.2.0");
    expect(installed(flatcar, false)).toBe("installed 4081.2.0");
    expect(installed(ours, true)).toBe("installed 4081.2.0");
    expect(installed(ours, false)).toBe("complete 4230.2.1");
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

describe("an update that a person drops on the node", () => {
  const dropped = (changes = {}) => aCheckIn({ events: [anEvent(3, 0, { errorCode: 44 })], ...changes });

  it.each(["granted", "downloading", "downloaded", "installed"] as const)(
    "is withdrawn from a node that was %s: code 44 without a reboot is no fall-back",
    (status) => {
      const world = at(status);
      world.fleet = aFleet([aGroup({ policy: { updatesEnabled: false } })]);
      const { changes } = world.checkIn(dropped());
      expect(changes.events).toMatchObject([{ errorCode: 44 }]);
      expect(changes.activities).toEqual([]);
      expect(world.node()).toMatchObject({ status: "on-hold", grant: null });
      expect(world.counters.rollouts.get(1)?.total).toMatchObject({ "rolled-back": 0, failed: 0, withdrawn: 1 });
      expect(world.counters.groups.get(1)?.inFlight).toBe(0);
    },
  );

  it("may be had again at once, with all of its tries", () => {
    const world = at("installed");
    expect(world.checkIn(dropped()).reason).toBe("granted");
    expect(world.grant().attempt).toBe(1);
  });

  it("uses no try when there was one before, and leaves that one's end as it was", () => {
    const world = at("failed");
    world.now += HOUR;
    expect(world.checkIn(aCheckIn()).reason).toBe("granted");
    world.checkIn(aReport(anEvent(3, 1)));
    world.checkIn(dropped());
    expect(world.node()).toMatchObject({ status: "failed", grant: { attempt: 1, failure: "failed", errorCode: 10 } });
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ "rolled-back": 0, withdrawn: 0, failed: 1 });
  });

  it("does not make a node that failed, or was given up for lost, one that fell back", () => {
    const failed = at("failed");
    failed.checkIn(dropped());
    expect(failed.node()).toMatchObject({ status: "failed", grant: { errorCode: 10 } });
    const lost = at("installed");
    lost.now += HOUR;
    const changes = expire(lost.fleet, lost.node(), lost.now - HOUR, lost.counters, lost.now);
    if (changes !== null) lost.apply(changes);
    lost.checkIn(dropped());
    expect(lost.node().status).toBe("lost");
  });

  it("leaves safe mode as it was: another node may go first", () => {
    const world = new World(aFleet([aGroup({ policy: { safeMode: true } })]));
    world.checkIn(aCheckIn());
    world.checkIn(aReport(anEvent(3, 1)));
    const other = aCheckIn({ machineId: "1".repeat(32) });
    expect(world.checkIn(other).reason).toBe("canary-pending");
    const { changes } = world.checkIn(
      aReport(anEvent(3, 0, { errorCode: 44 })), // as a report of its own, so that it is not first again itself
    );
    expect(changes.stopUpdates).toBeNull();
    expect(world.checkIn(other).reason).toBe("granted");
  });

  it("is a fall-back when the boot id is new, also when no other event had arrived, or when it is not known", () => {
    const world = at("granted");
    world.checkIn(dropped({ bootId: "{boot-2}" }));
    expect(world.node()).toMatchObject({ status: "rolled-back", grant: { errorCode: 44 } });
    const silent = new World();
    silent.checkIn(aCheckIn({ bootId: "" }));
    silent.checkIn(dropped({ bootId: "" }));
    expect(silent.node().status).toBe("rolled-back");
  });
});

describe("after success", () => {
  const DAY = 24 * HOUR;
  /** Back on its old version, after a reboot. */
  const back = (changes = {}) => aCheckIn({ bootId: "{boot-3}", ...changes });
  const word = anEvent(3, 0, { errorCode: 44 });

  it.each([
    ["runs its old version after another boot", back(), null],
    ["says so", back({ events: [word] }), 44],
    ["says so, and nothing of its boot", back({ events: [word], bootId: "" }), 44],
    ["runs an even older version", back({ version: "4000.0.0" }), null],
  ] as const)("a node has fallen back when it %s", (_, said, errorCode) => {
    const world = at("complete");
    world.now += 2 * DAY;
    const { changes, reason } = world.checkIn(said);
    expect(world.node()).toMatchObject({ status: "rolled-back", grant: { failure: "rolled-back", errorCode } });
    expect(changes.activities).toMatchObject([{ class: 102, severity: 4, ofNode: true }]);
    expect(reason).toBe("retry-later");
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ complete: 0, "rolled-back": 1, relapsed: 1 });
    // Heard again, it has not fallen back twice.
    expect(world.checkIn(said).changes.transitions).toEqual([]);
  });

  it("it is watched for a week, or for as long as the strategy says", () => {
    for (const [document, days, counted] of [
      [{}, 7, 1],
      [{}, 7.01, 0],
      [{ watch_after: "1d" }, 1, 1],
      [{ watch_after: "1d" }, 1.01, 0],
      [{ watch_after: "0s" }, 0.01, 0],
    ] as const) {
      const world = new World(aStagedFleet(document));
      world.checkIn(aCheckIn());
      world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{boot-2}" }));
      world.now += days * DAY;
      world.checkIn(back());
      const { total } = world.counters.rollouts.get(1) ?? {};
      expect(total?.["rolled-back"], JSON.stringify([document, days])).toBe(counted);
    }
  });

  it("a reboot into the same version is none, and the boot id that counts is the last one that ran it", () => {
    const world = at("complete");
    world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{boot-3}" }));
    world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{boot-4}" }));
    expect(world.node()).toMatchObject({ status: "complete", grant: { bootId: "{boot-4}" } });
    // An older version without a reboot: somebody makes update_engine believe that it is older, to force an update.
    world.checkIn(aCheckIn({ version: "0.0.0", bootId: "{boot-4}" }));
    expect(world.node().status).toBe("complete");
    world.checkIn(aCheckIn({ bootId: "{boot-5}" }));
    expect(world.node().status).toBe("rolled-back");
  });

  it.each([
    ["an update that was not ours has led there", back({ events: [anEvent(3, 2, { previousVersion: "4230.2.1" })] })],
    ["the machine was installed anew", back({ events: [anEvent(3, 2, { previousVersion: "0.0.0.0" })] })],
    ["the machine was installed anew from another image", back({ version: "4100.0.0", alephVersion: "4100.0.0" })],
    ["it has not rebooted", back({ bootId: "{boot-2}" })],
    ["it only drops an update of its own", aCheckIn({ version: "4230.2.1", bootId: "{boot-3}", events: [word] })],
  ] as const)("it has not fallen back when %s, nor does it later", (_, said) => {
    const world = at("complete");
    world.checkIn(said);
    expect(world.node().status).toBe("complete");
    if (said.version === "4230.2.1" || said.bootId === "{boot-2}") return;
    world.checkIn({ ...said, events: [] });
    world.checkIn({ ...said, events: [], bootId: "{boot-9}" });
    expect(world.node().status).toBe("complete");
  });

  it("it has fallen back though its owner has changed its track, but not when a person has moved it here", () => {
    const beta = aGroup({ no: 2, id: "beta-id", name: "Beta", track: "beta", channel: aChannel({ no: 2, package: aPackage({ version: "4081.2.0" }) }) }); // biome-ignore format: one line
    const worlds = [at("complete"), at("complete")] as const;
    for (const world of worlds) world.fleet = aFleet([aGroup(), beta]);
    worlds[0].checkIn(back({ track: "beta" }));
    expect(worlds[0].node()).toMatchObject({ status: "rolled-back", groupNo: 2 });
    expect(worlds[0].counters.rollouts.get(1)?.total).toMatchObject({ complete: 0, "rolled-back": 1 });
    worlds[1].tend({ ownGroup: "beta-id" });
    worlds[1].checkIn(back());
    expect(worlds[1].node()).toMatchObject({ status: "complete", groupNo: 2 });
  });

  it("what needs no reboot can't fall back", () => {
    const world = new World(aFleet([aGroup({ channel: aChannel({ package: aPackage({ type: 4 }) }) })]));
    world.checkIn(aCheckIn());
    world.checkIn(aCheckIn({ version: "4230.2.1" }));
    world.checkIn(back());
    expect(world.node().status).toBe("complete");
  });

  it("a node on hold for its next version is watched as well, and counts as complete meanwhile", () => {
    const world = at("complete");
    const next = aChannel({ package: aPackage({ version: "4593.2.5" }) });
    world.fleet = aFleet([aGroup({ channel: next, policy: { maxUpdatesPerPeriod: 0 } })], { no: 2 });
    expect(world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{boot-2}" })).reason).toBe("max-in-flight");
    expect(world.node()).toMatchObject({ status: "on-hold", grant: { rolloutNo: 1 } });
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ complete: 1 });
    expect(world.pastGrants).toEqual([]);
    expect(world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{boot-2}" })).changes.transitions).toEqual([]);
    world.checkIn(back());
    expect(world.node()).toMatchObject({ status: "rolled-back", grant: { rolloutNo: 1 } });
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ complete: 0, "rolled-back": 1 });
  });

  it("it may try again, and is complete when it is back; it can fall back again", () => {
    const world = at("complete");
    world.checkIn(back());
    world.now += HOUR;
    expect(world.checkIn(back()).reason).toBe("granted");
    expect(world.grant()).toMatchObject({ attempt: 2, failure: "rolled-back" });
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ granted: 1, retrying: 1, relapsed: 1 });
    world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{boot-4}" }));
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ complete: 1, relapsed: 0, "rolled-back": 0 });
    world.checkIn(back({ bootId: "{boot-5}" }));
    expect(world.node().status).toBe("rolled-back");
    world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{boot-6}" }));
    expect(world.node()).toMatchObject({ status: "complete", grant: { failure: null } });
  });

  it("a way back has failed when the node is on the version again that was taken back", () => {
    const world = at("complete");
    const [bad] = world.fleet.rollouts;
    if (bad === undefined) throw new Error("no rollout");
    const way = { ...bad, no: 9, id: "back", package: aPackage({ version: "4081.2.0" }), undoes: "4230.2.1" };
    world.fleet = buildFleet(2, { ...world.fleet, rollouts: [{ ...bad, state: "aborted" }, way] });
    const on = (version: string, boot: number) => world.checkIn(aCheckIn({ version, bootId: `{boot-${boot}}` }));
    expect(on("4230.2.1", 2).reason).toBe("granted");
    on("4081.2.0", 3);
    expect(world.node()).toMatchObject({ status: "complete", grant: { rolloutNo: 9 } });
    on("4100.0.0", 4); // somebody has taken it elsewhere
    expect(world.node().status).toBe("complete");
    on("4230.2.1", 5);
    expect(world.node()).toMatchObject({ status: "rolled-back", grant: { rolloutNo: 9 } });
  });

  it("in safe mode the brake is pulled if it was the only success", () => {
    for (const [others, stops] of [
      [0, true],
      [1, false],
    ] as const) {
      const world = new World(aFleet([aGroup({ policy: { safeMode: true } })]));
      for (let n = 0; n <= others; n += 1) {
        const machineId = n === 0 ? aCheckIn().machineId : "1".repeat(32);
        world.checkIn(aCheckIn({ machineId }));
        world.checkIn(aCheckIn({ machineId, version: "4230.2.1", bootId: "{boot-2}" }));
      }
      expect(world.checkIn(back()).changes.stopUpdates !== null).toBe(stops);
    }
  });

  it.each(["superseded", "aborted"] as const)("in a rollout that is %s it only counts", (state) => {
    const world = new World(aFleet([aGroup({ policy: { safeMode: true } })]));
    world.checkIn(aCheckIn());
    world.checkIn(aCheckIn({ version: "4230.2.1", bootId: "{boot-2}" }));
    const rollouts = state === "superseded" ? [] : world.fleet.rollouts.map((one) => ({ ...one, state }));
    world.fleet = buildFleet(2, { ...world.fleet, rollouts });
    const { changes } = world.checkIn(back());
    expect(changes.stopUpdates).toBeNull();
    expect(world.node().status).toBe("rolled-back");
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ complete: 0, "rolled-back": 1 });
  });

  it("an explanation says what has become of it, in both cases", () => {
    const explained = (world: World) => {
      const group = world.fleet.groupByNo.get(1);
      if (group === undefined) throw new Error("no group");
      return explain(world.fleet, world.node(), nextCheckIn(world.node(), group, APP_ID), world.counters, world.now);
    };
    const fallen = at("complete");
    fallen.checkIn(back());
    expect(explained(fallen)).toMatchObject({
      reason: "retry-later",
      text: expect.stringMatching(/^it has failed \(try 1/),
    });
    const forced = at("complete");
    forced.checkIn(aCheckIn({ version: "0.0.0", bootId: "{boot-2}" }));
    const { reason, text } = explained(forced);
    expect(reason).toBe("retry-later");
    expect(text).toMatch(/^it had completed this update, and runs an older version again; .*not before 2026/);
    expect(text).not.toContain("failed");
    forced.now += HOUR;
    expect(explained(forced)).toMatchObject({ reason: "granted" });
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
