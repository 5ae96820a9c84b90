import { describe, expect, it } from "vitest";
import { decide } from "../../src/rollout/decide.ts";
import { explain, nextCheckIn } from "../../src/rollout/explain.ts";
import { rollbackKey, rolloutKey } from "../../src/rollout/fleet.ts";
import { ARCH } from "../../src/rollout/model/arch.ts";
import type { Channel, Floor, Group } from "../../src/rollout/model/configuration.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
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
  aStagedFleet,
  GROUP_ID,
  HOUR,
  MINUTE,
  NOON,
  noCounters,
  World,
} from "./builders.ts";

function aRollout(): Rollout {
  const [rollout] = aFleet().rollouts;
  if (rollout === undefined) throw new Error("a fleet without a rollout");
  return rollout;
}

const machine = (n: number) => n.toString(16).padStart(32, "0");
const floor = (version: string, reason: string | null = null): Floor => ({ package: aPackage({ version }), reason });

describe("finding application and group", () => {
  it.each([
    ["e96281a6-d1af-4bde-9a0a-97b76e56dc57"],
    ["{E96281A6-D1AF-4BDE-9A0A-97B76E56DC57}"],
    [" io.Example.Flatcar "],
  ])("takes the application's id as %s", (appId) => {
    expect(new World().checkIn(aCheckIn({ appId })).reason).toBe("granted");
  });

  it("refuses an application that it does not know, and stores nothing", () => {
    const outcome = new World().checkIn(aCheckIn({ appId: "io.example.other" }));
    expect(outcome).toMatchObject({ status: "error-unknownApplication", reason: "unknown-application", offer: null });
    expect(outcome.changes.node).toBeNull();
  });

  it("refuses an unknown track", () => {
    const outcome = new World().checkIn(aCheckIn({ track: "nightly" }));
    expect(outcome).toMatchObject({ status: "error-unknownApplicationOrGroup", reason: "unknown-group" });
  });

  it("takes a group's id for a track, whatever the node's architecture", () => {
    expect(new World().checkIn(aCheckIn({ track: `{${GROUP_ID.toUpperCase()}}` })).reason).toBe("granted");
    expect(new World().checkIn(aCheckIn({ track: GROUP_ID, arch: ARCH.aarch64 })).reason).toBe("other-arch");
  });

  it("prefers the group of the node's architecture to one for all, and the older of two alike", () => {
    const all = aGroup({
      no: 1,
      id: "all",
      channel: aChannel({ no: 1, arch: ARCH.all, package: aPackage({ arch: ARCH.all }) }),
    });
    const arm = aGroup({ no: 3, id: "arm", channel: aChannel({ no: 2, arch: ARCH.aarch64 }) });
    const twin = aGroup({ no: 4, id: "twin", channel: aChannel({ no: 3, arch: ARCH.aarch64 }) });
    const world = new World(aFleet([twin, all, arm]));
    world.checkIn(aCheckIn({ machineId: machine(1), arch: ARCH.aarch64 }));
    world.checkIn(aCheckIn({ machineId: machine(2), arch: ARCH.amd64 }));
    expect([world.node(machine(1)).groupNo, world.node(machine(2)).groupNo]).toEqual([3, 1]);
  });

  it.each([
    ["no machine id", { machineId: "" }],
    ["a machine id that is too long", { machineId: "x".repeat(129) }],
    ["a machine id with a line break", { machineId: "a\nb" }],
    ["no version", { version: "" }],
    ["a version that is none", { version: "v4081.2.0" }],
    ["a version with a leading zero", { version: "4081.02.0" }],
  ])("refuses %s, and stores nothing", (_, changes) => {
    const outcome = new World().checkIn(aCheckIn(changes));
    expect(outcome).toMatchObject({ status: "error-instanceRegistrationFailed", reason: "invalid-node" });
    expect(outcome.changes.node).toBeNull();
  });
});

describe("the node's record", () => {
  it("is the very same object when nothing moved", () => {
    const world = new World(aFleet([aGroup({ channel: aChannel({ package: null }) })]));
    world.checkIn(aCheckIn());
    const before = world.node();
    expect(world.checkIn(aCheckIn()).changes.node).toBe(before);
    expect(world.checkIn(aCheckIn()).changes.events).toEqual([]);
  });

  it("keeps what a request leaves empty, and takes what it says anew", () => {
    const world = new World(aFleet([aGroup({ channel: aChannel({ package: null }) })]));
    world.checkIn(aCheckIn({ machineAlias: "web", oemVersion: "1" }));
    world.checkIn(aCheckIn({ machineAlias: "", oem: "", oemVersion: "", alephVersion: "", bootId: "" }));
    expect(world.node()).toMatchObject({
      machineAlias: "web",
      oem: "azure",
      oemVersion: "1",
      alephVersion: "4081.2.0",
      bootId: "{boot-1}",
    });
    world.checkIn(
      aCheckIn({ machineAlias: "db", bootId: "{boot-2}", arch: ARCH.amd64, brokenQuotes: true }),
      "192.0.2.9",
    );
    expect(world.node()).toMatchObject({ machineAlias: "db", bootId: "{boot-2}", ip: "192.0.2.9", brokenQuotes: true });
  });

  it("moves to another group with its track", () => {
    const beta = aGroup({ no: 2, id: "beta", track: "beta", channel: aChannel({ no: 2 }) });
    const world = new World(aFleet([aGroup(), beta]));
    world.checkIn(aCheckIn());
    world.checkIn(aCheckIn({ track: "beta" }));
    expect(world.node()).toMatchObject({ groupNo: 2, grant: { groupNo: 2, rolloutNo: 2, attempt: 1 } });
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ granted: 0, withdrawn: 1 });
    expect(world.counters.groups.get(1)?.inFlight).toBe(0);
  });

  it("is made from events alone, too", () => {
    const world = new World();
    const outcome = world.checkIn(aReport(anEvent(3, 2)));
    expect(outcome).toMatchObject({ reason: "no-update-check", status: "ok" });
    expect(world.node().status).toBe("unknown");
  });
});

describe("the target", () => {
  it("is the lowest floor above the node's version, then the next, then the channel's package", () => {
    const floors = [floor("4100.0.0"), floor("4200.0.0")];
    const fleet = aFleet([aGroup({ channel: aChannel({ floors }) })]);
    const offered = ["4081.2.0", "4100.0.0", "4150.0.0", "4200.0.0", "4230.2.1"].map((version) => {
      const { offer } = new World(fleet).checkIn(aCheckIn({ version }));
      return offer?.manifests[0]?.package.version ?? null;
    });
    expect(offered).toEqual(["4100.0.0", "4200.0.0", "4200.0.0", "4230.2.1", null]);
  });

  it("leaves out a floor above the channel's package", () => {
    const fleet = aFleet([aGroup({ channel: aChannel({ floors: [floor("4300.0.0")] }) })]);
    expect(new World(fleet).checkIn(aCheckIn()).offer?.manifests[0]?.package.version).toBe("4230.2.1");
  });

  it("is never below the node's version", () => {
    expect(new World().checkIn(aCheckIn({ version: "4593.2.5" })).reason).toBe("up-to-date");
    expect(new World().checkIn(aCheckIn({ version: "4230.2.1+build" })).reason).toBe("up-to-date");
    expect(new World().checkIn(aCheckIn({ version: "4230.2.1-dev" })).reason).toBe("granted");
  });

  const nothing: [string, Partial<Group>][] = [
    ["no channel", { channel: null }],
    ["a channel without a package", { channel: aChannel({ package: null }) }],
    ["a package without a file", { channel: aChannel({ package: aPackage({ files: [] }) }) }],
  ];
  it.each(nothing)("is missing with %s, and that is noted once a day", (_, changes) => {
    const { policy: _policy, ...rest } = aGroup();
    const outcome = new World(aFleet([aGroup({ ...rest, ...changes, policy: {} })])).checkIn(
      aCheckIn({ track: "stable", arch: ARCH.amd64 }),
    );
    expect(outcome.reason).toBe("no-package");
    expect(outcome.changes.activities).toMatchObject([{ class: 1, severity: 3, oncePerDay: true, version: "0.0.0" }]);
  });

  it.each<[string, Partial<Channel>, string]>([
    ["the target", { package: aPackage({ missing: ["size"] }) }, "4230.2.1"],
    ["the target without a file", { package: aPackage({ missing: ["filename"], files: [] }) }, "4230.2.1"],
    [
      "a floor",
      { floors: [{ package: aPackage({ version: "4100.0.0", missing: ["size"] }), reason: null }] },
      "4100.0.0",
    ],
  ])(
    "is offered to no node and no mirror while it lacks something as %s, also with a rollout from before",
    (_, channel, version) => {
      const fleet = aFleet([aGroup({ channel: aChannel(channel) })]);
      const rollout = { ...aRollout(), package: aPackage({ version, missing: ["size"] }) };
      const key = rolloutKey(rollout.groupNo, rollout.package.no);
      const outcome = new World({ ...fleet, rolloutByTarget: new Map([[key, rollout]]) }).checkIn(aCheckIn());
      expect(outcome).toMatchObject({ reason: "incomplete-package", offer: null, changes: { transitions: [] } });
      expect(outcome.changes.activities).toMatchObject([{ class: 1, severity: 3, oncePerDay: true, version }]);
      const mirror = aCheckIn({ syncer: true, multiManifest: true, machineId: "{mirror}" });
      expect(new World(fleet).checkIn(mirror)).toMatchObject({ reason: "incomplete-package", offer: null });
    },
  );

  it("is no way back while it lacks something", () => {
    const world = new World();
    world.checkIn(aCheckIn());
    const node = { ...world.node(), status: "complete" as const, version: "4230.2.1" };
    const back = { ...aRollout(), undoes: "4230.2.1", package: aPackage({ version: "4081.2.0", missing: ["size"] }) };
    const fleet = { ...world.fleet, rollbackByVersion: new Map([[rollbackKey(back.groupNo, "4230.2.1"), back]]) };
    const outcome = decide(fleet, node, aCheckIn({ version: "4230.2.1" }), "192.0.2.1", noCounters(), NOON);
    expect(outcome).toMatchObject({ reason: "incomplete-package", offer: null });
  });

  it("is not for a node of another architecture, whatever its version, and explain says what would help", () => {
    for (const version of ["4081.2.0", "4230.2.1", "4999.0.0"]) {
      expect(new World().checkIn(aCheckIn({ track: GROUP_ID, arch: ARCH.aarch64, version })).reason).toBe("other-arch");
    }
    const none = aFleet([aGroup({ channel: aChannel({ package: null }) })]);
    const world = new World(none);
    expect(world.checkIn(aCheckIn({ track: GROUP_ID, arch: ARCH.aarch64 }))).toMatchObject({ reason: "other-arch", changes: { activities: [] } }); // biome-ignore format: one line
    const told = () => explain(world.fleet, world.node(), nextCheckIn(world.node(), aGroup(), APP_ID), world.counters, NOON); // biome-ignore format: one line
    expect(told()).toMatchObject({
      reason: "other-arch",
      text: 'its group is for amd64, and it is aarch64: a group with the track "stable" and a channel for aarch64 would take it',
    });
    world.tend({ ownGroup: GROUP_ID });
    expect(told().text).toBe(
      "its group is for amd64, and it is aarch64: a person has put it there, and has to move it elsewhere or back by its track",
    );
  });

  it("is not for a node of another architecture, unless it is for all", () => {
    expect(new World().checkIn(aCheckIn({ track: GROUP_ID, arch: ARCH.x86 })).reason).toBe("other-arch");
    const all = aFleet([aGroup({ channel: aChannel({ package: aPackage({ arch: ARCH.all }) }) })]);
    expect(new World(all).checkIn(aCheckIn()).reason).toBe("granted");
  });

  it("is not offered where it is blacklisted, or outside of the prefix that the client wants", () => {
    const listed = aFleet([aGroup({ channel: aChannel({ package: aPackage({ blacklistedChannelNos: [1] }) }) })]);
    expect(new World(listed).checkIn(aCheckIn()).reason).toBe("blacklisted");
    expect(new World().checkIn(aCheckIn({ targetVersionPrefix: "4230.1" })).reason).toBe("outside-prefix");
    expect(new World().checkIn(aCheckIn({ targetVersionPrefix: "4230.2." })).reason).toBe("granted");
    expect(new World().checkIn(aCheckIn({ targetVersionPrefix: "4230.2$" })).reason).toBe("outside-prefix");
    expect(new World().checkIn(aCheckIn({ targetVersionPrefix: "4230.2.1$" })).reason).toBe("granted");
  });
});

describe("the rollout", () => {
  it("must be there, and running or completed", () => {
    const fleet = aFleet();
    expect(new World({ ...fleet, rolloutByTarget: new Map() }).checkIn(aCheckIn()).reason).toBe("no-rollout");
    for (const state of ["paused", "halted", "scheduled"] as const) {
      expect(new World(aFleet([aGroup()], { state })).checkIn(aCheckIn()).reason).toBe("rollout-not-running");
    }
    expect(new World(aFleet([aGroup()], { state: "completed" })).checkIn(aCheckIn()).reason).toBe("granted");
  });

  it("begins with its first grant, which is noted once", () => {
    const world = new World();
    expect(world.checkIn(aCheckIn()).changes.activities).toMatchObject([
      { class: 2, severity: 2, version: "4230.2.1" },
    ]);
    expect(world.checkIn(aCheckIn({ machineId: machine(2) })).changes.activities).toEqual([]);
  });

  it("takes back a grant that has not begun when it is paused, but keeps one that has", () => {
    const world = new World();
    world.checkIn(aCheckIn({ machineId: machine(1) }));
    world.checkIn(aCheckIn({ machineId: machine(2) }));
    world.checkIn(aReport(anEvent(13, 1), { machineId: machine(2) }));
    world.fleet = aFleet([aGroup()], { state: "paused" });
    expect(world.checkIn(aCheckIn({ machineId: machine(1) })).reason).toBe("rollout-not-running");
    expect(world.checkIn(aCheckIn({ machineId: machine(2) })).reason).toBe("rollout-not-running");
    expect([world.node(machine(1)).status, world.node(machine(2)).status]).toEqual(["on-hold", "downloading"]);
  });
});

describe("a grant", () => {
  it("is given with all that is needed to follow it", () => {
    const world = new World();
    const outcome = world.checkIn(aCheckIn());
    expect(outcome.offer).toMatchObject({ urls: ["https://updates.example.org/4230.2.1/"], marked: false });
    expect(world.node()).toMatchObject({
      status: "granted",
      statusAt: NOON,
      grant: {
        rolloutNo: 1,
        groupNo: 1,
        version: "4230.2.1",
        fromVersion: "4081.2.0",
        needsReboot: true,
        attempt: 1,
        bootId: "{boot-1}",
        deadline: NOON + HOUR,
      },
    });
  });

  it("is offered again, and not counted again", () => {
    const world = new World();
    world.checkIn(aCheckIn());
    world.now += MINUTE;
    const again = world.checkIn(aCheckIn());
    expect(again.reason).toBe("offered-again");
    expect(again.offer).not.toBeNull();
    expect(again.changes.transitions).toEqual([]);
    expect(world.counters.groups.get(1)?.inFlight).toBe(1);
  });

  it("is withdrawn when updates go off before it has begun", () => {
    const world = new World();
    world.checkIn(aCheckIn());
    world.fleet = aFleet([aGroup({ policy: { updatesEnabled: false } })]);
    expect(world.checkIn(aCheckIn()).reason).toBe("updates-disabled");
    expect(world.node()).toMatchObject({ status: "on-hold", grant: null });
    expect(world.pastGrants).toMatchObject([{ status: "withdrawn" }]);
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ granted: 0, withdrawn: 1 });
  });

  it("that has begun is offered again outside of the windows, but not while updates are off", () => {
    const world = new World();
    world.checkIn(aCheckIn());
    world.checkIn(aReport(anEvent(13, 1)));
    const closed = { windows: [readWindow({ from: "20:00", to: "21:00" })], officeHours: true, timezone: "Asia/Tokyo" };
    world.fleet = aFleet([aGroup({ policy: closed })]);
    expect(world.checkIn(aCheckIn()).reason).toBe("offered-again");
    world.fleet = aFleet([aGroup({ policy: { updatesEnabled: false } })]);
    expect(world.checkIn(aCheckIn()).reason).toBe("updates-disabled");
    expect(world.node().status).toBe("downloading");
  });
});

describe("policy", () => {
  it("holds everything back while updates are off", () => {
    const world = new World(aFleet([aGroup({ policy: { updatesEnabled: false } })]));
    expect(world.checkIn(aCheckIn())).toMatchObject({ reason: "updates-disabled", offer: null, status: "ok" });
    expect(world.node().status).toBe("unknown");
  });

  it.each([
    ["2026-03-04T07:59:59Z", false], // a Wednesday in Berlin, 08:59:59
    ["2026-03-04T08:00:00Z", true],
    ["2026-03-04T15:59:59Z", true],
    ["2026-03-04T16:00:00Z", false],
    ["2026-03-06T12:00:00Z", true],
    ["2026-03-07T12:00:00Z", false], // Saturday
    ["2026-03-08T12:00:00Z", false],
    ["2026-07-01T07:00:00Z", true], // summer time: 09:00 already
    ["2026-03-30T07:00:00Z", true], // the Monday after the change
  ])("knows office hours: %s is open: %s", (time, open) => {
    const world = new World(aFleet([aGroup({ policy: { officeHours: true } })]));
    world.now = Date.parse(time);
    expect(world.checkIn(aCheckIn()).reason).toBe(open ? "granted" : "outside-office-hours");
  });

  it("never opens in a time zone that does not exist", () => {
    const world = new World(aFleet([aGroup({ policy: { officeHours: true, timezone: "Mars/Olympus" } })]));
    expect(world.checkIn(aCheckIn()).reason).toBe("outside-office-hours");
  });

  it("grants no more at a time than the limit, and goes on as places come free", () => {
    const world = new World(aFleet([aGroup({ policy: { maxUpdatesPerPeriod: 2, periodMs: MINUTE } })]));
    expect([1, 2, 3].map((n) => world.checkIn(aCheckIn({ machineId: machine(n) })).reason)).toEqual([
      "granted",
      "granted",
      "max-in-flight",
    ]);
    expect(world.node(machine(3)).status).toBe("on-hold");
    world.now += 5 * MINUTE;
    world.checkIn(aCheckIn({ machineId: machine(1), version: "4230.2.1", bootId: "{boot-2}" }));
    expect(world.checkIn(aCheckIn({ machineId: machine(3) })).reason).toBe("granted");
    expect(world.checkIn(aCheckIn({ machineId: machine(4) })).reason).toBe("max-in-flight");
  });

  it("grants no more in a period than the limit", () => {
    const world = new World(aFleet([aGroup({ policy: { maxUpdatesPerPeriod: 2, periodMs: HOUR } })]));
    for (const n of [1, 2]) {
      world.checkIn(aCheckIn({ machineId: machine(n) }));
      world.checkIn(aCheckIn({ machineId: machine(n), version: "4230.2.1" }));
    }
    expect(world.checkIn(aCheckIn({ machineId: machine(3) })).reason).toBe("max-per-period");
    world.now += HOUR - 1;
    expect(world.checkIn(aCheckIn({ machineId: machine(3) })).reason).toBe("max-per-period");
    world.now += MINUTE + 1;
    expect(world.checkIn(aCheckIn({ machineId: machine(3) })).reason).toBe("granted");
  });

  it("counts a grant late in its slice for the whole period", () => {
    const world = new World(aFleet([aGroup({ policy: { maxUpdatesPerPeriod: 1, periodMs: HOUR } })]));
    world.now = NOON + 59_000; // a slice is a minute: this one began at noon
    world.checkIn(aCheckIn({ machineId: machine(1) }));
    world.checkIn(aCheckIn({ machineId: machine(1), version: "4230.2.1" }));
    world.now = NOON + HOUR + 30_000;
    expect(world.checkIn(aCheckIn({ machineId: machine(2) })).reason).toBe("max-per-period");
    world.now = NOON + HOUR + MINUTE;
    expect(world.checkIn(aCheckIn({ machineId: machine(2) })).reason).toBe("granted");
  });

  it("puts a node on hold once, and not one that is through with something else", () => {
    const world = new World(aFleet([aGroup({ policy: { maxUpdatesPerPeriod: 1 } })]));
    world.checkIn(aCheckIn({ machineId: machine(1) }));
    expect(world.checkIn(aCheckIn({ machineId: machine(2) })).changes.transitions).toHaveLength(1);
    expect(world.checkIn(aCheckIn({ machineId: machine(2) })).changes.transitions).toEqual([]);
  });

  it("has no limit from 900000 on", () => {
    const world = new World(aFleet([aGroup({ policy: { maxUpdatesPerPeriod: 900_000 } })]));
    world.counters.groups.set(1, { inFlight: 2_000_000, slices: [{ startsAt: NOON, count: 2_000_000 }] });
    expect(world.checkIn(aCheckIn()).reason).toBe("granted");
  });

  it("asks its rules in order, and says which one stopped", () => {
    const world = new World(
      aFleet([aGroup({ policy: { officeHours: true, maxUpdatesPerPeriod: 1, safeMode: true } })]),
    );
    world.counters.groups.set(1, { inFlight: 1, slices: [] });
    const { trace } = world.checkIn(aCheckIn());
    expect(trace.slice(-8).map(({ rule, verdict }) => [rule, verdict])).toEqual([
      ["updates enabled", "pass"],
      ["freeze", "skip"],
      ["maintenance window", "skip"],
      ["office hours", "pass"],
      ["stage", "skip"],
      ["not held by hand", "skip"],
      ["safe mode: first node", "pass"],
      ["in flight", "stop"],
    ]);
    expect(trace.at(-1)?.facts).toEqual({ inFlight: 1, limit: 1 });
  });
});

describe("safe mode", () => {
  const safe = () => new World(aFleet([aGroup({ policy: { safeMode: true } })]));

  it("admits one node, and the others after its success", () => {
    const world = safe();
    expect(world.checkIn(aCheckIn({ machineId: machine(1) })).reason).toBe("granted");
    expect(world.checkIn(aCheckIn({ machineId: machine(2) })).reason).toBe("canary-pending");
    world.checkIn(aReport(anEvent(3, 1), { machineId: machine(1) }));
    expect(world.checkIn(aCheckIn({ machineId: machine(2) })).reason).toBe("canary-pending");
    world.checkIn(aCheckIn({ machineId: machine(1), version: "4230.2.1", bootId: "{boot-2}" }));
    expect(world.checkIn(aCheckIn({ machineId: machine(2) })).reason).toBe("granted");
    expect(world.checkIn(aCheckIn({ machineId: machine(3) })).reason).toBe("granted");
  });

  it("turns updates off when the first node fails, and says so", () => {
    const world = safe();
    world.checkIn(aCheckIn());
    const { changes } = world.checkIn(aReport(anEvent(3, 0, { errorCode: 268435466 })));
    expect(changes.disableUpdates).toMatchObject({ groupNo: 1, rolloutNo: 1 });
    expect(changes.activities.map((activity) => [activity.class, activity.severity, activity.ofNode])).toEqual([
      [5, 4, true],
      [4, 4, false],
    ]);
  });

  it("does not mind a failure after a success, nor without safe mode", () => {
    const world = safe();
    world.checkIn(aCheckIn({ machineId: machine(1) }));
    world.checkIn(aCheckIn({ machineId: machine(1), version: "4230.2.1" }));
    world.checkIn(aCheckIn({ machineId: machine(2) }));
    expect(world.checkIn(aReport(anEvent(3, 0), { machineId: machine(2) })).changes.disableUpdates).toBeNull();
    const other = new World();
    other.checkIn(aCheckIn());
    expect(other.checkIn(aReport(anEvent(3, 0))).changes.disableUpdates).toBeNull();
  });
});

describe("trying again", () => {
  it("is offered again with each of the next dozen checks where the strategy asks for what Nebraska does", () => {
    const world = new World(aStagedFleet({ retry: { after: "1s", max: 100 } }));
    expect(world.checkIn(aCheckIn()).reason).toBe("granted");
    for (let check = 1; check <= 12; check += 1) {
      world.checkIn(aReport(anEvent(3, 0, { errorCode: 9 })));
      world.now += 45 * MINUTE;
      expect(world.checkIn(aCheckIn()).reason, String(check)).toBe("granted");
    }
    world.checkIn(aReport(anEvent(3, 0, { errorCode: 9 })));
    world.now += 45 * MINUTE;
    expect(world.checkIn(aCheckIn()).reason).toBe("retry-later");
  });

  it("waits an hour, then twice as long each time, and gives up after five tries", () => {
    const world = new World();
    world.checkIn(aCheckIn());
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      world.checkIn(aReport(anEvent(3, 0, { errorCode: 9 })));
      expect(world.node().status).toBe("failed");
      const failedAt = world.now;
      if (attempt === 5) break;
      for (;;) {
        const { reason } = world.checkIn(aCheckIn());
        if (reason === "granted") break;
        expect(reason).toBe("retry-later");
        world.now += 30 * MINUTE;
      }
      waits.push((world.now - failedAt) / HOUR);
      expect(world.grant().attempt).toBe(attempt + 1);
    }
    expect(waits).toEqual([1, 2, 4, 8]);
    world.now += 1000 * HOUR;
    expect(world.checkIn(aCheckIn()).reason).toBe("retries-exhausted");
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ failed: 1, granted: 0 });
  });

  it("begins anew with another package", () => {
    const world = new World();
    world.checkIn(aCheckIn());
    world.checkIn(aReport(anEvent(3, 0, { errorCode: 9 })));
    const newer = aFleet([aGroup({ channel: aChannel({ package: aPackage({ version: "4593.2.5" }) }) })], { no: 7 });
    world.fleet = newer;
    expect(world.checkIn(aCheckIn()).reason).toBe("granted");
    expect(world.grant()).toMatchObject({ rolloutNo: 7, attempt: 1 });
    expect(world.pastGrants).toMatchObject([{ status: "failed", grant: { rolloutNo: 1 } }]);
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ failed: 1, withdrawn: 0 });
  });

  it("is for a node that was complete and is below again, too", () => {
    const world = new World();
    world.checkIn(aCheckIn());
    world.checkIn(aCheckIn({ version: "4230.2.1" }));
    expect(world.checkIn(aCheckIn()).reason).toBe("retry-later");
    world.now += HOUR;
    expect(world.checkIn(aCheckIn()).reason).toBe("granted");
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ complete: 0, granted: 1 });
  });
});

describe("a mirror", () => {
  const mirror = (changes = {}) =>
    aCheckIn({ syncer: true, multiManifest: true, version: "766.0.0", ping: false, events: [], ...changes });
  const floors = [floor("4100.0.0", "btrfs"), floor("4200.0.0")];
  const fleet = aFleet([aGroup({ channel: aChannel({ floors }) })]);

  it("gets every floor and the target, marked, and is not stored", () => {
    const outcome = new World(fleet).checkIn(mirror());
    expect(outcome.reason).toBe("mirror");
    expect(outcome.changes.node).toBeNull();
    expect(outcome.offer?.marked).toBe(true);
    const rows = outcome.offer?.manifests.map((manifest) => [
      manifest.package.version,
      manifest.isFloor,
      manifest.floorReason,
      manifest.isTarget,
    ]);
    expect(rows).toEqual([
      ["4100.0.0", true, "btrfs", false],
      ["4200.0.0", true, "Required intermediate version", false],
      ["4230.2.1", false, null, true],
    ]);
  });

  it("that takes one manifest only gets none while floors are pending, and the target after them", () => {
    expect(new World(fleet).checkIn(mirror({ multiManifest: false })).reason).toBe("floors-need-multi-manifest");
    expect(
      new World(fleet).checkIn(mirror({ multiManifest: false, version: "4200.0.0" })).offer?.manifests,
    ).toHaveLength(1);
  });

  it("marks a target that is a floor as both", () => {
    const both = aFleet([aGroup({ channel: aChannel({ floors: [floor("4230.2.1", "why")] }) })]);
    expect(new World(both).checkIn(mirror()).offer?.manifests).toMatchObject([
      { isFloor: true, floorReason: "why", isTarget: true },
    ]);
  });

  it("is under no limit, but stops with the group, and with blacklists", () => {
    expect(new World(fleet).checkIn(mirror({ version: "4230.2.1" })).reason).toBe("up-to-date");
    expect(new World(aFleet([aGroup({ channel: null })])).checkIn(mirror()).reason).toBe("no-package");
    expect(new World(fleet).checkIn(mirror({ updateCheck: false })).reason).toBe("no-update-check");
    expect(new World(aFleet([aGroup({ policy: { updatesEnabled: false } })])).checkIn(mirror()).reason).toBe(
      "updates-disabled",
    );
    const listed = aFleet([aGroup({ channel: aChannel({ package: aPackage({ blacklistedChannelNos: [1] }) }) })]);
    expect(new World(listed).checkIn(mirror()).reason).toBe("blacklisted");
    expect(
      new World(aFleet([aGroup({ policy: { maxUpdatesPerPeriod: 1, safeMode: true } })])).checkIn(mirror()).reason,
    ).toBe("mirror");
  });
});

describe("every outcome", () => {
  it("has a trace that ends with what decided it", () => {
    const stops = new World().checkIn(aCheckIn({ track: "nightly" })).trace;
    expect(stops.at(-1)).toEqual({
      rule: "group found",
      verdict: "stop",
      facts: { track: "nightly", arch: 1, group: null },
    });
    const passes = new World().checkIn(aCheckIn()).trace;
    expect(passes.every(({ verdict }) => verdict !== "stop")).toBe(true);
    expect(new World().checkIn(aPing()).trace.length).toBeGreaterThan(2);
  });
});
