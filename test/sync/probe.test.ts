/** Files that stay with the upstream: whether nodes would get them there is asked before a version is offered. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { afterwards } from "../afterwards.ts";
import { FLATCAR } from "../e2e/turnout.ts";
import { described } from "../payloads/build.ts";
import {
  aFollower,
  answerOf,
  aServer,
  aVersion,
  type Follower,
  type Handmade,
  handmade,
  MAIN,
  manifestOf,
  OEM,
  packagesOf,
  send,
} from "./world.ts";

const old = aVersion("4081.2.0");
const one = aVersion("4230.2.1");

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function both(answer?: Answer): Promise<{ upstream: Handmade; site: Follower; asked: string[] }> {
  const upstream = await handmade();
  upstream.offer(old, one);
  const asked: string[] = [];
  const noted = (content: Answer): Answer => {
    return (request, response) => {
      asked.push(`${request.method} ${request.headers.range ?? ""}`.trim());
      content(request, response);
    };
  };
  upstream.files.set(
    `${one.version}/${OEM}`,
    noted(answer ?? ((request, response) => send(one.oem, request, response))),
  );
  return { upstream, site: await aFollower(upstream.omaha, { download: false }), asked };
}

const length = (bytes: number) => ({ "Content-Length": bytes });
const refusesHead = (answer: Answer): Answer => {
  return (request, response) => {
    if (request.method === "HEAD") response.writeHead(405).end();
    else answer(request, response);
  };
};

it("each file of target and floors is asked for once, and none is fetched", async () => {
  const { upstream, site, asked } = await both();
  expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  expect(asked).toEqual(["HEAD"]);
  expect(upstream.fetched).toEqual([
    `${old.version}/${MAIN}`,
    `${old.version}/${OEM}`,
    `${one.version}/${MAIN}`,
    `${one.version}/${OEM}`,
  ]);
});

it.each<readonly [string, Answer]>([
  [
    "knows ranges",
    (_, response) => void response.writeHead(206, { "Content-Range": `bytes 0-0/${one.oem.length}` }).end("C"),
  ],
  ["knows no ranges", (_, response) => void response.writeHead(200, length(one.oem.length)).end(one.oem)],
  ["says no length", (_, response) => void response.writeHead(206, { "Content-Range": "bytes 0-0/*" }).end("C")],
])("a server that refuses HEAD is asked for one byte: one that %s", async (_, answer) => {
  const { site, asked } = await both(refusesHead(answer));
  expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  expect(asked).toEqual(["HEAD", "GET bytes=0-0"]);
});

it.each<readonly [string, Answer, RegExp]>([
  [
    "is not there",
    (_, response) => void response.writeHead(404).end(),
    /^4230\.2\.1: .*oem-azure\.gz, where nodes would get it, answers 404$/,
  ],
  [
    "is an error page of its length",
    (_, response) => void response.writeHead(404, length(one.oem.length)).end(one.oem),
    /answers 404$/,
  ],
  [
    "is shorter",
    (_, response) => void response.writeHead(200, length(5)).end("short"),
    /has 5 bytes; \d+ are expected$/,
  ],
  [
    "is longer, by its range",
    refusesHead((_, response) => void response.writeHead(206, { "Content-Range": "bytes 0-0/9999999" }).end("C")),
    /has 9999999 bytes; \d+ are expected$/,
  ],
])(
  "a version with a file that %s is not offered, and it says so; when it is mended, all is well",
  async (_, answer, why) => {
    const { upstream, site } = await both(answer);
    expect((await site.sync()).last_error).toMatch(why);
    expect(await site.version()).toBeNull();
    expect(Object.keys(await packagesOf(site.server))).toEqual([old.version]);
    upstream.files.set(`${one.version}/${OEM}`, one.oem);
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  },
);

it("is led to no private address by it", async () => {
  const asked: string[] = [];
  const proxy = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    if (request.method === "POST") response.end(answerOf("http://files.example.org/4230.2.1/", manifestOf(one)));
    else response.writeHead(302, { Location: "http://[::ffff:169.254.169.254]/secret" }).end();
  });
  await new Promise<void>((listening) => proxy.listen(0, "127.0.0.1", listening));
  afterwards(() => proxy.close());
  const { port } = proxy.address() as AddressInfo; // it listens on a port
  const server = await aServer({ TURNOUT_SYNC_PROXY: `http://127.0.0.1:${port}` });
  const changes = { download: false, private_addresses: false };
  const site = await aFollower("http://updates.example.org/v1/update/", changes, server);
  expect((await site.sync()).last_error).toContain("::ffff:a9fe:a9fe is no target");
  expect(asked).toEqual([
    "POST http://updates.example.org/v1/update/",
    `HEAD http://files.example.org/4230.2.1/${MAIN}`,
  ]);
  expect(await site.version()).toBeNull();
});

it("a package that a person has given another address is theirs, and not asked for", async () => {
  const { site, asked } = await both((_, response) => void response.writeHead(404).end());
  await site.server.api("POST", `/apps/${FLATCAR}/packages`, {
    type: 1,
    arch: 1,
    version: one.version,
    url: "https://mine.example.org/",
    filename: MAIN,
    ...described(one.payload),
  });
  expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  expect(asked).toEqual([]);
});

it("files that are kept here already are not asked for", async () => {
  const { upstream, site } = await both();
  await site.set({ policy: "import-only", download: true });
  expect((await site.sync()).last_error).toBeNull();
  for (const name of [...upstream.files.keys()]) upstream.files.delete(name);
  await site.set({ policy: "follow", download: false });
  expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
});
