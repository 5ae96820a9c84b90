/** A server that follows a directory of its own machine, signed or not. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { aFolder } from "../afterwards.ts";
import { asking } from "../cli/asking.ts";
import { anUpstream, keys, mirrored } from "../mirror/build.ts";
import { BareLayout } from "./bare-layout.ts";
import { aFollower, aServer, Follower, fileStates, MAIN, OEM, packagesOf, versionOf } from "./world.ts";

const VERSION = "4230.2.1";

function aLayout(): BareLayout {
  const layout = new BareLayout();
  layout.release(VERSION);
  return layout;
}

const follows = async (url: string, dirs: string, changes: Record<string, unknown> = {}) =>
  aFollower(url, { kind: "plain", private_addresses: false, ...changes }, await aServer({ TURNOUT_SYNC_DIRS: dirs }));

describe("a server that follows a directory", () => {
  it("in the bare layout brings in what is current; nodes get the files from here alone", async () => {
    const layout = aLayout();
    layout.release("4230.2.2");
    rmSync(layout.path("current"), { recursive: true });
    symlinkSync(VERSION, layout.path("current"));
    const site = await follows(`${layout.url}/`, layout.folder);
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: VERSION });
    const { [VERSION]: here } = await packagesOf(site.server);
    expect(here).toMatchObject({ hosting: "only", filename: MAIN });
    expect(await fileStates(site.server, here?.id)).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });

    // Where nobody says what is current, it is the newest.
    rmSync(layout.path("current"));
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.2" });
    rmSync(layout.path("4230.2.2"), { recursive: true });
    expect((await site.check()).held_back).toContain(`upstream goes back to ${VERSION}`);
  });

  it("that turnout mirror has written believes its signature alone", async () => {
    const [folder, key, upstream] = [aFolder(), keys(), anUpstream()];
    await mirrored(folder, upstream, key);
    const trusting = { TURNOUT_SYNC_DIRS: folder, TURNOUT_MIRROR_KEYS: key.publicFile };
    const server = await aServer(trusting);
    const page = readFileSync(new URL("../../docs/air-gapped.md", import.meta.url), "utf8");
    const [, command = ""] = /^```sh directory\nturnout (.*)\n```$/m.exec(page) ?? [];
    const args = command.replace(/file:\S+/, `file://${folder}`).split(" ");
    const site = new Follower(server, (await asking(() => server.url).json(...args)).id);
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: VERSION, found: { floors: ["4081.2.0"] } });
    expect((await packagesOf(site.server))[VERSION]).toMatchObject({ hosting: "only" });
    upstream.release("4230.2.2");
    upstream.channels.set("stable (amd64)", { version: "4230.2.2" });
    await mirrored(folder, upstream, key);
    truncateSync(join(folder, "amd64-usr/4230.2.2", MAIN), 30_000);
    expect((await site.check()).last_error).toMatch(/has 30000 bytes; \d+ are expected$/);
    await mirrored(folder, upstream, key);
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.2" });
    rmSync(join(folder, "turnout-mirror.json"));
    expect((await site.check()).last_error).toMatch(/turnout-mirror\.json is not there/);
  });

  it("must be in what the operator named, whatever its name looks like", async () => {
    const layout = aLayout();
    const server = await aServer({ TURNOUT_SYNC_DIRS: layout.folder });
    const refused: readonly [Record<string, unknown>, RegExp][] = [
      [{ url: "file:///etc" }, /url: must be in a directory that the server's TURNOUT_SYNC_DIRS names, which names \//],
      [{ url: `${layout.url}-other` }, /url: must be in a directory/],
      [{ url: `${layout.url}/../../etc` }, /url: must be in a directory/],
      [{ url: `${layout.url}/%2e%2e/x` }, /url: must be in a directory/],
      [{ url: `${layout.url}/..%2fx` }, /url: must be a directory of the server, with its whole path/],
      [{ url: `${layout.url}/%00` }, /url: must be a directory of the server/],
      [{ url: `file://files.example.org${layout.folder}` }, /url: must be a directory of the server/],
      [{ url: `${layout.url}?x=1` }, /url: must end with its path/],
      [{ kind: "omaha" }, /url: must begin with https:\/\/ or http:\/\//],
      [{ download: false }, /download: must be true/],
    ];
    for (const [changes, why] of refused) {
      await expect(
        aFollower(layout.url, { kind: "plain", ...changes }, server),
        JSON.stringify(changes),
      ).rejects.toThrow(why);
    }
    await expect(aFollower(layout.url, { kind: "plain" })).rejects.toThrow(/TURNOUT_SYNC_DIRS names, which names none/);
    await expect(aServer({ TURNOUT_SYNC_DIRS: "srv/flatcar" })).rejects.toThrow(
      /^TURNOUT_SYNC_DIRS: must be directories/,
    );
  });

  it("is led out of it by no link: of a file, of a folder, of the directory itself, nor by a pipe", async () => {
    const [layout, elsewhere] = [aLayout(), aLayout()];
    const top = aFolder();
    const folder = join(top, "flatcar");
    cpSync(layout.folder, folder, { recursive: true });
    const board = join(folder, "amd64-usr");
    const site = await follows(`file://${folder}`, top);
    const oem = join(board, VERSION, OEM);
    const cases: readonly [string, () => unknown, RegExp][] = [
      [oem, () => symlinkSync(elsewhere.path(VERSION, OEM), oem), /oem-azure\.gz leads out of the directory/],
      [join(board, VERSION), () => symlinkSync(elsewhere.path(VERSION), join(board, VERSION)), /leads out of the dir/],
      [board, () => symlinkSync(join(elsewhere.folder, "amd64-usr"), board), /version\.txt leads out of the directory/],
      [
        folder,
        () => symlinkSync(elsewhere.folder, folder),
        /leads out of the directories that TURNOUT_SYNC_DIRS names/,
      ],
      [oem, () => symlinkSync(OEM, oem), /oem-azure\.gz can't be read \(ELOOP\)/],
      [oem, () => mkdirSync(oem), /oem-azure\.gz is no file/],
      [oem, () => execFileSync("mkfifo", [oem]), /oem-azure\.gz is no file/],
      [folder, () => writeFileSync(folder, ""), /lists no versions/],
      [folder, () => {}, /there is no directory .*flatcar \(ENOENT\)/],
    ];
    for (const [path, exchange, why] of cases) {
      renameSync(path, join(top, "aside"));
      exchange();
      expect((await site.check()).last_error).toMatch(why);
      rmSync(path, { recursive: true, force: true });
      renameSync(join(top, "aside"), path);
    }
    expect(await versionOf(site.server)).toBeNull();
    expect(await packagesOf(site.server)).toEqual({});
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: VERSION });
  });

  it("is followed no longer when the operator takes it back", async () => {
    const layout = aLayout();
    const dataDir = aFolder();
    const before = await aServer({ TURNOUT_SYNC_DIRS: layout.folder }, { dataDir });
    const { id } = await aFollower(layout.url, { kind: "plain" }, before);
    const { clock } = before;
    await before.close();
    const after = new Follower(await aServer({}, { dataDir, clock }), id);
    expect((await after.check()).last_error).toContain(
      "must be in a directory that the server's TURNOUT_SYNC_DIRS names",
    );
    expect(await versionOf(after.server)).toBeNull();
  });
});
