import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { text } from "node:stream/consumers";
import express from "express";
import { expect, it } from "vitest";
import { createHttpServer, DEFAULT_TIMEOUTS } from "../src/server.ts";
import { afterwards } from "./afterwards.ts";

/** A connection to a server that says half of what it has to say, and waits. */
async function aConnection() {
  const app = express();
  app.get("/", (_request, response) => {
    response.setHeader("Content-Length", 8);
    response.write("half");
  });
  const server = createHttpServer(app, new WeakSet(), DEFAULT_TIMEOUTS);
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  afterwards(() => server.close());
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1"); // it listens on a port
  afterwards(() => socket.destroy());
  return socket;
}

it("whoever sends no HTTP is told so", async () => {
  const socket = await aConnection();
  socket.write("nonsense\r\n\r\n");
  expect(await text(socket)).toBe("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
});

it("whoever writes letters into a URL as they are is told how to write them", async () => {
  for (const url of ["/api/apps?filter=tëst", "/api/apps/münchen"]) {
    const socket = await aConnection();
    socket.write(`GET ${url} HTTP/1.1\r\nHost: x\r\n\r\n`);
    const [head = "", body = ""] = (await text(socket)).split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[\s\S]*^Content-Type: application\/problem\+json\r$/m);
    expect(head).toContain(`Content-Length: ${Buffer.byteLength(body)}`);
    const { status, detail, message } = JSON.parse(body);
    expect([status, message]).toEqual([400, detail]);
    expect(detail).toContain('"ü" is "%C3%BC"');
  }
});

it("whoever sends no HTTP in the middle of an answer is cut off: nothing comes into it that is none of it", async () => {
  const socket = await aConnection();
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const [begun] = await once(socket, "data");
  socket.write("nonsense\r\n\r\n");
  expect(`${begun}${await text(socket)}`).toMatch(/\r\n\r\nhalf$/);
});
