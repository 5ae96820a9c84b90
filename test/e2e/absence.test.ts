import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { aTurnout, checks, FLATCAR, pings, reports, STABLE_GROUP, type TestTurnout } from "./turnout.ts";

const ROLLOUTS = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`;
const machine = (n: number) => n.toString(16).padStart(32, "0");
const FLEET = Array.from({ length: 40 }, (_, n) => machine(n + 1));

let dataDir: string;
let server: TestTurnout;
beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "turnout-absence-"));
  server = await aTurnout({}, { dataDir });
});
afterEach(async () => {
  await server.close();
  rmSync(dataDir, { recursive: true, force: true });
});

async function awayFor(time: { hours?: number; minutes?: number }): Promise<void> {
  const { clock } = server;
  await server.close();
  clock.move(time);
  server = await aTurnout({}, { dataDir, clock });
}
/** What the timers do. */
async function passed(time: { hours?: number; minutes?: number } = {}): Promise<void> {
  server.clock.move(time);
  await server.turnout.housekeeping.flushSeen();
  await server.turnout.housekeeping.expireDeadlines();
  await server.turnout.housekeeping.moveRollouts();
}
const state = async (id: string) => {
  const rows = await server.turnout.store.read.selectFrom("nodes").select("status").where("id", "=", id).execute();
  return rows[0]?.status;
};
const rollout = async () => {
  const { rollouts } = await server.api<{ rollouts: Record<string, unknown>[] }>("GET", ROLLOUTS);
  return rollouts[0];
};
const history = async () => {
  const one = await server.api<{ history: { reason: string }[] }>("GET", `${ROLLOUTS}/${(await rollout())?.id}`);
  return one.history.map(({ reason }) => reason);
};

describe("while the server was away", () => {
  it("no node was lost or timed out: each has its time again to be heard", async () => {
    await server.setPolicy({ strategy: { health: { max_lost: 0 } } });
    await server.release("4230.2.1");
    const [installed = "", granted = "", dead = ""] = FLEET;
    for (const id of [installed, granted, dead]) await server.omaha(checks({ machineId: id }));
    for (const id of [installed, dead]) await server.omaha(reports(3, 1, { machineId: id }));
    await awayFor({ hours: 30 });
    await passed();
    expect([await state(installed), await state(granted), await state(dead)]).toEqual([
      "installed",
      "granted",
      "installed",
    ]);
    await passed({ minutes: 44 });
    await server.omaha(pings({ machineId: installed }));
    await server.omaha(checks({ machineId: granted, version: "4230.2.1", bootId: "{boot-2}" }));
    await passed({ minutes: 17 });
    expect([await state(installed), await state(granted), await state(dead)]).toEqual([
      "installed",
      "complete",
      "lost",
    ]);
    expect(await rollout()).toMatchObject({ state: "halted" });
  });

  it("no stage was over because its nodes were not seen", async () => {
    await server.setPolicy({ strategy: { stages: [{ percent: 50 }, { percent: 100 }] } });
    for (const id of FLEET) await server.omaha(checks({ machineId: id }));
    await server.release("4230.2.1");
    await passed({ hours: 1 });
    await awayFor({ hours: 100 });
    await passed();
    expect(await rollout()).toMatchObject({ state: "running", stage: 1 });
    // Nobody comes back: a day without them is a day in which the server was there.
    await passed({ hours: 22 });
    expect(await rollout()).toMatchObject({ stage: 1 });
    await passed({ hours: 2 });
    expect(await rollout()).toMatchObject({ stage: 2 });
  });

  it("nothing baked, and the history says so", async () => {
    await server.setPolicy({ strategy: { stages: [{ percent: 50, bake: "4h" }, { percent: 100 }] } });
    for (const id of FLEET) await server.omaha(checks({ machineId: id, version: "4230.2.1" }));
    await server.omaha(checks({ machineId: machine(99) }));
    await server.release("4230.2.1");
    const update = async (id: string) => {
      if (!(await server.omaha(checks({ machineId: id }))).includes("<manifest")) return;
      await server.omaha(checks({ machineId: id, version: "4230.2.1", bootId: "{boot-2}" }));
    };
    await update(machine(99));
    await passed();
    expect(await rollout()).toMatchObject({ stage: 1, stages: [{ state: "baking" }, {}] });
    await passed({ hours: 1 });
    await server.omaha(checks({ machineId: machine(1), version: "4230.2.1" }));
    await awayFor({ hours: 10 });
    expect((await history()).at(-1)).toMatch(/^no node was heard for 600 minutes/);
    await passed({ minutes: 179 });
    expect(await rollout()).toMatchObject({ stage: 1 });
    await passed({ minutes: 1 });
    expect(await rollout()).toMatchObject({ stage: 2 });
  });

  it("nothing was missed in the minutes that a restart takes", async () => {
    await server.release("4230.2.1");
    await server.omaha(checks());
    const before = await server.turnout.store.read.selectFrom("nodes").select("deadline").execute();
    await awayFor({ minutes: 4 });
    expect(await server.turnout.store.read.selectFrom("nodes").select("deadline").execute()).toEqual(before);
    expect(await history()).toHaveLength(1);
  });
});
