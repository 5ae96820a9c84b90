import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Api } from "../../src/cli/api.ts";
import { bring } from "../../src/cli/bring.ts";
import { hashed, releaseFile } from "../../src/cli/release-files.ts";
import { aTurnout, FLATCAR, type TestTurnout } from "../e2e/turnout.ts";
import { aPayload, described, sha256 } from "../payloads/build.ts";
import { get } from "../payloads/hosting.ts";
import { ran } from "./ran.ts";

let server: TestTurnout;
const folder = mkdtempSync(join(tmpdir(), "turnout-add-"));
beforeAll(async () => {
  server = await aTurnout({ TURNOUT_DISK_RESERVE: "0" });
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const MAIN = "flatcar_production_update.gz";
const payload = aPayload("main", 64);
const oem = aPayload("oem", 8);
let number = 0;
let version = "";
let release = "";
beforeEach(() => {
  number += 1;
  version = `4230.2.${number}`;
  release = join(folder, "arm64-usr", version);
  mkdirSync(release, { recursive: true });
  file(MAIN, payload);
  file("oem-azure.gz", oem);
});

function file(name: string, content: Buffer | string): string {
  writeFileSync(join(release, name), content);
  return join(release, name);
}
const turnout = (args: readonly string[]) => ran(args, { TURNOUT_SERVER: server.url });
const add = (...args: string[]) => turnout(["packages", "add", ...args]);

interface Package {
  readonly id: string;
  readonly arch: number;
  readonly version: string;
  readonly url: string;
  readonly hosting: string;
  readonly extra_files: readonly { readonly name: string }[] | null;
}
async function packages(): Promise<readonly Package[]> {
  const answer = await server.api<{ packages: Package[] }>("GET", `/apps/${FLATCAR}/packages?perpage=100`);
  return answer.packages.filter((one) => one.version === version);
}

describe("turnout packages add", () => {
  it("makes a package of the files in a release's folder, and brings them", async () => {
    const { code, out, err } = await add(join(release, MAIN), join(release, "oem-azure.gz"));
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(`package ${version} (arm64) made`);
    expect(out).toContain("all of its files are here: nodes get them from this server");
    const [made] = await packages();
    expect(made).toMatchObject({
      arch: 2,
      url: `https://update.release.flatcar-linux.net/arm64-usr/${version}/`,
      hosting: "first",
      extra_files: [{ name: "oem-azure.gz" }],
    });
    const here = await get(`${server.url}/payloads/${FLATCAR}/aarch64/${version}/${MAIN}`);
    expect(here.body.equals(payload)).toBe(true);
  });

  it("run again adds what is new, and goes on with what had broken off", async () => {
    expect((await add(join(release, MAIN), "--only-here", "--url", "https://mirror.example/a/")).code).toBe(0);
    const zfs = aPayload("zfs", 32);
    const path = file("flatcar-zfs.gz", zfs);
    const [before] = await packages();
    const body = { ...before, extra_files: [{ name: "flatcar-zfs.gz", hash256: sha256(zfs).toString("hex") }] };
    await server.api("PUT", `/apps/${FLATCAR}/packages/${before?.id}`, body);
    const begun = await fetch(`${server.url}/api/apps/${FLATCAR}/packages/${before?.id}/files/flatcar-zfs.gz`, {
      method: "PUT",
      headers: { "Content-Type": "application/octet-stream", "Content-Range": `bytes 0-9999/${zfs.length}` },
      body: zfs.subarray(0, 10_000),
    });
    expect(begun.status).toBe(200);
    const { out } = await add(path, join(release, "oem-azure.gz"), join(release, MAIN), "--json");
    const answer = JSON.parse(out);
    expect(answer).toMatchObject({ version, arch: "arm64", hosted: true, hosting: "only" });
    expect(answer.files.map(({ name }: { name: string }) => name)).toEqual([MAIN, "flatcar-zfs.gz", "oem-azure.gz"]);
    expect((await packages())[0]).toMatchObject({ url: "https://mirror.example/a/" });
  });

  it("adds to a package of another tool's what it lacks, and keeps what it says", async () => {
    const url = "https://mirror.example/a/";
    const body = { type: 1, arch: 2, version, url, filename: "", size: "", hash: "", flatcar_action: { sha256: "" } };
    await server.api("POST", `/apps/${FLATCAR}/packages`, body);
    const { code, out, err } = await add(join(release, MAIN), join(release, "oem-azure.gz"));
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("was there already");
    const { size, hash } = described(payload);
    expect(await packages()).toMatchObject([{ url, filename: MAIN, size, hash, missing: [] }]);
  });

  it("takes version and architecture from version.txt, or from its options", async () => {
    release = join(folder, `plain-${number}`);
    mkdirSync(release, { recursive: true });
    const path = file(MAIN, payload);
    expect((await add(path)).err).toBe("turnout: nothing says which version this is: use --version\n");
    file("version.txt", `FLATCAR_BUILD=4230\nFLATCAR_VERSION=${version}\nFLATCAR_BUILD_ID="2026-03-04-0012"\n`);
    expect((await add(path)).err).toBe("turnout: nothing says which architecture this is: use --arch\n");
    expect((await add(path, "--arch", "amd64")).out).toContain(`package ${version} (amd64) made`);
  });

  it("refuses what does not fit, and says why", async () => {
    const path = join(release, MAIN);
    expect((await add(join(release, "nothing.gz"))).err).toContain("there is no file");
    expect((await add(path, file("second.gz", payload))).err).toContain("one package has one payload");
    expect((await add(join(release, "oem-azure.gz"))).err).toContain("it begins with its payload");
    const digest = file(`${MAIN}.sha256`, `${"0".repeat(64)}  ${MAIN}\n`);
    expect((await add(path)).err).toContain(`${MAIN}.sha256 says 0000`);
    writeFileSync(digest, `${"0".repeat(63)}`);
    expect((await add(path)).err).toContain(`${MAIN}.sha256 has lines that are no digests`);
    writeFileSync(digest, `${sha256(payload).toString("hex")}  ${MAIN}\n`);
    expect((await add(path)).code).toBe(0);
    rmSync(digest);
    file(MAIN, aPayload("another", 64));
    expect(await add(path)).toMatchObject({
      code: 1,
      err: expect.stringContaining("is there already, with another payload"),
    });
    const page = file("page.gz", "<html>".repeat(50_000));
    const refused = await add(page, "--version", "9.9.9");
    expect(refused).toMatchObject({
      code: 1,
      err: expect.stringContaining("page.gz was refused: it is no update payload"),
    });
    expect((await turnout(["packages", "add", path, "--server", "http://127.0.0.1:1"])).err).toContain(
      "can't be reached",
    );
  });
});

describe("turnout payloads", () => {
  it("shows what the files take, and removes what no package has any more", async () => {
    await add(join(release, MAIN), join(release, "oem-azure.gz"));
    expect((await turnout(["payloads", "usage"])).out).toMatch(
      new RegExp(
        `VERSION +ARCH +FILES +SIZE[\\s\\S]+${version.replaceAll(".", "\\.")} +aarch64 +2 +${payload.length + oem.length} B`,
      ),
    );
    for (const { id } of (await server.api<{ packages: Package[] }>("GET", `/apps/${FLATCAR}/packages?perpage=100`))
      .packages) {
      await server.api("DELETE", `/apps/${FLATCAR}/packages/${id}`);
    }
    const dry = await turnout(["payloads", "gc", "--dry-run"]);
    expect(dry.out).toMatch(/unreferenced +[\da-f]{64} +\d+ B[\s\S]+ would go\n$/);
    expect((await turnout(["payloads", "gc"])).out).toMatch(/\d files, \d+ B removed\n$/);
    expect((await turnout(["payloads", "gc", "--json"])).out).toContain('"removed": []');
  });
});

it("what can't be read is said in one line", async () => {
  const here = releaseFile(join(release, MAIN));
  rmSync(here.path);
  await expect(hashed(here, () => {})).rejects.toThrow(`${here.path} can't be read: ENOENT`);
  mkdirSync(here.path);
  mkdirSync(join(release, "version.txt"));
  expect((await add(join(release, "oem-azure.gz"))).err).toMatch(/^turnout: EISDIR: .*\n$/);
});

it.each<readonly [string, (path: string) => void, RegExp]>([
  ["gone", rmSync, /gz can't be read: ENOENT/],
  ["cut off", (path) => truncateSync(path, 5_000), /gz can't be read: it has become shorter, 5000 bytes/],
])(
  "a file that is %s by the time that it is sent is what is complained of, not the server",
  async (_, harm, message) => {
    const id = await server.release(version, { filename: MAIN, ...described(payload) });
    const { path, ...known } = await hashed(releaseFile(join(release, MAIN)), () => {});
    harm(path);
    const sent = bring(new Api(server.url), `/apps/${FLATCAR}/packages/${id}/files`, { path, ...known }, () => {});
    await expect(sent).rejects.toThrow(message);
  },
  10_000,
);
