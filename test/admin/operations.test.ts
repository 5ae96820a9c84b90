/** Every operation over HTTP on the real server, with real tokens, held against the document that the server itself serves. */
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asksAsNebraska } from "../clients/nebraska-syncer.ts";
import { aTurnout, checks, FLATCAR, reports, STABLE_GROUP, type TestTurnout } from "../e2e/turnout.ts";
import { EMPTY_REPORT } from "../edge/site-report.ts";
import { groupBody, packageBody, STABLE } from "./api.ts";
import { aSession } from "./auth/session-row.ts";
import { Documented } from "./documented.ts";

const ADMIN = "a-token-of-the-tests-0001";

let turnout: TestTurnout;
let api: Documented;

beforeAll(async () => {
  turnout = await aTurnout({ TURNOUT_AUTH: "token", TURNOUT_ADMIN_TOKEN: ADMIN, TURNOUT_DISK_RESERVE: "0" });
  api = await Documented.of(turnout.url, ADMIN);
});
afterAll(() => turnout.close());

/** Everything that a change could change. */
async function everything(): Promise<string> {
  const tables = [
    "meta",
    "applications",
    "groups",
    "channels",
    "channel_floors",
    "packages",
    "package_files",
    "flatcar_actions",
    "package_blacklist",
    "rollouts",
    "rollout_history",
    "nodes",
    "webhooks",
    "webhook_deliveries",
    "upstreams",
    "sessions",
    "sites",
    "central",
    "audit",
    "audit_head",
  ] as const;
  const all = [];
  for (const table of tables) all.push(await turnout.turnout.store.read.selectFrom(table).selectAll().execute());
  const tokens = await turnout.turnout.store.read.selectFrom("tokens").select(["id", "revoked_at"]).execute();
  return JSON.stringify([...all, tokens]);
}

/** Each operation once or more, in an order in which it can succeed. */
async function walk(): Promise<void> {
  const lab = (
    await api.call("createApplication", {
      body: { name: "Lab", product_id: "io.example.lab" },
      query: { clone_from: FLATCAR },
    })
  ).body;
  const app = { app: lab.id as string };
  await api.call("listApplications", { query: { page: 1, perpage: 10 } });
  const seen = await api.call("getApplication", { params: { app: "io.example.lab" } });
  await api.call("updateApplication", {
    params: app,
    body: { ...seen.body, description: "where it is tried first" },
    headers: { "If-Match": seen.headers.get("etag") ?? "" },
  });

  const packages: string[] = [];
  for (const version of ["4081.2.0", "4152.2.0", "4230.2.1"]) {
    const body = packageBody(version, {
      application_id: app.app,
      extra_files: [{ name: "oem-azure.gz", size: "12345" }],
    });
    packages.push((await api.call("createPackage", { params: app, body })).body.id);
  }
  const [first = "", floor = "", newest = ""] = packages;
  await api.call("listPackages", { params: app, query: { searchVersion: "42" } });
  const own = await api.call("getPackage", { params: { ...app, package: newest } });
  await api.call("updatePackage", {
    params: { ...app, package: newest },
    body: { ...own.body, description: "notes" },
    headers: { "If-Match": own.headers.get("etag") ?? "" },
  });

  await walkFiles(app, newest);
  const [mirror, sha256] = ["3d8f5d43-6a0e-4e3c-9d5c-0a3f5b0e8f11", "0".repeat(64)];
  const state = { created_ts: "2026-03-04T12:00:00Z", sha256, signed_by: sha256 };
  await api.call("beginMirrorImport", { params: { ...app, mirror }, body: state });
  await api.call("listMirrors", { params: app });

  const made = await api.call("createChannel", { params: app, body: { name: "canary", color: "#ffcc00", arch: 1 } });
  const channel = { channel: made.body.id as string };
  await api.call("listChannels", { params: app });
  const shown = await api.call("getChannel", { params: { ...app, ...channel } });
  await api.call("updateChannel", {
    params: { ...app, ...channel },
    body: { ...shown.body, package_id: newest },
    headers: { "If-Match": shown.headers.get("etag") ?? "" },
  });
  await api.call("setFloor", { params: { ...channel, package: floor }, body: { floor_reason: "the disk's layout" } });
  await api.call("setFloor", { params: { ...channel, package: floor } });
  await api.call("listFloors", { params: channel });
  await api.call("listFloorChannels", { params: { ...app, package: floor } });
  await api.call("deleteFloor", { params: { ...channel, package: floor } });

  const body = groupBody({
    name: "Canaries",
    channel_id: channel.channel,
    track: "canary",
    strategy: { preset: "careful" },
  });
  const { id: groupId } = (await api.call("createGroup", { params: app, body })).body;
  const group = { ...app, group: groupId as string };
  await api.call("listGroups", { params: app });
  const before = await api.call("getGroup", { params: group });
  await api.call("updateGroup", {
    params: group,
    body: { ...before.body, maintenance_windows: [{ from: "22:00", to: "04:00" }], freezes: [] },
    headers: { "If-Match": before.headers.get("etag") ?? "" },
  });

  await turnout.omaha(checks({ track: "canary", version: "4081.2.0" }).replaceAll(FLATCAR, app.app));
  const node = { ...group, instance: "b7d94e2c61f84a0f9d3355aa10c2e8f4" };
  await api.call("explainInstance", { params: node });
  await api.call("listOtherArchitectures", { params: group });
  const list = { status: 0, duration: "1d", sortFilter: "2", searchFilter: "id", searchValue: "b7d9" };
  await api.call("listInstances", { params: group, query: list });
  await api.call("countInstances", { params: group, query: { duration: "1h" } });
  const { body: instance } = await api.call("getInstance", { params: node });
  await api.call("updateInstance", { params: { instance: node.instance }, body: { ...instance, alias: "rack 7" } });
  await api.call("listStatusHistory", { params: node, query: { limit: 5 } });
  await api.call("getInstanceStatistics", { params: group, query: { duration: "7d" } });
  await api.call("getVersionBreakdown", { params: group });
  for (const duration of ["1h", "1d", "7d", "30d"]) {
    await api.call("getVersionTimeline", { params: group, query: { duration } });
    await api.call("getStatusTimeline", { params: group, query: { duration } });
  }

  await api.call("setInstanceLabels", { params: node, body: { labels: { rack: "7" } } });
  await api.call("holdInstance", { params: node, body: { reason: "its disk" } });
  await api.call("releaseInstance", { params: node });
  await api.call("moveInstance", { params: node, body: { group_id: group.group } });
  await api.call("changeInstances", { params: app, body: { action: "release", filter: { labels: { rack: "7" } }, dry_run: false } }); // biome-ignore format: one line
  await turnout.omaha(checks({ machineId: "f1", track: "canary" }).replaceAll(FLATCAR, app.app));
  await api.call("deleteInstance", { params: { ...group, instance: "f1" } });

  await api.call("simulateRollout", { params: group, body: { nodes: 50, from_version: "4081.2.0", fail: ["20%:10"] } });
  await api.call("listRollouts", { params: group });
  const strategy = { stages: [{ percent: 0 }, { percent: 50, bake: "1h" }, { percent: 100 }] };
  const rolling = (await api.call("createRollout", { params: group, body: { strategy, reason: "a try" } })).body;
  const rollout = { ...group, rollout: rolling.id as string };
  const { revision } = (await api.call("getRollout", { params: rollout })).body;
  const stages = [{ percent: 0 }, { percent: 20, bake: "2h" }, { percent: 100 }];
  await api.call("updateRollout", { params: rollout, body: { stages, revision, reason: "slower" } });
  await api.call("pauseRollout", { params: rollout, body: { reason: "lunch" } });
  await api.call("resumeRollout", { params: rollout });
  await api.call("advanceRollout", { params: rollout });
  await api.call("haltRollout", { params: rollout });
  await api.call("retryFailedNodes", { params: rollout });
  await api.call("listFailedNodes", { params: rollout });
  await api.call("abortRollout", { params: rollout, body: { reason: "enough" } });

  const plain = packageBody("4459.2.0", { application_id: app.app });
  const package_id = (await api.call("createPackage", { params: app, body: plain })).body.id;
  const pointed = { name: "braked", color: "#ff0000", arch: 1, package_id };
  const channel_id = (await api.call("createChannel", { params: app, body: pointed })).body.id;
  const braked = groupBody({ name: "Braked", channel_id, track: "braked", policy_safe_mode: true });
  const { id: brakedId } = (await api.call("createGroup", { params: app, body: braked })).body;
  const said = { machineId: "f2", track: "braked" };
  for (const xml of [checks(said), reports(3, 0, said, 9)]) await turnout.omaha(xml.replaceAll(FLATCAR, app.app));
  const stopped = await api.call("getGroup", { params: { ...app, group: brakedId } });
  await api.call("resumeUpdates", {
    params: { ...app, group: brakedId },
    body: { reason: "its disk was full" },
    headers: { "If-Match": stopped.headers.get("etag") ?? "" },
  });

  const { body: fleet } = await api.call("exportFleet");
  await api.call("fleetSchema");
  const [lab2] = fleet.applications.filter(({ id }: { id: string }) => id === app.app);
  const wanted = { applications: [{ ...lab2, description: "as a file says" }] };
  const { body: plan } = await api.call("planFleet", { body: { fleet: wanted } });
  await api.call("applyFleet", { body: { fleet: wanted, plan: plan.plan } });

  await api.call("listActivity", { query: { severity: 2, perpage: 50 } });
  await webhooks();
  await upstreams();
  await api.call("recountCounters", { body: { repair: true } });
  const token = (
    await api.call("createToken", { body: { name: "ci", role: "operator", applications: ["io.example.lab"] } })
  ).body;
  await api.call("listTokens");
  await api.call("getToken", { params: { token: "ci" } });
  await api.call("whoAmI", { token: token.token });
  await walkSites();
  await api.call("revokeToken", { params: { token: token.id } });
  const session = await aSession(turnout.turnout.store, turnout.clock.now());
  await api.call("listSessions");
  await api.call("revokeSession", { params: { session } });
  await api.call("listAudit", { query: { subject: "group", perpage: 100 } });
  expect((await api.call("verifyAudit")).body.broken).toBeNull();

  await api.call("deleteGroup", { params: group });
  await api.call("deleteChannel", { params: { ...app, ...channel } });
  await api.call("deletePackage", { params: { ...app, package: first } });
  await api.call("deleteApplication", { params: app });
}

/** A package's files, brought and taken away again. */
async function walkFiles(app: { app: string }, id: string): Promise<void> {
  const file = { ...app, package: id, name: "notes.txt" };
  const { body } = await api.call("getPackage", { params: { ...app, package: id } });
  const files = [...body.extra_files, { name: file.name }];
  await api.call("updatePackage", { params: { ...app, package: id }, body: { ...body, extra_files: files } });
  const key = String(
    generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ type: "spki", format: "pem" }),
  );
  await api.call("setPayloadKey", { params: app, body: { public_key: key } });
  await api.call("getPayloadKey", { params: app });
  await api.call("deletePayloadKey", { params: app });
  await api.call("showUpload", { params: file });
  await api.call("uploadFile", { params: file, body: Buffer.from("what is new") });
  await api.call("listFiles", { params: { ...app, package: id } });
  await api.call("deleteFile", { params: file });
  await api.call("showPayloadUsage");
  await api.call("collectPayloads", { body: { dry_run: true } });
  expect((await api.call("collectPayloads")).body).toMatchObject({ bytes: 11, removed: [{ kind: "unreferenced" }] });
}

async function walkSites(): Promise<void> {
  const site = { site: "berlin" };
  const { token } = (await api.call("createToken", { body: { name: "berlin", role: "site", ...site } })).body;
  const { headers } = await api.call("getSiteFleet", { params: site, token });
  const known = { "If-None-Match": headers.get("etag") ?? "" };
  expect((await api.send("getSiteFleet", { params: site, token, headers: known })).status).toBe(304);
  const nodes = [{ group: STABLE_GROUP, version: "4081.2.0", status: "seen", nodes: 3 }];
  const body = { ...EMPTY_REPORT, nodes };
  await api.call("reportSite", { params: site, token, body });
  await api.call("listSites", { query: { perpage: 50 } });
  await api.call("getSite", { params: site });
  await api.call("deleteSite", { params: site });
  await api.call("getCentral");
  await turnout.omaha(asksAsNebraska());
  await turnout.turnout.housekeeping.flushSeen();
  const { body: mirroring } = await api.call("listMirroringServers", { query: { perpage: 50 } });
  expect(mirroring).toMatchObject({ totalCount: 1, servers: [{ address: "127.0.0.1", refused: false }] });
  await api.call("revokeToken", { params: { token: "berlin" } });
}

async function webhooks(): Promise<void> {
  const url = "https://hooks.example.org/turnout";
  const { body: made } = await api.call("createWebhook", { body: { name: "pager", url, events: ["rollout-halted"] } });
  const { secret: _, ...webhook } = made;
  const hook = { webhook: made.id };
  await api.call("listWebhooks");
  const { headers } = await api.call("getWebhook", { params: { webhook: "pager" } });
  const seen = { "If-Match": headers.get("etag") ?? "" };
  await api.call("updateWebhook", { params: hook, body: { ...webhook, events: [] }, headers: seen });
  const { body: delivery } = await api.call("testWebhook", { params: hook });
  turnout.clock.move({ seconds: 1 });
  await api.call("retryWebhookDelivery", { params: { ...hook, delivery: delivery.id } });
  await api.call("listWebhookDeliveries", { params: hook, query: { state: "waiting", perpage: 100 } });
  await api.call("deleteWebhook", { params: hook });
}

async function upstreams(): Promise<void> {
  const at = { app: FLATCAR };
  const [channel] = (await api.call("listChannels", { params: at })).body.channels;
  const given = { url: "https://updates.example.org/v1/update/", track: "stable", channel_id: channel.id };
  const { body: made } = await api.call("createUpstream", { params: at, body: { ...given, policy: "off" } });
  const upstream = { ...at, upstream: made.id };
  await api.call("listUpstreams", { params: at });
  const { body, headers } = await api.call("getUpstream", { params: upstream });
  const seen = { "If-Match": headers.get("etag") ?? "" };
  const nowhere = { ...body, url: "http://127.0.0.1:9/", private_addresses: true, policy: "import-only" };
  await api.call("updateUpstream", { params: upstream, body: nowhere, headers: seen });
  await api.call("checkUpstream", { params: upstream });
  await turnout.turnout.syncing.idle();
  await api.call("deleteUpstream", { params: upstream });
}

/** Something in the path and body for whoever wants to be refused. */
const params = { app: FLATCAR, group: STABLE_GROUP };

describe("the API", () => {
  it("does every operation of its document, and each is as documented", async () => {
    await walk();
    expect([...api.operations.keys()].filter((id) => !api.succeeded.has(id))).toEqual([]);
  });

  it("writes every change into the audit log, who, what, from where, and nothing else", async () => {
    const { entries } = (await api.send("listAudit", { query: { perpage: 1000 } })).body;
    const changing = [...api.operations.values()]
      .filter(({ method }) => method !== "get")
      .map(({ operationId }) => operationId);
    // Nothing had failed that could be tried again, no counter was wrong, and what a site reports is not its own doing.
    const nothingToSay = ["simulateRollout", "planFleet", "recountCounters", "retryFailedNodes", "reportSite"];
    const byPeople = entries.filter((entry: { actor_kind: string }) => entry.actor_kind !== "system");
    const audited = new Set(byPeople.map((entry: { action: string }) => entry.action));
    expect([...audited].sort()).toEqual(changing.filter((id) => !nothingToSay.includes(id)).sort());
    for (const entry of byPeople)
      expect(entry).toMatchObject({ actor: "admin", actor_kind: "token", address: "127.0.0.1" });
    const ofTheServer = ["webhook", "webhook-delivery", "token", "session", "site", "payloads"];
    const ofNoApplication = byPeople.filter((entry: { application_id: null }) => entry.application_id === null);
    expect([...new Set(ofNoApplication.map((entry: { subject: string }) => entry.subject))].sort()).toEqual(
      ofTheServer.sort(),
    );
    const moved = entries.find((entry: { action: string }) => entry.action === "updateChannel");
    expect(moved).toMatchObject({ subject: "channel", before: { version: null }, after: { version: "4230.2.1" } });
  });

  it("has every path that the ecosystem's clients know", () => {
    const text = readFileSync(new URL("./known-paths.txt", import.meta.url), "utf8");
    const wanted = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    const known = new Set(
      [...api.operations.values()].map(
        ({ method, path }) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, "{}")}`,
      ),
    );
    expect(wanted.length).toBeGreaterThan(30);
    expect(wanted.filter((line) => !known.has(line))).toEqual([]);
  });

  it("refuses every operation without a token, or with a wrong one", async () => {
    for (const id of api.operations.keys()) {
      expect((await api.send(id, { token: null })).status, id).toBe(401);
    }
    expect((await api.send("listApplications", { token: "turnout_wrong" })).status).toBe(401);
  });

  it("answers 405 to methods that a path does not have, and says which it has", async () => {
    const byPath = Map.groupBy(api.operations.values(), ({ path }) => path);
    for (const [path, operations] of byPath) {
      const has = operations.map(({ method }) => method.toUpperCase());
      const lacks = ["GET", "POST", "PUT", "DELETE", "PATCH"].filter((method) => !has.includes(method));
      const url = `${turnout.url}${path.replace(/\{(\w+)\}/g, "x")}`;
      for (const method of lacks) {
        const response = await fetch(url, { method, headers: { Authorization: `Bearer ${ADMIN}` } });
        expect(response.status, `${method} ${path}`).toBe(405);
        expect(response.headers.get("allow")?.split(", ").sort(), path).toEqual(has.sort());
      }
    }
  });
});

describe("who may do what", () => {
  async function aToken(body: Record<string, unknown>): Promise<string> {
    return (await api.call("createToken", { body: { name: `t${Math.random()}`, ...body } })).body.token;
  }

  it.each([
    ["viewer", ["operator", "admin"]],
    ["operator", ["admin"]],
  ] as const)("%s may not do what needs %s, and nothing is changed", async (role, forbidden) => {
    const token = await aToken({ role });
    const before = await everything();
    let refused = 0;
    for (const { operationId: id, method, description } of api.operations.values()) {
      const needed = /role `(\w+)`/.exec(description)?.[1] ?? "";
      const { status } = await api.send(id, {
        token,
        params,
        ...(method === "post" || method === "put" ? { body: {} } : {}),
      });
      if ([...forbidden, "site"].includes(needed)) {
        expect(status, id).toBe(403);
        refused += 1;
      } else expect(status, id).not.toBe(403);
    }
    expect(refused).toBeGreaterThan(10);
    expect(await everything()).toBe(before);
  });

  it("keeps a token to its applications, in lists and everywhere", async () => {
    const { body: other } = await api.call("createApplication", {
      body: { name: "Other" },
      query: { clone_from: FLATCAR },
    });
    const token = await aToken({ role: "admin", applications: [other.id] });
    const { applications } = (await api.call("listApplications", { token })).body;
    expect(applications.map((one: { name: string }) => one.name)).toEqual(["Other"]);
    await api.call("listGroups", { token, params: { app: other.id } });
    const before = await everything();
    const { body: stable } = await api.call("getChannel", {
      params: { app: FLATCAR, channel: "e06064ad-4414-4904-9a6e-fd465593d1b2" },
    });
    for (const [id, given] of [
      ["listGroups", { params: { app: FLATCAR } }],
      ["deleteGroup", { params }],
      ["updateChannel", { params: { app: FLATCAR, channel: stable.id }, body: stable }],
      ["listFloors", { params: { channel: stable.id } }],
      ["createApplication", { body: { name: "Third" } }],
      ["listTokens", {}],
      ["createToken", { body: { name: "more", role: "admin" } }],
      ["listAudit", {}],
      ["listWebhooks", {}],
      ["recountCounters", { body: {} }],
    ] as const) {
      expect((await api.send(id, { ...given, token })).status, id).toBe(403);
    }
    expect(await everything()).toBe(before);
    const { activities } = (await api.call("listActivity", { token, query: { start: "2020-01-01T00:00:00Z" } })).body;
    expect((activities ?? []).every((one: { app_id: string }) => one.app_id === other.id)).toBe(true);
    await api.call("deleteApplication", { params: { app: other.id } });
  });

  it("keeps a token to its groups as far as it changes something", async () => {
    const { groups } = (await api.call("listGroups", { params: { app: FLATCAR }, query: { perpage: 50 } })).body;
    const [mine, other] = groups;
    const token = await aToken({ role: "admin", groups: [mine.id] });
    await api.call("getGroup", { token, params: { app: FLATCAR, group: other.id } });
    await api.call("updateGroup", { token, params: { app: FLATCAR, group: mine.id }, body: mine });
    for (const [id, given] of [
      ["updateGroup", { params: { app: FLATCAR, group: other.id }, body: other }],
      ["createGroup", { params: { app: FLATCAR }, body: groupBody() }],
      ["createPackage", { params: { app: FLATCAR }, body: packageBody("1.0.0") }],
      ["createRollout", { params: { app: FLATCAR, group: other.id }, body: {} }],
    ] as const) {
      expect((await api.send(id, { ...given, token })).status, id).toBe(403);
    }
  });

  it("keeps a token to its application and groups in each and every operation, also those yet to come", async () => {
    const { body: other } = await api.call("createApplication", {
      body: { name: "Elsewhere" },
      query: { clone_from: FLATCAR },
    });
    const { body: pack } = await api.call("createPackage", { params: { app: FLATCAR }, body: packageBody("8.8.8") });
    await turnout.omaha(checks({ machineId: "s1", track: "stable" }));
    const { groups } = (await api.call("listGroups", { params: { app: FLATCAR } })).body;
    const neighbour = groups.find(({ id }: { id: string }) => id !== STABLE_GROUP);
    const ofApplication = await aToken({ role: "admin", applications: [other.id] });
    const ofGroup = await aToken({ role: "admin", groups: [neighbour.id] });
    const names = {
      ...params,
      channel: STABLE,
      package: pack.id,
      instance: "s1",
      name: "flatcar_production_update.gz",
    };
    const bodies: Readonly<Record<string, object>> = {
      changeInstances: { action: "delete", filter: { group_id: STABLE_GROUP }, dry_run: false },
      updateInstance: { alias: "mine" },
    };
    // What they show is in the caller's scope by itself, or about nobody's.
    const free = ["listApplications", "listActivity", "fleetSchema", "whoAmI"];
    const asks = ["simulateRollout"];
    const before = await everything();
    for (const { operationId: id, method } of api.operations.values()) {
      const body = method === "post" || method === "put" ? (bodies[id] ?? {}) : undefined;
      const status = async (token: string) => (await api.send(id, { token, params: names, body })).status;
      if (!free.includes(id)) expect(await status(ofApplication), id).toBe(403);
      if (method !== "get" && !asks.includes(id)) expect(await status(ofGroup), id).toBe(403);
    }
    expect(await everything()).toBe(before);
    await api.call("deletePackage", { params: { app: FLATCAR, package: pack.id } });
    await api.call("deleteApplication", { params: { app: other.id } });
  });

  it("forgets a token when it expires or is revoked, and says when it was last used", async () => {
    const hour = new Date(turnout.clock.now() + 3_600_000).toISOString();
    const { body: made } = await api.call("createToken", { body: { name: "short", role: "viewer", expires_ts: hour } });
    await api.call("whoAmI", { token: made.token });
    // Nobody waits for the note of a token's use, but whoever writes next comes after it.
    await turnout.turnout.store.write(async () => undefined);
    const [used] = (await api.call("listTokens")).body.tokens;
    expect(used).toMatchObject({
      name: "short",
      state: "active",
      last_used_ts: new Date(turnout.clock.now()).toISOString(),
    });
    turnout.clock.move({ hours: 1, seconds: 1 });
    expect((await api.send("whoAmI", { token: made.token })).status).toBe(401);
    expect((await api.call("getToken", { params: { token: made.id } })).body.state).toBe("expired");

    const { body: gone } = await api.call("createToken", { body: { name: "gone", role: "admin" } });
    await api.call("whoAmI", { token: gone.token });
    await api.call("revokeToken", { params: { token: "gone" } });
    expect((await api.send("whoAmI", { token: gone.token })).status).toBe(401);
  });

  it("keeps tokens as hashes only, and does not let the last master token go", async () => {
    const rows = await turnout.turnout.store.read.selectFrom("tokens").selectAll().execute();
    expect(JSON.stringify(rows)).not.toContain(ADMIN);
    const masters = rows.filter(
      ({ role, applications, groups, revoked_at }) =>
        role === "admin" && applications === null && groups === null && revoked_at === null,
    );
    expect(masters).toHaveLength(1);
    expect((await api.send("revokeToken", { params: { token: masters[0]?.id ?? "" } })).status).toBe(409);
  });

  it("makes an address wait that guesses, and says so once it does", async () => {
    turnout.clock.move({ minutes: 1 });
    const statuses = [];
    for (let guess = 0; guess < 31; guess += 1)
      statuses.push((await api.send("whoAmI", { token: `turnout_${guess}` })).status);
    expect(statuses.slice(0, 30).every((status) => status === 401)).toBe(true);
    expect(statuses.at(-1)).toBe(429);
    turnout.clock.move({ minutes: 1 });
    await api.call("whoAmI");
  });
});

describe("changes that cross", () => {
  it("are refused with 412 when what was read is no longer so, and change nothing", async () => {
    const at = { params };
    const { body: mine, headers } = await api.call("getGroup", at);
    const seen = { "If-Match": headers.get("etag") ?? "" };
    await api.call("updateGroup", { ...at, body: { ...mine, description: "somebody else's" }, headers: seen });
    const before = await everything();
    const late = await api.send("updateGroup", { ...at, body: { ...mine, description: "mine" }, headers: seen });
    expect(late.status).toBe(412);
    expect((await api.send("deleteGroup", { ...at, headers: seen })).status).toBe(412);
    expect((await api.send("deleteGroup", { ...at, headers: { "If-Match": "soon" } })).status).toBe(400);
    expect(await everything()).toBe(before);
    const { headers: now } = await api.call("getGroup", at);
    await api.call("updateGroup", { ...at, body: mine, headers: { "If-Match": now.get("etag") ?? "" } });
  });

  it("are refused with 412 for whatever can be read and changed", async () => {
    const flatcar = { app: FLATCAR };
    await turnout.omaha(checks({ machineId: "e1", track: "stable" }));
    const node = { ...params, instance: "e1" };
    const key = () => String(generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ type: "spki", format: "pem" })); // biome-ignore format: one line
    await api.call("setPayloadKey", { params: flatcar, body: { public_key: key() } });
    const url = "https://hooks.example.org/";
    const { body: made } = await api.call("createWebhook", { body: { name: "crossing", url } });
    const { body: pack } = await api.call("createPackage", { params: flatcar, body: packageBody("9.9.9") });
    const hook = { webhook: made.id };
    for (const [read, write, at, body] of [
      ["getApplication", "updateApplication", flatcar, { name: "Flatcar" }],
      ["getChannel", "updateChannel", { ...flatcar, channel: STABLE }, { name: "stable", color: "red", arch: 1 }],
      ["getPackage", "updatePackage", { ...flatcar, package: pack.id }, packageBody("9.9.9", { description: "x" })],
      ["getPayloadKey", "setPayloadKey", flatcar, { public_key: key() }],
      ["getWebhook", "updateWebhook", hook, { name: "crossing", url, enabled: false }],
      ["getInstance", "updateInstance", node, { alias: "rack 8" }],
      ["getInstance", "setInstanceLabels", node, { labels: { rack: "8" } }],
    ] as const) {
      const seen = { "If-Match": (await api.call(read, { params: at })).headers.get("etag") ?? "" };
      const given = { params: write === "updateInstance" ? { instance: node.instance } : at, body, headers: seen };
      await api.call(write, given);
      const before = await everything();
      expect((await api.send(write, given)).status, write).toBe(412);
      expect(await everything()).toBe(before);
    }
    const seen = { "If-Match": '"of long ago"' };
    for (const [id, at] of [
      ["deletePayloadKey", flatcar],
      ["deleteWebhook", hook],
      ["deleteInstance", node],
    ] as const) {
      // biome-ignore format: one line
      expect((await api.send(id, { params: at, headers: seen })).status, id).toBe(412);
      await api.call(id, { params: at });
    }
    await api.call("deletePackage", { params: { ...flatcar, package: pack.id } });
  });
});
