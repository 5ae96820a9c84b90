/** Updates whose files are kept here: offered as far as they can be served, and served to whom they were offered. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { aTurnout, checks, FLATCAR, NODE_ID, reports, STABLE_GROUP } from "../e2e/turnout.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { aPayload, described } from "./build.ts";
import { aHosting, get, Hosting, MAIN } from "./hosting.ts";

/** More than the sockets' buffers take. */
const large = aPayload("large", 6_000);
const withLarge = { ...described(large), extra_files: [], hosting: "only" };
const anyNumber = { policy_max_updates_per_period: 900_000, policy_safe_mode: false };
const TRANSFER_FAILED = 9 | 0x10000000;
const machine = (n: number) => n.toString(16).padStart(32, "0");

let hosting: Hosting;
const open: (() => void)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) close();
  await hosting.server.close();
});

async function start(environment: Record<string, string>, options: Parameters<typeof aHosting>[2] = {}) {
  hosting = await aHosting(environment, withLarge, options);
  await hosting.server.setPolicy(anyNumber);
  expect((await hosting.put(MAIN, large)).status).toBe(200);
}

/** Opens a download and takes nothing of it. Answers the first line. */
async function held(): Promise<string> {
  const socket = connect(Number(new URL(hosting.server.url).port), "127.0.0.1");
  socket.on("error", () => {});
  open.push(() => socket.destroy());
  socket.write(`GET ${new URL(hosting.file(MAIN)).pathname} HTTP/1.1\r\nHost: x\r\n\r\n`);
  await new Promise((data) => socket.once("readable", data));
  return String(socket.read(15));
}

const offered = async (id: string) =>
  (await hosting.server.omaha(checks({ machineId: id }))).includes('<updatecheck status="ok"');
const says = (id: string, type: number, result: number, code?: number) =>
  hosting.server.omaha(reports(type, result, { machineId: id }, code));
const path = `/apps/${FLATCAR}/groups/${STABLE_GROUP}`;
async function nodeOf(id: string) {
  const rows = hosting.server.turnout.store.read.selectFrom("nodes").selectAll().where("id", "=", id);
  return rows.executeTakeFirstOrThrow();
}
async function rollout() {
  const { rollouts } = await hosting.server.api<{ rollouts: Record<string, unknown>[] }>("GET", `${path}/rollouts`);
  return rollouts[0];
}
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${hosting.server.url}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(`${name} `));
  return Number(line?.split(" ").at(-1));
}

describe("updates whose files are kept here", () => {
  it("are offered to no more nodes than can be served; the others wait, and are told why", async () => {
    await start({ TURNOUT_DOWNLOADS: "2" });
    const [first, second, third] = [machine(1), machine(2), machine(3)];
    expect([await offered(first), await offered(second), await offered(third)]).toEqual([true, true, false]);
    expect(await nodeOf(third)).toMatchObject({ status: "on-hold", rollout_no: null });
    expect(await hosting.server.api("GET", `${path}/instances/${third}/explain`)).toMatchObject({
      reason: "downloads-busy",
      text: expect.stringMatching(/^2 nodes are to fetch files from this server, which serves 2 at a time/),
      not_before: new Date(hosting.server.clock.now()).toISOString(),
    });
    expect(await metric('turnout_checkins_total{outcome="noupdate",reason="downloads-busy"}')).toBe(1);
    expect(await metric("turnout_downloads_offered")).toBe(2);
    expect(await hosting.server.api("POST", `${path}/rollouts/simulate`)).toMatchObject({ most_downloads: 2 });

    // Who has an offer has it again; who has fetched the file makes room.
    expect([await offered(first), await offered(third)]).toEqual([true, false]);
    await says(first, 13, 1);
    expect(await offered(third)).toBe(false);
    await says(first, 14, 1);
    expect(await metric("turnout_downloads_offered")).toBe(1);
    expect(await offered(third)).toBe(true);
    // What failed of itself is a failure, and makes room as well.
    await says(second, 3, 0, TRANSFER_FAILED);
    expect(await nodeOf(second)).toMatchObject({ status: "failed", error_code: 9 });
    expect(await offered(machine(4))).toBe(true);
  });

  it("are served to nodes that were offered them, whatever strangers have open", async () => {
    await start({ TURNOUT_DOWNLOADS: "2" });
    expect([await held(), await held()]).toEqual(["HTTP/1.1 200 OK", "HTTP/1.1 200 OK"]);
    expect((await get(hosting.file(MAIN))).status).toBe(503);
    expect(await metric('turnout_downloads_cut_total{why="limit"}')).toBe(1);
    expect(await offered(NODE_ID)).toBe(true);
    expect((await get(hosting.file(MAIN))).body.equals(large)).toBe(true);
    await says(NODE_ID, 3, 1);
    expect((await get(hosting.file(MAIN))).status).toBe(503);
  });

  it("have failed for nobody whose download was cut off here: it may be granted again, as if it had not been", async () => {
    await start({ TURNOUT_SENDFILE: "no" }, { timeouts: { downloadStallMs: 200 } });
    await hosting.server.setPolicy({ ...anyNumber, policy_safe_mode: true });
    expect(await offered(NODE_ID)).toBe(true);
    await says(NODE_ID, 13, 1);
    await held();
    await expect.poll(() => metric('turnout_downloads_cut_total{why="stalled"}'), { timeout: 20_000 }).toBe(1);
    await says(NODE_ID, 3, 0, TRANSFER_FAILED);
    expect(await nodeOf(NODE_ID)).toMatchObject({ status: "on-hold", rollout_no: null });
    expect(await rollout()).toMatchObject({ state: "running", failed_by_cause: {} });
    const events = await hosting.server.turnout.store.read.selectFrom("events").selectAll().execute();
    expect(events).toMatchObject([{ type: 13 }, { type: 3, result: 0, error_code: TRANSFER_FAILED }]);

    // It has its five tries still, and safe mode its first node; but for the next one there is no excuse.
    expect(await offered(NODE_ID)).toBe(true);
    expect(await nodeOf(NODE_ID)).toMatchObject({ status: "granted", attempt: 1 });
    await says(NODE_ID, 3, 0, TRANSFER_FAILED);
    expect(await nodeOf(NODE_ID)).toMatchObject({ status: "failed", error_code: 9 });
    expect(await hosting.server.api("POST", "/counters/recount")).toMatchObject({ differences: [] });
  });

  it("have failed for nobody whose download was cut off by a restart, for a while", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "turnout-"));
    const clock = new VirtualClock();
    try {
      await start({}, { dataDir, clock });
      for (const id of [1, 2, 3].map(machine)) expect(await offered(id)).toBe(true);
      await says(machine(1), 13, 1);
      await hosting.server.close();
      clock.move({ minutes: 1 });
      hosting = new Hosting(await aTurnout({}, { dataDir, clock }), hosting.packageId);
      await says(machine(1), 3, 0, TRANSFER_FAILED);
      expect(await nodeOf(machine(1))).toMatchObject({ status: "on-hold" });
      await says(machine(2), 3, 0, 10);
      expect(await nodeOf(machine(2))).toMatchObject({ status: "failed" });
      clock.move({ minutes: 31 });
      await says(machine(3), 3, 0, TRANSFER_FAILED);
      expect(await nodeOf(machine(3))).toMatchObject({ status: "failed" });
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});
