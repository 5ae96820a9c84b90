import { existsSync, mkdirSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { checks, FLATCAR } from "../e2e/turnout.ts";
import { aPayload, described, sha256 } from "./build.ts";
import { aHosting, get, Hosting, MAIN, OEM, oem, payload } from "./hosting.ts";

let hosting: Hosting;
beforeEach(async () => {
  hosting = await aHosting();
  await hosting.hostAll();
});
afterEach(async () => {
  vi.useRealTimers();
  await hosting.server.close();
});

const hashOf = (content: Buffer) => sha256(content).toString("hex");
const at = (...names: string[]) => join(hosting.server.dataDir, "payloads", ...names);
const blob = (content: Buffer) => at(hashOf(content).slice(0, 2), hashOf(content));

interface Collected {
  readonly dry_run: boolean;
  readonly bytes: number;
  readonly removed: readonly { readonly kind: string; readonly name: string; readonly bytes: number }[];
}
const gc = (dryRun = false) => hosting.server.api<Collected>("POST", "/payloads/gc", { dry_run: dryRun });
const usage = () => hosting.server.api("GET", "/payloads");

describe("collecting", () => {
  it("keeps what any package has, and removes what none has any more; a dry run only says so", async () => {
    // The same OEM image in a second package.
    const next = aPayload("next", 4);
    const other = new Hosting(
      hosting.server,
      await hosting.server.release("4230.2.2", { ...described(next), extra_files: [{ name: OEM }] }),
    );
    expect((await other.put(MAIN, next)).status).toBe(200);
    expect((await other.put(OEM, oem)).status).toBe(200);
    expect((await gc()).removed).toEqual([]);
    expect(await usage()).toMatchObject({ files: 3, bytes: payload.length + next.length + oem.length });

    await hosting.server.api("DELETE", `/apps/${FLATCAR}/packages/${hosting.packageId}`);
    const unreferenced = { kind: "unreferenced", name: hashOf(payload), bytes: payload.length };
    expect(await usage()).toMatchObject({ unreferenced_bytes: payload.length });
    expect(await gc(true)).toEqual({ dry_run: true, bytes: payload.length, removed: [unreferenced] });
    expect(existsSync(blob(payload))).toBe(true);
    expect(await gc()).toMatchObject({ dry_run: false, removed: [unreferenced] });
    expect([payload, next, oem].map((content) => existsSync(blob(content)))).toEqual([false, true, true]);
    expect(await usage()).toMatchObject({
      files: 2,
      unreferenced_bytes: 0,
      packages: [{ version: "4230.2.2", arch: 1, files: 2, bytes: next.length + oem.length }],
    });
    expect((await get(other.file(OEM, "4230.2.2"))).body.equals(oem)).toBe(true);
    expect((await gc()).removed).toEqual([]);
  });

  it("removes what a package no longer names", async () => {
    const path = `/apps/${FLATCAR}/packages/${hosting.packageId}`;
    await hosting.server.api("PUT", path, { ...(await hosting.server.api("GET", path)), extra_files: [] });
    expect(await usage()).toMatchObject({ unreferenced_bytes: oem.length });
    expect((await gc()).removed).toMatchObject([{ kind: "unreferenced", name: hashOf(oem) }]);
    expect(await hosting.states()).toEqual({ [MAIN]: "hosted" });
    expect((await gc()).removed).toEqual([]);
  });

  it("removes what a crash has left: a file that no row knows", async () => {
    const lost = Buffer.from("placed, and the process was killed before the row was written");
    mkdirSync(at(hashOf(lost).slice(0, 2)), { recursive: true });
    writeFileSync(blob(lost), lost);
    expect((await gc()).removed).toEqual([{ kind: "unknown", name: hashOf(lost), bytes: lost.length }]);
    expect(existsSync(blob(lost))).toBe(false);
    expect((await get(hosting.file())).status).toBe(200);
  });

  it("removes uploads that nobody went on with for a week, or whose package is gone, and no others", async () => {
    const next = aPayload("next", 4);
    const id = await hosting.server.release("4230.2.2", described(next));
    const other = new Hosting(hosting.server, id);
    const begun = (of: Hosting) => of.put(MAIN, next.subarray(0, 9), { "Content-Range": `bytes 0-8/${next.length}` });
    expect((await begun(other)).status).toBe(200);
    const [name = ""] = readdirSync(at("uploads"));
    const touched = hosting.server.clock.now() / 1000;
    utimesSync(at("uploads", name), touched, touched);
    expect((await gc()).removed).toEqual([]);
    hosting.server.clock.move({ days: 8 });
    expect((await gc()).removed).toMatchObject([{ kind: "upload", bytes: 9 }]);
    expect((await begun(other)).status).toBe(200);
    await hosting.server.api("DELETE", `/apps/${FLATCAR}/packages/${id}`);
    expect((await gc()).removed).toMatchObject([{ kind: "upload", bytes: 9 }]);
    expect(readdirSync(at("uploads"))).toEqual([]);
  });
});

describe("checking what is there", () => {
  const activities = async () =>
    (await hosting.server.api<{ activities: { class: number; version: string }[] | null }>("GET", "/activity"))
      .activities;

  it("reads each file once in so many days, and finds nothing wrong with good ones", async () => {
    expect(await hosting.server.turnout.scrub.run()).toBe(0);
    hosting.server.clock.move({ days: 7 });
    expect(await hosting.server.turnout.scrub.run()).toBe(2);
    expect(await hosting.server.turnout.scrub.run()).toBe(0);
    expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
    expect(await activities()).toBeNull();
  });

  it.each([
    ["changed on the disk", () => writeFileSync(blob(oem), Buffer.concat([oem.subarray(1), Buffer.from("x")]))],
    ["cut off", () => writeFileSync(blob(oem), oem.subarray(0, 100))],
    ["gone", () => rmSync(blob(oem))],
  ])(
    "takes a file out of service that is %s: nodes go to the package's URL again, people hear of it",
    async (_, damage) => {
      expect(await hosting.server.omaha(checks())).toContain("/payloads/");
      damage();
      hosting.server.clock.move({ days: 7 });
      await hosting.server.turnout.scrub.run();
      expect(await hosting.server.omaha(checks())).not.toContain("/payloads/");
      expect((await get(hosting.file(OEM))).status).toBe(404);
      expect((await get(hosting.file(MAIN))).status).toBe(200);
      expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "corrupt" });
      expect(await activities()).toMatchObject([{ class: 110, severity: 4, version: "4230.2.1" }]);
      expect(await usage()).toMatchObject({ files: 1, corrupt_files: 1 });
      expect(existsSync(blob(oem))).toBe(false);

      expect((await hosting.put(OEM, oem)).status).toBe(200);
      expect(await hosting.server.omaha(checks())).toContain("/payloads/");
      expect((await get(hosting.file(OEM))).body.equals(oem)).toBe(true);
      hosting.server.clock.move({ days: 8 });
      expect(await hosting.server.turnout.scrub.run()).toBe(2);
      await gc();
      expect((await get(hosting.file(OEM))).status).toBe(200);
    },
  );

  it("keeps what it found for a week, however old it is, to be looked at", async () => {
    writeFileSync(blob(oem), "damaged");
    utimesSync(blob(oem), 1, 1);
    hosting.server.clock.move({ days: 7 });
    await hosting.server.turnout.scrub.run();
    expect(readdirSync(at("quarantine"))).toEqual([hashOf(oem)]);
    hosting.server.clock.move({ days: 6 });
    expect((await gc()).removed).toEqual([]);
    hosting.server.clock.move({ days: 2 });
    expect((await gc()).removed).toEqual([{ kind: "quarantined", name: hashOf(oem), bytes: 7 }]);
    expect(readdirSync(at("quarantine"))).toEqual([]);
  });

  it("withdraws a package that nodes are to get here only", async () => {
    const path = `/apps/${FLATCAR}/packages/${hosting.packageId}`;
    await hosting.server.api("PUT", path, { ...(await hosting.server.api("GET", path)), hosting: "only" });
    expect(await hosting.server.omaha(checks())).toContain("/payloads/");
    rmSync(blob(payload));
    hosting.server.clock.move({ days: 7 });
    await hosting.server.turnout.scrub.run();
    expect(await hosting.server.omaha(checks())).toContain('<updatecheck status="noupdate"');
  });

  it("runs by itself, and stops with the server", async () => {
    hosting.server.clock.move({ days: 7 });
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    hosting.server.turnout.scrub.start();
    vi.advanceTimersByTime(600_000);
    await vi.waitFor(async () => {
      const rows = await hosting.server.turnout.store.read.selectFrom("payloads").select("checked_at").execute();
      expect(rows.map((row) => row.checked_at)).toEqual([hosting.server.clock.now(), hosting.server.clock.now()]);
    });
    await hosting.server.turnout.scrub.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ["gone", () => rmSync(blob(payload))],
    ["cut off", () => truncateSync(blob(payload), 100_000)],
  ])("looks at once at a file that a download finds %s", async (_, damage) => {
    damage();
    const found = await get(hosting.file(), { Range: `bytes=${payload.length - 10}-` }).catch(() => null);
    if (found !== null) {
      expect([found.status, found.headers["retry-after"]]).toEqual([503, "60"]);
      expect(["etag", "content-range", "accept-ranges"].filter((name) => name in found.headers)).toEqual([]);
    }
    expect(await hosting.server.omaha(checks())).toContain("/payloads/");
    await expect.poll(() => hosting.server.turnout.scrub.run()).toBe(1);
    expect(await hosting.states()).toEqual({ [MAIN]: "corrupt", [OEM]: "hosted" });
    expect(await hosting.server.omaha(checks())).not.toContain("/payloads/");
  });

  it("leaves a file alone that was brought again while the damaged one was read", async () => {
    await hosting.server.close();
    // Slow enough for a second upload between two parts.
    hosting = await aHosting({ TURNOUT_SCRUB_RATE: "1MiB" });
    await hosting.hostAll();
    writeFileSync(blob(payload), Buffer.alloc(payload.length));
    hosting.server.clock.move({ days: 7 });
    const looking = hosting.server.turnout.scrub.run();
    expect((await hosting.put(MAIN, payload)).status).toBe(200);
    await looking;
    expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
    expect((await get(hosting.file())).body.equals(payload)).toBe(true);
  });

  it("goes on with the others when one can't be read", async () => {
    rmSync(blob(payload));
    mkdirSync(blob(payload));
    hosting.server.clock.move({ days: 7 });
    expect(await hosting.server.turnout.scrub.run()).toBe(1);
    expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
  });
});
