/** Files that an upstream says are in several places: what one has not, or has wrong, comes from the next. */
import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FLATCAR } from "../e2e/turnout.ts";
import { aPayload } from "../payloads/build.ts";
import { aFollower, answerOf, aServer, aVersion, type Handmade, handmade, MAIN, manifestOf, OEM } from "./world.ts";

const one = aVersion("4230.2.1", 64);
const file = `${one.version}/${MAIN}`;
const larger = Buffer.concat([one.payload, Buffer.alloc(1000)]);
const other = aPayload("another", 64);
const flipped = Buffer.from(one.payload);
flipped[5000] = (flipped[5000] ?? 0) ^ 1;

describe("a file that two places have", () => {
  /** The first place is asked first. */
  async function twoPlaces(first: Buffer | Parameters<Handmade["files"]["set"]>[1], second: Buffer) {
    const upstream = await handmade();
    const codebase = `${upstream.url}/files/${one.version}/`;
    upstream.answer = answerOf(codebase, manifestOf(one), [`${upstream.url}/files/other/`]);
    upstream.files.set(file, first);
    upstream.files.set(`other/${MAIN}`, second);
    upstream.files.set(`other/${OEM}`, one.oem);
    return { upstream, site: await aFollower(upstream.omaha) };
  }

  it.each<readonly [string, Parameters<Handmade["files"]["set"]>[1], string]>([
    ["has other bytes", flipped, ""],
    ["has a page of the same length", Buffer.alloc(one.payload.length, "<html>"), ""],
    ["sends more than it should", (_, response) => void response.writeHead(200).end(larger), ""],
    ["does not have it", (_, response) => void response.writeHead(404).end(), ""],
    [
      "breaks off",
      (_, response) => {
        response.writeHead(200, { "Content-Length": one.payload.length });
        response.write(one.payload.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
      },
      " bytes=100000-",
    ],
  ])("comes from the second when the first %s", async (_, first, range) => {
    const { upstream, site } = await twoPlaces(first, one.payload);
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
    expect(upstream.fetched.filter((asked) => asked.includes(MAIN))).toEqual([file, `other/${MAIN}${range}`]);
  });

  it("begins anew at the second where the first broke off after wrong bytes", async () => {
    const breaksOff: Parameters<Handmade["files"]["set"]>[1] = (_, response) => {
      response.writeHead(200, { "Content-Length": one.payload.length });
      response.write(flipped.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
    };
    const { upstream, site } = await twoPlaces(breaksOff, one.payload);
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
    expect(upstream.fetched.filter((asked) => asked.startsWith("other") && asked.includes(MAIN))).toEqual([
      `other/${MAIN} bytes=100000-`,
      `other/${MAIN}`,
    ]);
  });

  it("is kept out when both are wrong, and it is said of both", async () => {
    const { site } = await twoPlaces(flipped, other.subarray(0, one.payload.length));
    const { last_error: error } = await site.sync();
    expect(error?.match(/http:\S+: \S+ has the SHA-256 [\da-f]{64}; its package says/g)).toHaveLength(2);
    expect(await site.version()).toBeNull();
  });

  it("is asked for once when it has the right bytes, and they are not signed: until there is another key", async () => {
    const { upstream, site } = await twoPlaces(one.payload, one.payload);
    const another = () => {
      const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
      const pem = publicKey.export({ type: "spki", format: "pem" });
      return site.server.api("PUT", `/apps/${FLATCAR}/payload-key`, { public_key: pem });
    };
    await another();
    const { last_error: error } = await site.sync();
    expect(error).toContain("it has no signature");
    expect(await site.check()).toMatchObject({ last_error: error, consecutive_failures: 2 });
    expect(upstream.fetched).toEqual([file]);
    await another();
    expect((await site.check()).last_error).toBe(error);
    expect(upstream.fetched).toEqual([file, file]);
    await site.server.api("DELETE", `/apps/${FLATCAR}/payload-key`);
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  });
});

it("no place is asked when there is no room for the file", async () => {
  const upstream = await handmade();
  upstream.offer(one);
  const site = await aFollower(upstream.omaha, {}, await aServer({ TURNOUT_DISK_RESERVE: "1000TiB" }));
  expect((await site.sync()).last_error).toContain("there is no room for it");
  expect(upstream.fetched).toEqual([]);
});
