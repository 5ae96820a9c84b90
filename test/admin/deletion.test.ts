/** What is left behind by what is deleted belongs to nobody, least of all to what comes next. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Decisions } from "../../src/checkin/decisions.ts";
import { recount } from "../../src/store/recount.ts";
import { aCheckIn, anEvent, aReport } from "../rollout/builders.ts";
import { NOW } from "../store/in-process.ts";
import { type Api, anApi, FLATCAR, groupBody, STABLE } from "./api.ts";

let api: Api;
beforeEach(async () => {
  api = await anApi();
});
afterEach(() => api.close());

describe("a group that is deleted", () => {
  it("leaves nothing to the next one: no nodes, no counts, no grants", async () => {
    await api.point(STABLE, await api.aPackage("4230.2.1"));
    const decisions = new Decisions(api.world.checkIns, {
      newNodesPerMinute: 0,
      onFault: (error) => api.faults.push(error),
    });
    const make = async (name: string) =>
      String(
        (await api.post(`/apps/${FLATCAR}/groups`, groupBody({ name, track: name, channel_id: STABLE })).expect(200))
          .body.id,
      );
    const lab = await make("lab");
    const ask = (checkIn: ReturnType<typeof aCheckIn>) =>
      decisions.run([{ apps: [checkIn], ip: "192.0.2.1", now: NOW }]);
    const [[decision] = []] = await ask(aCheckIn({ track: "lab" }));
    expect(decision?.reason).toBe("granted");

    await api.del(`/apps/${FLATCAR}/groups/${lab}`).expect(204);
    const next = await make("next");
    const { body: stats } = await api.get(`/apps/${FLATCAR}/groups/${next}/instances_stats?duration=1d`).expect(200);
    expect(stats.total).toBe(0);
    // The node goes on with what it was granted; its group's rollout is gone, and no other one counts it.
    await ask(aReport(anEvent(13, 1), { track: "next" }));
    await ask(aCheckIn({ track: "next", version: "4230.2.1" }));
    const { body } = await api.get(`/apps/${FLATCAR}/groups/${next}/rollouts`).expect(200);
    expect(body.rollouts).toHaveLength(1);
    expect(body.rollouts[0].counters).toMatchObject({ granted: 0, in_flight: 0, complete: 0 });
    expect((await recount(api.world.store.read, false)).length).toBe(0);
    expect(api.faults).toEqual([]);
  });
});
