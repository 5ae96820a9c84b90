/** Upstreams that break off, lie, dawdle or lead astray: each has a clear state, and nothing is lost. */
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { fileAt, Http, TIMEOUTS } from "../../src/sync/http.ts";
import { afterwards } from "../afterwards.ts";
import { checks, FLATCAR, STABLE_CHANNEL } from "../e2e/turnout.ts";
import { aPayload, described } from "../payloads/build.ts";
import {
  aFollower,
  answerOf,
  aServer,
  aVersion,
  type Follower,
  fileStates,
  type Handmade,
  handmade,
  MAIN,
  manifestOf,
  NO_UPDATE,
  OEM,
  packagesOf,
  send,
} from "./world.ts";

const old = aVersion("4081.2.0");
const one = aVersion("4230.2.1", 64);
const file = `${one.version}/${MAIN}`;

async function both(
  changes: Record<string, unknown> = {},
  options = {},
): Promise<{ upstream: Handmade; site: Follower }> {
  const upstream = await handmade();
  upstream.offer(old, one);
  const site = await aFollower(upstream.omaha, changes, await aServer({}, options));
  return { upstream, site };
}

/** Nothing of it is offered, and the floor that came before it is here. */
async function staysAway({ server, ...site }: Follower): Promise<void> {
  const { package: target } = await server.api<{ package: unknown }>(
    "GET",
    `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`,
  );
  expect(target, JSON.stringify(site)).toBeNull();
}

describe("a file", () => {
  it("that breaks off is gone on from with Range, a little later each time", async () => {
    const { upstream, site } = await both();
    upstream.files.set(file, (_, response) => {
      response.writeHead(200, { "Content-Length": one.payload.length });
      response.write(one.payload.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
    });
    const state = await site.sync();
    expect(state.last_error).toMatch(
      /^4230\.2\.1: http:\/\/127\.0\.0\.1:\d+\/files\/4230\.2\.1\/flatcar_production_update\.gz: /,
    );
    expect(state).toMatchObject({ consecutive_failures: 1, moved_to: null });
    await staysAway(site);
    const { "4230.2.1": here } = await packagesOf(site.server);
    expect(await fileStates(site.server, here?.id)).toEqual({ [MAIN]: "uploading", [OEM]: "missing" });

    upstream.files.set(file, one.payload);
    site.server.clock.move({ minutes: 1 });
    await site.sync();
    expect(upstream.fetched.filter((name) => name.startsWith(file))).toHaveLength(1);
    site.server.clock.move({ minutes: 2 });
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1", consecutive_failures: 0 });
    expect(upstream.fetched).toContain(`${file} bytes=100000-`);
    expect(await site.version()).toBe("4230.2.1");
  });

  it("is gone on from, too, when the server knows no ranges", async () => {
    const { upstream, site } = await both();
    upstream.files.set(file, (_, response) => {
      response.write(one.payload.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
    });
    await site.sync();
    upstream.files.set(file, (_, response) => void response.end(one.payload));
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  });

  const larger = Buffer.concat([one.payload, Buffer.alloc(1000)]);
  const other = aPayload("another", 64);
  const [flipped] = [Buffer.from(one.payload)];
  flipped[5000] = (flipped[5000] ?? 0) ^ 1;
  it.each<readonly [string, Parameters<Handmade["files"]["set"]>[1], RegExp]>([
    ["is larger than was said", larger, /has \d+ bytes; \d+ are expected/],
    ["never ends", (_, response) => void response.writeHead(200).end(larger), /has \d+ bytes at most, and more came/],
    ["is another payload", other.subarray(0, one.payload.length), /has the SHA-256|broke off|has \d+ bytes/],
    ["has one bit that is wrong", flipped, /has the SHA-256 [\da-f]{64}; its package says/],
    ["is an HTML page", Buffer.alloc(one.payload.length, "<html>"), /it begins with "<htm", not with "CrAU"/],
    ["is not there", (_, response) => void response.writeHead(404).end(), /answers 404/],
    [
      "answers another range",
      (_, response) => void response.writeHead(206, { "Content-Range": "bytes 5-9/10" }).end("12345"),
      /answers 206/,
    ],
    [
      "redirects in a circle",
      (request, response) => void response.writeHead(302, { Location: request.url }).end(),
      /redirects more than 5 times/,
    ],
    [
      "redirects to a file of ours",
      (_, response) => void response.writeHead(302, { Location: "file:///etc/passwd" }).end(),
      /redirects nowhere/,
    ],
  ])("that %s keeps its release out, and says so; when it is mended, all is well", async (_, content, why) => {
    const { upstream, site } = await both();
    upstream.files.set(file, content);
    expect((await site.sync()).last_error).toMatch(why);
    await staysAway(site);
    upstream.files.set(file, (request, response) => send(one.payload, request, response));
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  });

  it("of which nothing more comes is given up on", async () => {
    const { upstream, site } = await both({}, { sync: { timeouts: { ...TIMEOUTS, connectMs: 500, idleMs: 500 } } });
    upstream.files.set(file, (_, response) => {
      response.writeHead(200, { "Content-Length": one.payload.length });
      response.write(one.payload.subarray(0, 100_000));
    });
    expect((await site.sync()).last_error).toMatch(/nothing more came for too long/);
    upstream.files.set(file, one.payload);
    expect(await site.check()).toMatchObject({ last_error: null });
    expect(upstream.fetched).toContain(`${file} bytes=100000-`);
  });

  it("of which another part comes than was asked for is not taken", async () => {
    const { upstream, site } = await both();
    upstream.files.set(file, (_, response) => {
      response.writeHead(200, { "Content-Length": one.payload.length });
      response.write(one.payload.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
    });
    await site.sync();
    upstream.files.set(file, (_, response) => {
      const total = one.payload.length;
      response
        .writeHead(206, { "Content-Range": `bytes 5-${total - 1}/${total}` })
        .end(one.payload.subarray(5, -99_995));
    });
    expect((await site.check()).last_error).toMatch(/was asked for the bytes from 100000 on, and answers bytes 5-\d+/);
    upstream.files.set(file, one.payload);
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
    expect(upstream.fetched.filter((name) => name === `${file} bytes=100000-`)).toHaveLength(2);
  });

  it("that only trickles is given up on, whatever kind of upstream it is from", async () => {
    const server = createServer((_, response) => {
      const drops = setInterval(() => response.write("x"), 20);
      response.on("close", () => clearInterval(drops));
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    afterwards(() => server.close());
    const timeouts = { ...TIMEOUTS, fileMs: 200 };
    const http = new Http({ proxy: null, resolve: async () => [], userAgent: "x", timeouts });
    afterwards(() => http.close());
    const { port } = server.address() as AddressInfo; // it listens on a port
    const asked = { privateAddresses: true, signal: new AbortController().signal };
    const body = await fileAt(http, `http://127.0.0.1:${port}/f`, 0, 1_000, asked);
    const drained = async () => {
      for await (const chunk of body) expect(chunk.length).toBeGreaterThan(0);
    };
    await expect(drained()).rejects.toThrow(/\/f: it took too long$/);
  });

  it("that is not signed by the application's key is kept out", async () => {
    const { site } = await both();
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const pem = publicKey.export({ type: "spki", format: "pem" });
    await site.server.api("PUT", `/apps/${FLATCAR}/payload-key`, { public_key: pem });
    expect((await site.sync()).last_error).toMatch(
      /^4081\.2\.0: .*it has no signature, and the application has a payload key/,
    );
    await staysAway(site);
  });

  it("that is here already, and not signed by a key that was set later, is not fetched again for that", async () => {
    const upstream = await handmade();
    upstream.offer(old);
    const site = await aFollower(upstream.omaha);
    expect((await site.sync()).last_error).toBeNull();
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const pem = publicKey.export({ type: "spki", format: "pem" });
    await site.server.api("PUT", `/apps/${FLATCAR}/payload-key`, { public_key: pem });
    await site.server.turnout.scrub.run();
    const fetched = upstream.fetched.length;
    expect((await site.check()).last_error).toMatch(/was refused: it has no signature/);
    expect(upstream.fetched).toHaveLength(fetched);
    await site.server.api("DELETE", `/apps/${FLATCAR}/payload-key`);
    expect(await site.check()).toMatchObject({ last_error: null });
    expect(upstream.fetched).toHaveLength(fetched);
  });

  it("for which there is no room waits, and check-ins don't", async () => {
    const upstream = await handmade();
    upstream.offer(one);
    const server = await aServer({ TURNOUT_DISK_RESERVE: "1000000 TiB" });
    const site = await aFollower(upstream.omaha, {}, server);
    expect((await site.sync()).last_error).toMatch(/there is no room for it/);
    await staysAway(site);
    expect(await server.omaha(checks())).toContain('status="noupdate"');
  });
});

describe("an answer", () => {
  const offering = (manifests: string, codebase = "http://127.0.0.1:9/4230.2.1/") => answerOf(codebase, manifests);
  const manifest = manifestOf(one);
  it.each([
    ["is no XML", "<html><body>502 Bad Gateway</body>", /the answer can't be used: not well-formed XML/],
    ["declares entities", `<!DOCTYPE x [<!ENTITY a "b">]>${offering(manifest)}`, /DOCTYPE, ENTITY/],
    ["is nested deeply", "<response>".repeat(20) + "</response>".repeat(20), /nested deeper/],
    ["is too long", `<response protocol="3.0">${" ".repeat(2 ** 20)}</response>`, /answers more than 1048576 bytes/],
    ["is of something else", "<request/>", /its root element is <request>/],
    [
      "is for another application",
      offering(manifest).replace(FLATCAR, "11111111-2222-4333-8444-555555555555"),
      /says nothing of the application/,
    ],
    [
      "doesn't know the application",
      offering(manifest).replace('status="ok"', 'status="error-unknownApplication"'),
      /error-unknownApplication/,
    ],
    [
      "has a path for a file's name",
      offering(manifest.replace(OEM, "../../etc/passwd")),
      /"..\/..\/etc\/passwd" has a name that is none/,
    ],
    ["has an absolute one", offering(manifest.replace(OEM, "/etc/passwd")), /has a name that is none/],
    ["has a file named by dots", offering(manifest.replace(OEM, "..")), /has a name that is none/],
    ["has a file twice", offering(manifest.replace(OEM, MAIN)), /names a file twice/],
    ["has no size", offering(manifest.replace(/size="\d+"/, 'size="-1"')), /has the size "-1"/],
    ["has a size beyond all measure", offering(manifest.replace(/size="\d+"/, 'size="999999999999"')), /has the size/],
    ["has an empty hash", offering(manifest.replace(/hash="[^"]+"/, 'hash=""')), /a hash that is no SHA-1/],
    [
      "has a hexadecimal action",
      offering(manifest.replace(/sha256="[^"]+" Dis/, `sha256="${"ab".repeat(32)}" Dis`)),
      /an action whose sha256 is none/,
    ],
    [
      "contradicts its action",
      offering(manifest.replace('required="true"', `hash_sha256="${"ab".repeat(32)}" required="true"`)),
      /has two different SHA-256 for flatcar_production_update\.gz/,
    ],
    ["has no version", offering(manifest.replace("4230.2.1", "../x")), /is no version/],
    ["has a version twice", offering(manifest + manifest), /two manifests of one version/],
    ["leads to a file", offering(manifest, "file:///etc/"), /no plain http or https URL/],
    ["leads to somebody's account", offering(manifest, "http://a:b@127.0.0.1/"), /no plain http or https URL/],
    ["has a query in its codebase", offering(manifest, "http://127.0.0.1/?file="), /no plain http or https URL/],
    ["has no codebase", offering(manifest).replace(/<url [^>]*>/, ""), /names 0 codebases/],
    [
      "has forbidden names",
      offering(manifest).replace("<urls>", '<urls __proto__="1">'),
      /a name in it is not taken|names 0/,
    ],
  ])("that %s is not taken, nor anything of it", async (_, answer, why) => {
    const { upstream, site } = await both();
    upstream.answer = answer;
    expect((await site.sync()).last_error).toMatch(why);
    await staysAway(site);
    expect(await packagesOf(site.server)).toEqual({});
  });

  it.each([
    ["an error", 500, /^http:\S+\/v1\/update\/ answers 500$/],
    ["a redirect that would lose the question", 302, /\/v1\/update\/ answers 302$/],
  ])("that is %s is not taken", async (_, status, why) => {
    const { upstream, site } = await both();
    upstream.answer = (_request, response) =>
      void response.writeHead(status, { Location: "/elsewhere" }).end(NO_UPDATE);
    expect((await site.sync()).last_error).toMatch(why);
  });

  it("with a file that nobody could check makes its version incomplete: it is not offered", async () => {
    const { upstream, site } = await both();
    const bare = manifest.replace(/(<package name="oem-azure.gz") hash="[^"]+" hash_sha256="[^"]+"/, "$1");
    upstream.answer = answerOf(`${upstream.url}/files/4230.2.1/`, bare);
    expect(await site.sync()).toMatchObject({
      last_error: "4230.2.1 can't be offered: its file oem-azure.gz has no hash",
      found: { target: null, incomplete: [{ version: "4230.2.1", why: "its file oem-azure.gz has no hash" }] },
    });
    await staysAway(site);
  });

  it("whose floors are nobody knows where keeps the target out", async () => {
    const { upstream, site } = await both();
    upstream.answer = answerOf(`${upstream.url}/files/`, manifestOf(old, ' is_floor="true"') + manifest);
    expect((await site.sync()).last_error).toBe(
      "4081.2.0 can't be offered: the answer doesn't say where its files are",
    );
    await staysAway(site);
  });
});

describe("a package that is here already", () => {
  it("with other hashes is a conflict: reported, never overwritten, and the channel stays", async () => {
    const { upstream, site } = await both();
    const { id } = await site.server.api("POST", `/apps/${FLATCAR}/packages`, {
      type: 1,
      arch: 1,
      version: one.version,
      url: "https://mine.example.org/",
      filename: MAIN,
      ...described(aPayload("mine", 64)),
    });
    const before = await packagesOf(site.server);
    expect((await site.sync()).last_error).toMatch(
      /^4230\.2\.1: package 4230\.2\.1 is here already, and its payload has the SHA-256 [\da-f]{64}; upstream says [\da-f]{64}$/,
    );
    expect((await packagesOf(site.server))["4230.2.1"]).toEqual(before["4230.2.1"]);
    expect(await fileStates(site.server, id)).toEqual({ [MAIN]: "missing" });
    expect(upstream.fetched.filter((name) => name.startsWith(file))).toEqual([]);
    await staysAway(site);
  });

  it("and lacks files is completed", async () => {
    const { site } = await both();
    await site.server.api("POST", `/apps/${FLATCAR}/packages`, {
      type: 1,
      arch: 1,
      version: one.version,
      url: "https://mine.example.org/",
      filename: MAIN,
      description: "mine",
      ...described(one.payload),
    });
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
    const { "4230.2.1": here } = await packagesOf(site.server);
    expect(here).toMatchObject({ url: "https://mine.example.org/", description: "mine", extra_files: [{ name: OEM }] });
    expect(await fileStates(site.server, here?.id)).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
  });
});

describe("an upstream", () => {
  it("in this server's own network is refused, by its address, by what its name leads to, and by where it redirects", async () => {
    const upstream = await handmade();
    const resolve = async () => [{ address: "127.0.0.1", family: 4 }];
    const server = await aServer({}, { sync: { resolve } });
    await expect(aFollower(upstream.omaha, { private_addresses: false }, server)).rejects.toThrow(
      /url: 127.0.0.1 is no target/,
    );
    const { port } = new URL(upstream.omaha);
    const site = await aFollower(`http://updates.example.org:${port}/v1/update/`, { private_addresses: false }, server);
    expect((await site.sync()).last_error).toContain(
      'updates.example.org (127.0.0.1) is no target: private, loopback and link-local addresses need "private_addresses": true',
    );
    expect(upstream.asked).toEqual([]);
  });

  it("is asked and downloaded through a proxy, and may not lead to private addresses there either", async () => {
    const upstream = await handmade();
    upstream.offer(one);
    const told: string[] = [];
    const proxy = createServer((request, response) => {
      told.push(`${request.method} ${request.url}`);
      if (request.method === "POST") {
        const manifests = manifestOf(one);
        return void response.end(answerOf("http://updates.example.org/files/4230.2.1/", manifests));
      }
      if (request.url?.endsWith(OEM))
        return void response.writeHead(302, { Location: "http://169.254.169.254/secret" }).end();
      send(one.payload, request, response);
    });
    await new Promise<void>((listening) => proxy.listen(0, "127.0.0.1", listening));
    afterwards(() => proxy.close());
    const { port } = proxy.address() as AddressInfo;
    const server = await aServer({ TURNOUT_SYNC_PROXY: `http://127.0.0.1:${port}` });
    const site = await aFollower("http://updates.example.org/v1/update/", { private_addresses: false }, server);
    expect((await site.sync()).last_error).toMatch(/169\.254\.169\.254 is no target/);
    expect(told).toEqual([
      "POST http://updates.example.org/v1/update/",
      `GET http://updates.example.org/files/4230.2.1/${MAIN}`,
      `GET http://updates.example.org/files/4230.2.1/${OEM}`,
    ]);
    await staysAway(site);
  });

  it("that redirects elsewhere does not hand on what somebody may do at it", async () => {
    const seen: (string | undefined)[] = [];
    const serve = async (location: string | null) => {
      const server = createServer((request, response) => {
        seen.push(request.headers.authorization);
        response.writeHead(location === null ? 200 : 302, location === null ? {} : { Location: location }).end();
      });
      await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
      afterwards(() => server.close());
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`; // it listens on a port
    };
    const home = await serve(await serve(null));
    const http = new Http({ proxy: null, resolve: async () => [], userAgent: "x" });
    afterwards(() => http.close());
    const { signal } = new AbortController();
    const headers = { Authorization: "Bearer x" };
    const { status, body } = await http.ask(home, { headers, privateAddresses: true, signal });
    body.resume();
    expect([status, seen]).toEqual([200, ["Bearer x", undefined]]);
  });

  it("that goes backwards moves nothing, and is not downloaded from", async () => {
    const { upstream, site } = await both();
    await site.sync();
    const fetched = upstream.fetched.length;
    upstream.offer(aVersion("4152.2.0"));
    expect(await site.check()).toMatchObject({
      last_error: null,
      held_back: "upstream goes back to 4152.2.0; a channel that has 4230.2.1 is never moved down by itself",
    });
    expect(await site.version()).toBe("4230.2.1");
    expect(upstream.fetched).toHaveLength(fetched);
  });

  it("that fails three times is told to people, once", async () => {
    const { upstream, site } = await both();
    upstream.answer = "nonsense";
    for (let failure = 0; failure < 5; failure += 1) await site.check();
    const { activities } = await site.server.api<{ activities: { class: number }[] }>("GET", "/activity");
    expect(activities).toMatchObject([{ class: 121, severity: 4, version: "", channel_name: "stable" }]);
    expect((await site.state()).consecutive_failures).toBe(5);
  });
});
