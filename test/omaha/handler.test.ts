import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import express from "express";
import { describe, expect, it } from "vitest";
import { type OmahaOptions, omahaHandler, Unavailable } from "../../src/omaha/handler.ts";
import type { AppRequest } from "../../src/omaha/request.ts";
import type { AppAnswer } from "../../src/omaha/response.ts";
import { afterwards } from "../afterwards.ts";
import { readStrictly } from "../clients/strict.ts";
import { sampleRequest } from "./samples.ts";

const SAMPLE = sampleRequest("02-ue-check-noupdate");
const LIMIT = 64 * 1024;

const noUpdates = async (apps: readonly AppRequest[]): Promise<readonly AppAnswer[]> =>
  apps.map(({ appId, ping, updateCheck, events }) => ({
    appId,
    status: "ok",
    ping,
    updateCheck: updateCheck ? { offer: null, pollIntervalSeconds: null } : null,
    events: events.length,
  }));

async function listening(changes: Partial<OmahaOptions> = {}, trustProxy = false) {
  const refused: [status: number, reason: string, ip: string][] = [];
  const faults: unknown[] = [];
  const asked: { apps: readonly AppRequest[]; ip: string }[] = [];
  const app = express();
  app.set("trust proxy", trustProxy);
  app.all(
    "/v1/update",
    omahaHandler({
      async answer(apps, ip) {
        asked.push({ apps, ip });
        return noUpdates(apps);
      },
      now: () => 0,
      onRefused: (...how) => refused.push(how),
      onFault: (error) => faults.push(error),
      ...changes,
    }),
  );
  const server = createServer(app);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  afterwards(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  const { port } = server.address() as AddressInfo; // it listens on a port
  const url = `http://127.0.0.1:${port}/v1/update/`;
  const post = (body: string, headers: Record<string, string> = {}) => fetch(url, { method: "POST", body, headers });
  return { port, url, post, refused, faults, asked, server };
}

/** A connection of our own, for what no HTTP client would do. */
function rawSocket(port: number) {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  const closed = new Promise<void>((done) => socket.once("close", () => done()));
  socket.on("error", () => {});
  const waiting: { text: string; done: () => void }[] = [];
  socket.on("data", (chunk) => {
    received += chunk;
    for (const { text, done } of waiting) if (received.includes(text)) done();
  });
  afterwards(() => socket.destroy());
  return {
    socket,
    closed,
    received: () => received,
    until: (text: string) =>
      new Promise<void>((done) => {
        if (received.includes(text)) done();
        else waiting.push({ text, done });
      }),
  };
}
const post = (headers: string) => `POST /v1/update/ HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n`;

describe("a check", () => {
  it("is answered as XML with its length, and nothing that costs time", async () => {
    const { post, asked } = await listening();
    const response = await post(SAMPLE);
    const body = await response.text();
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/xml; charset=utf-8");
    expect(response.headers.get("content-length")).toBe(String(Buffer.byteLength(body)));
    expect(response.headers.get("etag")).toBeNull();
    expect(body).toContain('<updatecheck status="noupdate">');
    readStrictly({ body: SAMPLE }, { status: 200, contentType: response.headers.get("content-type"), body });
    expect(asked).toMatchObject([{ apps: [{ track: "berlin-web" }], ip: "127.0.0.1" }]);
  });

  it("needs no content type, and may have any", async () => {
    const { post, port } = await listening();
    for (const type of ["text/plain", "application/json", "application/xml; charset=utf-16"]) {
      expect((await post(SAMPLE, { "Content-Type": type })).status, type).toBe(200);
    }
    const { socket, until } = rawSocket(port);
    socket.write(post_(SAMPLE));
    await until("</response>");
  });
  const post_ = (body: string) => `${post(`Content-Length: ${Buffer.byteLength(body)}`)}${body}`;

  it("may come in pieces, in chunks, and several over one connection", async () => {
    const { port, asked } = await listening();
    const { socket, until, received } = rawSocket(port);
    const [half, rest] = [SAMPLE.slice(0, 300), SAMPLE.slice(300)];
    socket.write(post(`Content-Length: ${SAMPLE.length}`));
    socket.write(half);
    await new Promise((turn) => setImmediate(turn));
    expect(received()).toBe("");
    socket.write(rest);
    await until("</response>");
    socket.write(post("Transfer-Encoding: chunked"));
    for (const piece of [half, rest]) socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
    socket.write("0\r\n\r\n");
    await until("</response>HTTP/1.1 200 OK");
    expect(asked).toHaveLength(2);
  });

  it("with an alias beyond ASCII has the right length", async () => {
    const { post } = await listening({
      answer: async () => [{ appId: "ü世😀", status: "ok", ping: true, updateCheck: null, events: 0 }],
    });
    expect(await (await post(SAMPLE)).text()).toContain(
      'appid="ü世😀" status="ok"><ping status="ok"></ping></app></response>',
    );
  });
});

describe("the address of a client", () => {
  it("is that of the connection, unless a proxy is trusted", async () => {
    const header = { "X-Forwarded-For": "::ffff:192.0.2.7" };
    const plain = await listening();
    await plain.post(SAMPLE, header);
    expect(plain.asked[0]?.ip).toBe("127.0.0.1");
    const proxied = await listening({}, true);
    await proxied.post(SAMPLE, header);
    await proxied.post(SAMPLE, { "X-Forwarded-For": "2001:db8::1" });
    expect(proxied.asked.map(({ ip }) => ip)).toEqual(["192.0.2.7", "2001:db8::1"]);
  });
});

describe("what can't be answered", () => {
  it("is refused with one line of text, and reported", async () => {
    const { post, refused, asked } = await listening();
    const response = await post("<request>\n</response>");
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    const text = await response.text();
    expect(text).toBe("not well-formed XML, line 2, column 1: this end tag should be </request>\n");
    expect(refused).toEqual([[400, text.trim(), "127.0.0.1"]]);
    expect((await post("")).status).toBe(400);
    expect(asked).toEqual([]);
  });

  it("by another method than POST is 405", async () => {
    const { url, refused } = await listening();
    for (const method of ["GET", "PUT", "DELETE", "HEAD", "PATCH"]) {
      const response = await fetch(url, { method, ...(method === "PUT" ? { body: SAMPLE } : {}) });
      expect(response.status, method).toBe(405);
      expect(response.headers.get("allow")).toBe("POST");
    }
    expect(refused).toHaveLength(5);
  });

  it("in a content encoding is 415, but identity is none", async () => {
    const { post } = await listening();
    expect((await post(SAMPLE, { "Content-Encoding": "gzip" })).status).toBe(415);
    expect((await post(SAMPLE, { "Content-Encoding": "Identity" })).status).toBe(200);
  });

  it("now is 503 with the time to come back", async () => {
    const { post, faults, refused } = await listening({
      answer: () => Promise.reject(new Unavailable("the disk\nis full", 5)),
    });
    const response = await post(SAMPLE);
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("5");
    expect(await response.text()).toBe("not now: the disk is full\n");
    expect(faults).toEqual([]);
    expect(refused).toMatchObject([[503, "not now: the disk\nis full", "127.0.0.1"]]);
  });

  it("by a mistake of ours is 500, says nothing of it to the client, and all of it to the log", async () => {
    const mistake = new Error("secret detail");
    const { post, faults } = await listening({ answer: () => Promise.reject(mistake) });
    const response = await post(SAMPLE);
    expect(response.status).toBe(500);
    expect(await response.text()).toBe("the server made a mistake with this request; ask again later\n");
    expect(faults).toEqual([mistake]);
  });
});

describe("a body that is too large", () => {
  it("is refused by its announced length, before any of it has come", async () => {
    const { port, refused } = await listening();
    const { socket, until, received, closed } = rawSocket(port);
    socket.write(post(`Content-Length: ${LIMIT + 1}`));
    await until("larger than 65536 bytes");
    expect(received()).toMatch(/^HTTP\/1\.1 413 /);
    expect(received()).toContain("Connection: close");
    expect(refused).toHaveLength(1);
    socket.end();
    await closed;
  });

  it("is refused where the limit is passed, when it announces none", async () => {
    const { port } = await listening();
    const { socket, until, received } = rawSocket(port);
    socket.write(post("Transfer-Encoding: chunked"));
    socket.write(`${LIMIT.toString(16)}\r\n${"x".repeat(LIMIT)}\r\n`);
    await new Promise((turn) => setImmediate(turn));
    expect(received()).toBe("");
    socket.write("1\r\nx\r\n");
    await until("larger than 65536 bytes");
    expect(received()).toMatch(/^HTTP\/1\.1 413 /);
  });

  it("is seen refused by a client that sends all of it first", async () => {
    const { post } = await listening();
    for (let round = 0; round < 20; round += 1) {
      for (const size of [LIMIT + 1, 300_000]) {
        const response = await post("x".repeat(size));
        expect(response.status).toBe(413);
        expect(await response.text()).toBe("the request is larger than 65536 bytes\n");
      }
    }
  });

  it("is cut off when it goes on and on", async () => {
    const { port } = await listening();
    const { socket, closed, until } = rawSocket(port);
    socket.write(post("Transfer-Encoding: chunked"));
    const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
    let open = true;
    void closed.then(() => {
      open = false;
    });
    while (open) await new Promise<void>((sent) => socket.write(chunk, () => setImmediate(sent)));
    await until("413");
    expect(socket.bytesWritten).toBeLessThan(50_000_000);
  });

  it("is taken at the limit itself", async () => {
    const { post } = await listening();
    const [start, end] = ['<request protocol="3.0">', "</request>"];
    expect((await post(start + " ".repeat(LIMIT - start.length - end.length) + end)).status).toBe(200);
  });
});

describe("a client that goes away", () => {
  it("in the middle of its request disturbs nobody", async () => {
    const { port, post: send, asked, faults, refused } = await listening();
    for (const part of [0, 10, 300]) {
      const { socket, closed } = rawSocket(port);
      socket.write(`${post(`Content-Length: ${SAMPLE.length}`)}${SAMPLE.slice(0, part)}`);
      await new Promise((turn) => setImmediate(turn));
      socket.resetAndDestroy();
      await closed;
    }
    expect((await send(SAMPLE)).status).toBe(200);
    expect([asked.length, faults.length, refused.length]).toEqual([1, 0, 0]);
  });

  it("before its answer has been heard all the same", async () => {
    let asked = (): void => {};
    let answer = (): void => {};
    const wasAsked = new Promise<void>((done) => {
      asked = done;
    });
    const gate = new Promise<void>((done) => {
      answer = done;
    });
    const {
      port,
      post: send,
      server,
      faults,
    } = await listening({
      async answer(apps) {
        asked();
        await gate;
        return noUpdates(apps);
      },
    });
    const gone = new Promise<void>((done) =>
      server.once("request", (_request, response) => response.once("close", done)),
    );
    const { socket } = rawSocket(port);
    socket.write(`${post(`Content-Length: ${SAMPLE.length}`)}${SAMPLE}`);
    await wasAsked;
    socket.resetAndDestroy();
    await gone;
    answer();
    expect((await send(SAMPLE)).status).toBe(200);
    expect(faults).toEqual([]);
  });

  it("while it is being refused disturbs nobody either", async () => {
    const { port, post: send } = await listening();
    const { socket, until, closed } = rawSocket(port);
    socket.write(post("Content-Length: 1000000"));
    await until("413");
    socket.resetAndDestroy();
    await closed;
    expect((await send(SAMPLE)).status).toBe(200);
  });
});
