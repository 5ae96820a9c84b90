import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NOW } from "../store/in-process.ts";
import { type Api, anApi, FLATCAR, GROUP, NOWHERE, STABLE } from "./api.ts";

const PATH = `/apps/${FLATCAR}/groups/${GROUP}/rollouts/simulate`;

let api: Api;
beforeEach(async () => {
  api = await anApi();
});
afterEach(() => {
  expect(api.faults).toEqual([]);
  api.close();
});

/** Nodes of the group: the last of them has been away for two days. */
async function aFleet(count: number): Promise<void> {
  const group = await api.world.store.read.selectFrom("groups").select(["no", "application_no"]).where("id", "=", GROUP).executeTakeFirstOrThrow(); // biome-ignore format: one line
  await api.world.store.write(async (tx) => {
    for (let n = 0; n < count; n += 1) {
      const gone = n === count - 1;
      await tx
        .insertInto("nodes")
        .values({
          id: n.toString(16).padStart(32, "0"),
          application_no: group.application_no,
          group_no: group.no,
          version: n % 10 === 0 ? "4230.2.1" : "4081.2.0",
          arch: 1,
          machine_alias: "",
          ip: "192.0.2.1",
          oem: n % 2 === 0 ? "azure" : "vmware",
          oem_version: "",
          aleph_version: "",
          boot_id: "",
          broken_quotes: 0,
          created_at: gone ? NOW - 48 * 3_600_000 : NOW,
          status: "unknown",
          status_at: NOW,
        })
        .execute();
    }
  });
}

describe("POST …/rollouts/simulate", () => {
  it("forecasts with the group's nodes, policy and strategy, and changes nothing", async () => {
    await aFleet(101);
    await api.point(STABLE, await api.aPackage("4230.2.1"));
    const group = (await api.get(`/apps/${FLATCAR}/groups/${GROUP}`)).body;
    const strategy = { stages: [{ match: { oem: ["vmware"] }, bake: "3h" }, { percent: 100 }] };
    await api
      .put(`/apps/${FLATCAR}/groups/${GROUP}`, { ...group, strategy, policy_max_updates_per_period: 7 })
      .expect(200);
    const rollouts = (await api.get(`/apps/${FLATCAR}/groups/${GROUP}/rollouts`)).body;

    const { body } = await api.post(PATH, {}).expect(200);
    expect(body).toMatchObject({
      version: "4230.2.1",
      nodes: 100,
      starts_at: new Date(NOW).toISOString(),
      end: "completed",
      reached: 90,
      complete: 90,
      broken: 0,
      broken_at_halt: null,
      stages: [
        { number: 1, matched: true, eligible: 50, complete: 50 },
        { number: 2, matched: false, eligible: 40, complete: 40 },
      ],
    });
    expect(body.peak_in_flight).toBeLessThanOrEqual(7);
    expect(Date.parse(body.stages[1].opened_at) - Date.parse(body.stages[0].finished_at)).toBe(3 * 3_600_000);
    expect(body.curve.at(-1)).toMatchObject({ complete: 90, granted: 90, in_flight: 0, bad: 0 });
    expect((await api.get(`/apps/${FLATCAR}/groups/${GROUP}/rollouts`)).body).toEqual(rollouts);

    // The same nodes, and what is asked beside.
    const bad = await api.post(PATH, { fail: ["100%:9"], strategy: { preset: "hotfix" } }).expect(200);
    expect(bad.body).toMatchObject({ nodes: 100, end: "halted", complete: 0, broken_at_halt: 5 });
    expect(bad.body.history.at(-1).reason).toContain("finished nodes failed");
  });

  it("forecasts with nodes that nobody has yet", async () => {
    const asked = {
      nodes: 50,
      version: "4230.2.1",
      oems: ["qemu"],
      from_version: "4081.2.0",
      strategy: { preset: "fast" },
    };
    expect((await api.post(PATH, asked).expect(200)).body).toMatchObject({ nodes: 50, end: "completed" });
  });

  it.each([
    [{}, 409, /channel points to no package; give version/],
    [{ version: "4230.2.1" }, 409, /has no nodes that are there and not held; give nodes/],
    [{ version: "latest" }, 400, /version: "latest" is not a version/],
    [{ nodes: 0 }, 400, /nodes/],
    [{ nodes: 200_001 }, 400, /nodes/],
    [{ oems: ["azure"] }, 400, /oems: goes with nodes/],
    [{ nodes: 5, version: "4000.0.0", from_version: "4000.0.0" }, 400, /from_version: is not below 4000.0.0/],
    [{ poll_interval: "soon" }, 400, /poll_interval: "soon" is not a duration/],
    [{ poll_interval: "1s" }, 400, /poll_interval: must be from 60s to 1d/],
    [{ for: "10000d" }, 400, /for: must be from 60s to 366d/],
    [{ fail: ["20%"] }, 400, /fail.0: write SHARE%:CODE/],
    [{ die: ["20%:9"] }, 400, /die.0: write SHARE%/],
    [{ strategy: { stages: [] } }, 400, /strategy.stages/],
    [{ start_at: "tomorrow" }, 400, /start_at: must be a time/],
    [{ percent: 5 }, 400, /percent: there is no such field/],
    [[], 400, /must be an object/],
  ])("says what is wrong with %j", async (body, status, detail) => {
    const answer = await api.post(PATH, body).expect(status);
    expect(answer.body.detail).toMatch(detail);
  });

  it("is only there for groups that are", async () => {
    await api.post(`/apps/${FLATCAR}/groups/${NOWHERE}/rollouts/simulate`, {}).expect(404);
    await api.get(PATH).expect(405);
  });
});
