import { describe, expect, it } from "vitest";
import { mostDownloads } from "../../src/rollout/downloads.ts";
import { expire } from "../../src/rollout/expire.ts";
import { buildFleet } from "../../src/rollout/fleet.ts";
import type { CutDownload } from "../../src/rollout/model/server.ts";
import { NO_LIMITS } from "../../src/rollout/model/server.ts";
import { readStrategy } from "../../src/rollout/strategy.ts";
import { APP_ID, aChannel, aCheckIn, aFleet, aGroup, anEvent, aPackage, aPolicy, aReport, HOUR, MINUTE, NOON, World } from "./builders.ts"; // biome-ignore format: one line

const machine = (n: number) => n.toString(16).padStart(32, "0");
const HERE = `/${APP_ID}/amd64/4230.2.1/`;
const kept = aPackage({ urls: [HERE, "https://updates.example.org/4230.2.1/"] });
const group = (changes: Parameters<typeof aGroup>[0] = {}) => aGroup({ channel: aChannel({ package: kept }), ...changes }); // biome-ignore format: one line

/** A server that serves so many downloads at a time, and keeps the files. */
function aWorld(downloads: number, fleet = aFleet([group()])): World {
  const world = new World(fleet);
  world.server = { ...NO_LIMITS, downloads };
  return world;
}
const asks = (world: World, n: number, changes: Parameters<typeof aCheckIn>[0] = {}) =>
  world.checkIn(aCheckIn({ machineId: machine(n), ...changes })).reason;
const says = (world: World, n: number, ...event: Parameters<typeof anEvent>) =>
  world.checkIn(aReport(anEvent(...event), { machineId: machine(n) }));
const fails = (world: World, n: number, errorCode: number) => says(world, n, 3, 0, { errorCode });
const cut = (changes: Partial<CutDownload> = {}): CutDownload => ({
  applicationId: APP_ID,
  version: "4230.2.1",
  errorCode: 9,
  ...changes,
});

describe("downloads of files that are kept here", () => {
  it("hold the next offer back while as many are under way as are served", () => {
    const world = aWorld(2);
    expect([1, 2, 3].map((n) => asks(world, n))).toEqual(["granted", "granted", "downloads-busy"]);
    expect(world.node(machine(3))).toMatchObject({ status: "on-hold", grant: null });
    const { trace } = world.checkIn(aCheckIn({ machineId: machine(3) }));
    expect(trace.at(-1)).toEqual({
      rule: "downloads",
      verdict: "stop",
      facts: { fetching: 2, limit: 2, until: NOON },
      until: NOON,
    });
    says(world, 1, 13, 1);
    expect(asks(world, 3)).toBe("downloads-busy");
    expect([asks(world, 1), asks(world, 2)]).toEqual(["offered-again", "offered-again"]);
    says(world, 1, 14, 1);
    expect([asks(world, 3), asks(world, 4)]).toEqual(["granted", "downloads-busy"]);
  });

  it("make room when they end in any way: failed, timed out, taken back, replaced, deleted", () => {
    const world = aWorld(1);
    asks(world, 1);
    fails(world, 1, 9);
    expect([asks(world, 2), asks(world, 3)]).toEqual(["granted", "downloads-busy"]);
    world.now += HOUR;
    const changes = expire(world.fleet, world.node(machine(2)), NOON, world.counters, world.now);
    if (changes !== null) world.apply(changes);
    expect([asks(world, 3), asks(world, 4)]).toEqual(["granted", "downloads-busy"]);
    world.tend({ held: { at: NOON, by: "ops", why: "its disk" } }, machine(3));
    expect(asks(world, 3)).toBe("held");
    expect([asks(world, 4), asks(world, 5)]).toEqual(["granted", "downloads-busy"]);
    world.forget(machine(4));
    expect(asks(world, 5)).toBe("granted");
    says(world, 5, 3, 1);
    expect(world.counters.downloads.fetching).toBe(0);
  });

  it("are counted over all groups; packages that nodes fetch elsewhere are under no such limit", () => {
    const elsewhere = aPackage({ no: 7, version: "4230.2.1" });
    const fleet = aFleet([
      group(),
      group({ no: 2, id: "group-2", track: "beta" }),
      group({ no: 3, id: "group-3", track: "alpha", channel: aChannel({ package: elsewhere }) }),
    ]);
    const world = aWorld(2, fleet);
    expect([asks(world, 1), asks(world, 2, { track: "beta" })]).toEqual(["granted", "granted"]);
    expect([asks(world, 3), asks(world, 4, { track: "beta" })]).toEqual(["downloads-busy", "downloads-busy"]);
    expect([5, 6, 7].map((n) => asks(world, n, { track: "alpha" }))).toEqual(["granted", "granted", "granted"]);
    expect(world.counters.downloads.fetching).toBe(2);
  });

  it("are any number without a limit", () => {
    const world = aWorld(0);
    for (let n = 1; n <= 700; n += 1) expect(asks(world, n)).toBe("granted");
  });

  it("are held back after what people have set, so that it is that which is said", () => {
    const world = aWorld(1, aFleet([group({ policy: { maxUpdatesPerPeriod: 1 } })]));
    expect([asks(world, 1), asks(world, 2)]).toEqual(["granted", "max-in-flight"]);
  });

  it("are no more than can end in half of the time that an update may take, where the rate is limited", () => {
    const policy = aPolicy({ updateTimeoutMs: HOUR });
    const image = aPackage({ files: [{ name: "u.gz", sizeBytes: 500 * 2 ** 20, sha1: null, sha256: null }] });
    const most = (downloads: number, mebibytes: number | null, of = image) =>
      mostDownloads({ downloads, downloadRate: mebibytes === null ? null : mebibytes * 2 ** 20 }, of, policy);
    expect(most(500, 10)).toBe(36);
    expect(most(20, 10)).toBe(20);
    expect(most(0, 10)).toBe(36);
    expect(most(500, 0.125)).toBe(1);
    expect(most(500, null)).toBe(500);
    expect(most(0, null)).toBeNull();
    expect(most(500, 10, aPackage({ files: [] }))).toBe(500);
  });
});

describe("a failed download", () => {
  const failed = { status: "failed", grant: { failure: "failed", attempt: 1 } };

  it("that the server has refused, or cut off, is no failure: the node is granted the same again, without a try used", () => {
    const world = aWorld(1);
    asks(world, 1);
    says(world, 1, 13, 1);
    world.server = { ...world.server, cut: [cut({ version: "4152.0.0" }), cut()] };
    const { changes, excused } = fails(world, 1, 0x50000009);
    expect(excused).toEqual(cut());
    expect(changes.events).toMatchObject([{ type: 3, result: 0, errorCode: 0x50000009 }]);
    expect(changes.activities).toEqual([]);
    expect(world.node(machine(1))).toMatchObject({ status: "on-hold", grant: null });
    expect(world.pastGrants).toMatchObject([{ status: "withdrawn" }]);
    expect(world.counters.rollouts.get(1)?.total).toMatchObject({ downloading: 0, failed: 0, withdrawn: 1 });
    world.server = { ...world.server, cut: [] };
    expect([asks(world, 1), asks(world, 2)]).toEqual(["granted", "downloads-busy"]);
    expect(world.node(machine(1)).grant).toMatchObject({ attempt: 1, failure: null });
  });

  it.each<[string, number, CutDownload]>([
    ["of another file", 9, cut({ errorCode: 5 })],
    ["of another version", 9, cut({ version: "4230.2.2" })],
    ["of another application", 9, cut({ applicationId: "e96281a6-d1af-4bde-9a0a-97b76e56dc58" })],
    ["and something else has failed", 10, cut()],
  ])("is a failure when what the server has cut off was %s", (_, code, one) => {
    const world = aWorld(1);
    asks(world, 1);
    world.server = { ...world.server, cut: [one] };
    expect(fails(world, 1, code).excused).toBeNull();
    expect(world.node(machine(1))).toMatchObject(failed);
  });

  it("of a file that belongs to the image is excused as its own code says it", () => {
    const world = aWorld(1);
    asks(world, 1);
    says(world, 1, 14, 1);
    world.server = { ...world.server, cut: [cut({ errorCode: 5 })] };
    expect(fails(world, 1, 5).excused).toEqual(cut({ errorCode: 5 }));
    expect(world.node(machine(1)).status).toBe("on-hold");
  });

  it("of a node that has failed before leaves it as it was then", () => {
    const world = aWorld(1);
    asks(world, 1);
    fails(world, 1, 10);
    world.now += 2 * HOUR;
    expect(asks(world, 1)).toBe("granted");
    expect(world.node(machine(1)).grant).toMatchObject({ attempt: 2 });
    world.server = { ...world.server, cut: [cut()] };
    fails(world, 1, 9);
    expect(world.node(machine(1))).toMatchObject({ status: "failed", grant: { attempt: 1, errorCode: 10 } });
    expect(world.counters.rollouts.get(1)?.causes).toEqual(new Map([[10, 1]]));
  });

  it("neither closes the gate nor turns updates off in safe mode", () => {
    const strategy = readStrategy({ stages: [{ percent: 100 }], health: { min_finished: 1 } });
    const world = aWorld(0, aFleet([group({ policy: { safeMode: true } })], { strategy }));
    expect([asks(world, 1), asks(world, 2)]).toEqual(["granted", "canary-pending"]);
    world.server = { ...world.server, cut: [cut()] };
    expect(fails(world, 1, 9).changes.disableUpdates).toBeNull();
    expect([asks(world, 2), asks(world, 1)]).toEqual(["granted", "canary-pending"]);
  });

  it("of a node on its way back leaves it the grant, without which it would not be known, and some more time", () => {
    const back = { ...aPackage({ version: "4081.2.0" }), urls: [`/${APP_ID}/amd64/4081.2.0/`] };
    const update = aFleet([group()]);
    const world = aWorld(1, update);
    asks(world, 1);
    world.checkIn(aCheckIn({ machineId: machine(1), version: "4230.2.1" }));
    const [rollout] = update.rollouts;
    if (rollout === undefined) throw new Error("there is no rollout");
    const rollouts = [{ ...rollout, state: "aborted" as const }, { ...rollout, no: 9, id: "back", package: back, undoes: "4230.2.1" }]; // biome-ignore format: one line
    world.fleet = buildFleet(2, { ...update, rollouts });
    expect(asks(world, 1, { version: "4230.2.1" })).toBe("granted");
    world.now += 50 * MINUTE;
    world.server = { ...world.server, cut: [cut({ version: "4081.2.0" })] };
    world.checkIn(aReport(anEvent(3, 0, { errorCode: 9 }), { machineId: machine(1), version: "4230.2.1" }));
    expect(world.node(machine(1))).toMatchObject({
      status: "granted",
      grant: { rolloutNo: 9, attempt: 1, deadline: world.now + HOUR },
    });
    expect(asks(world, 1, { version: "4230.2.1" })).toBe("offered-again");
  });

  it("is excused for half an hour when the server was started since it was granted what is kept there", () => {
    const endOf = (minutes: number, errorCode: number, fleet = aFleet([group()])) => {
      const world = aWorld(0, fleet);
      asks(world, 1);
      const startedAt = NOON + 5 * MINUTE;
      world.server = { ...world.server, startedAt };
      world.now = startedAt + minutes * MINUTE;
      fails(world, 1, errorCode);
      return world.node(machine(1)).status;
    };
    expect([endOf(0, 9), endOf(30, 5)]).toEqual(["on-hold", "on-hold"]);
    expect([endOf(31, 9), endOf(0, 10), endOf(0, 9, aFleet())]).toEqual(["failed", "failed", "failed"]);
    const later = aWorld(0);
    later.server = { ...later.server, startedAt: NOON };
    asks(later, 1);
    fails(later, 1, 9);
    expect(later.node(machine(1)).status).toBe("failed");
  });
});
