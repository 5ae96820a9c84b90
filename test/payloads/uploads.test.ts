import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { canHaveSmallDisks, smallDisk } from "../e2e/small-disk.ts";
import { aProcess, apiClient, checks, FLATCAR, release } from "../e2e/turnout.ts";
import { aKey, aPayload, described, extraFile, sha256 } from "./build.ts";
import { aHosting, get, Hosting, MAIN, OEM, oem, payload, VERSION } from "./hosting.ts";

let hosting: Hosting;
beforeEach(async () => {
  hosting = await aHosting();
});
afterEach(() => hosting.server.close());

const size = payload.length;
const folder = (name: string, of = hosting) => join(of.server.dataDir, "payloads", name);
const contents = (of = hosting) =>
  readdirSync(join(of.server.dataDir, "payloads"), { recursive: true, encoding: "utf8" }).filter((name) =>
    /[\da-f]{64}$/.test(name),
  );
const audits = async () =>
  (await hosting.server.api<{ entries: { action: string }[] }>("GET", "/audit?perpage=100")).entries.filter(
    ({ action }) => action.endsWith("File"),
  );

/** A request whose body comes as the test writes it. */
async function aSlowPut(path: string, length: number, headers = ""): Promise<Socket> {
  const socket = connect(Number(new URL(hosting.server.url).port), "127.0.0.1");
  socket.setEncoding("latin1");
  socket.on("error", () => {});
  socket.write(
    `PUT ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: ${length}\r\n${headers}\r\n`,
  );
  return socket;
}
const pathOf = (name: string) => new URL(hosting.api(name)).pathname;
const received = async (name = MAIN) =>
  Number((await fetch(`${hosting.api(name)}/upload`)).headers.get("upload-offset"));

describe("an upload", () => {
  it("is stored by its content, listed, audited, and taken again without a word", async () => {
    const { status, text } = await hosting.put(MAIN, payload);
    expect([status, JSON.parse(text)]).toMatchObject([
      200,
      { name: MAIN, size: String(size), state: "hosted", hash256: sha256(payload).toString("hex"), received: null },
    ]);
    const name = sha256(payload).toString("hex");
    expect(contents()).toEqual([`${name.slice(0, 2)}/${name}`]);
    expect(readFileSync(folder(`${name.slice(0, 2)}/${name}`)).equals(payload)).toBe(true);
    expect((await hosting.put(MAIN, payload)).status).toBe(200);
    expect(await audits()).toHaveLength(1);
    expect(readdirSync(folder("uploads"))).toEqual([]);
  });

  it("may come without its length being said", async () => {
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < size; at += 50_000) controller.enqueue(payload.subarray(at, at + 50_000));
        controller.close();
      },
    });
    expect((await hosting.put(MAIN, stream)).status).toBe(200);
  });

  it("that breaks off is gone on from, and is seen by nobody before it is whole", async () => {
    const socket = await aSlowPut(pathOf(MAIN), size);
    socket.write(payload.subarray(0, 100_000));
    await expect.poll(() => received()).toBe(100_000);
    expect(await hosting.states()).toMatchObject({ [MAIN]: "uploading" });
    expect((await get(hosting.file())).status).toBe(404);
    socket.destroy();
    const rest = (from: number, body: Buffer) =>
      hosting.put(MAIN, body, { "Content-Range": `bytes ${from}-${from + body.length - 1}/${size}` });
    await expect.poll(async () => (await rest(5, Buffer.alloc(1))).text).toContain("100000 bytes of");
    const wrong = await rest(5, payload.subarray(5));
    expect([wrong.status, wrong.headers.get("upload-offset")]).toEqual([409, "100000"]);
    const more = await rest(100_000, payload.subarray(100_000, 150_000));
    expect([more.status, JSON.parse(more.text)]).toMatchObject([200, { state: "uploading", received: 150_000 }]);
    expect((await rest(150_000, payload.subarray(150_000))).status).toBe(200);
    expect((await get(hosting.file())).body.equals(payload)).toBe(true);
  });

  it("has the file to itself: a second one at the same time is told to wait", async () => {
    const socket = await aSlowPut(pathOf(MAIN), size);
    socket.write(payload.subarray(0, 1_000));
    await expect.poll(() => received()).toBe(1_000);
    const second = await hosting.put(MAIN, payload);
    expect([second.status, second.text]).toEqual([409, expect.stringContaining("is being uploaded by somebody else")]);
    expect((await fetch(hosting.api(MAIN), { method: "DELETE" })).status).toBe(409);
    expect((await hosting.put(OEM, oem)).status).toBe(200);
    let answer = "";
    socket.on("data", (text) => {
      answer += text;
    });
    socket.write(payload.subarray(1_000));
    await expect.poll(() => answer).toContain("200 OK");
    socket.destroy();
    expect((await get(hosting.file())).body.equals(payload)).toBe(true);
  });

  it("may take longer than any other request", async () => {
    await hosting.server.close();
    hosting = await aHosting({}, {}, { timeouts: { headersMs: 200, requestMs: 300 } });
    const socket = await aSlowPut(pathOf(MAIN), size);
    // Something that is cut off meanwhile shows that the time is over.
    const other = connect(Number(new URL(hosting.server.url).port), "127.0.0.1");
    other.write("POST /v1/update/ HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n<");
    let said = "";
    other.on("data", (chunk) => {
      said += chunk;
    });
    await new Promise((closed) => other.once("close", closed));
    expect(said).toContain("408 Request Timeout");
    let answer = "";
    socket.on("data", (text) => {
      answer += text;
    });
    socket.write(payload);
    await expect.poll(() => answer).toContain('"state":"hosted"');
    socket.destroy();
  });

  it("of which nothing more comes is cut off, keeps what has come, and lets others have the file", async () => {
    await hosting.server.close();
    hosting = await aHosting({}, {}, { timeouts: { uploadStallMs: 200 } });
    const socket = await aSlowPut(pathOf(MAIN), size);
    const closed = new Promise((done) => socket.once("close", done));
    socket.resume();
    socket.write(payload.subarray(0, 1_000));
    await closed;
    expect(await received()).toBe(1_000);
    const range = { "Content-Range": `bytes 1000-${size - 1}/${size}` };
    await expect.poll(async () => (await hosting.put(MAIN, payload.subarray(1_000), range)).status).toBe(200);
    expect((await get(hosting.file())).body.equals(payload)).toBe(true);
  });

  it("is kept out, and no content is left of it, when the package wants another file by the time it is whole", async () => {
    const socket = await aSlowPut(pathOf(MAIN), size);
    socket.write(payload.subarray(0, 1_000));
    await expect.poll(() => received()).toBe(1_000);
    const path = `/apps/${FLATCAR}/packages/${hosting.packageId}`;
    const { hash, flatcar_action } = described(oem);
    const present = await hosting.server.api<{ flatcar_action: object }>("GET", path);
    const action = { ...present.flatcar_action, ...flatcar_action };
    await hosting.server.api("PUT", path, { ...present, hash, flatcar_action: action });
    const answer = new Promise<string>((done) => socket.once("data", (text) => done(String(text))));
    socket.write(payload.subarray(1_000));
    expect(await answer).toMatch(/409 Conflict[\s\S]*the package has changed meanwhile/);
    socket.destroy();
    expect(contents()).toEqual([]);
    expect(await hosting.states()).toMatchObject({ [MAIN]: "uploading" });
    // What has come can be dropped, or written over by the right one.
    expect((await fetch(hosting.api(MAIN), { method: "DELETE" })).status).toBe(204);
  });

  it("is dropped with DELETE, begun or whole, and then it is not there", async () => {
    const half = await hosting.put(MAIN, payload.subarray(0, 10), { "Content-Range": `bytes 0-9/${size}` });
    expect(half.status).toBe(200);
    const drop = () => fetch(hosting.api(MAIN), { method: "DELETE" });
    expect((await drop()).status).toBe(204);
    expect(await received()).toBe(0);
    expect((await drop()).status).toBe(404);
    await hosting.put(MAIN, payload);
    expect((await drop()).status).toBe(204);
    expect((await get(hosting.file())).status).toBe(404);
    expect(contents()).toHaveLength(1); // until it is collected
  });
});

describe("a wrong upload is refused with what would be right, and nothing of it stays:", () => {
  afterEach(async () => {
    expect(await audits()).toEqual([]);
    expect(contents()).toEqual([]);
    expect(readdirSync(folder("uploads"))).toEqual([]);
    expect(await hosting.server.omaha(checks())).toContain('codebase="https://update.release.flatcar-linux.net');
  });

  it("another length than the package says", async () => {
    const long = Buffer.concat([payload, Buffer.from("x")]);
    expect(await hosting.put(MAIN, long)).toMatchObject({
      status: 413,
      text: expect.stringContaining(`has ${size} bytes`),
    });
    expect(await hosting.put(MAIN, payload.subarray(1))).toMatchObject({ status: 422 });
    const chunked = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(long);
        controller.close();
      },
    });
    expect(await hosting.put(MAIN, chunked)).toMatchObject({
      status: 413,
      text: expect.stringContaining("and more came"),
    });
  });

  it("another content", async () => {
    const other = aPayload("other", 64);
    expect(other.length).toBe(size);
    const { status, text } = await hosting.put(MAIN, other);
    expect(status).toBe(422);
    expect(text).toContain(
      `has the SHA-256 ${sha256(other).toString("hex")}; its package says ${sha256(payload).toString("hex")}`,
    );
  });

  it("no payload, as soon as its first bytes are there", async () => {
    const socket = await aSlowPut(pathOf(MAIN), size);
    let answer = "";
    socket.on("data", (text) => {
      answer += text;
    });
    socket.write("<html>");
    await expect.poll(() => answer).toContain("it is no update payload");
    expect(answer).toContain("HTTP/1.1 422");
    socket.destroy();
    const archive = Buffer.alloc(oem.length, 1);
    expect((await hosting.put(OEM, archive)).text).toContain("it is no update payload");
  });

  it("names and ranges that are none", async () => {
    for (const name of ["..%2f..%2fturnout.db", "..%2f", "other.gz", "a%00b"]) {
      const response = await hosting.put(name, payload);
      expect([400, 404], `${name}: ${response.text}`).toContain(response.status);
    }
    for (const range of ["bytes 0-5", "bytes 5-0/9", `bytes 0-${size}/${size}`, "bytes 0-99/50", "items 0-9/10", "x"]) {
      expect(await hosting.put(MAIN, payload.subarray(0, 10), { "Content-Range": range })).toMatchObject({
        status: 400,
      });
    }
    const json = await fetch(hosting.api(MAIN), {
      method: "PUT",
      body: "{}",
      headers: { "Content-Type": "application/json" },
    });
    expect([json.status, await json.text()]).toEqual([415, expect.stringContaining("application/octet-stream")]);
  });

  it("no room on the disk", async () => {
    await hosting.server.close();
    hosting = await aHosting({ TURNOUT_DISK_RESERVE: "900000 GiB" });
    const { status, text, headers } = await hosting.put(MAIN, payload);
    expect([status, headers.get("retry-after")]).toEqual([507, "60"]);
    expect(text).toContain("there is no room for it: 0 bytes may still be written (TURNOUT_DISK_RESERVE stays free)");
  });
});

describe("a file of another kind of package", () => {
  it("may be anything, of any length that is not said, with a name that stands in an address", async () => {
    const id = await hosting.server.release("5000.0.0", {
      type: 4,
      filename: "app.tar",
      ...{ size: null, hash: null, flatcar_action: null, channels_blacklist: [] },
      extra_files: [{ name: "what?.txt" }],
    });
    const other = new Hosting(hosting.server, id);
    expect((await other.put("app.tar", Buffer.from("anything"))).status).toBe(200);
    expect((await other.put("app.tar", Buffer.alloc(0))).text).toContain("is empty");
    const endless = await other.put("app.tar", Buffer.from("x"), { "Content-Range": `bytes 0-0/${2 ** 49}` });
    expect([endless.status, endless.text]).toEqual([
      413,
      expect.stringContaining("can't have more than 68719476736 bytes"),
    ]);
    const named = await other.put("what%3f.txt", Buffer.from("x"));
    expect([named.status, named.text]).toEqual([409, expect.stringContaining("letters, digits")]);
    expect(await other.states()).toEqual({ "app.tar": "hosted", "what?.txt": "missing" });
  });
});

describe("with a payload key", () => {
  const [ours, theirs] = [aKey(), aKey()];
  const setKey = (pem: string) => hosting.server.api("PUT", `/apps/${FLATCAR}/payload-key`, { public_key: pem });

  it("only what it has signed is taken, OEM images too; the rest is kept out", async () => {
    await setKey(ours.pem);
    const unsigned = await hosting.put(MAIN, payload);
    expect([unsigned.status, unsigned.text]).toEqual([422, expect.stringContaining("has no signature")]);
    const foreign = aPayload("foreign", 4, { keys: [theirs] });
    const good = aPayload("good", 4, { keys: [theirs, ours] });
    const image = aPayload("image", 4, { keys: [ours] });
    const id = await hosting.server.release("5000.0.0", {
      ...described(good),
      extra_files: [extraFile(OEM, image), extraFile("flatcar-zfs.gz", foreign)],
    });
    const signed = new Hosting(hosting.server, id);
    expect((await signed.put(MAIN, good)).status).toBe(200);
    expect((await signed.put(OEM, image)).status).toBe(200);
    expect((await signed.put("flatcar-zfs.gz", foreign)).text).toContain("none of its signatures");
    expect(await hosting.server.omaha(checks())).not.toContain("/payloads/");
  });

  it("that is none is refused, one that is there is shown, and can be taken away", async () => {
    await expect(setKey("key")).rejects.toThrow(
      "public_key: this is no public key; write an RSA public key of 2048 bits",
    );
    await setKey(`\n${ours.pem.trim()}\n\n`);
    expect(await hosting.server.api("GET", `/apps/${FLATCAR}/payload-key`)).toEqual({ public_key: ours.pem });
    await hosting.server.api("DELETE", `/apps/${FLATCAR}/payload-key`);
    await expect(hosting.server.api("GET", `/apps/${FLATCAR}/payload-key`)).rejects.toThrow("404");
    expect((await hosting.put(MAIN, payload)).status).toBe(200);
  });
});

describe("a power cut", () => {
  it("in the middle of an upload loses nothing of it: it goes on where it was", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "turnout-cut-"));
    const environment = { TURNOUT_DISK_RESERVE: "0" };
    const first = await aProcess(dataDir, environment);
    const api = apiClient(first.url);
    const id = await release(api, VERSION, { ...described(payload), extra_files: [] });
    const path = `/api/apps/${FLATCAR}/packages/${id}/files/${MAIN}`;
    const socket = connect(Number(new URL(first.url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(
      `PUT ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: ${size}\r\n\r\n`,
    );
    socket.write(payload.subarray(0, 100_000));
    await expect
      .poll(async () => (await api<{ received: number }>("GET", `${path.slice(4)}/upload`)).received)
      .toBe(100_000);
    first.child.kill("SIGKILL");
    await first.ended;
    const second = await aProcess(dataDir, environment);
    try {
      const rest = await fetch(`${second.url}${path}`, {
        method: "PUT",
        headers: {
          "Content-Type": "application/octet-stream",
          "Content-Range": `bytes 100000-${size - 1}/${size}`,
        },
        body: payload.subarray(100_000),
      });
      expect(rest.status).toBe(200);
      const file = await get(`${second.url}/payloads/${FLATCAR}/amd64/${VERSION}/${MAIN}`);
      expect(file.body.equals(payload)).toBe(true);
    } finally {
      second.child.kill("SIGKILL");
      await second.ended;
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});

describe("a full disk", () => {
  it.skipIf(!canHaveSmallDisks)("stops the upload with a word, and never a check-in", async () => {
    const disk = smallDisk(16);
    onTestFinished(() => disk.remove());
    const small = await aHosting({ TURNOUT_DISK_RESERVE: "0" }, {}, { dataDir: disk.dataDir });
    try {
      const id = await small.server.release("6000.0.0", {
        type: 4,
        filename: "large.bin",
        ...{ size: null, hash: null, flatcar_action: null },
      });
      const large = new Hosting(small.server, id);
      // Its length is not said, so that nobody can say before that it is too much.
      const stream = (megabytes: number) => {
        let left = megabytes;
        return new ReadableStream<Uint8Array>({
          pull(controller) {
            if (left-- > 0) controller.enqueue(Buffer.alloc(1 << 20, "x"));
            else controller.close();
          },
        });
      };
      const full = await large.put("large.bin", stream(30));
      expect([full.status, full.text]).toEqual([507, expect.stringContaining("the disk is full")]);
      expect(await small.server.omaha(checks({ version: "6000.0.0" }))).toContain("noupdate");
      expect(readdirSync(folder("uploads", small))).toEqual([]);
      expect((await large.put("large.bin", stream(2))).status).toBe(200);
    } finally {
      await small.server.close();
    }
  });
});
