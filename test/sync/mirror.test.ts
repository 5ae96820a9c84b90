/** A server that follows a mirror on a web server. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { signatureOf } from "../../src/mirror/keys.ts";
import { MANIFEST_FILE, SIGNATURE_FILE } from "../../src/mirror/manifest.ts";
import { aFolder, afterwards } from "../afterwards.ts";
import { ran } from "../cli/ran.ts";
import { FLATCAR, STABLE_CHANNEL } from "../e2e/turnout.ts";
import { anUpstream, keys, MAIN, mirrored, OEM, type Upstream } from "../mirror/build.ts";
import { aFollower, aServer, type Follower, fileStates, packagesOf, versionOf } from "./world.ts";

const key = keys(afterAll);
let folder: string;
let upstream: Upstream;
/** Before a file of this name is sent. */
let before: (path: string) => void;
let url: string;

beforeEach(async () => {
  folder = aFolder();
  upstream = anUpstream();
  await mirrored(folder, upstream, key);
  before = () => {};
  const server = createServer((request, response) => {
    const path = String(request.url).replace("/flatcar/", "");
    before(path);
    try {
      response.end(readFileSync(join(folder, path)));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  afterwards(() => server.close());
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/flatcar`; // it listens on a port
});

async function follows(trusted = key, changes: Record<string, unknown> = {}): Promise<Follower> {
  return aFollower(url, { kind: "mirror", ...changes }, await aServer({ TURNOUT_MIRROR_KEYS: trusted.publicFile }));
}

describe("a server that follows a mirror", () => {
  it("brings its releases in, sets the floors, and moves the channel", async () => {
    const follower = await follows();
    expect(await follower.sync()).toMatchObject({
      last_error: null,
      moved_to: "4230.2.1",
      found: { target: "4230.2.1", floors: ["4081.2.0"] },
    });
    expect(await follower.version()).toBe("4230.2.1");
    const packages = await packagesOf(follower.server);
    expect(packages["4230.2.1"]).toMatchObject({ url: `${url}/amd64-usr/4230.2.1/`, filename: MAIN });
    for (const { id } of Object.values(packages)) {
      expect(await fileStates(follower.server, id)).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
    }
    expect(await follower.server.api("GET", `/channels/${STABLE_CHANNEL}/floors`)).toMatchObject({
      packages: [{ version: "4081.2.0", floor_reason: "the disk's layout" }],
    });
    expect(await follower.server.api("GET", `/apps/${FLATCAR}/mirrors`)).toMatchObject({
      mirrors: [{ signed_by: key.fingerprint }],
    });
    upstream.release("4230.2.2");
    upstream.channels.set("stable (amd64)", { version: "4230.2.2" });
    await mirrored(folder, upstream, key);
    expect(await follower.check()).toMatchObject({ last_error: null, moved_to: "4230.2.2" });
  });

  it("knows of a floor that is the channel's own release, for when the channel leads beyond it", async () => {
    upstream.channels.set("stable (amd64)", {
      version: "4230.2.1",
      floors: [{ version: "4230.2.1", reason: "cgroups" }],
    });
    await mirrored(folder, upstream, key);
    const follower = await follows();
    expect(await follower.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
    expect(await follower.server.api("GET", `/channels/${STABLE_CHANNEL}/floors`)).toMatchObject({
      packages: [{ version: "4230.2.1", floor_reason: "cgroups" }],
    });
  });

  it("learns of a floor that the release which the channel has became only later", async () => {
    const follower = await follows();
    await follower.sync();
    const asked: string[] = [];
    before = (path) => asked.push(path);
    const floors = [{ version: "4230.2.1", reason: "cgroups" }];
    upstream.channels.set("stable (amd64)", { version: "4230.2.1", floors });
    await mirrored(folder, upstream, key);
    expect(await follower.check()).toMatchObject({ last_error: null, found: { target: null, floors: ["4230.2.1"] } });
    upstream.release("4230.2.2");
    upstream.channels.set("stable (amd64)", { version: "4230.2.2", floors });
    await mirrored(folder, upstream, key);
    expect(await follower.check()).toMatchObject({ last_error: null, moved_to: "4230.2.2" });
    expect(await follower.server.api("GET", `/channels/${STABLE_CHANNEL}/floors`)).toMatchObject({
      packages: [{ version: "4081.2.0" }, { version: "4230.2.1", floor_reason: "cgroups" }],
    });
    expect(asked.filter((path) => path.includes("/4230.2.1/"))).toEqual([]);
  });

  it("is set up by the command in docs/air-gapped.md", async () => {
    const text = readFileSync(new URL("../../docs/air-gapped.md", import.meta.url), "utf8");
    const [, command = ""] = /^```sh upstream\nturnout (.*)\n```$/m.exec(text) ?? [];
    const args = command.replace(/http:\S+/, url).split(" ");
    const server = await aServer({ TURNOUT_MIRROR_KEYS: key.publicFile });
    expect(await ran(args, { TURNOUT_SERVER: server.url })).toMatchObject({ code: 0, err: "" });
    await server.turnout.syncing.idle();
    await server.turnout.syncing.run();
    expect(await versionOf(server)).toBe("4230.2.1");
  });

  it.each([
    ["whose key it doesn't know", async () => follows(keys()), "is signed by none of the trusted keys"],
    [
      "while it trusts none",
      async () => aFollower(url, { kind: "mirror" }),
      "name its public key in TURNOUT_MIRROR_KEYS",
    ],
    [
      "that has no such channel",
      async () => follows(key, { track: "beta" }),
      "no channel beta (amd64); it has stable (amd64)",
    ],
  ])("takes nothing of one %s", async (_what, follow, message) => {
    const follower = await follow();
    expect((await follower.sync()).last_error).toContain(message);
    expect(await packagesOf(follower.server)).toEqual({});
  });

  it("takes no file that is not what was signed, and moves nothing", async () => {
    const content = readFileSync(join(folder, "amd64-usr/4230.2.1", OEM));
    content[200] = (content[200] ?? 0) ^ 1;
    writeFileSync(join(folder, "amd64-usr/4230.2.1", OEM), content);
    const follower = await follows();
    expect((await follower.sync()).last_error).toContain(`${OEM} has the SHA-256`);
    expect(await follower.version()).toBeNull();
  });

  it("does not take an older state of it for news", async () => {
    const old = aFolder();
    cpSync(folder, old, { recursive: true });
    upstream.release("4230.2.2");
    upstream.channels.set("stable (amd64)", { version: "4230.2.2" });
    await mirrored(folder, upstream, key);
    const follower = await follows();
    await follower.sync();
    cpSync(old, folder, { recursive: true });
    expect((await follower.check()).last_error).toContain("it was imported already as it was at");
    expect(await follower.version()).toBe("4230.2.2");
  });

  it("takes no second manifest of one moment, though its key has signed it", async () => {
    const follower = await follows();
    await follower.sync();
    const text = readFileSync(join(folder, MANIFEST_FILE), "utf8").replace("the disk's layout", "nothing");
    writeFileSync(join(folder, MANIFEST_FILE), text);
    writeFileSync(join(folder, SIGNATURE_FILE), `${signatureOf(Buffer.from(text), key)}\n`);
    expect((await follower.check()).last_error).toContain("two different manifests of this mirror");
  });

  it("takes none of another application's", async () => {
    const other = aFolder();
    await mirrored(other, upstream, key, { application: "io.example.other" });
    for (const name of [MANIFEST_FILE, SIGNATURE_FILE]) cpSync(join(other, name), join(folder, name));
    const follower = await follows();
    expect((await follower.sync()).last_error).toContain("it is a mirror of the application io.example.other");
    expect(await packagesOf(follower.server)).toEqual({});
  });

  it("asks once more when the mirror is written anew between its two files", async () => {
    const later = aFolder();
    cpSync(folder, later, { recursive: true });
    upstream.channels.set("stable (amd64)", { version: "4230.2.1" });
    await mirrored(later, upstream, key);
    before = (path) => {
      if (path !== MANIFEST_FILE) return;
      before = () => {};
      for (const name of [MANIFEST_FILE, SIGNATURE_FILE]) cpSync(join(later, name), join(folder, name));
    };
    expect(await (await follows()).sync()).toMatchObject({ last_error: null, found: { floors: [] } });
  });

  it("does not start with a key that can't be read", async () => {
    await expect(aServer({ TURNOUT_MIRROR_KEYS: "/nowhere.pem" })).rejects.toThrow(
      "TURNOUT_MIRROR_KEYS: /nowhere.pem can't be read",
    );
  });
});
