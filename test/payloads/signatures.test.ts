import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checks, FLATCAR } from "../e2e/turnout.ts";
import { aKey, aPayload, described, extraFile, sha256 } from "./build.ts";
import { aHosting, get, Hosting, MAIN, OEM, VERSION } from "./hosting.ts";

const [ours, theirs] = [aKey(), aKey()];
const signed = aPayload("signed", 4, { keys: [ours] });
const unsigned = aPayload("unsigned", 4);
const changes = { ...described(signed), extra_files: [extraFile(OEM, unsigned)] };

let hosting: Hosting;
beforeEach(async () => {
  hosting = await aHosting({}, changes);
  await bringBoth();
});
afterEach(() => hosting.server.close());

async function bringBoth(): Promise<void> {
  expect((await hosting.put(MAIN, signed)).status).toBe(200);
  expect((await hosting.put(OEM, unsigned)).status).toBe(200);
}
const setKey = (pem: string) => hosting.server.api("PUT", `/apps/${FLATCAR}/payload-key`, { public_key: pem });
const run = () => hosting.server.turnout.scrub.run();
const offer = async () => hosting.server.omaha(checks());
const usage = () => hosting.server.api("GET", "/payloads");
const activities = async () =>
  ((await hosting.server.api<{ activities: { class: number }[] | null }>("GET", "/activity")).activities ?? []).filter(
    (one) => one.class === 111,
  );
const blob = (content: Buffer) => {
  const name = sha256(content).toString("hex");
  return join(hosting.server.dataDir, "payloads", name.slice(0, 2), name);
};

describe("files that were here before the key", () => {
  it("are looked at again: what is not signed with it is offered to nobody, from nowhere, and people hear of it", async () => {
    expect(await offer()).toContain("/payloads/");
    await setKey(ours.pem);
    expect(await usage()).toMatchObject({ files_to_check: 2, refused_files: 0 });
    expect(await run()).toBe(2);
    expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "refused" });
    const { files } = await hosting.server.api<{ files: { problem: string | null }[] }>(
      "GET",
      `/apps/${FLATCAR}/packages/${hosting.packageId}/files`,
    );
    expect(files.map(({ problem }) => problem)).toEqual([null, expect.stringContaining("it has no signature")]);
    expect(await offer()).toContain('<updatecheck status="noupdate"');
    expect((await get(hosting.file(OEM))).status).toBe(404);
    expect((await get(hosting.file(MAIN))).status).toBe(200);
    expect(await activities()).toMatchObject([{ class: 111, severity: 4, version: VERSION }]);
    expect(await usage()).toMatchObject({ files_to_check: 0, refused_files: 1, files: 2 });
    expect(await (await fetch(`${hosting.server.url}/metrics`)).text()).toContain("turnout_payloads_refused 1");
    expect(await run()).toBe(0);
    expect((await hosting.put(OEM, unsigned)).status).toBe(422);
    // It is still what the package has: nothing to collect, and nothing damaged.
    expect(await hosting.server.api("POST", "/payloads/gc", {})).toMatchObject({ removed: [] });
  });

  it("are as good as before when the key is taken away, and judged anew by another one", async () => {
    await setKey(theirs.pem);
    await run();
    expect(await hosting.states()).toEqual({ [MAIN]: "refused", [OEM]: "refused" });
    await setKey(ours.pem);
    await run();
    expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "refused" });
    // Once each: that it is still refused is no news.
    expect(await activities()).toHaveLength(2);
    await hosting.server.api("DELETE", `/apps/${FLATCAR}/payload-key`);
    expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
    expect(await offer()).toContain("/payloads/");
    expect(await usage()).toMatchObject({ files_to_check: 0, refused_files: 0 });
  });

  it("are offered again when the package wants a file that is signed, and has it", async () => {
    await setKey(ours.pem);
    await run();
    const path = `/apps/${FLATCAR}/packages/${hosting.packageId}`;
    const good = aPayload("good", 4, { keys: [ours] });
    const { id: _, ...present } = await hosting.server.api("GET", path);
    await hosting.server.api("PUT", path, { ...present, extra_files: [extraFile(OEM, good)] });
    expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "different" });
    expect(await offer()).toContain("https://update.release.flatcar-linux.net/");
    expect((await hosting.put(OEM, good)).status).toBe(200);
    expect(await offer()).toContain("/payloads/");
  });

  it("are not looked at where nobody takes them for payloads", async () => {
    const content = Buffer.from("of another kind");
    const id = await hosting.server.release("1.0.0", {
      type: 4,
      filename: "any.bin",
      ...{ size: null, hash: null, flatcar_action: null },
    });
    const other = new Hosting(hosting.server, id);
    expect((await other.put("any.bin", content)).status).toBe(200);
    await setKey(ours.pem);
    expect(await run()).toBe(3);
    expect(await other.states()).toEqual({ "any.bin": "hosted" });
  });

  it("are looked at when files are never read again otherwise", async () => {
    await hosting.server.close();
    hosting = await aHosting({ TURNOUT_SCRUB_DAYS: "0" }, changes);
    await bringBoth();
    await setKey(ours.pem);
    expect(await run()).toBe(2);
    hosting.server.clock.move({ days: 100 });
    expect(await run()).toBe(0);
  });

  it("are taken out of service when they turn out to be damaged, and hinder no other when they can't be read", async () => {
    await setKey(ours.pem);
    rmSync(blob(signed));
    mkdirSync(blob(signed));
    expect(await run()).toBe(1);
    expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "refused" });
    expect(await usage()).toMatchObject({ files_to_check: 1 });
    rmSync(blob(signed), { recursive: true });
    writeFileSync(blob(signed), unsigned);
    expect(await run()).toBe(1);
    expect(await hosting.states()).toMatchObject({ [MAIN]: "corrupt" });
    expect((await hosting.put(MAIN, signed)).status).toBe(200);
    expect(await hosting.states()).toMatchObject({ [MAIN]: "hosted" });
    expect(await usage()).toMatchObject({ files_to_check: 0 });
  });

  it("are gone on with after a restart", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "turnout-key-"));
    try {
      await hosting.server.close();
      hosting = await aHosting({}, changes, { dataDir });
      await bringBoth();
      await setKey(ours.pem);
      // It stops before the first file is read.
      await hosting.server.turnout.scrub.stop();
      expect(await run()).toBe(0);
      await hosting.server.close();
      hosting = new Hosting((await aHosting({}, { version: "9.9.9" }, { dataDir })).server, hosting.packageId);
      expect(await run()).toBe(2);
      expect(await hosting.states()).toEqual({ [MAIN]: "hosted", [OEM]: "refused" });
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});

it("a file that begins to come before the key is set, and is whole after it, is looked at again", async () => {
  await hosting.server.api("DELETE", `/apps/${FLATCAR}/packages/${hosting.packageId}/files/${OEM}`);
  const { pathname, port } = new URL(hosting.api(OEM));
  const socket = connect(Number(port), "127.0.0.1");
  socket.write(
    `PUT ${pathname} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: ${unsigned.length}\r\n\r\n`,
  );
  socket.write(unsigned.subarray(0, 1_000));
  await expect.poll(async () => (await fetch(`${hosting.api(OEM)}/upload`)).headers.get("upload-offset")).toBe("1000");
  await setKey(ours.pem);
  const answered = new Promise((done) => socket.once("data", done));
  socket.write(unsigned.subarray(1_000));
  await answered;
  socket.destroy();
  expect(await hosting.states()).toMatchObject({ [OEM]: "hosted" });
  await run();
  expect(await hosting.states()).toMatchObject({ [OEM]: "refused" });
});
