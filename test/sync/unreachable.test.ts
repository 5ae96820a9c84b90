/** Upstreams that can't be talked to: each is told of in words. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TIMEOUTS } from "../../src/sync/http.ts";
import { aFolder, afterwards } from "../afterwards.ts";
import { aFollower, aServer, handmade, NO_UPDATE } from "./world.ts";

/** For ever, a little at a time. */
function trickle(socket: Socket): void {
  socket.write("HTTP/1.1 200 OK\r\n\r\n");
  const drops = setInterval(() => socket.write("<"), 50);
  socket.on("close", () => clearInterval(drops));
}

describe("an upstream", () => {
  it.each<readonly [string, ((socket: Socket) => unknown) | null, string]>([
    ["is not there", null, "nobody takes connections there (ECONNREFUSED)"],
    ["hangs up", (socket) => socket.end(), "the connection broke off (UND_ERR_SOCKET)"],
    ["is silent", () => {}, "no answer began in time (UND_ERR_HEADERS_TIMEOUT)"],
    ["stalls", (socket) => socket.write("HTTP/1.1 200 OK\r\n\r\n<"), "nothing more came for too long"],
    ["trickles", trickle, "it took too long"],
    ["speaks something else", (socket) => socket.write("220 mail.example.org\r\n"), "does not match the HTTP/1.1"],
  ])("that %s is told of in words", async (_, answer, words) => {
    const server = createTcpServer((socket) => {
      socket.on("error", () => undefined).once("data", () => answer?.(socket));
      afterwards(() => socket.destroy());
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const { port } = server.address() as AddressInfo; // it listens on a port
    afterwards(() => server.close());
    if (answer === null) server.close();
    const timeouts = {
      ...TIMEOUTS,
      idleMs: answer === trickle ? 60_000 : 500,
      answerMs: answer === trickle ? 500 : 60_000,
    };
    const site = await aFollower(`http://127.0.0.1:${port}/v1/`, {}, await aServer({}, { sync: { timeouts } }));
    const { last_error: error } = await site.sync();
    expect(error).toContain(`http://127.0.0.1:${port}/v1/: `);
    expect(error).toContain(words);
  });

  it("whose certificate nobody vouches for is not asked, and it is said what would help", async () => {
    const folder = aFolder();
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"];
    execFileSync("openssl", [...made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], {
      stdio: "ignore",
    });
    let asked = 0;
    const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_, response) => {
      asked += 1;
      response.end(NO_UPDATE);
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    afterwards(() => server.close());
    const { port } = server.address() as AddressInfo; // it listens on a port
    const site = await aFollower(`https://127.0.0.1:${port}/`);
    expect((await site.sync()).last_error).toMatch(
      /its certificate is by no known authority: NODE_EXTRA_CA_CERTS adds/,
    );
    expect(asked).toBe(0);
  });

  it("that speaks no TLS is told of on one line", async () => {
    const upstream = await handmade();
    const url = upstream.omaha.replace("http:", "https:");
    expect((await (await aFollower(url)).sync()).last_error).toBe(
      `${url}: it does not speak TLS there: is it http:// rather than https://? (ERR_SSL_WRONG_VERSION_NUMBER)`,
    );
  });

  it.each([
    ["hangs up", "", "the connection broke off (ECONNRESET)"],
    ["refuses", "HTTP/1.1 403 Forbidden\r\n\r\n", "it answers 403"],
  ])("behind a proxy that %s is not asked again and again", async (_, answer, why) => {
    let asked = 0;
    const proxy = createServer();
    proxy.on("connect", (_request, socket) => {
      asked += 1;
      socket.end(answer);
    });
    await new Promise<void>((listening) => proxy.listen(0, "127.0.0.1", listening));
    afterwards(() => proxy.close());
    const { port } = proxy.address() as AddressInfo;
    const server = await aServer({ TURNOUT_SYNC_PROXY: `http://127.0.0.1:${port}` });
    const site = await aFollower("https://updates.example.org/", { private_addresses: false }, server);
    expect((await site.sync()).last_error).toBe(
      `https://updates.example.org/: the proxy 127.0.0.1:${port} does not lead to updates.example.org:443: ${why}`,
    );
    expect(asked).toBe(1);
  });
});
