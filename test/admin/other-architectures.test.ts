/** Nodes of old have the id of a group for their track, whatever their architecture. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Decisions } from "../../src/checkin/decisions.ts";
import { ARCH } from "../../src/rollout/model/arch.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import { aCheckIn } from "../rollout/builders.ts";
import { type Api, anApi, FLATCAR, GROUP, STABLE, STABLE_ARM } from "./api.ts";

const ARM_GROUP = "11a585f6-9418-4df0-8863-78b2fd3240f8";
const A = `/apps/${FLATCAR}`;
const { amd64, aarch64, x86 } = ARCH;
const machine = (n: number) => n.toString(16).padStart(32, "0");

let api: Api;
let decisions: Decisions;
beforeEach(async () => {
  api = await anApi();
  decisions = new Decisions(api.world.checkIns, { newNodesPerMinute: 0, onFault: (error) => api.faults.push(error) });
});
afterEach(() => {
  expect(api.faults).toEqual([]);
  api.close();
});

async function ask(n: number, what: Partial<CheckIn>) {
  const checkIn = aCheckIn({ machineId: machine(n), ...what });
  const [[answer] = []] = await decisions.run([{ apps: [checkIn], ip: "192.0.2.1", now: api.clock.now() }]);
  return answer;
}
const others = async (group: string) =>
  (await api.get(`${A}/groups/${group}/other_architectures`).expect(200)).body.architectures;

describe("nodes of another architecture than their group", () => {
  it("follow the group of the same track that is for theirs, as they are found and as they are explained", async () => {
    await api.point(STABLE, await api.aPackage("4230.2.1"));
    await api.point(STABLE_ARM, await api.aPackage("4230.2.1", { arch: 2 }));
    const answer = await ask(1, { track: GROUP, arch: aarch64 });
    expect(answer).toMatchObject({ reason: "granted", groupId: ARM_GROUP, offer: { manifests: [{ package: { arch: 2 } }] } }); // biome-ignore format: one line
    expect(await ask(2, { track: ARM_GROUP, arch: amd64 })).toMatchObject({ reason: "granted", groupId: GROUP });
    expect([await others(GROUP), await others(ARM_GROUP)]).toEqual([[], []]);
    // As a server of before has left them: in the group whose id they say.
    api.world.db.exec(`UPDATE nodes SET group_no = (SELECT no FROM groups WHERE id = '${GROUP}')`);
    expect(await others(GROUP)).toEqual([]);
    const { body } = await api.get(`${A}/groups/${GROUP}/instances/${machine(1)}/explain`).expect(200);
    expect(body.steps).toContainEqual(
      expect.objectContaining({ rule: "group found", text: 'it is in group "Stable (ARM)"' }),
    );
  });

  it("are counted where there is none, with what would help, in groups of every architecture", async () => {
    for (let n = 1; n <= 3; n += 1) await ask(n, { track: GROUP, arch: amd64 });
    for (let n = 4; n <= 6; n += 1) await ask(n, { track: GROUP, arch: x86 });
    await ask(7, { track: ARM_GROUP, arch: x86 });
    await ask(8, { track: ARM_GROUP, arch: aarch64 });
    while (await decisions.flushSeen());
    const text = (many: string, n: number, isFor: string) =>
      `${many} x86 (e.g. ${machine(n)}), and it is for ${isFor}: nothing fits them before there is a group with the track "stable" and a channel for x86`;
    const common = { arch: x86, by_hand: false };
    expect(await others(GROUP)).toEqual([
      { ...common, instances: 3, instance_id: machine(4), text: text("3 of its nodes are", 4, "amd64") },
    ]);
    expect(await others(ARM_GROUP)).toEqual([
      { ...common, instances: 1, instance_id: machine(7), text: text("1 of its nodes is", 7, "aarch64") },
    ]);
    const explained = (await api.get(`${A}/groups/${GROUP}/instances/${machine(4)}/explain`).expect(200)).body;
    expect(explained).toMatchObject({ reason: "other-arch", text: expect.stringContaining('a group with the track "stable" and a channel for x86 would take it') }); // biome-ignore format: one line
    // Where somebody makes it, they are taken.
    const channel = (await api.post(`${A}/channels`, { name: "stable", arch: x86 }).expect(200)).body;
    const policy = { policy_timezone: "", policy_period_interval: "1 hours", policy_update_timeout: "1 hours" };
    const body = { name: "Stable (x86)", track: "stable", channel_id: channel.id, ...policy, policy_max_updates_per_period: 9 }; // biome-ignore format: one line
    const group = (await api.post(`${A}/groups`, body).expect(200)).body;
    expect([await others(GROUP), await others(ARM_GROUP)]).toEqual([[], []]);
    expect(await ask(4, { track: GROUP, arch: x86 })).toMatchObject({ groupId: group.id });
  });

  it("are told apart when people have put them there, and forgotten a day after they were seen", async () => {
    await ask(1, { track: "stable", arch: aarch64 });
    await ask(2, { track: GROUP, arch: x86 });
    while (await decisions.flushSeen());
    await api.post(`${A}/groups/${ARM_GROUP}/instances/${machine(1)}/move`, { group_id: GROUP }).expect(200);
    const found = await others(GROUP);
    expect(found).toMatchObject([
      {
        arch: aarch64,
        by_hand: true,
        instances: 1,
        text: expect.stringContaining("a person has put such nodes there"),
      },
      { arch: x86, by_hand: false, instances: 1 },
    ]);
    api.clock.move({ days: 1, minutes: 1 });
    expect(await others(GROUP)).toEqual([]);
  });
});
