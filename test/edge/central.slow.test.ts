/** A central server, or a line to it, that is not what a site expects. */
import { generateKeyPairSync } from "node:crypto";
import type { ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { SiteReport } from "../../src/admin/site-report.ts";
import { readConfiguration } from "../../src/edge/client.ts";
import { FLATCAR, release } from "../e2e/turnout.ts";
import { answerOf, channel, round, siteOf, siteToken, type World, worlds } from "./world.ts";

let world: World;
worlds((one) => {
  world = one;
});

const portOf = (url: string) => new URL(url).port;

describe("a central server whose database is a new one", () => {
  it("takes nothing away: the site keeps what it has until it is told otherwise", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    const key = `/apps/${FLATCAR}/payload-key`;
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    await central.api("PUT", key, { public_key: publicKey.export({ type: "spki", format: "pem" }) });
    const dataDir = world.folder();
    const site = await world.start(siteOf(central.url, await siteToken(central.api, "berlin")), { dataDir });
    const { path } = await round(site);
    await world.stop(central.turnout);
    const other = await world.central({ TURNOUT_PORT: portOf(central.url) });
    const settings = siteOf(other.url, await siteToken(other.api, "berlin"));
    await world.stop(site);
    const { clock } = site;
    const again = await world.start(settings, { dataDir, clock });
    const state = await round(again);
    expect(state).toMatchObject({ state: "failing", path, applications: [{ id: FLATCAR }] });
    expect(state.error).toContain(`another server answers there: instance`);
    expect(state.error).toContain(`it was ${path[0]}`);
    expect(await channel(again.api)).toBe("4230.2.1");
    expect(await other.api("GET", "/sites/berlin")).toMatchObject({ error: state.error, up_to_date: false });

    await world.stop(again);
    await world.stop(await world.start({}, { dataDir, clock }));
    const told = await world.start(settings, { dataDir, clock });
    expect(await round(told)).toMatchObject({ state: "synced" });
    expect(await channel(told.api)).toBeNull();
    // Nobody knows any more whose it was.
    expect(await answerOf(told.url, "DELETE", key)).toMatchObject({ 0: 204 });
    expect(await answerOf(told.url, "GET", key)).toMatchObject({ 0: 404 });
  });
});

describe("a central server with another address", () => {
  it("is the same: what came from it stays its, also before it answers there", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    const dataDir = world.folder();
    const token = await siteToken(central.api, "berlin");
    const site = await world.start(siteOf(central.url, token), { dataDir });
    await round(site);
    await world.stop(site);
    const { clock } = site;
    const nowhere = await world.start(siteOf("http://127.0.0.1:9", token), { dataDir, clock });
    expect(await round(nowhere)).toMatchObject({ state: "failing", applications: [{ id: FLATCAR }] });
    const refused = { body: { name: "mine", color: "#ffcc00", arch: 1 } };
    expect((await answerOf(nowhere.url, "POST", `/apps/${FLATCAR}/channels`, refused))[0]).toBe(409);
    await world.stop(nowhere);
    const moved = await world.start(siteOf(central.url.replace("127.0.0.1", "localhost"), token), { dataDir, clock });
    expect(await round(moved)).toMatchObject({ state: "synced", url: expect.stringContaining("localhost") });
  });

  it("is not taken for the same when another answers there", async () => {
    const [central, other] = [await world.central(), await world.central()];
    await release(central.api, "4230.2.1");
    const dataDir = world.folder();
    const site = await world.start(siteOf(central.url, await siteToken(central.api, "berlin")), { dataDir });
    await round(site);
    await world.stop(site);
    const { clock } = site;
    const settings = siteOf(other.url, await siteToken(other.api, "paris"), "paris");
    const turned = await world.start(settings, { dataDir, clock });
    const { state, error } = await round(turned);
    expect([state, error]).toEqual(["failing", expect.stringContaining("another server answers there")]);
    expect(await channel(turned.api)).toBe("4230.2.1");
  });
});

describe("a fault of the site's own", () => {
  it("is said, reported, and tried again less often", async () => {
    const central = await world.central();
    const site = await world.site(central);
    await round(site);
    await site.turnout.store.write((tx) => tx.updateTable("central").set({ document: "{" }).execute());
    await release(central.api, "4230.2.1");
    const { state, error, failures } = await round(site);
    expect([state, failures, error]).toEqual(["failing", 1, expect.stringContaining("a fault here: ")]);
    expect(await central.api("GET", "/sites/berlin")).toMatchObject({ error });
    expect(await round(site)).toMatchObject({ failures: 2 });
  });
});

describe("a proxy that packs answers", () => {
  it("makes their ETags weak ones: they are taken for the central server's own", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    const statuses: number[] = [];
    const url = await world.impostor(async (request, response) => {
      const { host: _, connection: __, ...headers } = request.headers as Record<string, string>;
      const body = request.method === "PUT" ? { body: new Uint8Array(await buffer(request)) } : {};
      const answer = await fetch(`${central.url}${request.url}`, { method: request.method ?? "GET", headers, ...body });
      if (request.method === "GET") statuses.push(answer.status);
      response.writeHead(answer.status, { ETag: `W/${answer.headers.get("etag")}` }).end(await answer.text());
    });
    const site = await world.site({ ...central, url });
    expect(await round(site)).toMatchObject({ state: "synced", error: null });
    expect(await round(site)).toMatchObject({ state: "synced", error: null });
    expect(statuses).toEqual([200, 304]);
    expect(await central.api("GET", "/sites/berlin")).toMatchObject({ up_to_date: true });
  });
});

describe("a thin line", () => {
  it("may take its time for a document, as long as something comes", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    const token = await siteToken(central.api, "berlin");
    const [, text] = await answerOf(central.url, "GET", "/sites/berlin/fleet", { token });
    const url = await world.impostor((request, response) => {
      if (request.method === "PUT") response.writeHead(204).end();
      else {
        response.setHeader("ETag", '"1"');
        const pieces = text.match(new RegExp(`[^]{1,${Math.ceil(text.length / 8)}}`, "g")) ?? [];
        const timer = setInterval(() => {
          response.write(pieces.shift() ?? "");
          if (pieces.length === 0) response.end(() => clearInterval(timer));
        }, 150);
      }
    });
    const site = await world.start(siteOf(url, "turnout_x"), { central: { timeoutMs: 800 } });
    expect(await round(site)).toMatchObject({ state: "synced", error: null });
    expect(await channel(site.api)).toBe("4230.2.1");
  });

  it("takes a report of thousands of rows in a few seconds", async () => {
    const reports: Buffer[] = [];
    const url = await world.impostor(async (request, response) => {
      if (request.method === "PUT") reports.push(await buffer(request));
      response.writeHead(request.method === "PUT" ? 204 : 500).end();
    });
    const site = await world.start(siteOf(url, "turnout_x"));
    const groups = await site.turnout.store.read.selectFrom("groups").select(["no", "id"]).execute();
    const document = JSON.stringify([FLATCAR]);
    await site.turnout.store.write(async (tx) => {
      await tx.updateTable("central").set({ applications: document }).execute();
      for (let n = 0; n < 2_000; n += 1) {
        const group_no = groups[n % groups.length]?.no ?? 0;
        const row = { group_no, version: `4230.${n}.1`, status: "complete", count: n };
        await tx.insertInto("node_counts").values(row).execute();
      }
    });
    await round(site);
    const report: SiteReport = JSON.parse(gunzipSync(reports[0] ?? "").toString());
    expect(report.nodes).toHaveLength(1_999);
    expect(reports[0]?.length).toBeLessThan(JSON.stringify(report).length / 8);
  });

  it("but not for ever: a trickle is cut off", async () => {
    const url = await world.impostor((_request, response) => {
      response.setHeader("ETag", '"1"');
      const timer = setInterval(() => response.write(" "), 10);
      response.once("close", () => clearInterval(timer));
    });
    const site = await world.start(siteOf(url, "turnout_x"), { central: { timeoutMs: 60 } });
    expect((await round(site)).error).toMatch(/its answer took longer than 1.2 seconds|nothing came for/);
  });
});

describe("a loop", () => {
  it("of one is refused: a server that is its own central server", async () => {
    const folder = world.folder();
    const first = await world.central({}, folder);
    const token = await siteToken(first.api, "berlin");
    await world.stop(first.turnout);
    const port = portOf(first.url);
    const own = await world.central({ TURNOUT_PORT: port, ...siteOf(first.url, token) }, folder);
    own.turnout.clock.move({ minutes: 2 });
    await own.turnout.turnout.edge?.run();
    const state = await own.api("GET", "/central");
    expect(state).toMatchObject({ state: "failing", applications: [] });
    expect(state.error).toContain("a loop: this server would get its configuration from itself");
    expect(await own.api("GET", "/sites/berlin")).toMatchObject({ error: state.error });
  });

  it("of two is refused on the way that would close it", async () => {
    const [folderA, folderB] = [world.folder(), world.folder()];
    const a = await world.central({}, folderA);
    const b = await world.central({}, folderB);
    const settingsA = siteOf(b.url, await siteToken(b.api, "a"), "a");
    const settingsB = siteOf(a.url, await siteToken(a.api, "b"), "b");
    await world.stop(a.turnout);
    await world.stop(b.turnout);
    const [a2, b2] = [
      await world.central({ TURNOUT_PORT: portOf(a.url), ...settingsA }, folderA),
      await world.central({ TURNOUT_PORT: portOf(b.url), ...settingsB }, folderB),
    ];
    const go = async ({ turnout, api }: typeof a2) => {
      turnout.clock.move({ minutes: 20 });
      await turnout.turnout.edge?.run();
      return api("GET", "/central");
    };
    expect(await go(a2)).toMatchObject({ state: "synced" });
    const closed = await go(b2);
    expect(closed).toMatchObject({ state: "failing", applications: [] });
    expect(closed.error).toContain("a loop: this server gets its own configuration from");
    expect(await a2.api("GET", "/sites/b")).toMatchObject({ error: closed.error });
    expect(await go(a2)).toMatchObject({ state: "synced" });
  });

  it("of three does not stand: each that finds itself above itself applies nothing more", async () => {
    const folders = [world.folder(), world.folder(), world.folder()];
    const first = [];
    for (const folder of folders) first.push(await world.central({}, folder));
    const settings = [];
    for (const [index, above] of first.entries())
      settings.push(siteOf(above.url, await siteToken(above.api, `s${index}`), `s${index}`));
    const servers = [];
    for (const [index, { turnout, url }] of first.entries()) {
      await world.stop(turnout);
      // Each is the site of the one before it.
      const above = settings[(index + 2) % 3] ?? {};
      servers.push(await world.central({ TURNOUT_PORT: portOf(url), ...above }, folders[index]));
    }
    const states: unknown[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      states.length = 0;
      for (const { turnout, api } of servers) {
        turnout.clock.move({ minutes: 20 });
        await turnout.turnout.edge?.run();
        states.push((await api("GET", "/central")).state);
      }
    }
    expect(states).toContain("failing");
    const errors = [];
    for (const { api } of servers) errors.push((await api("GET", "/central")).error);
    expect(errors.join("\n")).toContain("a loop");
  });
});

describe("a site of a site", () => {
  it("gets what the site above it gets, and the way that it comes", async () => {
    const top = await world.central();
    await release(top.api, "4230.2.1");
    const token = await siteToken(top.api, "middle");
    const middle = await world.central(siteOf(top.url, token, "middle"));
    middle.turnout.clock.move({ minutes: 2 });
    await middle.turnout.turnout.edge?.run();
    const bottom = await world.site(middle, { site: "bottom" });
    const { path } = await round(bottom);
    const instances = [top, middle].map(async ({ api }) => (await api("GET", "/central")).instance);
    expect(path).toEqual(await Promise.all(instances));
    expect(await channel(bottom.api)).toBe("4230.2.1");
  });
});

describe("what is no configuration", () => {
  const good = async (): Promise<{ document: Record<string, unknown>; etag: string }> => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    const token = await siteToken(central.api, "berlin");
    const [, text, headers] = await answerOf(central.url, "GET", "/sites/berlin/fleet", { token });
    return { document: JSON.parse(text), etag: headers.get("etag") ?? "" };
  };

  it("is refused, and nothing is applied", async () => {
    let answer: (response: ServerResponse) => unknown = () => undefined;
    const url = await world.impostor((_request, response) => answer(response));
    const site = await world.start(siteOf(url, "turnout_x"), { central: { timeoutMs: 2_000 } });
    const before = await site.api("GET", "/fleet");
    const says = (body: string | Buffer) => (response: ServerResponse) => response.setHeader("ETag", '"1"').end(body);
    const answers: [(response: ServerResponse) => unknown, string][] = [
      [says("<html>"), "its answer can't be read: it is not JSON"],
      [says('{"path": ['), "its answer can't be read"],
      [says(Buffer.from([0x22, 0xff, 0x22])), "its answer can't be read: it is not UTF-8"],
      [says('{"path":[],"path":[]}'), "is there twice"],
      [says('{"applications":[]}'), "is not one that this version understands (path"],
      [says(Buffer.alloc(9 * 2 ** 20, 32)), "larger than"],
      [says("[".repeat(200) + "]".repeat(200)), "nested"],
      [(response) => response.end("{}"), "has no ETag"],
      [(response) => response.writeHead(302, { Location: "http://127.0.0.1:1/" }).end(), "redirects are not followed"],
      [(response) => response.writeHead(404).end("<h1>not here</h1>"), "it answered 404"],
      [(response) => response.writeHead(500).end('{"detail":"\\u001b[31mred"}'), "it answered 500: �[31mred"],
      [(response) => response.writeHead(304).end(), "it answered 304"],
      [(response) => response.destroy(), "can't be reached"],
      [
        (response) => response.writeHead(200, { ETag: '"1"', "Content-Length": "99" }).write("{"),
        "nothing came for 2 seconds",
      ],
      [() => undefined, "nothing came for 2 seconds"],
    ];
    for (const [how, why] of answers) {
      answer = how;
      const state = await round(site, 20);
      expect([why, state.state, state.applications]).toEqual([why, "failing", []]);
      expect(state.error).toContain(why);
    }
    expect(await site.api("GET", "/fleet")).toEqual(before);
  });

  it("but could be taken for one is refused whole", async () => {
    const { document } = await good();
    const { applications } = document.fleet as { applications: Record<string, unknown>[] };
    const app = applications[0] ?? {};
    const withApp = (changes: Record<string, unknown>) => ({
      ...document,
      fleet: { applications: [{ ...app, ...changes }] },
    });
    for (const [wrong, why] of [
      [withApp({ groups: undefined }), "is not whole"],
      [withApp({ id: undefined }), "is not whole"],
      [withApp({ channels: [{ name: "stable", arch: "amd64", package: null }] }), "is not whole"],
      [withApp({ surprise: 1 }), "surprise"],
      [{ ...document, path: [] }, "path"],
      [{ ...document, payloads: { path: "//evil.example.org", authorization: null } }, "payloads.path"],
      [{ ...document, payloads: { path: "/payloads", authorization: "Basic a\r\nX: y" } }, "payloads.authorization"],
    ] as const) {
      expect(() => readConfiguration(Buffer.from(JSON.stringify(wrong)))).toThrow(why);
    }
    let answer = {};
    const url = await world.impostor((_request, response) =>
      response.setHeader("ETag", '"1"').end(JSON.stringify(answer)),
    );
    const site = await world.start(siteOf(url, "turnout_x"));
    const before = await site.api("GET", "/fleet");
    const [first] = app.packages as Record<string, unknown>[];
    for (const [packages, why] of [
      [[], "there is no package 4230.2.1"],
      [[{ ...first, version: "../../etc" }], "version"],
      [[{ ...first, hash: "no hash" }], "hash"],
      [[first, { ...first, version: "4230.2.2", url: "javascript:alert(1)" }], "url"],
    ] as const) {
      answer = withApp({ packages });
      const state = await round(site, 20);
      expect([why, state.state, state.applications]).toEqual([why, "failing", []]);
      expect(state.error).toContain(why);
      expect(await site.api("GET", "/fleet")).toEqual(before);
    }
  });
});
