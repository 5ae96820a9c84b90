import fc from "fast-check";
import type supertest from "supertest";
import { afterEach, describe, expect, it } from "vitest";
import { rememberToken } from "../../src/admin/auth/tokens.ts";
import { Decisions } from "../../src/checkin/decisions.ts";
import { aCheckIn, anEvent, aReport } from "../rollout/builders.ts";
import { NOW } from "../store/in-process.ts";
import { type Api, anApi, FLATCAR, GROUP, NOWHERE, STABLE } from "./api.ts";

let api: Api;
afterEach(() => {
  expect(api.faults).toEqual([]);
  api.close();
});

describe("who may use it", () => {
  it("is who has a token, which is kept as a hash only", async () => {
    api = await anApi({ auth: "token" });
    for (const header of [undefined, "Bearer", "Bearer wrong", `Basic ${api.token}`, api.token]) {
      const request = api.get("/apps");
      const answer = await (header === undefined ? request : request.set("Authorization", header)).expect(401);
      expect(answer.headers["www-authenticate"]).toBe("Bearer");
      expect(answer.body).toMatchObject({ status: 401, title: "Unauthorized" });
    }
    await api.get("/apps").set("Authorization", `Bearer ${api.token}`).expect(200);
    const kept = JSON.stringify(api.world.db.prepare("SELECT * FROM tokens").all());
    expect(kept).not.toContain(api.token);
    expect(api.token).toMatch(/^turnout_[\w-]{43}$/);
  });

  it("is told by a name of its own, and in the audit log, also when the settings bring another token", async () => {
    api = await anApi({ auth: "token" });
    const from = "a-token-of-the-settings";
    for (const token of [from, from, `${from}-2`]) await rememberToken(api.world.store, token, NOW);
    const asked = (path: string, token = from) => api.get(path).set("Authorization", `Bearer ${token}`);
    expect((await asked("/whoami").expect(200)).body).toMatchObject({ name: "admin-2", role: "admin" });
    expect((await asked("/whoami", `${from}-2`).expect(200)).body.name).toBe("admin-3");
    const { body } = await asked("/audit?subject=token").expect(200);
    expect(JSON.stringify(body)).not.toContain(from);
    expect(
      body.entries.map((one: { actor: string; action: string; after: { name: string } }) => [
        one.actor,
        one.action,
        one.after.name,
      ]),
    ).toEqual([
      ["system", "tokenFromSettings", "admin-3"],
      ["system", "tokenFromSettings", "admin-2"],
      ["system", "firstToken", "admin"],
    ]);
  });

  it("is not who has a token that was revoked by its name, whichever had that name before", async () => {
    api = await anApi({ auth: "token" });
    const asked = (token: string) => api.get("/whoami").set("Authorization", `Bearer ${token}`);
    const make = async (body: object) => (await api.post("/tokens", { name: "ci", role: "viewer", ...body }).set("Authorization", `Bearer ${api.token}`).expect(201)).body.token; // biome-ignore format: one line
    const expired = await make({ expires_ts: new Date(NOW + 60_000).toISOString() });
    api.clock.move({ minutes: 2 });
    const token = await make({});
    await api.del("/tokens/ci").set("Authorization", `Bearer ${api.token}`).expect(204);
    for (const one of [expired, token]) await asked(one).expect(401);
  });

  it("is nobody any more when the token is gone", async () => {
    api = await anApi({ auth: "token" });
    api.world.db.exec("DELETE FROM tokens");
    await api.get("/apps").set("Authorization", `Bearer ${api.token}`).expect(401);
  });
});

describe("requests that make no sense", () => {
  it("are answered with a problem each", async () => {
    api = await anApi();
    await api.get("/nothing").expect(404);
    const patch = await api.http.patch(`/api/apps/${FLATCAR}`).send({}).expect(405);
    expect(patch.headers.allow).toBe("GET, PUT, DELETE");
    await api.http.post("/api/apps").set("Content-Type", "application/json").send("{").expect(400);
    await api.http.post("/api/apps").set("Content-Type", "text/plain").send("name=x").expect(415);
    const large = await api.http
      .post("/api/apps")
      .send({ name: "x", description: "x".repeat(2 << 20) })
      .expect(413);
    expect(large.body.detail).toBe("the body is larger than 1 MiB");
    for (const path of ["/apps?page=x", "/apps?perpage=0", "/apps?page=-1", "/apps?page=1&page=2"]) {
      await api.get(path).expect(400);
    }
    for (const path of [
      "/activity?start=yesterday",
      "/activity?severity=9",
      `/apps/${FLATCAR}/groups/${GROUP}/instances_stats?duration=2d`,
    ]) {
      await api.get(path).expect(400);
    }
  });

  it("never make it fall over: random bodies and queries at every path", async () => {
    api = await anApi();
    const paths = [
      "/apps",
      `/apps/${FLATCAR}`,
      `/apps/${FLATCAR}/groups`,
      `/apps/${FLATCAR}/groups/${GROUP}`,
      `/apps/${FLATCAR}/channels`,
      `/apps/${FLATCAR}/channels/${STABLE}`,
      `/apps/${FLATCAR}/packages`,
      `/apps/${FLATCAR}/packages/${NOWHERE}`,
      `/channels/${STABLE}/floors/${NOWHERE}`,
      `/instances/${NOWHERE}`,
      `/apps/${FLATCAR}/groups/${GROUP}/instances`,
      "/activity",
    ];
    const key = fc.constantFrom(
      "name",
      "arch",
      "type",
      "version",
      "url",
      "color",
      "package_id",
      "alias",
      "flatcar_action",
      "extra_files",
      "__proto__",
    );
    const body = fc.oneof(fc.dictionary(key, fc.jsonValue(), { maxKeys: 6 }), fc.jsonValue());
    const query = fc.dictionary(
      fc.constantFrom("page", "perpage", "status", "duration", "searchValue", "start", "version"),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...paths),
        fc.constantFrom("get", "put", "post"),
        body,
        query,
        async (path, method, json, params) => {
          const request = method === "get" ? api.get(path) : method === "put" ? api.put(path, {}) : api.post(path, {});
          const sent =
            method === "get" ? request : request.set("Content-Type", "application/json").send(JSON.stringify(json));
          const { status } = await sent.query(params);
          expect(status).toBeLessThan(500);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("instances", () => {
  const G = `/apps/${FLATCAR}/groups/${GROUP}`;
  const machine = (n: number) => n.toString(16).padStart(32, "0");

  async function aFleet(): Promise<Decisions> {
    api = await anApi();
    await api.point(STABLE, await api.aPackage("4230.2.1"));
    const decisions = new Decisions(api.world.checkIns, {
      newNodesPerMinute: 0,
      onFault: (error) => api.faults.push(error),
    });
    const ask = (n: number, changes = {}) =>
      decisions.run([
        {
          apps: [aCheckIn({ machineId: machine(n), machineAlias: `web-${n}`, ...changes })],
          ip: `192.0.2.${n}`,
          now: NOW + n,
        },
      ]);
    for (let n = 1; n <= 5; n += 1) await ask(n);
    await ask(1, { version: "4230.2.1" });
    await decisions.run([
      {
        apps: [aReport(anEvent(3, 0, { errorCode: 268435466 }), { machineId: machine(2) })],
        ip: "192.0.2.2",
        now: NOW + 9,
      },
    ]);
    await ask(6, { version: "4230.2.1" });
    await ask(7, { machineId: "{b7d94e2c-61f8-4a0f-9d33-55aa10c2e8f4}" });
    while (await decisions.flushSeen());
    return decisions;
  }
  const ids = (body: { instances: { id: string }[] | null }) =>
    (body.instances ?? []).map(({ id }) => Number.parseInt(id, 16));

  it("are listed, filtered, searched and sorted; ids of mirrors are left out", async () => {
    await aFleet();
    const { body } = await api.get(`${G}/instances?status=0&duration=1d`).expect(200);
    expect(body.total).toBe(6);
    expect(ids(body)).toEqual([6, 5, 4, 3, 2, 1]);
    expect(body.instances[4]).toMatchObject({
      alias: "web-2",
      ip: "192.0.2.2",
      oem: "azure",
      application: {
        status: 3,
        state: "failed",
        error_code: 10,
        version: "4081.2.0",
        last_update_version: "4230.2.1",
        update_in_progress: false,
      },
    });
    const found = async (query: string) => ids((await api.get(`${G}/instances?duration=1d&${query}`).expect(200)).body);
    expect(await found("status=4")).toEqual([1]);
    expect(await found("status=2")).toEqual([5, 4, 3]);
    expect(await found("version=4230.2.1")).toEqual([6, 1]);
    expect(await found("sortFilter=2&sortOrder=1&perpage=2")).toEqual([2, 6]);
    expect(await found("sortFilter=1&sortOrder=1&perpage=1")).toEqual([6]);
    expect(await found("searchFilter=All&searchValue=WEB-3")).toEqual([3]);
    expect(await found("searchFilter=ip&searchValue=2.4")).toEqual([4]);
    expect(await found("searchFilter=id&searchValue=web")).toEqual([]);
    expect(await found("searchFilter=alias&searchValue=%25")).toEqual([]);
    expect(await found("page=2&perpage=4")).toEqual([2, 1]);
  });

  it("are listed as at Nebraska by whoever says no order: the last seen first, the last address, the last name", async () => {
    await aFleet();
    const list = (query: string) => api.get(`${G}/instances?duration=1d&${query}`);
    const found = async (query: string) => ids((await list(query).expect(200)).body);
    const [byName, bySeen] = [
      [6, 5, 4, 3, 2, 1],
      [2, 6, 5, 4, 3, 1],
    ];
    expect(await found("sortFilter=2")).toEqual(bySeen);
    expect(await found("sortFilter=1")).toEqual(byName);
    expect(await found("sortFilter=0&sortOrder=0")).toEqual(byName.toReversed());
    expect(await found("sortOrder=0")).toEqual(byName.toReversed());
    for (const order of ["1", "2", "-1", "desc", ""]) {
      expect(await found(`sortFilter=2&sortOrder=${order}`), order).toEqual(bySeen);
    }
    // What it does not know is as if it were not said; a status that no node can have, none has.
    for (const by of ["3", "99", "last_check", ""]) expect(await found(`sortFilter=${by}`), by).toEqual(byName);
    for (const status of ["9", "99", "-1"]) {
      expect((await list(`status=${status}`).expect(200)).body).toEqual({ total: 0, instances: null, next: null });
    }
    for (const status of ["x", "1.5", "", "%C3%BC"]) await list(`status=${status}`).expect(400);
    // Page by page, whatever the order is.
    const walked: number[] = [];
    for (let next: string | null = ""; next !== null; ) {
      const page: supertest.Response = await list(`sortFilter=2&perpage=2${next && `&after=${next}`}`).expect(200);
      walked.push(...ids(page.body));
      next = page.body.next;
    }
    expect(walked).toEqual(bySeen);
  });

  it("are counted: by status, by version, and not beyond the duration", async () => {
    await aFleet();
    const { body: stats } = await api.get(`${G}/instances_stats?duration=1h`).expect(200);
    expect(stats).toEqual({
      total: 6,
      undefined: 0,
      update_granted: 3,
      error: 1,
      complete: 2,
      installed: 0,
      downloaded: 0,
      downloading: 0,
      onhold: 0,
    });
    expect((await api.get(`${G}/version_breakdown`).expect(200)).body).toEqual([
      { version: "4230.2.1", instances: 2, percentage: 200 / 6 },
      { version: "4081.2.0", instances: 4, percentage: 400 / 6 },
    ]);
    expect((await api.get(`${G}/instancescount?duration=1d`).expect(200)).body).toEqual({ count: 6 });
    expect((await api.get(`/apps/${FLATCAR}`).expect(200)).body.instances).toEqual({ count: 6 });
    api.clock.move({ days: 2 });
    expect((await api.get(`${G}/instances_stats?duration=1d`).expect(200)).body.total).toBe(0);
    expect((await api.get(`${G}/version_breakdown`).expect(200)).body).toEqual([]);
    expect((await api.get(`${G}/instancescount?duration=7d`).expect(200)).body).toEqual({ count: 6 });
  });

  it("have a history, newest first, and an alias that a person gives and the node does not take away", async () => {
    const decisions = await aFleet();
    const { body: history } = await api.get(`${G}/instances/${machine(2)}/status_history?limit=5`).expect(200);
    expect(
      history.map(({ status, state, error_code }: Record<string, unknown>) => [status, state, error_code]),
    ).toEqual([
      [3, "failed", "10"],
      [2, "granted", null],
    ]);
    const { body } = await api.put(`/instances/${machine(2)}`, { alias: "the red one" }).expect(200);
    expect(body.alias).toBe("the red one");
    await decisions.run([
      { apps: [aCheckIn({ machineId: machine(2), machineAlias: "web-two" })], ip: "192.0.2.2", now: NOW + 99 },
    ]);
    expect((await api.get(`${G}/instances/${machine(2)}`).expect(200)).body.alias).toBe("the red one");
    const entries = async (limit: string) =>
      (await api.get(`${G}/instances/${machine(2)}/status_history?limit=${limit}`).expect(200)).body;
    expect(await entries("1")).toHaveLength(1);
    for (const many of ["0", "20", "1000", "100000"]) expect(await entries(many), many).toEqual(history);
    await api.get(`${G}/instances/${machine(2)}/status_history?limit=-1`).expect(400);
    expect((await api.get(`${G}/instances/${machine(6)}/status_history`).expect(200)).body).toBeNull();
    await api.get(`${G}/instances/${machine(99)}/status_history`).expect(404);
    await api.get(`${G}/instances/${machine(99)}`).expect(404);
    await api.put("/instances/nobody", { alias: "x" }).expect(404);
  });

  it("leave a trace in the activity, which can be searched", async () => {
    await aFleet();
    api.clock.move({ minutes: 1 });
    const find = async (query: string) => (await api.get(`/activity?${query}`).expect(200)).body;
    expect((await find(`instanceID=${machine(2)}`)).activities).toMatchObject([
      { class: 5, severity: 4, group_id: GROUP, group_name: "Stable (AMD64)" },
    ]);
    expect((await find("severity=4")).totalCount).toBe(1);
    expect((await find(`groupID=${GROUP}&version=4230.2.1&appIDorProductID=${FLATCAR}`)).totalCount).toBe(2);
    expect((await find("start=2020-01-01T00:00:00Z&end=2020-02-01T00:00:00Z")).totalCount).toBe(0);
    await api.get("/activity?appIDorProductID=io.example.none").expect(404);
  });

  it("go with their application", async () => {
    await aFleet();
    await api.del(`/apps/${FLATCAR}`).expect(204);
    for (const table of [
      "nodes",
      "seen",
      "events",
      "status_history",
      "past_grants",
      "node_counts",
      "activity",
      "rollouts",
      "groups",
    ]) {
      expect(api.world.db.prepare(`SELECT count(*) AS n FROM ${table}`).get(), table).toEqual({ n: 0 });
    }
  });
});
