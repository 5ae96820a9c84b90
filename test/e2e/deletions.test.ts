import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { recount } from "../../src/store/recount.ts";
import { aTurnout, checks, FLATCAR, reports, STABLE_GROUP, type TestTurnout } from "./turnout.ts";

const APP = `/apps/${FLATCAR}`;
const machine = (n: number) => n.toString(16).padStart(32, "0");

let server: TestTurnout;
beforeEach(async () => {
  server = await aTurnout();
});
afterEach(async () => {
  expect(await recount(server.turnout.store.read, false)).toEqual([]);
  await server.close();
});

async function aGroup(name: string): Promise<string> {
  const group = await server.api<Record<string, unknown>>("GET", `${APP}/groups/${STABLE_GROUP}`);
  const { id: _, created_ts: __, channel: ___, ...rest } = group;
  return (await server.api<{ id: string }>("POST", `${APP}/groups`, { ...rest, name, track: name })).id;
}
const states = async () =>
  (await server.turnout.store.read.selectFrom("nodes").select("status").orderBy("id").execute()).map(
    ({ status }) => status,
  );

describe("a group that is deleted while its nodes update", () => {
  const canary = { track: "canary" };

  it("leaves them to go on, and nobody else is affected", async () => {
    const id = await aGroup("canary");
    await server.release("4230.2.1");
    for (let n = 1; n <= 3; n += 1) await server.omaha(checks({ machineId: machine(n), ...canary }));
    await server.api("DELETE", `${APP}/groups/${id}`);
    await server.omaha(reports(13, 1, { machineId: machine(1) }));
    await server.omaha(checks({ machineId: machine(2), version: "4230.2.1", bootId: "{boot-2}" }));
    expect(await states()).toEqual(["downloading", "complete", "granted"]);
    await server.omaha(checks({ machineId: machine(4) }));
    server.clock.move({ hours: 2 });
    await server.turnout.housekeeping.expireDeadlines();
    expect(await states()).toEqual(["timed-out", "complete", "timed-out", "timed-out"]);
  });

  it("leaves nothing to the next group: neither its nodes' grants nor its statistics", async () => {
    const id = await aGroup("canary");
    await server.release("4230.2.1");
    for (let n = 1; n <= 2; n += 1) await server.omaha(checks({ machineId: machine(n), ...canary }));
    await server.api("DELETE", `${APP}/groups/${id}`);
    const next = await aGroup("next");
    await server.omaha(reports(13, 1, { machineId: machine(1) }));
    await server.omaha(checks({ machineId: machine(2) }));
    const { rollouts } = await server.api<{ rollouts: object[] }>("GET", `${APP}/groups/${next}/rollouts`);
    expect(rollouts).toMatchObject([{ counters: { granted: 0, in_flight: 0, withdrawn: 0 } }]);
    const slots = server.turnout.store.read
      .selectFrom("status_slots")
      .innerJoin("groups", "groups.no", "status_slots.group_no")
      .selectAll("status_slots");
    expect(await slots.where("groups.id", "=", next).execute()).toEqual([]);
  });
});

describe("a package that is deleted while it is rolled out", () => {
  it("leaves its grants to itself: the next release is granted anew", async () => {
    const id = await server.release("4230.2.1");
    await server.omaha(checks({ machineId: machine(1) }));
    await server.omaha(checks({ machineId: machine(2) }));
    await server.omaha(reports(3, 0, { machineId: machine(2) }, 10));
    await server.api("DELETE", `${APP}/packages/${id}`);
    await server.release("4459.2.0");
    expect(await server.omaha(checks({ machineId: machine(2) }))).toContain("4459.2.0");
    expect(await server.omaha(checks({ machineId: machine(1) }))).toContain("4459.2.0");
    const path = `${APP}/groups/${STABLE_GROUP}/rollouts`;
    const { rollouts } = await server.api<{ rollouts: object[] }>("GET", path);
    expect(rollouts).toMatchObject([{ version: "4459.2.0", counters: { granted: 2, in_flight: 2, retrying: 0 } }]);
  });
});
