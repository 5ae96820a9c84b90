import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { createServer, get, type IncomingMessage, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import express from "express";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FileTooShort, sendBytes } from "../../src/payloads/send-bytes.ts";
import { Sendfile } from "../../src/payloads/sendfile.ts";

const content = randomBytes(9 * 2 ** 20 + 17);
const hasSendfile = process.platform === "linux" && ["x64", "arm64"].includes(process.arch);
const descriptors = () => (process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0);

describe.each([
  ["by the kernel", true],
  ["through the process", false],
])("a file sent %s", (_way, sendfile) => {
  let folder: string;
  let path: string;
  let server: Server;
  let port: number;
  let outcomes: (number | Error)[];

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "turnout-send-"));
    path = join(folder, "file");
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    writeFileSync(path, content);
    outcomes = [];
    const app = express();
    app.get("/:start/:end", async (request, response) => {
      const file = await open(path);
      const bytes = { start: Number(request.params.start), end: Number(request.params.end) };
      response.setHeader("Content-Length", bytes.end - bytes.start + 1);
      try {
        outcomes.push(await sendBytes(file, bytes, response, { rate: null, sendfile }));
      } catch (error) {
        outcomes.push(error as Error);
        response.destroy();
      } finally {
        await file.close();
      }
    });
    server = createServer(app);
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    port = (server.address() as AddressInfo).port;
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });

  const fetched = async (start: number, end: number) =>
    Buffer.from(await (await fetch(`http://127.0.0.1:${port}/${start}/${end}`)).arrayBuffer());

  it.each([
    [0, content.length - 1],
    [0, 0],
    [1, 2 ** 16],
    [0, 2 ** 16],
    [5_000_001, 9_000_000],
    [content.length - 100_000, content.length - 1],
  ])("arrives as it is, from byte %i to byte %i", async (start, end) => {
    expect((await fetched(start, end)).equals(content.subarray(start, end + 1))).toBe(true);
    await expect.poll(() => outcomes).toEqual([end - start + 1]);
  });

  it("arrives several times on one connection, each after its own head", async () => {
    const request = `GET /0/${content.length - 1} HTTP/1.1\r\nHost: x\r\n\r\n`;
    const socket = connect(port, "127.0.0.1");
    socket.write(request + request + request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    let rest = Buffer.concat(chunks);
    for (let answer = 0; answer < 3; answer += 1) {
      const head = rest.indexOf("\r\n\r\n") + 4;
      expect(rest.subarray(0, 15).toString()).toBe("HTTP/1.1 200 OK");
      expect(rest.subarray(head, head + content.length).equals(content)).toBe(true);
      rest = rest.subarray(head + content.length);
    }
    expect(rest.length).toBe(0);
  });

  it("waits for a client that reads nothing until the socket is full, and goes on", async () => {
    const answer = await new Promise<IncomingMessage>((came) =>
      get({ port, host: "127.0.0.1", path: `/0/${content.length - 1}`, agent: false }, came),
    );
    const sizes: number[] = [];
    const hash: Buffer[] = [];
    for await (const chunk of answer) {
      sizes.push((chunk as Buffer).length);
      hash.push(chunk as Buffer);
      // Others get their turn between any two pieces, the server among them.
      for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
    }
    expect(sizes.length).toBeGreaterThan(10);
    expect(Buffer.concat(hash).equals(content)).toBe(true);
  });

  it("goes to more clients at once than the kernel is asked for", async () => {
    const ranges = Array.from({ length: 230 }, (_, n) => [n * 1000, n * 1000 + 200_000 + n] as const);
    const all = await Promise.all(ranges.map(([start, end]) => fetched(start, end)));
    for (const [n, bytes] of all.entries()) {
      const [start, end] = ranges[n] ?? [0, 0];
      expect(bytes.equals(content.subarray(start, end + 1)), `number ${n}`).toBe(true);
    }
  });

  it("leaves nothing open when the client goes away in the middle", async () => {
    await fetched(0, content.length - 1); // what is loaded once is
    server.closeIdleConnections();
    const before = descriptors();
    for (let client = 0; client < 20; client += 1) {
      const socket = connect(port, "127.0.0.1");
      socket.write(`GET /0/${content.length - 1} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await new Promise((data) => socket.once("data", data));
      socket.destroy();
    }
    await expect.poll(() => outcomes.length).toBe(21);
    expect(outcomes.slice(1).every((sent) => typeof sent === "number" && sent < content.length)).toBe(true);
    await expect.poll(descriptors).toBeLessThanOrEqual(before);
  });

  it("is given up when it is shorter than was said", async () => {
    truncateSync(path, 4_000_000);
    await expect(fetched(0, content.length - 1)).rejects.toThrow();
    await expect.poll(() => outcomes).toEqual([new FileTooShort(`the file ends at 4000000, not at ${content.length}`)]);
  });
});

describe.runIf(hasSendfile)("the kernel", () => {
  it("is asked on a plain connection, and not on one that is gone, or encrypted", async () => {
    const server = createServer();
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    await new Promise((connected) => socket.once("connect", connected));
    const before = descriptors();
    const way = await Sendfile.to(socket);
    expect(way).not.toBeNull();
    expect(descriptors()).toBe(before + 1);
    way?.close();
    expect(descriptors()).toBe(before);
    expect(await Sendfile.to(Object.assign(socket, { encrypted: true }))).toBeNull();
    socket.destroy();
    expect(await Sendfile.to(socket)).toBeNull();
    expect(await Sendfile.to(null)).toBeNull();
    server.close();
  });
});
