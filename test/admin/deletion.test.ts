/** What is left behind by what is deleted belongs to nobody, least of all to what comes next. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Decisions } from "../../src/checkin/decisions.ts";
import { recount } from "../../src/store/recount.ts";
import { aCheckIn, anEvent, aReport } from "../rollout/builders.ts";
import { NOW } from "../store/in-process.ts";
import { type Api, anApi, FLATCAR, GROUP, groupBody, packageBody, STABLE } from "./api.ts";

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

describe("a package or a channel that is deleted", () => {
  it.each(["package", "channel"] as const)(
    "leaves nodes in the middle of it where they are, every counter right (%s)",
    async (what) => {
      const id = await api.aPackage("4230.2.1");
      await api.point(STABLE, id);
      const decisions = new Decisions(api.world.checkIns, {
        newNodesPerMinute: 0,
        onFault: (error) => api.faults.push(error),
      });
      const ask = (checkIn: ReturnType<typeof aCheckIn>) => decisions.run([{ apps: [checkIn], ip: "192.0.2.1", now: NOW }]); // biome-ignore format: one line
      const [[granted] = []] = await ask(aCheckIn({ track: "stable" }));
      expect(granted?.reason).toBe("granted");
      await api.del(`/apps/${FLATCAR}/${what}s/${what === "package" ? id : STABLE}`).expect(204);
      expect(await recount(api.world.store.read, false)).toEqual([]);
      await ask(aReport(anEvent(13, 1), { track: "stable" }));
      const [[after] = []] = await ask(aCheckIn({ track: "stable", version: "4230.2.1" }));
      expect(after?.reason).not.toBe("granted");
      expect(await recount(api.world.store.read, false)).toEqual([]);
      const { body } = await api.get(`/apps/${FLATCAR}/groups/${GROUP}/instances?duration=1d`).expect(200);
      expect(body.total).toBe(1);
      await api.get(`/apps/${FLATCAR}/groups/${GROUP}/rollouts`).expect(200);
      await api.get(`/apps/${FLATCAR}/groups/${GROUP}/instances_stats?duration=1d`).expect(200);
      expect(api.faults).toEqual([]);
    },
  );
});

describe("a channel that is deleted with its upstream", () => {
  it("is written down with it, whole", async () => {
    const wanted = {
      url: "https://updates.example.org/v1/update/",
      track: "stable",
      channel_id: STABLE,
      policy: "follow",
      up_to: "4230.2.1",
    };
    const { body: upstream } = await api.post(`/apps/${FLATCAR}/upstreams`, wanted).expect(201);
    await api.del(`/apps/${FLATCAR}/channels/${STABLE}`).expect(204);
    const { body: audit } = await api.get("/audit?action=deleteChannel").expect(200);
    expect(audit.entries.map((line: { subject: string }) => line.subject).sort()).toEqual(["channel", "upstream"]);
    const line = audit.entries.find(({ subject }: { subject: string }) => subject === "upstream");
    expect(line).toMatchObject({ subject_id: upstream.id, before: wanted, after: null });
    expect((await api.get(`/apps/${FLATCAR}/upstreams`).expect(200)).body.upstreams ?? []).toEqual([]);
  });
});

describe("an application that is deleted", () => {
  it("takes every row of its own with it", async () => {
    const rows = () => {
      const names = api.world.db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all() as { name: string }[]; // biome-ignore format: one line
      const count = ({ name }: { name: string }) =>
        api.world.db.prepare(`SELECT count(*) FROM "${name}"`).pluck().get();
      return Object.fromEntries(names.map((table) => [table.name, count(table)]));
    };
    const { audit: _, untold: __, ...before } = rows();
    const { body: app } = await api.post(`/apps?clone_from=${FLATCAR}`, { name: "Lab" }).expect(200);
    const path = `/apps/${app.id}`;
    const channel = app.channels.find(
      ({ name, arch }: { name: string; arch: number }) => name === "stable" && arch === 1,
    );
    const add = async (version: string) => (await api.post(`${path}/packages`, packageBody(version, { application_id: app.id, extra_files: [{ name: "oem.gz" }] })).expect(200)).body.id; // biome-ignore format: one line
    const [floor, newest] = [await add("4152.2.0"), await add("4230.2.1")];
    await api.put(`/channels/${channel.id}/floors/${floor}`, {}).expect(200);
    await api.put(`${path}/channels/${channel.id}`, { ...channel, package_id: newest }).expect(200);
    const decisions = new Decisions(api.world.checkIns, {
      newNodesPerMinute: 0,
      onFault: (error) => api.faults.push(error),
    });
    const appId = `{${app.id}}`;
    await decisions.run([{ apps: [aCheckIn({ appId, track: "stable" })], ip: "192.0.2.1", now: NOW }]);
    await decisions.run([{ apps: [aReport(anEvent(13, 1), { appId, track: "stable" })], ip: "192.0.2.1", now: NOW }]);
    expect(rows().nodes).toBe(1);
    await api.del(path).expect(204);
    const { audit: ___, untold: ____, ...after } = rows();
    expect(after).toEqual(before);
  });

  it("leaves webhooks that were for it or its groups as they are, to be sent back whole, and turned off", async () => {
    const { body: app } = await api.post("/apps", { name: "Lab" }).expect(200);
    const { body: group } = await api.post(`/apps/${app.id}/groups`, groupBody()).expect(200);
    const url = "https://hooks.example.org/turnout";
    const make = async (scope: object) => (await api.post("/webhooks", { name: Object.keys(scope)[0], url, ...scope }).expect(201)).body.id; // biome-ignore format: one line
    const hooks = [await make({ applications: [app.id] }), await make({ groups: [group.id] })];
    await api.del(`/apps/${app.id}`).expect(204);
    for (const id of hooks) {
      const { body: seen } = await api.get(`/webhooks/${id}`).expect(200);
      const { body: off } = await api.put(`/webhooks/${id}`, { ...seen, enabled: false }).expect(200);
      expect(off).toEqual({ ...seen, enabled: false });
      const { applications: _, ...without } = seen;
      if (seen.groups !== null) expect((await api.put(`/webhooks/${id}`, without).expect(200)).body).toEqual(seen);
    }
    // What is not there can't be asked for anew.
    await api.post("/webhooks", { name: "late", url, applications: [app.id] }).expect(400);
    await api.post("/webhooks", { name: "late", url, groups: [group.id] }).expect(400);
  });

  it("leaves what its tokens were for to be seen", async () => {
    const { body: app } = await api.post("/apps", { name: "Lab" }).expect(200);
    const { body: made } = await api.post("/tokens", { name: "ci", role: "admin", applications: [app.id] }).expect(201);
    await api.del(`/apps/${app.id}`).expect(204);
    expect((await api.get("/tokens/ci").expect(200)).body).toMatchObject({ id: made.id, applications: [app.id] });
  });
});
