import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { caught } from "../cli/caught.ts";
import { checks, FLATCAR, pings, release, reports, STABLE_CHANNEL, STABLE_GROUP } from "../e2e/turnout.ts";
import { EMPTY_REPORT } from "./site-report.ts";
import {
  ADMIN,
  answerOf,
  changeGroup,
  channel,
  GROUP,
  round,
  STAGES,
  siteOf,
  siteToken,
  type World,
  worlds,
} from "./world.ts";

let world: World;
worlds((one) => {
  world = one;
});

describe("the configuration of a central server", () => {
  it("arrives at its site, with ids, plans and policies, and a node there is updated by it", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    await changeGroup(central.api, { strategy: { stages: [{ percent: 100 }] }, policy_timezone: "Asia/Tokyo" });
    await central.api("PUT", `/apps/${FLATCAR}`, { name: "Flatcar Container Linux", build_metadata: "order" });
    await central.api("POST", "/apps", { name: "Updater", version_scheme: "four-part" });
    const site = await world.site(central);
    expect(await site.api("GET", "/central")).toMatchObject({ state: "new", site: "berlin", url: central.url });

    const state = await round(site);
    expect(state).toMatchObject({ state: "synced", error: null, held: [], applications: [{ id: FLATCAR }, {}] });
    const { applications } = await site.api<{ applications: object[] }>("GET", "/apps");
    expect(applications).toMatchObject([
      { name: "Updater", version_scheme: "four-part", build_metadata: "ignore" },
      { id: FLATCAR, version_scheme: "semver", build_metadata: "order" },
    ]);
    expect(state.path).toEqual([(await central.api<{ instance: string }>("GET", "/central")).instance]);
    expect(await channel(site.api)).toBe("4230.2.1");
    const here = await site.api("GET", GROUP);
    expect(here).toMatchObject({ policy_timezone: "Asia/Tokyo", strategy: { stages: [{ percent: 100 }] } });
    expect(await site.omaha(checks())).toContain('status="ok"');
    const { entries } = await site.api<{ entries: object[] }>("GET", "/audit?perpage=1000");
    expect(entries).toContainEqual(
      expect.objectContaining({ action: "syncFleet", actor: "central", actor_kind: "system", subject: "package" }),
    );
  });

  it("follows: what is changed there changes here, what is removed there goes here", async () => {
    const central = await world.central();
    await release(central.api, "4081.2.0");
    const site = await world.site(central);
    await round(site);
    const old = await central.api<{ packages: { id: string }[] }>("GET", `/apps/${FLATCAR}/packages`);
    const id = await release(central.api, "4230.2.1");
    await central.api("PUT", `/channels/${STABLE_CHANNEL}/floors/${id}`, { floor_reason: "the disk's layout" });
    await central.api("DELETE", `/apps/${FLATCAR}/packages/${old.packages[0]?.id}`);
    await central.api("POST", `/apps/${FLATCAR}/channels`, { name: "canary", color: "#ffcc00", arch: 1 });
    await round(site);
    expect(await channel(site.api)).toBe("4230.2.1");
    expect(await site.api("GET", `/apps/${FLATCAR}/packages`)).toMatchObject({ totalCount: 1 });
    expect(await site.api("GET", `/channels/${STABLE_CHANNEL}/floors`)).toMatchObject({ totalCount: 1 });
    const { channels } = await site.api<{ channels: { id: string; name: string }[] }>(
      "GET",
      `/apps/${FLATCAR}/channels?perpage=100`,
    );
    const canary = channels.find(({ name }) => name === "canary");
    await central.api("DELETE", `/apps/${FLATCAR}/channels/${canary?.id}`);
    await central.api("DELETE", `/channels/${STABLE_CHANNEL}/floors/${id}`);
    await round(site);
    expect(await answerOf(site.url, "GET", `/apps/${FLATCAR}/channels/${canary?.id}`)).toMatchObject({ 0: 404 });
    expect(await site.api("GET", `/channels/${STABLE_CHANNEL}/floors`)).toMatchObject({ totalCount: 0 });
  });

  it("arrives with what is set back to the usual there", async () => {
    const central = await world.central();
    const unusual = { sha256: "sGWSKGG6ThF1d1Q79UPTq1xN7mJyz870KaIUGrDJIDA=", needs_admin: true, deadline: "now" };
    const id = await release(central.api, "4230.2.1", { flatcar_action: unusual });
    const site = await world.site(central);
    const actionHere = async () =>
      (await site.api<{ packages: { flatcar_action: object }[] }>("GET", `/apps/${FLATCAR}/packages`)).packages[0]
        ?.flatcar_action;
    await round(site);
    expect(await actionHere()).toMatchObject({ needs_admin: true, deadline: "now" });
    const path = `/apps/${FLATCAR}/packages/${id}`;
    const usual = { flatcar_action: { ...unusual, needs_admin: false, deadline: "" } };
    await central.api("PUT", path, { ...(await central.api("GET", path)), ...usual });
    expect(await round(site)).toMatchObject({ state: "synced" });
    expect(await actionHere()).toMatchObject({ needs_admin: false, deadline: "" });
  });

  it("is worked out before it is written: nodes are answered meanwhile", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    const site = await world.site(central);
    const other = Promise.withResolvers<void>();
    const rehearsed = site.turnout.store.rehearse(() => other.promise);
    const synced = round(site);
    for (let check = 0; check < 20; check += 1) expect(await site.omaha(checks())).toContain('status="noupdate"');
    expect(await channel(site.api)).toBeNull();
    other.resolve();
    await rehearsed;
    expect(await synced).toMatchObject({ state: "synced" });
    expect(await channel(site.api)).toBe("4230.2.1");
  });

  it("leaves the site's own applications alone, and costs nothing when nothing has changed", async () => {
    const central = await world.central();
    const site = await world.site(central);
    const own = await site.api<{ id: string }>("POST", "/apps", { name: "Of the site", product_id: "io.example.own" });
    await round(site);
    await site.api("PUT", `/apps/${own.id}`, {
      name: "Of the site",
      description: "still",
      product_id: "io.example.own",
    });
    const revision = () => site.turnout.store.read.selectFrom("meta").select("revision").executeTakeFirstOrThrow();
    const before = await revision();
    await round(site);
    expect(await round(site)).toMatchObject({ state: "synced" });
    expect(await revision()).toEqual(before);
    expect(await site.api("GET", "/apps")).toMatchObject({ totalCount: 2 });
  });

  it("is answered with 304 to who has it", async () => {
    const central = await world.central();
    const token = await siteToken(central.api, "berlin");
    const [status, , headers] = await answerOf(central.url, "GET", "/sites/berlin/fleet", { token });
    const known = { "If-None-Match": headers.get("etag") ?? "" };
    expect(status).toBe(200);
    expect((await answerOf(central.url, "GET", "/sites/berlin/fleet", { token, headers: known }))[0]).toBe(304);
    await release(central.api, "4230.2.1");
    expect((await answerOf(central.url, "GET", "/sites/berlin/fleet", { token, headers: known }))[0]).toBe(200);
  });

  it("is only of the token's applications; one that the site gets no more becomes its own, with its nodes", async () => {
    const central = await world.central();
    const lab = await central.api<{ id: string }>("POST", "/apps", { name: "Lab" });
    const site = await world.site(central, { applications: [lab.id, FLATCAR] });
    await round(site);
    await site.omaha(checks());
    await central.api("DELETE", `/apps/${FLATCAR}`);
    const { applications } = await round(site);
    expect(applications).toEqual([{ id: lab.id, name: "Lab" }]);
    await changeGroup(site.api, { name: "Its own by now" });
    expect(await site.api("GET", `${GROUP}/instancescount?duration=1d`)).toMatchObject({ count: 1 });
  });

  it("is refused whole, with a reason, when something of the site's own is in the way", async () => {
    const central = await world.central();
    await central.api("POST", "/apps", { name: "Lab" });
    await release(central.api, "4230.2.1");
    const site = await world.site(central);
    const own = await site.api<{ id: string }>("POST", "/apps", { name: "Lab" });
    const state = await round(site);
    expect(state).toMatchObject({ state: "failing", applications: [], failures: 1 });
    expect(state.error).toContain(`has the id ${own.id}`);
    expect(await channel(site.api)).toBeNull();
    expect(await central.api("GET", "/sites/berlin")).toMatchObject({ error: state.error, up_to_date: false });
    await site.api("DELETE", `/apps/${own.id}`);
    expect(await round(site)).toMatchObject({ state: "synced", error: null, failures: 0 });
    expect(await channel(site.api)).toBe("4230.2.1");
  });
});

describe("at the site", () => {
  it("what comes from the central server is changed there: a change here is refused, and says where", async () => {
    const central = await world.central();
    const packageId = await release(central.api, "4230.2.1");
    const site = await world.site(central);
    await round(site);
    const { packages } = await site.api<{ packages: { id: string }[] }>("GET", `/apps/${FLATCAR}/packages`);
    const app = { name: "Mine", description: "", product_id: null };
    const upstream = {
      url: "https://public.update.flatcar-linux.net/v1/update/",
      track: "stable",
      channel_id: STABLE_CHANNEL,
      policy: "follow",
    };
    const here = await site.api("GET", GROUP);
    const fleet = await site.api<{ applications: { name: string }[] }>("GET", "/fleet");
    const renamed = { applications: fleet.applications.map((one) => ({ ...one, name: "Mine" })) };
    for (const [method, path, body] of [
      ["PUT", `/apps/${FLATCAR}`, app],
      ["DELETE", `/apps/${FLATCAR}`, undefined],
      ["PUT", GROUP, { ...here, name: "Mine" }],
      ["DELETE", GROUP, undefined],
      ["POST", `/apps/${FLATCAR}/channels`, { name: "mine", color: "#ffcc00", arch: 1 }],
      ["DELETE", `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`, undefined],
      ["DELETE", `/apps/${FLATCAR}/packages/${packages[0]?.id}`, undefined],
      ["PUT", `/channels/${STABLE_CHANNEL}/floors/${packages[0]?.id}`, { floor_reason: "mine" }],
      ["POST", `/apps/${FLATCAR}/upstreams`, upstream],
      ["POST", "/fleet/apply", { fleet: renamed }],
    ] as const) {
      const [status, text] = await answerOf(site.url, method, path, body === undefined ? {} : { body });
      expect([method, path, status, text.includes(`comes from ${central.url}: change it there`)]).toEqual([
        method,
        path,
        409,
        true,
      ]);
    }
    expect(await site.api("GET", "/fleet")).toEqual(fleet);
    await site.api("POST", "/fleet/apply", { fleet }); // changes nothing
    await central.api("GET", `/apps/${FLATCAR}/packages/${packageId}`);
  });

  it("an upstream that was there before can be removed, and nothing else", async () => {
    const central = await world.central();
    const dataDir = world.folder();
    const before = await world.start({}, { dataDir });
    const upstream = {
      url: "http://127.0.0.1:9/v1/update/",
      track: "stable",
      channel_id: STABLE_CHANNEL,
      policy: "follow",
      private_addresses: true,
    };
    const { id } = await before.api<{ id: string }>("POST", `/apps/${FLATCAR}/upstreams`, upstream);
    await world.stop(before);
    const settings = siteOf(central.url, await siteToken(central.api, "berlin"));
    const site = await world.start(settings, { dataDir, clock: before.clock });
    await round(site);
    const path = `/apps/${FLATCAR}/upstreams/${id}`;
    const changed = { body: { ...upstream, policy: "off" } };
    expect(await answerOf(site.url, "PUT", path, changed)).toMatchObject({ 0: 409 });
    await site.api("DELETE", path);
    expect(await answerOf(site.url, "GET", path)).toMatchObject({ 0: 404 });
  });

  it("rollouts and nodes are its own, and so is a group's switch, which nothing from elsewhere turns on", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    await changeGroup(central.api, { strategy: STAGES });
    const site = await world.site(central);
    await round(site);
    await site.omaha(checks());
    const { rollouts } = await site.api<{ rollouts: { id: string }[] }>("GET", `${GROUP}/rollouts`);
    await site.api("POST", `${GROUP}/rollouts/${rollouts[0]?.id}/pause`, { reason: "lunch" });
    await changeGroup(site.api, { policy_updates_enabled: false });
    await changeGroup(central.api, { description: "something else" });
    await round(site);
    expect(await site.api("GET", GROUP)).toMatchObject({
      policy_updates_enabled: false,
      description: "something else",
    });
    expect(await site.api("GET", `${GROUP}/rollouts/${rollouts[0]?.id}`)).toMatchObject({ state: "paused" });
    await changeGroup(site.api, { policy_updates_enabled: true });

    await changeGroup(central.api, { policy_updates_enabled: false });
    await round(site);
    const on = { body: { ...(await site.api("GET", GROUP)), policy_updates_enabled: true } };
    expect(await answerOf(site.url, "PUT", GROUP, on)).toMatchObject({ 0: 409 });
    await changeGroup(central.api, { policy_updates_enabled: true });
    await round(site);
    expect(await site.api("GET", GROUP)).toMatchObject({ policy_updates_enabled: true });
  });

  it("a group that was turned off here stays so when its updates are turned off and on again at the central server", async () => {
    const central = await world.central();
    const site = await world.site(central);
    await round(site);
    await changeGroup(site.api, { policy_updates_enabled: false });
    for (const enabled of [false, true, false, true]) {
      await changeGroup(central.api, { policy_updates_enabled: enabled });
      await round(site);
      expect(await site.api("GET", GROUP)).toMatchObject({ policy_updates_enabled: false });
    }
    await changeGroup(site.api, { policy_updates_enabled: true });
    await changeGroup(central.api, { policy_updates_enabled: false });
    await round(site);
    await changeGroup(central.api, { policy_updates_enabled: true });
    await round(site);
    expect(await site.api("GET", GROUP)).toMatchObject({ policy_updates_enabled: true });
  });

  it("what its safe mode has stopped stays so, whatever comes from there; it is told there, and resumed here", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    await changeGroup(central.api, { policy_safe_mode: true });
    const site = await world.site(central);
    await round(site);
    await site.omaha(checks());
    await site.omaha(reports(3, 0, {}, 9));
    await round(site);
    for (const enabled of [false, true]) {
      await changeGroup(central.api, { policy_updates_enabled: enabled, description: `turn ${enabled}` });
      await round(site);
      expect(await site.api("GET", GROUP)).toMatchObject({
        policy_updates_enabled: false,
        updates_stopped_by: "safe-mode",
        description: `turn ${enabled}`,
      });
    }
    await round(site);
    expect(await central.api("GET", "/sites/berlin")).toMatchObject({
      stopped: 1,
      halted: 0,
      stopped_groups: [{ group: STABLE_GROUP, version: "4230.2.1", reason: "the first node did not come through" }],
    });
    expect((await caught(["status", "--server", central.url], { environment: { TURNOUT_TOKEN: ADMIN } })).out).toMatch(
      /^! site berlin: safe mode has stopped the updates of 1 group$/m,
    );
    await site.api("POST", `${GROUP}/resume-updates`, { reason: "its disk was full" });
    await round(site);
    expect(await site.api("GET", GROUP)).toMatchObject({ policy_updates_enabled: true, updates_stopped_by: null });
    expect(await central.api("GET", "/sites/berlin")).toMatchObject({ stopped: 0, stopped_groups: [] });
  });

  it("everything is its own again when it is started without a central server", async () => {
    const central = await world.central();
    const token = await siteToken(central.api, "berlin");
    const dataDir = world.folder();
    const site = await world.start(siteOf(central.url, token), { dataDir });
    await round(site);
    await world.stop(site);
    const free = await world.start({}, { dataDir });
    expect(await free.api("GET", "/central")).toMatchObject({ state: "none", url: null, applications: [] });
    await changeGroup(free.api, { name: "Mine" });
  });
});

describe("a payload key", () => {
  const ours = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const other = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = ({ publicKey }: typeof ours) => publicKey.export({ type: "spki", format: "pem" }).toString();
  const path = `/apps/${FLATCAR}/payload-key`;
  const keyAt = async (url: string) => {
    const [status, text] = await answerOf(url, "GET", path);
    return status === 404 ? null : (JSON.parse(text) as { public_key: string }).public_key;
  };

  it("comes from the central server with the next sync, changes with it, and goes with it", async () => {
    const central = await world.central();
    const site = await world.site(central);
    await round(site);
    for (const key of [pem(ours), pem(other)]) {
      await central.api("PUT", path, { public_key: key });
      expect(await round(site)).toMatchObject({ state: "synced" });
      expect(await keyAt(site.url)).toBe(key);
    }
    await central.api("DELETE", path);
    await round(site);
    expect(await keyAt(site.url)).toBeNull();
  });

  it("of the site's own is kept, whatever comes; deleted, it is the central server's again, which can't be", async () => {
    const central = await world.central();
    const site = await world.site(central);
    await round(site);
    await site.api("PUT", path, { public_key: pem(ours) });
    await changeGroup(central.api, { description: "something else" });
    await round(site);
    expect(await keyAt(site.url)).toBe(pem(ours));
    await central.api("PUT", path, { public_key: pem(other) });
    await round(site);
    expect(await keyAt(site.url)).toBe(pem(ours));
    await world.stop(central.turnout);
    await site.api("DELETE", path);
    expect(await keyAt(site.url)).toBe(pem(other));
    expect(await answerOf(site.url, "DELETE", path)).toMatchObject({ 0: 409 });
    const { applications } = await site.api<{ applications: object[] }>("GET", "/fleet");
    const fleet = { applications: applications.map((one) => ({ ...one, payload_key: null })) };
    await site.api("POST", "/fleet/apply", { fleet });
    expect(await keyAt(site.url)).toBe(pem(other));
  });
});

describe("a site's report", () => {
  it("tells how its nodes and rollouts are; the central server shows when it last heard of it", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    const site = await world.site(central);
    await round(site);
    await site.omaha(checks());
    await site.omaha(reports(13, 1));
    await site.omaha(pings({ machineId: "0000000000000000000000000000000a" }));
    await round(site);
    const seen = await central.api("GET", "/sites/berlin");
    expect(seen).toMatchObject({
      name: "berlin",
      up_to_date: true,
      error: null,
      total_nodes: 2,
      last_contact_ts: new Date(central.turnout.clock.now()).toISOString(),
      rollouts: [{ version: "4230.2.1", state: "running", counters: { granted: 1 } }],
    });
    await release(central.api, "4230.2.2");
    expect(await central.api("GET", "/sites")).toMatchObject({ totalCount: 1, sites: [{ up_to_date: false }] });
    await central.api("DELETE", "/sites/berlin");
    expect(await central.api("GET", "/sites")).toMatchObject({ totalCount: 0 });
  });

  it("is taken of one server by that name", async () => {
    const central = await world.central();
    const first = await world.site(central);
    const second = await world.site(central);
    await round(first);
    const { state, error } = await round(second);
    expect([state, error]).toEqual(["failing", expect.stringContaining('reported as site "berlin"')]);
    central.turnout.clock.move({ minutes: 16 });
    expect(await round(second, 10)).toMatchObject({ state: "synced" });
  });

  it("is taken of another one also when the clock was ten years ahead as the first one reported", async () => {
    const central = await world.central();
    const first = await world.site(central);
    const second = await world.site(central);
    central.turnout.clock.move({ days: 3_650 });
    await round(first);
    central.turnout.clock.move({ days: -3_650 });
    expect(await round(second)).toMatchObject({ state: "synced" });
    expect(await round(first)).toMatchObject({ state: "failing" });
  });
});

describe("a site's token", () => {
  it("is good for its own site, and for nothing else; and nobody else's is", async () => {
    const central = await world.central();
    const token = await siteToken(central.api, "berlin");
    for (const [path, status] of [
      ["/sites/berlin/fleet", 200],
      ["/sites/paris/fleet", 403],
      ["/sites", 403],
      ["/apps", 403],
      ["/fleet", 403],
      [`${GROUP}/instances`, 403],
      ["/tokens", 403],
      ["/audit", 403],
    ] as const) {
      expect([path, (await answerOf(central.url, "GET", path, { token }))[0]]).toEqual([path, status]);
    }
    expect((await answerOf(central.url, "GET", "/sites/berlin/fleet", { token: ADMIN }))[0]).toBe(403);
    const report = (changes: object) => ({
      token,
      body: { ...EMPTY_REPORT, ...changes },
    });
    const row = { group: STABLE_GROUP, version: "4230.2.1", status: "seen", nodes: 1 };
    for (const [changes, status] of [
      [{ nodes: "many" }, 400],
      [{ nodes: [{ ...row, nodes: -1 }] }, 400],
      [{ nodes: Array.from({ length: 2_001 }, () => row) }, 400],
      [{ instance: "me" }, 400],
      [{ error: "x".repeat(2_001) }, 400],
      [{ error: "x".repeat(2_000_000) }, 413],
      [{ what_a_newer_site_says: true }, 204],
    ] as const) {
      expect((await answerOf(central.url, "PUT", "/sites/berlin/report", report(changes)))[0]).toBe(status);
    }
    expect((await answerOf(central.url, "PUT", "/sites/paris/report", report({})))[0]).toBe(403);
    for (const body of [
      { name: "a", role: "site" },
      { name: "a", role: "viewer", site: "berlin" },
      { name: "a", role: "site", site: "../x" },
      { name: "a", role: "site", site: "berlin", groups: [STABLE_GROUP] },
    ]) {
      expect((await answerOf(central.url, "POST", "/tokens", { token: ADMIN, body }))[0]).toBe(400);
    }
  });
});
