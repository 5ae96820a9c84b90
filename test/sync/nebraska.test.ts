/** Mirrors of a channel with floors, a Nebraska and a Turnout: what they fetch, and what their own nodes would be sent to. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { asksAsNebraska, readAsNebraska, type Synced } from "../clients/nebraska-syncer.ts";
import { FLATCAR, STABLE_CHANNEL, type TestTurnout } from "../e2e/turnout.ts";
import { described, extraFile } from "../payloads/build.ts";
import { get } from "../payloads/hosting.ts";
import { aFollower, aServer, aVersion, handmade, host, MAIN, OEM, packagesOf, point, type Version } from "./world.ts";

const [floor, step, target] = ["4081.2.0", "4152.2.0", "4230.2.1"].map((one) => aVersion(one));
if (!floor || !step || !target) throw new Error("three versions are needed");

async function setFloors(server: TestTurnout, ...packageIds: string[]): Promise<void> {
  for (const id of packageIds)
    await server.api("PUT", `/channels/${STABLE_CHANNEL}/floors/${id}`, { floor_reason: "why" });
}

/** A package whose files are on another server. */
async function elsewhere(server: TestTurnout, { version, payload, oem }: Version, url: string): Promise<string> {
  const files = { filename: MAIN, ...described(payload), extra_files: [extraFile(OEM, oem)] };
  return (await server.api<{ id: string }>("POST", `/apps/${FLATCAR}/packages`, { type: 1, arch: 1, version, url, ...files })).id; // biome-ignore format: one line
}

const asked = async (server: TestTurnout, version = "766.0.0"): Promise<Synced | null> =>
  readAsNebraska(await server.omaha(asksAsNebraska({ version })));

/** What is at each address that it fetches, and its nodes: right, wrong, or not there. */
async function fetched(synced: Synced | null): Promise<string[]> {
  const found = [];
  for (const { version, files, isFloor } of synced?.packages ?? []) {
    for (const { name, address, sha1 } of files) {
      const { status, body } = await get(address);
      const isRight = status === 200 && createHash("sha1").update(body).digest("base64") === sha1;
      found.push(`${version}${isFloor ? " (floor)" : ""} ${name}: ${isRight ? "right" : status}`);
    }
  }
  return found;
}

/** What a Turnout that follows has afterwards. */
async function followed(central: TestTurnout) {
  const site = await aFollower(`${central.url}/v1/update/`);
  expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  return Object.entries(await packagesOf(site.server)).map(([version, { url, filename, extra_files: extra }]) => [
    version,
    url,
    filename,
    (extra as { name: string }[] | null)?.map(({ name }) => name), // as the API has it
  ]);
}

describe("floors whose files are kept here", () => {
  it("have one codebase with the target, and each its own files below it", async () => {
    const server = await aServer();
    await setFloors(server, await host(server, floor), await host(server, step));
    await point(server, await host(server, target));
    const answer = await server.omaha(asksAsNebraska());
    expect(answer).toContain(`<urls><url codebase="${server.url}/payloads/${FLATCAR}/amd64/"></url></urls>`);
    expect(answer).toContain(`<package name="4081.2.0/${MAIN}" `);
    const synced = readAsNebraska(answer);
    expect(synced?.target).toBe("4230.2.1");
    expect(await fetched(synced)).toEqual([
      `4081.2.0 (floor) 4081.2.0/${MAIN}: right`,
      `4081.2.0 (floor) 4081.2.0~${OEM}: right`,
      `4152.2.0 (floor) 4152.2.0/${MAIN}: right`,
      `4152.2.0 (floor) 4152.2.0~${OEM}: right`,
      `4230.2.1 4230.2.1/${MAIN}: right`,
      `4230.2.1 4230.2.1~${OEM}: right`,
    ]);
    for (const { address } of synced?.packages[0]?.files ?? []) {
      const { status, body } = await get(address, { Range: "bytes=4-19" });
      expect([status, body.length]).toEqual([206, 16]);
      expect((await get(address, {}, "DELETE")).status).toBe(405);
    }
    for (const wrong of [`4081.2.1~${OEM}`, `4081.2.0~${OEM}x`, `~${OEM}`, "4081.2.0~", OEM]) {
      expect((await get(`${server.url}/payloads/${FLATCAR}/amd64/${wrong}`)).status, wrong).toBe(404);
    }
    // Behind the last floor all is as ever.
    const rest = await asked(server, "4152.2.0");
    expect(await fetched(rest)).toEqual([`4230.2.1 ${MAIN}: right`, `4230.2.1 ${OEM}: right`]);
    expect(await followed(server)).toEqual(
      ["4230.2.1", "4152.2.0", "4081.2.0"].map((version) => [
        version,
        `${server.url}/payloads/${FLATCAR}/amd64/${version}/`,
        MAIN,
        [OEM],
      ]),
    );
  });

  it("are below the token, where downloads have one", async () => {
    const server = await aServer({ TURNOUT_PAYLOAD_TOKEN: "s3cret" });
    await setFloors(server, await host(server, floor));
    await point(server, await host(server, target));
    const found = await fetched(await asked(server));
    expect(found).toHaveLength(4);
    expect(found.every((one) => one.endsWith(": right"))).toBe(true);
    expect((await get(`${server.url}/payloads/guess/${FLATCAR}/amd64/4081.2.0~${OEM}`)).status).toBe(404);
  });
});

describe("floors whose files are elsewhere", () => {
  it("have what one codebase leads to: payloads alone for a Nebraska, and all of them for a Turnout", async () => {
    const other = await handmade();
    other.offer(floor, target);
    const server = await aServer();
    await setFloors(server, await elsewhere(server, floor, `${other.url}/files/4081.2.0/`));
    await point(server, await elsewhere(server, target, `${other.url}/files/4230.2.1`));
    expect(await fetched(await asked(server))).toEqual([
      `4081.2.0 (floor) 4081.2.0/${MAIN}: right`,
      `4230.2.1 4230.2.1/${MAIN}: right`,
    ]);
    expect(await followed(server)).toEqual(
      ["4230.2.1", "4081.2.0"].map((version) => [version, `${other.url}/files/${version}/`, MAIN, [OEM]]),
    );
  });
});
