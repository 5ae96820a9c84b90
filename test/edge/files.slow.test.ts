import { createHash } from "node:crypto";
import { request as httpRequest } from "node:http";
import { describe, expect, it } from "vitest";
import { runFleet } from "../../src/virtual/fleet.ts";
import { aProcess, checks, FLATCAR, release, STABLE_GROUP, type TestTurnout } from "../e2e/turnout.ts";
import { aPayload, described } from "../payloads/build.ts";
import { get } from "../payloads/hosting.ts";
import {
  bring,
  type CentralServer,
  channel,
  hostedRelease,
  round,
  type State,
  siteOf,
  siteToken,
  type World,
  worlds,
} from "./world.ts";

let world: World;
worlds((one) => {
  world = one;
});

const payload = aPayload("main", 64);
/** For what the timers do. */
const WAIT = { timeout: 30_000, interval: 100 };
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const fileAt = (url: string, version: string) =>
  `${url}/payloads/${FLATCAR}/amd64/${version}/flatcar_production_update.gz`;

/** What a node gets of an update: where it is offered from, downloaded from the first of these. */
async function downloaded(site: TestTurnout): Promise<Buffer> {
  const answer = await site.omaha(checks());
  const [, base = ""] = /<url codebase="([^"]+)"/.exec(answer) ?? [];
  return (await get(`${base}flatcar_production_update.gz`)).body;
}

interface Link {
  url: string;
  /** Bytes of a file. */
  cutAfter: number;
  /** Files come when this is over. */
  held: Promise<void>;
  asked: string[];
  /** All else comes when this is over. */
  silence: Promise<void>;
  /** How much of it was asked for meanwhile. */
  waiting: number;
}

/** The link to a central server, that can be cut within a file. */
async function aLink(to: string): Promise<Link> {
  const link: Link = {
    url: "",
    cutAfter: Number.POSITIVE_INFINITY,
    held: Promise.resolve(),
    asked: [],
    silence: Promise.resolve(),
    waiting: 0,
  };
  link.url = await world.impostor(async (request, response) => {
    const isFile = request.url?.startsWith("/payloads") === true;
    if (isFile) {
      link.asked.push(request.headers.range ?? "all of it");
      await link.held;
    } else {
      link.waiting += 1;
      await link.silence;
      link.waiting -= 1;
    }
    const forward = httpRequest(`${to}${request.url}`, {
      method: request.method ?? "GET",
      headers: { ...request.headers },
    });
    forward.on("response", (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      let sent = 0;
      answer.on("data", (chunk: Buffer) => {
        if (isFile && sent + chunk.length > link.cutAfter) {
          response.write(chunk.subarray(0, link.cutAfter - sent), () => response.destroy());
          answer.destroy();
          return;
        }
        sent += chunk.length;
        response.write(chunk);
      });
      answer.on("end", () => response.end());
    });
    forward.on("error", () => response.destroy());
    request.pipe(forward);
  });
  return link;
}

async function channelOf(api: CentralServer["api"], wanted: string) {
  const { channels } = await api<{ channels: { id: string; name: string; arch: number }[] }>(
    "GET",
    `/apps/${FLATCAR}/channels?perpage=100`,
  );
  const found = channels.find(({ name, arch }) => name === wanted && arch === 1);
  if (found === undefined) throw new Error(`there is no channel ${wanted}`);
  return found;
}

describe("files that the central server keeps", () => {
  it("are brought in, checked, before the channel moves; nodes get them at the site", async () => {
    const central = await world.central();
    await hostedRelease(central.api, central.url, "4230.2.1", payload);
    const site = await world.site(central);
    expect(await round(site)).toMatchObject({ state: "synced", held: [] });
    expect(await channel(site.api)).toBe("4230.2.1");
    expect(sha256(await downloaded(site))).toBe(sha256(payload));
    await world.stop(central.turnout);
    expect(sha256((await get(fileAt(site.url, "4230.2.1"))).body)).toBe(sha256(payload));
  });

  it("update the site's nodes, without a link, each through the site and with its hashes checked", async () => {
    const central = await world.central();
    await hostedRelease(central.api, central.url, "4230.2.1", payload, { hosting: "only" });
    const site = await world.site(central);
    await round(site);
    await world.stop(central.turnout);
    const report = await runFleet({
      server: `${site.url}/v1/update/`,
      nodes: 20,
      version: "4081.2.0",
      speed: Number.POSITIVE_INFINITY,
      connections: 8,
      fetch: true,
      forMs: 3 * 3_600_000,
    });
    expect(report).toMatchObject({ end: "settled", onTarget: 20, target: "4230.2.1" });
    expect(report.downloads).toMatchObject({ files: 20, failed: 0, bytes: 20 * payload.length });
  });

  it("are asked for with the central server's own token in the path, its user and its password", async () => {
    const central = await world.central({
      TURNOUT_PAYLOAD_TOKEN: "s3cret.path",
      TURNOUT_PAYLOAD_USER: "nodes",
      TURNOUT_PAYLOAD_PASSWORD: "a-long-password",
    });
    await hostedRelease(central.api, central.url, "4230.2.1", payload);
    const site = await world.site(central);
    expect(await round(site)).toMatchObject({ state: "synced" });
    expect(sha256(await downloaded(site))).toBe(sha256(payload));
  });

  it("that break off are gone on from, and the channel stays where it is meanwhile", async () => {
    const central = await world.central();
    await hostedRelease(central.api, central.url, "4081.2.0", aPayload("old", 8));
    const link = await aLink(central.url);
    const site = await world.site({ ...central, url: link.url });
    await round(site);
    expect(await channel(site.api)).toBe("4081.2.0");

    const large = aPayload("large", 512);
    await hostedRelease(central.api, central.url, "4230.2.1", large);
    // Nothing stays of the old release at the central server: the site keeps it as long as it needs it.
    const { packages } = await central.api<{ packages: { id: string; version: string }[] }>(
      "GET",
      `/apps/${FLATCAR}/packages`,
    );
    const old = packages.find(({ version }) => version === "4081.2.0");
    await central.api("DELETE", `/apps/${FLATCAR}/packages/${old?.id}`);
    link.cutAfter = 1_500_000;
    const cut = await round(site);
    expect(cut).toMatchObject({
      state: "failing",
      held: [{ channel: "stable", version: "4230.2.1", stays: "4081.2.0" }],
    });
    expect(cut.error).toMatch(/^release 4230.2.1: flatcar_production_update.gz broke off/);
    expect(await channel(site.api)).toBe("4081.2.0");
    expect(await site.omaha(checks({ version: "4081.2.0" }))).toContain('status="noupdate"');
    expect(await central.api("GET", "/sites/berlin")).toMatchObject({ held: 1, error: cut.error });

    link.cutAfter = Number.POSITIVE_INFINITY;
    link.asked.length = 0;
    expect(await round(site)).toMatchObject({ state: "synced", held: [] });
    expect(link.asked).toEqual([expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
    expect(await channel(site.api)).toBe("4230.2.1");
    expect(sha256(await downloaded(site))).toBe(sha256(large));
    expect(await site.api("GET", `/apps/${FLATCAR}/packages`)).toMatchObject({ totalCount: 1 });
  });

  it("that take their time hold up neither news nor reports nor halts", async () => {
    const central = await world.central();
    const id = await hostedRelease(central.api, central.url, "4230.2.2", payload);
    const beta = await channelOf(central.api, "beta");
    await central.api("PUT", `/apps/${FLATCAR}/channels/${beta.id}`, { ...beta, package_id: id });
    await release(central.api, "4230.2.1");
    const rollouts = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`;
    const newest = async (api: CentralServer["api"]) =>
      (await api<{ rollouts: { id: string; state: string }[] }>("GET", rollouts)).rollouts[0];
    const link = await aLink(central.url);
    const file = Promise.withResolvers<void>();
    link.held = file.promise;
    const settings = siteOf(link.url, await siteToken(central.api, "berlin"));
    const site = await world.start({ ...settings }, { dataDir: world.folder(), timers: true });
    await expect.poll(() => link.asked, WAIT).toHaveLength(1);

    const [there, here] = [await newest(central.api), await newest(site.api)];
    await site.api("POST", `${rollouts}/${here?.id}/pause`);
    await central.api("POST", `${rollouts}/${there?.id}/halt`, { reason: "it does not boot" });
    await site.turnout.store.write((tx) => tx.updateTable("central").set({ error: "what was before" }).execute());
    site.clock.move({ minutes: 2 });
    const heard = () => central.api("GET", "/sites/berlin").catch(() => null);
    await expect.poll(heard, WAIT).toMatchObject({ up_to_date: true, held: 1, rollouts: [{ state: "paused" }] });
    const silence = Promise.withResolvers<void>();
    link.silence = silence.promise;
    site.clock.move({ minutes: 2 });
    await expect.poll(() => link.waiting, WAIT).toBe(1);
    await site.api("POST", `${rollouts}/${here?.id}/resume`);
    await expect.poll(() => newest(site.api), WAIT).toMatchObject({ state: "halted" });
    expect(link.waiting).toBe(1);
    silence.resolve();
    expect(await site.api("GET", "/central")).toMatchObject({ state: "held" });

    file.resolve();
    await expect.poll(() => site.api("GET", "/central"), WAIT).toMatchObject({ state: "synced", held: [] });
    expect(await channel(site.api, "beta")).toBe("4230.2.2");
    expect(await newest(site.api)).toMatchObject({ state: "halted" });
    expect(link.asked).toHaveLength(1);
  });

  it("are those that are wanted by now, when news come meanwhile: nothing that is gone there is brought back", async () => {
    const central = await world.central();
    const gone = await hostedRelease(central.api, central.url, "4230.2.2", payload);
    const beta = await channelOf(central.api, "beta");
    const pointBeta = (id: string) =>
      central.api("PUT", `/apps/${FLATCAR}/channels/${beta.id}`, { ...beta, package_id: id });
    await pointBeta(gone);
    const wrong = await hostedRelease(central.api, central.url, "4230.2.1", payload);
    const link = await aLink(central.url);
    const file = Promise.withResolvers<void>();
    link.held = file.promise;
    const site = await world.site({ ...central, url: link.url });
    site.clock.move({ minutes: 2 });
    const synced = site.turnout.edge?.run();
    await expect.poll(() => link.asked, WAIT).toHaveLength(1);

    await pointBeta(await hostedRelease(central.api, central.url, "4230.2.3", payload));
    for (const id of [gone, wrong]) await central.api("DELETE", `/apps/${FLATCAR}/packages/${id}`);
    site.clock.move({ minutes: 2 });
    await site.turnout.edge?.keepUp();
    file.resolve();
    await synced;
    expect(await site.api("GET", "/central")).toMatchObject({ state: "synced", error: null, held: [] });
    expect([await channel(site.api), await channel(site.api, "beta")]).toEqual(["4230.2.3", "4230.2.3"]);
    expect(await site.api("GET", `/apps/${FLATCAR}/packages`)).toMatchObject({ totalCount: 1 });
  });

  it("that take their time hide nothing that goes wrong meanwhile", async () => {
    const central = await world.central();
    await hostedRelease(central.api, central.url, "4230.2.1", payload);
    const link = await aLink(central.url);
    const file = Promise.withResolvers<void>();
    link.held = file.promise;
    const site = await world.site({ ...central, url: link.url });
    site.clock.move({ minutes: 2 });
    const synced = site.turnout.edge?.run();
    await expect.poll(() => link.asked, WAIT).toHaveLength(1);
    const { tokens } = await central.api<{ tokens: { id: string; role: string }[] }>("GET", "/tokens");
    await central.api("DELETE", `/tokens/${tokens.find(({ role }) => role === "site")?.id}`);
    site.clock.move({ minutes: 2 });
    await site.turnout.edge?.keepUp();
    const { state, error } = await site.api<State>("GET", "/central");
    expect([state, error]).toEqual(["failing", expect.stringContaining("it answered 401")]);
    file.resolve();
    await synced;
    expect(await channel(site.api)).toBe("4230.2.1");
  });

  it("that fail time and again are tried less often, and hold up neither news nor reports; news are a reason to try", async () => {
    const central = await world.central();
    await hostedRelease(central.api, central.url, "4230.2.1", payload);
    const link = await aLink(central.url);
    link.cutAfter = 1_000;
    const site = await world.site({ ...central, url: link.url });
    for (let failure = 1; failure <= 6; failure += 1)
      expect(await round(site, 20)).toMatchObject({ failures: failure });
    const { error } = await site.api<State>("GET", "/central");
    const tries = link.asked.length;
    const timers = async () => {
      site.clock.move({ minutes: 2 });
      await site.turnout.edge?.run();
      await site.turnout.edge?.keepUp();
    };

    central.turnout.clock.move({ minutes: 30 });
    await timers();
    const now = new Date(central.turnout.clock.now()).toISOString();
    expect(await central.api("GET", "/sites/berlin")).toMatchObject({ last_contact_ts: now, error });
    expect(await site.api("GET", "/central")).toMatchObject({ state: "failing", error, failures: 6 });
    expect(link.asked).toHaveLength(tries);

    const beta = await channelOf(central.api, "beta");
    await central.api("PUT", `/apps/${FLATCAR}/channels/${beta.id}`, { ...beta, color: "#123456" });
    link.cutAfter = Number.POSITIVE_INFINITY;
    await timers();
    expect(await channelOf(site.api, "beta")).toMatchObject({ color: "#123456" });
    expect(await channel(site.api)).toBeNull();
    await timers();
    expect(await site.api("GET", "/central")).toMatchObject({ state: "synced", error: null, failures: 0 });
    expect(await channel(site.api)).toBe("4230.2.1");
  });

  it("that are not what the package says reach no node", async () => {
    const central = await world.central();
    const id = await hostedRelease(central.api, central.url, "4230.2.1", payload);
    expect(id).toBeDefined();
    const url = await world.impostor((request, response) => {
      if (request.url?.startsWith("/payloads")) return response.end(aPayload("another", 64));
      const headers = { ...request.headers } as Record<string, string>;
      const forward = httpRequest(`${central.url}${request.url}`, { method: request.method ?? "GET", headers });
      forward.on("response", (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      return request.pipe(forward);
    });
    const site = await world.site({ ...central, url });
    const state = await round(site);
    expect(state).toMatchObject({ state: "failing", held: [{ version: "4230.2.1", stays: null }] });
    expect(state.error).toContain("SHA-256");
    expect(await site.omaha(checks())).toContain('status="noupdate"');
  });

  it("are not brought in where that is switched off: nodes get them from the origin", async () => {
    const central = await world.central();
    await hostedRelease(central.api, central.url, "4230.2.1", payload);
    const site = await world.site(central, { TURNOUT_CENTRAL_PAYLOADS: "no" });
    expect(await round(site)).toMatchObject({ state: "synced" });
    expect(await site.omaha(checks())).toContain(
      'codebase="https://update.release.flatcar-linux.net/amd64-usr/4230.2.1/"',
    );
  });

  it("of a release that nodes may get from here only are waited for, whoever brings them", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1", { ...described(payload), hosting: "only" });
    const site = await world.site(central);
    expect(await round(site)).toMatchObject({ state: "held", held: [{ waits_for: "4230.2.1", stays: null }] });
    expect(await channel(site.api)).toBeNull();
    const { packages } = await site.api<{ packages: { id: string }[] }>("GET", `/apps/${FLATCAR}/packages`);
    await bring(site.url, packages[0]?.id ?? "", payload);
    expect(await round(site)).toMatchObject({ state: "synced", held: [] });
    expect(await channel(site.api)).toBe("4230.2.1");
  });
});

describe("a site that is killed in the middle", () => {
  it("has all of a configuration or nothing, and goes on from there", async () => {
    const central = await world.central();
    const versions = Array.from({ length: 5 }, (_, index) => `4230.2.${index + 1}`);
    for (const version of versions) await hostedRelease(central.api, central.url, version, aPayload(version, 64));
    const settings = {
      ...siteOf(central.url, await siteToken(central.api, "berlin")),
      TURNOUT_DISK_RESERVE: "0",
      TURNOUT_CENTRAL_INTERVAL: "10 seconds",
    };
    const dataDir = world.folder();
    for (const afterMs of [0, 300, 1_100]) {
      const process = await aProcess(dataDir, settings);
      await new Promise((done) => setTimeout(done, afterMs));
      process.child.kill("SIGKILL");
      await process.ended;
    }
    // The lease of the one that died is over when our own clock says so.
    const site = await world.start(settings, { dataDir, clock: central.turnout.clock });
    site.clock.move({ days: 3_650 });
    const before = await site.api<State>("GET", "/central");
    const { totalCount } = await site.api<{ totalCount: number }>("GET", `/apps/${FLATCAR}/packages`);
    expect(totalCount).toBe(before.applications.length === 0 ? 0 : versions.length);
    expect(await round(site)).toMatchObject({ state: "synced", held: [] });
    expect(await channel(site.api)).toBe(versions.at(-1));
    expect(sha256(await downloaded(site))).toBe(sha256(aPayload(versions.at(-1) ?? "", 64)));
  });
});
