import { connect } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { afterwards } from "../afterwards.ts";
import { PayloadState, readAsUpdateEngine } from "../clients/update-engine.ts";
import { checks, FLATCAR, NODE_ID, STABLE_GROUP } from "../e2e/turnout.ts";
import { handmade } from "../sync/world.ts";
import { aPayload, described } from "./build.ts";
import { aHosting, get, type Hosting, MAIN, OEM, oem, payload } from "./hosting.ts";

describe("a hosted file", () => {
  let hosting: Hosting;
  let etag: string;
  beforeAll(async () => {
    hosting = await aHosting();
    await hosting.hostAll();
    etag = (await get(hosting.file())).headers.etag ?? "";
  });
  afterAll(() => hosting.server.close());

  it("is sent as it is, with its length, its type and a strong ETag", async () => {
    const { status, headers, body } = await get(hosting.file());
    expect(status).toBe(200);
    expect(body.equals(payload)).toBe(true);
    expect(headers).toMatchObject({
      "content-length": String(payload.length),
      "content-type": "application/octet-stream",
      "accept-ranges": "bytes",
      "cache-control": "public, no-cache, no-transform",
    });
    expect(headers.etag).toMatch(/^"[\da-f]{64}"$/);
    expect(headers["content-encoding"]).toBeUndefined();
    expect((await get(hosting.file(OEM), { "Accept-Encoding": "gzip" })).body.equals(oem)).toBe(true);
  });

  const size = payload.length;
  it.each([
    ["bytes=0-99", 0, 100],
    ["bytes=100-", 100, size],
    [`bytes=0-${size * 2}`, 0, size],
    ["bytes=-10", size - 10, size],
    [`bytes=-${size * 2}`, 0, size],
    [`bytes=${size - 1}-`, size - 1, size],
    ["bytes=5-5", 5, 6],
  ])("gives the range %s", async (range, from, to) => {
    const { status, headers, body } = await get(hosting.file(), { Range: range });
    expect(status).toBe(206);
    expect(headers["content-range"]).toBe(`bytes ${from}-${to - 1}/${size}`);
    expect(headers["content-length"]).toBe(String(to - from));
    expect(body.equals(payload.subarray(from, to))).toBe(true);
  });

  it.each([`bytes=${size}-`, "bytes=-0", `bytes=${size + 5}-${size + 9}`])(
    "says 416 to the range %s, and how long it is",
    async (range) => {
      const { status, headers } = await get(hosting.file(), { Range: range });
      expect(status).toBe(416);
      expect(headers["content-range"]).toBe(`bytes */${size}`);
    },
  );

  it.each(["bytes=0-9,10-19", "bytes=9-0x", "bytes=9-8", "bytes=-", "bytes=", "lines=1-5", "0-5"])(
    "is sent whole for %s, which is no single range",
    async (range) => {
      const { status, body } = await get(hosting.file(), { Range: range });
      expect([status, body.length]).toEqual([200, size]);
    },
  );

  it("goes on only with the same file: If-Range", async () => {
    const resumed = (ifRange: string) => get(hosting.file(), { Range: "bytes=100-", "If-Range": ifRange });
    expect((await resumed(etag)).status).toBe(206);
    for (const other of ['"other"', `W/${etag}`, "Wed, 04 Mar 2026 12:00:00 GMT"]) {
      expect(await resumed(other)).toMatchObject({ status: 200, headers: { "content-length": String(size) } });
    }
  });

  it("is not sent again to who has it: If-None-Match, and If-Match the other way round", async () => {
    const { status, headers, body } = await get(hosting.file(), { "If-None-Match": `"x", ${etag}` });
    expect([status, headers.etag, body.length]).toEqual([304, etag, 0]);
    expect((await get(hosting.file(), { "If-None-Match": '"x"' })).status).toBe(200);
    expect((await get(hosting.file(), { "If-Match": '"x"' })).status).toBe(412);
    expect((await get(hosting.file(), { "If-Match": etag })).status).toBe(200);
  });

  it("is found with slashes too many: clients put one between a codebase that ends with one and the name", async () => {
    const doubled = hosting.file().replace("/payloads/", "//payloads//").replace(`/${MAIN}`, `//${MAIN}`);
    const { status, body } = await get(doubled, { Range: "bytes=0-9" });
    expect([status, body.equals(payload.subarray(0, 10))]).toEqual([206, true]);
  });

  it("is described by HEAD as by GET, without a body", async () => {
    const { status, headers, body } = await get(hosting.file(), {}, "HEAD");
    expect([status, body.length]).toEqual([200, 0]);
    expect(headers).toMatchObject({ "content-length": String(size), etag, "accept-ranges": "bytes" });
    for (const range of ["bytes=0-9", `bytes=${size}-`]) {
      const whole = await get(hosting.file(), { Range: range }, "HEAD");
      expect([whole.status, whole.headers["content-length"]]).toEqual([200, String(size)]);
    }
    const post = await get(hosting.file(), {}, "POST");
    expect([post.status, post.headers.allow]).toEqual([405, "GET, HEAD"]);
  });

  it("is found by nothing but its own path", async () => {
    const base = `${hosting.server.url}/payloads`;
    for (const path of [
      `${FLATCAR}/aarch64/4230.2.1/${MAIN}`,
      `${FLATCAR}/amd64/4230.2.2/${MAIN}`,
      `${FLATCAR}/amd64/4230.2.1/other.gz`,
      `${FLATCAR}/amd64/4230.2.1/..%2f..%2f..%2fturnout.db`,
      "..%2f..%2f/amd64/4230.2.1/turnout.db",
      `nobody/amd64/4230.2.1/${MAIN}`,
      "",
    ]) {
      expect((await get(`${base}/${path}`)).status, path).toBe(404);
    }
    expect((await get(`${base}/${FLATCAR}/amd64/4230.2.1/%zz`)).status).toBe(400);
    expect((await get(`${base}/${FLATCAR.toUpperCase()}/amd64/4230.2.1/${MAIN}`)).status).toBe(200);
  });

  it("goes to a client that leaves in the middle without a trace, and is counted", async () => {
    const socket = connect(Number(new URL(hosting.server.url).port), "127.0.0.1");
    socket.write(`GET ${new URL(hosting.file()).pathname} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await new Promise((data) => socket.once("data", data));
    socket.destroy();
    const open = async () => {
      const text = await (await fetch(`${hosting.server.url}/metrics`)).text();
      expect(text).toContain('turnout_downloads_total{status="206"}');
      return Number(/^turnout_downloads_open (\d+)$/m.exec(text)?.[1]);
    };
    await expect.poll(open, { timeout: 20_000 }).toBe(0);
    expect(await (await fetch(`${hosting.server.url}/metrics`)).text()).toMatch(
      new RegExp(`^turnout_package_bytes\\{.*version="4230.2.1",arch="amd64"\\} ${payload.length + oem.length}$`, "m"),
    );
  });
});

describe("what a node is told", () => {
  let hosting: Hosting | null = null;
  afterEach(async () => {
    await hosting?.server.close();
    hosting = null;
  });
  const codebases = async (of: Hosting) =>
    [...(await of.server.omaha(checks())).matchAll(/codebase="([^"]*)"/g)].map(([, url]) => url);
  const ORIGIN = "https://update.release.flatcar-linux.net/amd64-usr/4230.2.1/";

  it("is this server first and the package's URL second, as soon as all files are here, and no sooner", async () => {
    hosting = await aHosting();
    expect(await codebases(hosting)).toEqual([ORIGIN]);
    expect((await hosting.put(MAIN, payload)).status).toBe(200);
    expect(await codebases(hosting)).toEqual([ORIGIN]);
    expect((await hosting.put(OEM, oem)).status).toBe(200);
    const here = `${hosting.server.url}/payloads/${FLATCAR}/amd64/4230.2.1/`;
    expect(await codebases(hosting)).toEqual([here, ORIGIN]);
    expect((await get(`${here}${OEM}`)).body.equals(oem)).toBe(true);
    await fetch(hosting.api(OEM), { method: "DELETE" });
    expect(await codebases(hosting)).toEqual([ORIGIN]);
  });

  it("is not this server any more when the package wants another file by now", async () => {
    hosting = await aHosting();
    await hosting.hostAll();
    const path = `/apps/${FLATCAR}/packages/${hosting.packageId}`;
    const present = await hosting.server.api("GET", path);
    await hosting.server.api("PUT", path, { ...present, ...described(aPayload("other")) });
    expect(await codebases(hosting)).toEqual([ORIGIN]);
    expect(await hosting.states()).toEqual({ [MAIN]: "different", [OEM]: "hosted" });
    await hosting.server.api("PUT", path, present);
    expect(await codebases(hosting)).toHaveLength(2);
  });

  it("is nothing before all files are here, when they are to come from here only", async () => {
    hosting = await aHosting({}, { hosting: "only" });
    expect(await hosting.server.omaha(checks())).toContain('<updatecheck status="noupdate"');
    const node = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances/${NODE_ID}`;
    const { reason, text } = await hosting.server.api<{ reason: string; text: string }>("GET", `${node}/explain`);
    expect(reason).toBe("files-missing");
    expect(text).toBe("the files of 4230.2.1 are to come from this server only, and not all of them are here");
    await hosting.hostAll();
    expect(await codebases(hosting)).toEqual([`${hosting.server.url}/payloads/${FLATCAR}/amd64/4230.2.1/`]);
    const fleet = await hosting.server.api<{ applications: { packages: { hosting?: string }[] }[] }>("GET", "/fleet");
    expect(fleet.applications[0]?.packages[0]?.hosting).toBe("only");
    expect(await hosting.server.api("POST", "/fleet/plan", { fleet })).toMatchObject({ changes: [] });
  });

  it("has the public address in it, with its path, and the token", async () => {
    hosting = await aHosting({
      TURNOUT_PUBLIC_URL: "https://updates.example.org/turnout/",
      TURNOUT_PAYLOAD_TOKEN: "s3cret",
    });
    await hosting.hostAll();
    const [first] = await codebases(hosting);
    expect(first).toBe(`https://updates.example.org/turnout/payloads/s3cret/${FLATCAR}/amd64/4230.2.1/`);
    expect((await get(hosting.file())).status).toBe(404);
    const behind = first?.replace("https://updates.example.org/turnout", hosting.server.url) ?? "";
    const { status, headers } = await get(`${behind}${MAIN}`);
    expect([status, headers["cache-control"]]).toEqual([200, "private, no-cache, no-transform"]);
    expect((await get(`${behind.replace("s3cret", "guess")}${MAIN}`)).status).toBe(404);
  });

  it("has sizes and hashes in it that the package leaves out", async () => {
    hosting = await aHosting({}, { hash: null, extra_files: [{ name: OEM }] });
    await hosting.hostAll();
    expect(await hosting.server.omaha(checks())).toMatch(
      new RegExp(`<package name="${OEM}" hash="[^"]{28}" hash_sha256="[\\da-f]{64}" size="${oem.length}"`),
    );
  });
});

describe("two addresses", () => {
  it("are tried one after the other: the second with the next check after the first has failed", async () => {
    const other = await handmade();
    other.files.set(MAIN, payload);
    const hosting = await aHosting({ TURNOUT_PUBLIC_URL: "http://127.0.0.1:9" }, { url: `${other.url}/files/` });
    afterwards(() => hosting.server.close());
    await hosting.hostAll();
    const node = new PayloadState();
    const update = async () => {
      const reading = readAsUpdateEngine("check", { status: 200, body: await hosting.server.omaha(checks()) });
      if (reading.kind !== "update") throw new Error("it was offered nothing");
      return { reading, address: node.addressFor(reading) };
    };
    const first = await update();
    expect(first.address).toBe(`http://127.0.0.1:9/payloads/${FLATCAR}/amd64/4230.2.1/${MAIN}`);
    await expect(fetch(first.address)).rejects.toThrow();
    node.failed(first.reading, 9);
    const second = await update();
    expect((await get(second.address)).body.equals(payload)).toBe(true);
    expect(node.rounds).toBe(0);
  });

  it("are not what a single one is: its failures are counted as ever", async () => {
    const hosting = await aHosting({}, { hosting: "only" });
    afterwards(() => hosting.server.close());
    await hosting.hostAll();
    expect(await hosting.server.omaha(checks())).not.toContain("MaxFailureCountPerUrl");
  });
});

describe("limits", () => {
  let hosting: Hosting;
  afterEach(() => hosting.server.close());

  /** Opens a download and takes nothing of it. */
  async function held(): Promise<() => void> {
    const socket = connect(Number(new URL(hosting.server.url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`GET ${new URL(hosting.file("large.bin")).pathname} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await new Promise((data) => socket.once("readable", data));
    return () => socket.destroy();
  }
  /** More than the sockets' buffers take. */
  const large = Buffer.alloc(24 << 20, "large");
  const withLarge = { type: 4, filename: "large.bin", size: null, hash: null, flatcar_action: null, extra_files: [] };

  it("bound the downloads from one address, and in all: 503 with Retry-After, and it goes on when one has ended", async () => {
    for (const setting of ["TURNOUT_DOWNLOADS", "TURNOUT_DOWNLOADS_PER_ADDRESS"]) {
      hosting = await aHosting({ [setting]: "2" }, withLarge);
      expect((await hosting.put("large.bin", large)).status).toBe(200);
      const [first, second] = [await held(), await held()];
      const third = await get(hosting.file("large.bin"));
      expect(third.status).toBe(503);
      expect(third.headers["retry-after"]).toBe("60");
      expect(third.headers["content-length"]).toBe(String(third.body.length));
      expect((await get(hosting.file("large.bin"), {}, "HEAD")).status).toBe(200);
      first();
      await expect.poll(async () => (await get(hosting.file("large.bin"))).status, { timeout: 20_000 }).toBe(200);
      second();
      if (setting === "TURNOUT_DOWNLOADS") await hosting.server.close();
    }
  });

  it.each([["yes"], ["no"]])(
    "cut off a client that takes nothing any more, and its place is free (sendfile: %s)",
    async (sendfile) => {
      const environment = { TURNOUT_DOWNLOADS: "1", TURNOUT_SENDFILE: sendfile };
      hosting = await aHosting(environment, withLarge, { timeouts: { downloadStallMs: 200 } });
      expect((await hosting.put("large.bin", large)).status).toBe(200);
      await held();
      await expect.poll(async () => (await get(hosting.file("large.bin"))).status, { timeout: 20_000 }).toBe(200);
    },
  );

  it("ask for a user and a password, where these are set", async () => {
    hosting = await aHosting({ TURNOUT_PAYLOAD_USER: "node", TURNOUT_PAYLOAD_PASSWORD: "pass:word" });
    await hosting.hostAll();
    const asked = await get(hosting.file());
    expect([asked.status, asked.headers["www-authenticate"]]).toEqual([401, 'Basic realm="payloads", charset="UTF-8"']);
    const basic = (text: string) => ({ Authorization: `Basic ${Buffer.from(text).toString("base64")}` });
    expect((await get(hosting.file(), basic("node:pass:word"))).body.equals(payload)).toBe(true);
    for (const wrong of ["node:wrong", "other:pass:word", "node", ""]) {
      expect((await get(hosting.file(), basic(wrong))).status).toBe(401);
    }
  });
});
