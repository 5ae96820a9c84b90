/** A server that follows Flatcar's bare layout: on a web server, with real payloads. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { aFolder } from "../afterwards.ts";
import { asking } from "../cli/asking.ts";
import { FLATCAR } from "../e2e/turnout.ts";
import { aKey } from "../payloads/build.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { BareLayout, served, versionText, type WebServer } from "./bare-layout.ts";
import { aFollower, aServer, Follower, fileStates, MAIN, OEM, packagesOf } from "./world.ts";

const VERSION = "4230.2.1";
const PAGE = readFileSync(new URL("../../docs/releases.md", import.meta.url), "utf8");

async function aSite(changes: Record<string, unknown> = {}, server?: Awaited<ReturnType<typeof aServer>>) {
  const layout = new BareLayout();
  layout.release(VERSION);
  const web = await served(layout);
  const site = await aFollower(web.url, { kind: "plain", ...changes }, server);
  return { layout, web, site };
}

/** Half of the payload, and then nothing more. */
function breakOff(web: WebServer, content: Buffer): void {
  web.instead.set(`${VERSION}/${MAIN}`, (request, response) => {
    response.writeHead(200, { "Content-Length": content.length });
    if (request.method === "HEAD") return void response.end();
    response.write(content.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
  });
}

describe("a server that follows the bare layout on a web server", () => {
  it("brings in what is current with all its files, and moves the channel; asks little when nothing is new; never goes back", async () => {
    const { layout, web, site } = await aSite();
    expect(await site.sync()).toMatchObject({
      last_error: null,
      held_back: null,
      moved_to: VERSION,
      found: { target: VERSION, floors: [], incomplete: [] },
    });
    expect(await site.version()).toBe(VERSION);
    const { [VERSION]: here } = await packagesOf(site.server);
    expect(here).toMatchObject({ url: `${web.url}/amd64-usr/${VERSION}/`, filename: MAIN });
    expect(await fileStates(site.server, here?.id)).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });

    web.asked.length = 0;
    expect(await site.check()).toMatchObject({ last_error: null, found: { target: null } });
    expect(web.asked).toEqual(["GET current/version.txt"]);

    layout.release("4230.2.2");
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.2" });
    layout.write("current", "version.txt", versionText(VERSION));
    expect(await site.check()).toMatchObject({
      last_error: null,
      held_back: `upstream goes back to ${VERSION}; a channel that has 4230.2.2 is never moved down by itself`,
    });
    expect(await site.version()).toBe("4230.2.2");
  });

  it("moves from one nightly to the next where their builds count, and says so where they don't", async () => {
    const [older, newer] = ["4845.0.0+nightly-20261006-2100", "4845.0.0+nightly-20261007-2100"];
    const { layout, site } = await aSite();
    layout.release(older);
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: older });
    layout.release(newer);
    expect(await site.check()).toMatchObject({
      last_error: null,
      held_back:
        `upstream leads to ${newer}, which counts as the same version as ${older}: they differ in build metadata only; ` +
        "the application's build_metadata: order has it tell them apart",
    });
    const app = await site.server.api("GET", `/apps/${FLATCAR}`);
    await site.server.api("PUT", `/apps/${FLATCAR}`, { ...app, build_metadata: "order" });
    expect(await site.check()).toMatchObject({ last_error: null, held_back: null, moved_to: newer });
    layout.write("current", "version.txt", versionText(older));
    expect((await site.check()).held_back).toContain("never moved down by itself");
  });

  it("takes what lacks a file or a digest for incomplete, says which, and offers nothing of it", async () => {
    const { layout, web, site } = await aSite();
    const sums = (name: string) => `${"ab".repeat(32)}  ${name}\n`;
    const zeros = "0".repeat(64);
    const cases: readonly [string, string | null, string][] = [
      [OEM, null, `${OEM} is missing`],
      [OEM, "", `${OEM} is empty`],
      [MAIN, null, `${MAIN} is missing`],
      [`${OEM}.sha256`, null, `nothing says which SHA-256 ${OEM} has`],
      [`${OEM}.sha256`, "<html>not found</html>", `${OEM}.sha256 has lines that are no digests`],
      [`${OEM}.sha256`, "", `${OEM}.sha256 is there, and says nothing of ${OEM}`],
      [`${OEM}.DIGESTS`, "<html>not found</html>", `${OEM}.DIGESTS has lines that are no digests`],
      ["SHA256SUMS", "<html>not found</html>", "SHA256SUMS has lines that are no digests"],
      ["SHA256SUMS", "", "SHA256SUMS is there, and says nothing"],
      [`${MAIN}.sha256`, null, `nothing says which SHA-256 ${MAIN} has`],
      [`${OEM}.DIGESTS`, `# SHA256 HASH\n${zeros}  ${OEM}\n`, `${OEM}.sha256 and ${OEM}.DIGESTS name different hashes`],
      ["SHA256SUMS", sums("flatcar-podman.gz"), "flatcar-podman.gz is missing"],
      [
        "SHA256SUMS",
        sums("../../../oem-azure.gz"),
        'SHA256SUMS names "../../../oem-azure.gz", which is not in its folder',
      ],
      ["version.txt", versionText("4230.2.9"), "its version.txt says that it is 4230.2.9"],
      ["version.txt", versionText(VERSION, "arm64-usr"), "its version.txt says that it is of arm64-usr"],
    ];
    for (const [name, content, why] of cases) {
      const before = existing(layout.path(VERSION, name));
      if (content === null) rmSync(layout.path(VERSION, name));
      else layout.write(VERSION, name, content);
      const { last_error: error, found } = await site.check();
      expect(error).toContain(`${VERSION} can't be offered: ${why}`);
      expect(found).toMatchObject({ target: null, incomplete: [{ version: VERSION }] });
      if (before === null) rmSync(layout.path(VERSION, name));
      else writeFileSync(layout.path(VERSION, name), before);
    }
    // An empty file has no first byte.
    web.instead.set(`${VERSION}/${OEM}`, ({ method }, response) => void response.writeHead(method === "HEAD" ? 200 : 416, { "Content-Length": 0 }).end()); // biome-ignore format: one line
    expect((await site.check()).last_error).toContain(`${VERSION} can't be offered: ${OEM} is empty`);
    web.instead.clear();
    web.listsFolders = false;
    expect((await site.check()).last_error).toContain("nothing says which OEM images and extensions it has");
    layout.write(VERSION, "SHA256SUMS", sums("flatcar-podman.gz"));
    expect((await site.check()).last_error).toContain(`SHA256SUMS does not name ${MAIN}`);
    expect(await packagesOf(site.server)).toEqual({});
    expect(web.asked.filter((one) => one.startsWith("GET") && one.endsWith(".gz"))).toEqual([]);

    // What the web server does not list, SHA256SUMS may.
    const [, line = ""] = /^(cd amd64-usr.*sha256sum .*)$/m.exec(PAGE) ?? [];
    execFileSync("sh", ["-ec", line], { cwd: layout.folder });
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: VERSION });
  });

  it("says so when nothing tells which version is current", async () => {
    const { layout, web, site } = await aSite();
    for (const [text, why] of [
      ["<html>", "names no version; it needs a line such as FLATCAR_VERSION=4230.2.1"],
      [versionText("../../etc"), "names no version"],
      [versionText(VERSION, "arm64-usr"), "version.txt says that it is of arm64-usr"],
      ["x".repeat(100_000), "answers more than 65536 bytes"],
    ] as const) {
      layout.write("current", "version.txt", text);
      expect((await site.check()).last_error).toContain(why);
    }
    web.instead.set("current/version.txt", (_, response) => void response.writeHead(503).end());
    expect((await site.check()).last_error).toMatch(/current\/version\.txt answers 503$/);
    // Forbidden may mean that it is not there, or that it can't be read just now: then the newest may not be what is current.
    layout.release("4593.2.0");
    layout.write("current", "version.txt", versionText(VERSION));
    web.instead.set("current/version.txt", (_, response) => void response.writeHead(403).end());
    expect((await site.check()).last_error).toMatch(/amd64-usr\/current has no version\.txt$/);
    expect(await site.version()).toBeNull();
    rmSync(layout.path("4593.2.0"), { recursive: true });
    web.instead.clear();
    rmSync(layout.path("current"), { recursive: true });
    web.listsFolders = false;
    expect((await site.check()).last_error).toMatch(/^there is no .*, and .*amd64-usr lists no versions$/);
    web.listsFolders = true;
    layout.write("4081.2.0", "version.txt", versionText("4081.2.0"));
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: VERSION });
  });

  it("keeps out a file that is not what its digest says, or ends early, and moves nothing", async () => {
    const { layout, web, site } = await aSite();
    const content = readFileSync(layout.path(VERSION, MAIN));
    const damaged = Buffer.from(content);
    damaged[5_000] = (damaged[5_000] ?? 0) ^ 1;
    layout.write(VERSION, MAIN, damaged);
    expect((await site.sync()).last_error).toMatch(/has the SHA-256 [\da-f]{64}; its package says/);
    expect(await site.version()).toBeNull();
    layout.write(VERSION, MAIN, content);
    web.instead.set(`${VERSION}/${MAIN}`, (request, response) => {
      // Shorter than when it was asked how long it is.
      if (request.method === "HEAD") response.writeHead(200, { "Content-Length": content.length }).end();
      else response.end(content.subarray(0, 100_000));
    });
    expect((await site.check()).last_error).toContain(`broke off after 100000 of ${content.length} bytes`);
    expect(await site.version()).toBeNull();
    web.instead.clear();
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: VERSION });
  });

  it("looks at SHA-512, too, where a file has it", async () => {
    const { layout, site } = await aSite();
    const content = readFileSync(layout.path(VERSION, OEM));
    const write = (bytes: Buffer) => {
      const digest = createHash("sha512").update(bytes).digest("hex");
      layout.write(VERSION, `${OEM}.DIGESTS`, `# SHA512 HASH\n${digest}  ${OEM}\n`);
    };
    write(Buffer.from("another"));
    expect((await site.sync()).last_error).toMatch(/oem-azure\.gz has the SHA-512 [\da-f]{128}; its digests say /);
    expect(await site.version()).toBeNull();
    write(content);
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: VERSION });
  });

  it("goes on where it was after the server has gone away in the middle", async () => {
    const dataDir = aFolder();
    const clock = new VirtualClock();
    const before = await aServer({}, { dataDir, clock });
    const { layout, web, site } = await aSite({}, before);
    breakOff(web, readFileSync(layout.path(VERSION, MAIN)));
    expect((await site.sync()).last_error).toContain(MAIN);
    await before.close();

    web.instead.clear();
    const after = new Follower(await aServer({}, { dataDir, clock }), site.id);
    expect(await after.check()).toMatchObject({ last_error: null, moved_to: VERSION });
    expect(web.asked).toContain(`GET ${VERSION}/${MAIN} bytes=100000-`);
  });

  it("verifies signatures where the application has a payload key: digests of the same server prove nothing", async () => {
    const key = aKey();
    const { layout, site } = await aSite();
    await site.server.api("PUT", `/apps/${FLATCAR}/payload-key`, { public_key: key.pem });
    expect((await site.sync()).last_error).toContain("it has no signature, and the application has a payload key");
    layout.release("4230.2.2", [aKey()]);
    expect((await site.check()).last_error).toContain("none of its signatures is by the application's payload key");
    expect(await site.version()).toBeNull();
    layout.release("4230.2.3", [key]);
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.3" });
  });

  it("keeps to the policy, pins and ages that all upstreams have", async () => {
    const layout = new BareLayout();
    layout.release(VERSION);
    const [web, server] = [await served(layout), await aServer()];
    const [, command = ""] = /^```sh plain\nturnout (.*)\n```$/m.exec(PAGE) ?? [];
    const args = command.replace(/https:\S+/, web.url).split(" ");
    const more = ["--policy", "import-only", "--up-to", VERSION, "--private-addresses", "on"];
    const site = new Follower(server, (await asking(() => server.url).json(...args, ...more)).id);
    expect((await site.sync()).held_back).toContain("by the policy, a person moves the channel");
    await site.set({ policy: "follow", min_age: "3d" });
    expect((await site.sync()).held_back).toContain(`${VERSION} is too young`);
    site.server.clock.move({ hours: 73 });
    expect(await site.sync()).toMatchObject({ held_back: null, moved_to: VERSION });
    layout.release("4230.2.2");
    expect((await site.check()).held_back).toBe(`4230.2.2 is beyond ${VERSION}, the pinned one`);
    expect(Object.keys(await packagesOf(site.server))).toEqual([VERSION]);
  });

  it("may leave the files there, and is led to no private address", async () => {
    const { web, site } = await aSite({ download: false });
    await site.sync();
    expect(await site.version()).toBe(VERSION);
    const { [VERSION]: here } = await packagesOf(site.server);
    expect(await fileStates(site.server, here?.id)).toEqual({ [MAIN]: "missing", [OEM]: "missing" });
    expect(web.asked.filter((one) => one === `GET ${VERSION}/${MAIN}`)).toEqual([]);

    const resolve = async () => [{ address: "127.0.0.1", family: 4 }];
    const server = await aServer({}, { sync: { resolve } });
    const { port } = new URL(web.url);
    const away = { kind: "plain", private_addresses: false };
    const other = await aFollower(`http://files.example.org:${port}/flatcar`, away, server);
    expect((await other.sync()).last_error).toContain("files.example.org (127.0.0.1) is no target");
  });
});

function existing(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch {
    return null;
  }
}
