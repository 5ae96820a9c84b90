/** A disk that becomes full while a release comes in: a clear state, nothing half visible, and check-ins go on. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { canHaveSmallDisks, type SmallDisk, smallDisk } from "../e2e/small-disk.ts";
import { checks } from "../e2e/turnout.ts";
import {
  aFollower,
  aServer,
  aVersion,
  type Follower,
  fileStates,
  type Handmade,
  handmade,
  MAIN,
  OEM,
  packagesOf,
  send,
} from "./world.ts";

const MIB = 2 ** 20;
const one = aVersion("4230.2.1", 2048); // 8 MiB
const file = `${one.version}/${MAIN}`;

describe.skipIf(!canHaveSmallDisks)("a disk that becomes full", () => {
  let disk: SmallDisk;
  let upstream: Handmade;
  beforeEach(async () => {
    disk = smallDisk(24);
    upstream = await handmade();
    upstream.offer(one);
  });
  afterEach(() => disk.remove());

  /** Half of the file comes, then the disk is filled, then the rest comes. */
  async function fillsHalfway(site: Follower, butFor: number): Promise<string | null> {
    const half = one.payload.length / 2;
    const rest = Promise.withResolvers<void>();
    upstream.files.set(file, async (_, response) => {
      response.writeHead(200, { "Content-Length": one.payload.length });
      response.write(one.payload.subarray(0, half));
      await rest.promise;
      response.end(one.payload.subarray(half));
    });
    const synced = site.sync();
    await expect.poll(async () => (await site.state()).downloading?.received, { interval: 10 }).toBe(half);
    disk.fill(butFor);
    rest.resolve();
    return (await synced).last_error;
  }

  async function staysOut({ server, ...site }: Follower): Promise<void> {
    const { [one.version]: made } = await packagesOf(server);
    expect(await fileStates(server, made?.id), JSON.stringify(site.id)).not.toContain("hosted");
    expect((await server.api<{ files: number }>("GET", "/payloads")).files).toBe(0);
    expect(await server.omaha(checks())).toContain('status="noupdate"');
  }

  async function nodesCheckIn({ server }: Follower): Promise<void> {
    for (let n = 0; n < 20; n += 1) {
      const machineId = `${n}`.padStart(32, "0");
      expect(await server.omaha(checks({ machineId }))).toContain("<updatecheck");
    }
  }

  async function comesIn(site: Follower): Promise<void> {
    upstream.files.set(file, (request, response) => send(one.payload, request, response));
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: one.version });
    const { [one.version]: made } = await packagesOf(site.server);
    expect(await fileStates(site.server, made?.id)).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
  }

  it("while a release comes in: what is to stay free stays free, and the import goes on from there", async () => {
    const server = await aServer({ TURNOUT_DISK_RESERVE: "4MiB" }, { dataDir: disk.dataDir });
    const site = await aFollower(upstream.omaha, {}, server);
    expect(await fillsHalfway(site, 6 * MIB)).toMatch(/there is no room for it/);
    await staysOut(site);
    await nodesCheckIn(site);
    const { free_bytes: free } = await server.api<{ free_bytes: number }>("GET", "/payloads");
    expect(free).toBeGreaterThan(2 * MIB);
    disk.empty();
    await comesIn(site);
    expect(upstream.fetched.filter((asked) => asked.startsWith(`${file} bytes=`))).toHaveLength(1);
  });

  it("far beyond that, by somebody else: what had come makes room for the database", async () => {
    const server = await aServer({ TURNOUT_DISK_RESERVE: "4MiB" }, { dataDir: disk.dataDir });
    const site = await aFollower(upstream.omaha, {}, server);
    expect(await fillsHalfway(site, 1.5 * MIB)).toMatch(/there is no room for it/);
    expect((await server.api<{ upload_bytes: number }>("GET", "/payloads")).upload_bytes).toBe(0);
    await staysOut(site);
    await nodesCheckIn(site);
    disk.empty();
    await comesIn(site);
  });

  it("to the last byte, by somebody else: what had come is given up for the check-ins, and the import begins anew", async () => {
    const server = await aServer({ TURNOUT_DISK_RESERVE: "0" }, { dataDir: disk.dataDir });
    const site = await aFollower(upstream.omaha, {}, server);
    expect(await fillsHalfway(site, 0)).toMatch(/no room for it|the disk is full/);
    await staysOut(site);
    await nodesCheckIn(site);
    disk.empty();
    await comesIn(site);
  });

  it("before it begins: nothing is asked for in vain, and it comes in once there is room", async () => {
    const server = await aServer({ TURNOUT_DISK_RESERVE: "0" }, { dataDir: disk.dataDir });
    const site = await aFollower(upstream.omaha, {}, server);
    disk.fill(2 * MIB);
    expect((await site.sync()).last_error).toMatch(/there is no room for it/);
    await staysOut(site);
    await nodesCheckIn(site);
    disk.empty();
    await comesIn(site);
  });
});
