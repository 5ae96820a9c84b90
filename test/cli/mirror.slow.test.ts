/** The way of a release into a site without internet: from one server through a directory into another. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { runFleet } from "../../src/virtual/fleet.ts";
import { aTurnout, FLATCAR, STABLE_CHANNEL, type TestTurnout } from "../e2e/turnout.ts";
import { anUpstream, keys, MAIN, mirrored, OEM } from "../mirror/build.ts";
import { aStallingProxy, type StallingProxy } from "../mirror/stalling-proxy.ts";
import { aPayload, described, extraFile } from "../payloads/build.ts";
import { ran } from "./ran.ts";

const FLOOR = "4081.2.0";
const TARGET = "4230.2.1";
const ROOM = { TURNOUT_DISK_RESERVE: "0" };
const key = keys(afterAll);

const content = new Map<string, Buffer>();
for (const version of [FLOOR, TARGET]) {
  content.set(`${version}/${MAIN}`, aPayload(`main ${version}`, 128));
  content.set(`${version}/${OEM}`, aPayload(`oem ${version}`, 8));
}
const bytesOf = (version: string, name: string) => content.get(`${version}/${name}`) ?? Buffer.alloc(0);

/** With a package of each version, all files here, the first a floor on the way to the second. */
async function fill(server: TestTurnout): Promise<void> {
  for (const version of [FLOOR, TARGET]) {
    const [main, oem] = [bytesOf(version, MAIN), bytesOf(version, OEM)];
    const id = await server.release(version, {
      ...described(main),
      extra_files: [extraFile(OEM, oem)],
      hosting: "only",
    });
    for (const name of [MAIN, OEM]) await upload(server, id, name, bytesOf(version, name));
    if (version === FLOOR)
      await server.api("PUT", `/channels/${STABLE_CHANNEL}/floors/${id}`, { floor_reason: "the disk" });
  }
}

async function upload(server: TestTurnout, id: string, name: string, body: Buffer): Promise<void> {
  const headers = { "Content-Type": "application/octet-stream" };
  const url = `${server.url}/api/apps/${FLATCAR}/packages/${id}/files/${name}`;
  expect((await fetch(url, { method: "PUT", headers, body })).status).toBe(200);
}

let folder: string;
let server: TestTurnout;
const open: TestTurnout[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "turnout-mirror-"));
  server = await aTurnout(ROOM);
  open.push(server);
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  rmSync(folder, { recursive: true, force: true });
});

const imported = (...args: string[]) =>
  ran(["import", folder, "--key", key.publicFile, ...args], { TURNOUT_SERVER: server.url });

interface Package {
  readonly id: string;
  readonly version: string;
  readonly hosting: string;
}
const packages = async () =>
  (await server.api<{ packages: Package[] | null }>("GET", `/apps/${FLATCAR}/packages?perpage=100`)).packages ?? [];
const files = async ({ id }: Package) =>
  server.api<{ hosted: boolean }>("GET", `/apps/${FLATCAR}/packages/${id}/files`);
const channel = async () =>
  server.api<{ package: Package | null }>("GET", `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`);
const floors = async () =>
  server.api<{ packages: { version: string; floor_reason: string }[] }>("GET", `/channels/${STABLE_CHANNEL}/floors`);

async function expectComplete(): Promise<void> {
  const there = await packages();
  expect(there.map(({ version }) => version).sort()).toEqual([FLOOR, TARGET]);
  for (const one of there) expect(await files(one)).toMatchObject({ hosted: true });
  expect((await floors()).packages).toMatchObject([{ version: FLOOR }]);
}

describe("the air-gapped way", () => {
  let central: TestTurnout;
  let proxy: StallingProxy;
  beforeAll(async () => {
    proxy = await aStallingProxy();
    central = await aTurnout({ ...ROOM, TURNOUT_PUBLIC_URL: proxy.url });
    proxy.to(central.url);
    await fill(central);
  });
  afterAll(async () => {
    proxy.close();
    await central.close();
  });
  const mirrorArgs = () => [
    ...["mirror", "--out", folder, "--channel", "stable", "--arch", "amd64"],
    ...["--key", key.privateFile, "--from", `${proxy.url}/v1/update/`],
  ];

  it("brings a release from one server to another, and a fleet installs it", async () => {
    const written = await ran(mirrorArgs());
    expect([written.code, written.err]).toEqual([0, ""]);
    expect(written.out).toContain(`stable (amd64)  ${TARGET}, after ${FLOOR}\n`);
    expect(written.out).toContain(`${folder} is written and signed\n`);
    expect((await ran(mirrorArgs())).out).toContain(`${folder} is as it was at `);

    const { code, out, err } = await imported("--move");
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(`signed by ${key.fingerprint}\n2 releases, 4 files`);
    expect(out).toContain(`channel stable (amd64) points to ${TARGET} now; before: to nothing\n`);
    await expectComplete();
    expect((await packages()).map(({ hosting }) => hosting)).toEqual(["only", "only"]);
    expect((await floors()).packages).toMatchObject([{ floor_reason: "the disk" }]);

    await server.setPolicy({ policy_max_updates_per_period: 900_000, policy_safe_mode: false });
    const report = await runFleet({
      server: `${server.url}/v1/update/`,
      nodes: 10,
      version: "3975.2.0",
      oems: ["azure"],
      speed: Number.POSITIVE_INFINITY,
      connections: 4,
      fetch: true,
      forMs: 6 * 3_600_000,
    });
    expect(report).toMatchObject({ end: "settled", onTarget: 10, target: TARGET });
    // Over the floor: two updates each, with payload and OEM image.
    const bytes = [...content.values()].reduce((sum, { length }) => sum + length, 0);
    expect(report.downloads).toMatchObject({ files: 20, failed: 0, bytes: 10 * bytes });

    const again = await imported("--json");
    expect(JSON.parse(again.out)).toMatchObject({
      packages: [
        { version: FLOOR, made: false },
        { version: TARGET, made: false },
      ],
      channels: [{ name: "stable", arch: "amd64", from: TARGET, to: TARGET, state: "there" }],
    });
  });

  it("a mirror that is killed while it downloads goes on where it was", async () => {
    const half = bytesOf(FLOOR, MAIN).length / 2;
    const begun = () => {
      const place = join(folder, "amd64-usr", FLOOR);
      const parts = existsSync(place) ? readdirSync(place).filter((name) => name.endsWith(".part")) : [];
      return parts.reduce((sum, name) => sum + statSync(join(place, name)).size, 0);
    };
    const stalled = proxy.stallAfter(half, "down");
    const child = start(mirrorArgs());
    await stalled;
    await until(() => begun() > 0);
    await kill(child);
    proxy.mend();
    expect(existsSync(join(folder, "turnout-mirror.json"))).toBe(false);
    const before = await resumedDownloads(central);
    const { code, out } = await ran(mirrorArgs());
    expect([code, out]).toEqual([0, expect.stringContaining("is written and signed")]);
    expect(await resumedDownloads(central)).toBe(before + 1);
    expect((await imported("--move")).code).toBe(0);
    await expectComplete();
  });

  it.skipIf(process.platform !== "linux")("leaves the terminal as it was when somebody presses Ctrl-C", async () => {
    const stalled = proxy.stallAfter(bytesOf(FLOOR, MAIN).length / 2, "down");
    const command = [process.execPath, BIN, ...mirrorArgs()].join(" ");
    const child = spawn("script", ["-qefc", command, "/dev/null"], { env: { PATH: process.env.PATH, TERM: "xterm" } });
    const whole = ended(child);
    await stalled;
    child.stdin.write("\u0003");
    const { code, output } = await whole;
    proxy.mend();
    expect(code).toBe(130);
    expect(output.lastIndexOf("\u001b[?25h")).toBeGreaterThan(output.lastIndexOf("\u001b[?25l"));
    expect(output.lastIndexOf("\u001b[?7h")).toBeGreaterThan(output.lastIndexOf("\u001b[?7l"));
  });

  it("says in one line what stops a mirror", async () => {
    const bad = async (...args: string[]) => (await ran([...mirrorArgs(), ...args])).err;
    expect(await bad("--channel", "nightly")).toMatch(
      /^turnout: there is nothing to mirror: nightly \(amd64\): .*\n$|^turnout: .*asked for nightly \(amd64\): .*\n$/,
    );
    expect(await bad("--from", "http://127.0.0.1:1/v1/update/")).toMatch(
      /^turnout: .* asked for stable \(amd64\): .*ECONNREFUSED.*\n$/,
    );
    expect(await bad("--key", key.publicFile)).toMatch(/^turnout: .* is no private key; .*\n$/);
    writeFileSync(join(folder, "thesis.txt"), "mine");
    expect(await bad()).toMatch(/^turnout: .* is no mirror, and not empty .*\n$/);
    rmSync(join(folder, "thesis.txt"));
    const shell = ["-c", 'ulimit -f 100 && exec "$@"', "sh", process.execPath, BIN, ...mirrorArgs()];
    const limited = await ended(spawn("sh", shell, { env: { PATH: process.env.PATH } }));
    expect(limited).toMatchObject({ code: 1, output: expect.stringMatching(/^turnout: .* can't be written: the file system, or a limit .*\n$/) }); // biome-ignore format: one line
    expect((await ran(mirrorArgs())).code).toBe(0);
  });
});

const BIN = resolve(import.meta.dirname, "../../bin/turnout");

function start(args: readonly string[], environment: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, [BIN, ...args], { env: { PATH: process.env.PATH, ...environment }, stdio: "ignore" });
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  await gone;
}

async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await new Promise(setImmediate);
}

function ended(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  return new Promise((done) => child.once("close", (code) => done({ code, output })));
}

async function resumedDownloads({ url }: TestTurnout): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(/^turnout_downloads_total\{status="206"\} (\d+)$/m.exec(metrics)?.[1] ?? 0);
}

describe("turnout import", () => {
  const upstream = anUpstream();
  beforeEach(() => mirrored(folder, upstream, key));
  const RELEASE = `amd64-usr/${TARGET}`;

  it.each([
    ["a file was changed", () => writeFileSync(join(folder, RELEASE, OEM), "evil"), `${RELEASE}/${OEM}: has 4 bytes`],
    ["a file is missing", () => rmSync(join(folder, RELEASE, MAIN)), `${RELEASE}/${MAIN}: is missing`],
    [
      "the manifest was changed",
      () => edit("turnout-mirror.json", TARGET, "4230.2.2"),
      "is signed by none of the trusted keys",
    ],
    ["the signature is gone", () => rmSync(join(folder, "turnout-mirror.json.sig")), "is missing"],
  ])("uses nothing of a mirror when %s", async (_what, harm, message) => {
    harm();
    const { code, out, err } = await imported("--move");
    expect([code, err]).toEqual([1, expect.stringContaining(message)]);
    expect(out).not.toContain("package");
    expect(await packages()).toEqual([]);
    expect((await server.api<{ mirrors: unknown[] }>("GET", `/apps/${FLATCAR}/mirrors`)).mirrors).toEqual([]);
  });

  function edit(name: string, before: string, after: string): void {
    writeFileSync(join(folder, name), readFileSync(join(folder, name), "utf8").replaceAll(before, after));
  }

  it("trusts only keys that it was told of", async () => {
    const args = ["import", folder, "--server", server.url];
    expect((await ran(args)).err).toContain("no key is trusted: name the mirror's public key with --key");
    expect((await ran([...args, "--key", keys().publicFile])).err).toContain("is signed by none of the trusted keys");
    const known = `${keys().publicFile}, ${key.publicFile}`;
    expect((await ran(args, { TURNOUT_MIRROR_KEYS: known })).code).toBe(0);
  });

  it("leaves channels to people, and never moves one back by itself", async () => {
    expect((await imported()).out).toContain(
      `channel stable (amd64) stays at nothing: run it again with --move, and it goes to ${TARGET}\n`,
    );
    expect((await channel()).package).toBeNull();
    await server.release("4300.1.0");
    expect((await imported("--move")).out).toContain(`stays at 4300.1.0: the mirror has ${TARGET}, which is older`);
    expect((await channel()).package).toMatchObject({ version: "4300.1.0" });
    expect((await imported("--move", "--allow-older")).code).toBe(0);
    expect((await channel()).package).toMatchObject({ version: TARGET });
  });

  it("refuses an older state of the same mirror, unless it is told to take it", async () => {
    const old = mkdtempSync(join(tmpdir(), "turnout-old-"));
    cpSync(folder, old, { recursive: true });
    const newer = anUpstream();
    newer.release("4230.2.2");
    newer.channels.set("stable (amd64)", { version: "4230.2.2" });
    await mirrored(folder, newer, key);
    expect((await imported("--move")).code).toBe(0);
    const again = (...args: string[]) =>
      ran(["import", old, "--key", key.publicFile, "--server", server.url, "--move", ...args]);
    expect(await again()).toMatchObject({
      code: 1,
      err: expect.stringContaining("it was imported already as it was at"),
    });
    expect((await channel()).package).toMatchObject({ version: "4230.2.2" });
    expect((await again("--allow-older")).code).toBe(0);
    expect((await channel()).package).toMatchObject({ version: TARGET });
    rmSync(old, { recursive: true });
  });

  it("overwrites nothing when the server has another release of that version", async () => {
    await server.release(TARGET, { ...described(aPayload("another")), filename: MAIN });
    const before = JSON.stringify(await packages());
    const { code, err } = await imported("--move");
    expect([code, err]).toEqual([
      1,
      expect.stringContaining(`package ${TARGET} (amd64) is there already, with another payload`),
    ]);
    expect(JSON.stringify(await packages())).toBe(before);
  });

  it("says which channels the server doesn't have", async () => {
    await server.api("DELETE", `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`);
    expect((await imported("--move")).out).toContain("there is no channel stable (amd64): make it, and run this again");
  });

  it("two at once come to the same as one", async () => {
    const both = await Promise.all([imported("--move"), imported("--move")]);
    expect(both.map(({ code, err }) => [code, err])).toEqual([
      [0, ""],
      [0, ""],
    ]);
    await expectComplete();
    expect((await channel()).package).toMatchObject({ version: TARGET });
  });

  it("killed anywhere and run again, it completes", async () => {
    const proxy = await aStallingProxy();
    proxy.to(server.url);
    const size = upstream.content.get(`${FLOOR}/${MAIN}`)?.length ?? 0;
    // In all less than there is to send, so that none of them comes to its end.
    for (const bytes of [100, 2_000, size / 2, size / 2 + 8_000, size / 2]) {
      const stalled = proxy.stallAfter(bytes, "up");
      const child = start(["import", folder, "--key", key.publicFile, "--move", "--server", proxy.url]);
      await stalled;
      await kill(child);
      proxy.mend();
      expect((await channel()).package).toBeNull();
    }
    proxy.close();
    expect(await imported("--move")).toMatchObject({ code: 0, err: "" });
    await expectComplete();
  });

  it("is refused to who may not, before anything is used", async () => {
    const closed = await aTurnout({ ...ROOM, TURNOUT_AUTH: "token", TURNOUT_ADMIN_TOKEN: "a-token-that-is-long" });
    open.push(closed);
    const args = ["import", folder, "--key", key.publicFile, "--server", closed.url];
    expect((await ran(args)).err).toContain("wants a valid token: set TURNOUT_TOKEN");
    expect((await ran(args, { TURNOUT_TOKEN: "a-token-that-is-long" })).code).toBe(0);
  });
});

describe("turnout import --plain", () => {
  beforeEach(async () => {
    await mirrored(folder, anUpstream(), key);
    rmSync(join(folder, "turnout-mirror.json"));
    rmSync(join(folder, "turnout-mirror.json.sig"));
  });
  const plain = (...args: string[]) => ran(["import", folder, "--plain", "--server", server.url, ...args]);

  it("takes what the files say of themselves, and the newest for a channel", async () => {
    rmSync(join(folder, "amd64-usr", FLOOR, `${MAIN}.sha256`));
    rmSync(join(folder, "amd64-usr", FLOOR, "version.txt"));
    const { code, out, err } = await plain("--channel", "stable", "--move");
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(`channel stable (amd64) points to ${TARGET} now`);
    expect((await packages()).map(({ version }) => version).sort()).toEqual([FLOOR, TARGET]);
    expect((await plain()).out).toContain(`package ${TARGET} (amd64) is there, with all of its files`);
  });

  it("takes a release once that a link leads to, too", async () => {
    symlinkSync(TARGET, join(folder, "amd64-usr", "current"));
    symlinkSync("..", join(folder, "amd64-usr", "all"));
    const { code, err } = await plain();
    expect([code, err]).toEqual([0, ""]);
    expect((await packages()).map(({ version }) => version).sort()).toEqual([FLOOR, TARGET]);
  });

  it("refuses what its digests, its name or its format contradict", async () => {
    const place = join(folder, "amd64-usr", TARGET);
    writeFileSync(
      join(place, `${OEM}.DIGESTS`),
      `# SHA1 HASH\n${"0".repeat(40)}  ${OEM}\n# SHA512 HASH\n${"1".repeat(128)}  x.gz\n`,
    );
    expect((await plain()).err).toContain(`${OEM}.DIGESTS says 0000`);
    rmSync(join(place, `${OEM}.DIGESTS`));
    const sums = (name: string) => writeFileSync(join(place, "SHA256SUMS"), `${"ab".repeat(32)}  ${name}\n`);
    sums(OEM);
    expect((await plain()).err).toContain("SHA256SUMS says abab");
    sums("flatcar-podman.gz");
    expect((await plain()).err).toMatch(/there is no file .*flatcar-podman\.gz/);
    sums("../../flatcar-podman.gz");
    expect((await plain()).err).toContain("names ../../flatcar-podman.gz, which is not in its folder");
    rmSync(join(place, "SHA256SUMS"));
    writeFileSync(join(place, "version.txt"), "FLATCAR_VERSION=4230.2.9\n");
    expect((await plain()).err).toContain("version.txt says that it is 4230.2.9");
    writeFileSync(join(place, "version.txt"), `FLATCAR_VERSION=${TARGET}\nFLATCAR_BOARD=arm64-usr\n`);
    expect((await plain()).err).toContain("version.txt says that it is of arm64-usr");
    rmSync(join(place, "version.txt"));
    rmSync(join(place, `${MAIN}.sha256`));
    writeFileSync(join(place, MAIN), "<html>");
    expect((await plain()).err).toContain("it is no update payload");
    expect(await packages()).toEqual([]);
    expect((await ran(["import", join(tmpdir(), "nowhere"), "--plain"])).err).toContain("can't be read");
  });
});
