/** Mirrors: who may, and what is kept of those that asked. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CheckInRequest, Decisions } from "../../src/checkin/decisions.ts";
import { readMirrorRule } from "../../src/networks.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import { aCheckIn, GROUP_ID, HOUR } from "../rollout/builders.ts";
import { aDatabase, type InProcess, NOW, releaseIn } from "../store/in-process.ts";

let world: InProcess;
let decisions: Decisions;
beforeEach(async () => {
  world = await aDatabase();
  decisions = mirroredBy("everyone");
});
afterEach(() => world.close());

function mirroredBy(rule: string): Decisions {
  const mirrors = readMirrorRule(rule);
  if (typeof mirrors === "object" && "wrong" in mirrors) throw new Error(mirrors.wrong);
  return new Decisions(world.checkIns, {
    newNodesPerMinute: 0,
    mirrors,
    onFault: (error) => {
      throw error;
    },
  });
}

const mirror = (changes: Partial<CheckIn> = {}): CheckIn =>
  aCheckIn({ syncer: true, multiManifest: true, version: "766.0.0", ping: false, events: [], ...changes });
const from = (ip: string, checkIn = mirror(), now = NOW): CheckInRequest => ({ apps: [checkIn], ip, now });
const reasons = async (...requests: CheckInRequest[]) =>
  (await decisions.run(requests)).flat().map(({ reason }) => reason);
const kept = () =>
  world.db.prepare<[], Record<string, unknown>>("SELECT * FROM mirroring_servers ORDER BY last_at DESC, no").all();
const addresses = () => kept().map(({ address }) => address);

describe("who may mirror", () => {
  it.each([
    ["everyone", ["192.0.2.9", "2001:db8::7"], []],
    ["nobody", [], ["192.0.2.9", "127.0.0.1", "::1"]],
    ["192.0.2.0/24, 2001:db8::/32", ["192.0.2.9", "2001:db8:1::7"], ["192.0.3.9", "2001:db9::7", ""]],
    ["192.0.2.9", ["192.0.2.9"], ["192.0.2.8"]],
  ])("is %s", async (rule, allowed, refused) => {
    await releaseIn(world, "4230.2.1");
    decisions = mirroredBy(rule);
    for (const ip of allowed) expect(await reasons(from(ip)), ip).toEqual(["mirror"]);
    for (const ip of refused) {
      const [[decision] = []] = await decisions.run([from(ip)]);
      expect(decision, ip).toMatchObject({
        status: "ok",
        reason: "mirror-not-allowed",
        offer: null,
        groupId: GROUP_ID,
      });
    }
  });

  it("does not concern nodes, nor what is not here", async () => {
    await releaseIn(world, "4230.2.1");
    decisions = mirroredBy("nobody");
    expect(await reasons(from("192.0.2.9", aCheckIn()), from("192.0.2.9", mirror({ track: "none" })))).toEqual([
      "granted",
      "unknown-group",
    ]);
  });
});

describe("mirrors that asked", () => {
  it("are kept with what they asked last, and when, one row for each group", async () => {
    await releaseIn(world, "4230.2.1");
    decisions = mirroredBy("192.0.2.0/24");
    await decisions.run([
      from("192.0.2.9"),
      from("192.0.2.9", mirror({ track: "beta", multiManifest: false })),
      from("198.51.100.5"),
      from("192.0.2.9", aCheckIn()),
    ]);
    expect(kept()).toEqual([]);
    await decisions.run([from("192.0.2.9", mirror({ version: "4230.2.1", machineId: "{another}" }), NOW + HOUR)]);
    await decisions.flushSeen();
    const common = { arch: 1, application: aCheckIn().appId, left_out: "[]" };
    const stable = { ...common, group_id: GROUP_ID, track: "stable", multi_manifest: 1 };
    expect(kept()).toMatchObject([
      { ...stable, address: "192.0.2.9", version: "4230.2.1", reason: "up-to-date", first_at: NOW, last_at: NOW + HOUR, asked: 2 }, // biome-ignore format: one line
      { ...common, address: "192.0.2.9", track: "beta", multi_manifest: 0, reason: "no-package", asked: 1 },
      { ...stable, address: "198.51.100.5", version: "766.0.0", reason: "mirror-not-allowed", asked: 1 },
    ]);
    // A new process goes on with what was kept.
    decisions = mirroredBy("everyone");
    await decisions.run([from("198.51.100.5", mirror(), NOW + 2 * HOUR)]);
    await decisions.flushAllSeen();
    expect(kept()[0]).toMatchObject({ address: "198.51.100.5", reason: "mirror", first_at: NOW, asked: 2 });
  });

  it("that ask for what is not here have one row for all of it, with what they asked last, cut off", async () => {
    await decisions.run([
      from("192.0.2.9", mirror({ track: "none" })),
      from("192.0.2.9", mirror({ appId: "x".repeat(500), track: "t".repeat(500), version: "v".repeat(500) })),
    ]);
    await decisions.flushSeen();
    expect(kept()).toMatchObject([
      { group_id: "", application: "x".repeat(100), track: "t".repeat(100), version: "v".repeat(100), asked: 2 },
    ]);
    expect(kept()[0]?.reason).toBe("unknown-application");
  });

  it("and only ping are none", async () => {
    await decisions.run([from("192.0.2.9", mirror({ updateCheck: false }))]);
    await decisions.flushSeen();
    expect(kept()).toEqual([]);
  });

  it("are bounded, and a flood of invented addresses takes the place of nobody who asks again", async () => {
    const real = Array.from({ length: 20 }, (_, n) => `192.0.2.${n}`);
    for (const at of [0, HOUR]) await decisions.run(real.map((ip) => from(ip, mirror(), NOW + at)));
    await decisions.flushAllSeen();
    for (let wave = 0; wave < 8; wave += 1) {
      await decisions.run(
        Array.from({ length: 400 }, (_, n) => from(`2001:db8:${wave}::${n}`, mirror(), NOW + 2 * HOUR)),
      );
      await decisions.flushAllSeen();
    }
    expect(kept()).toHaveLength(500);
    expect(real.filter((ip) => !addresses().includes(ip))).toEqual([]);
    expect(addresses().some((address) => String(address).startsWith("2001:db8:7:"))).toBe(true);
  });

  it("are written without waiting for the disk, and again when that fails", async () => {
    await decisions.run([from("192.0.2.9")]);
    world.db.exec("ALTER TABLE mirroring_servers RENAME TO away");
    await expect(decisions.flushSeen()).rejects.toThrow();
    await decisions.run([from("192.0.2.9", mirror(), NOW + HOUR)]);
    world.db.exec("ALTER TABLE away RENAME TO mirroring_servers");
    await decisions.flushSeen();
    expect(kept()).toMatchObject([{ address: "192.0.2.9", first_at: NOW, last_at: NOW + HOUR, asked: 2 }]);
  });

  it("are forgotten with the history when they don't ask any more", async () => {
    await decisions.run([from("192.0.2.1"), from("192.0.2.2", mirror(), NOW + HOUR)]);
    await decisions.flushAllSeen();
    while (await decisions.deleteHistory(NOW + 1));
    expect(addresses()).toEqual(["192.0.2.2"]);
  });
});
