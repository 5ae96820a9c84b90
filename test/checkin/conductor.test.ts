import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Conductor } from "../../src/checkin/conductor.ts";
import { type CheckInRequest, Decisions } from "../../src/checkin/decisions.ts";
import { emptyRolloutCounters } from "../../src/rollout/counters.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import { percentile } from "../../src/rollout/percentile.ts";
import { loadFleet } from "../../src/store/fleet.ts";
import { recount } from "../../src/store/recount.ts";
import { recordReplan, retire, SYSTEM, settleConfiguration } from "../../src/store/rollouts.ts";
import { aCheckIn, anEvent, aReport, HOUR } from "../rollout/builders.ts";
import { aDatabase, addGroup, type InProcess, NOW, planIn, releaseIn } from "../store/in-process.ts";

let world: InProcess;
let decisions: Decisions;
let now = NOW;
beforeEach(async () => {
  now = NOW;
  world = await aDatabase();
  decisions = new Decisions(world.checkIns, { newNodesPerMinute: 0, onFault: (error) => { throw error; } }); // biome-ignore format: one line
});
afterEach(async () => {
  expect(await recount(world.store.read, false)).toEqual([]);
  world.close();
});

const machine = (n: number) => n.toString(16).padStart(32, "0");
const request = (app: CheckIn): CheckInRequest => ({ apps: [app], ip: "192.0.2.1", now });
async function ask(nodes: readonly number[], what: Partial<CheckIn> = {}): Promise<number[]> {
  const answers = await decisions.run(nodes.map((n) => request(aCheckIn({ machineId: machine(n), ...what }))));
  return nodes.filter((_, index) => answers[index]?.[0]?.offer != null);
}
const range = (length: number) => Array.from({ length }, (_, n) => n);
const history = async () =>
  (
    await world.store.read.selectFrom("rollout_history").select(["stage", "to_state", "reason"]).orderBy("no").execute()
  ).map(({ stage, to_state: state, reason }) => `${stage} ${state} ${reason}`);
const rollout = () =>
  world.store.read.selectFrom("rollouts").selectAll().orderBy("no", "desc").executeTakeFirstOrThrow();

describe("a conductor", () => {
  it("counts a fleet larger than what it reads at a time, and waits for the last node of a stage", async () => {
    await planIn(world, { stages: [{ percent: 50 }, { percent: 100 }] });
    await ask(range(2_500));
    await releaseIn(world, "4230.2.1");
    const conductor = new Conductor(world.store);
    await conductor.moveRollouts(now);
    const eligible = JSON.parse((await rollout()).eligible) as number[];
    expect(eligible.reduce((sum, nodes) => sum + nodes, 0)).toBe(2_500);
    const first = await ask(range(2_500));
    expect(first).toHaveLength(eligible[0] ?? 0);
    const last = first.at(-1) ?? 0;
    await ask(first.slice(0, -1), { version: "4230.2.1" });
    await conductor.moveRollouts(now);
    expect(await rollout()).toMatchObject({ stage: 0 });
    await ask([last], { version: "4230.2.1" });
    await conductor.moveRollouts(now);
    expect(await rollout()).toMatchObject({ stage: 1 });
    // The same eligible nodes, of which half are through.
    expect(JSON.parse((await rollout()).eligible)).toEqual(eligible);
  });

  it("counts again for whom the stages are when a person has changed them", async () => {
    const stages = [{ percent: 20 }, { percent: 100 }];
    await planIn(world, { stages });
    await ask(range(200));
    await releaseIn(world, "4230.2.1");
    const conductor = new Conductor(world.store);
    await conductor.moveRollouts(now);
    const [first = 0, rest] = JSON.parse((await rollout()).eligible) as number[];
    expect(first + (rest ?? 0)).toBe(200);
    const fleet = await loadFleet(world.store.read);
    const [present] = fleet.rollouts;
    if (present === undefined) throw new Error("no rollout");
    const other = { stages: [{ percent: 20 }, { match: { oem: ["vmware"] } }, { percent: 100 }] };
    await world.store.write((tx) =>
      recordReplan(tx, present, other, "vmware first", emptyRolloutCounters(), SYSTEM, now),
    );
    await conductor.moveRollouts(now);
    expect(JSON.parse((await rollout()).eligible)).toEqual([first, 0, 200 - first]);
  });

  it("counts again, once a minute, as nodes come and move on", async () => {
    for (const strategy of [{ stages: [{ percent: 100 }] }, { stages: [{ percent: 50 }, { percent: 100 }] }]) {
      await planIn(world, strategy);
      await ask(range(10));
      await releaseIn(world, strategy.stages.length === 1 ? "4230.2.1" : "4593.2.5");
      const conductor = new Conductor(world.store);
      const total = async () =>
        (JSON.parse((await rollout()).eligible) as number[]).reduce((sum, nodes) => sum + nodes, 0);
      await conductor.moveRollouts(now);
      const before = await total();
      await ask(range(20));
      now += 30_000;
      await conductor.moveRollouts(now);
      expect(await total()).toBe(before);
      now += 30_000;
      await conductor.moveRollouts(now);
      expect(await total()).toBe(20);
    }
  });

  it("finds a node that came after it had looked", async () => {
    await planIn(world, { stages: [{ percent: 100, bake: "1h" }] });
    await ask([1, 2]);
    await releaseIn(world, "4230.2.1");
    const conductor = new Conductor(world.store);
    await ask([1, 2], { version: "4230.2.1" });
    await ask([3]);
    await ask([1], { version: "4230.2.1" });
    await ask([4], { version: "4081.2.0", ping: true, updateCheck: false });
    await conductor.moveRollouts(now);
    expect((await rollout()).baking_since).toBeNull();
    await ask([3, 4], { version: "4230.2.1" });
    await conductor.moveRollouts(now);
    expect((await rollout()).baking_since).toBe(now);
  });

  it("is through with a floor that all nodes are beyond, but not before there is a node", async () => {
    await releaseIn(world, "4152.0.0");
    await releaseIn(world, "4230.2.1");
    await world.store.write(async (tx) => {
      const { no } = await tx.selectFrom("packages").select("no").where("version", "=", "4152.0.0").executeTakeFirstOrThrow(); // biome-ignore format: one line
      const channel = await tx.selectFrom("channels").select("no").where("package_no", "is not", null).executeTakeFirstOrThrow(); // biome-ignore format: one line
      const floor = { channel_no: channel.no, package_no: no, reason: null, created_at: now };
      await tx.insertInto("channel_floors").values(floor).execute();
      await settleConfiguration(tx, SYSTEM, now);
    });
    const conductor = new Conductor(world.store);
    await conductor.moveRollouts(now);
    expect(await rollout()).toMatchObject({ state: "running", undoes: null });
    await ask([1], { version: "4593.2.5" });
    await conductor.moveRollouts(now);
    // The release itself is through only when somebody was offered it and has taken it.
    const states = await world.store.read
      .selectFrom("rollouts")
      .select("state")
      .where("present", "=", 1)
      .orderBy("no")
      .execute();
    expect(states.map(({ state }) => state)).toEqual(["running", "completed"]);
  });

  it("is one of several: nothing is done twice", async () => {
    await planIn(world, { stages: [{ percent: 40, bake: "1h" }, { percent: 70 }, { percent: 100, bake: "1h" }] });
    await ask(range(30));
    await releaseIn(world, "4230.2.1");
    const conductors = range(4).map(() => new Conductor(world.store));
    const move = () => Promise.all(conductors.map((one) => one.moveRollouts(now)));
    for (let step = 0; step < 6; step += 1) {
      await ask(await ask(range(30)), { version: "4230.2.1" });
      await move();
      now += HOUR;
      await move();
    }
    expect(await history()).toEqual([
      "0 running the group's channel points to this package",
      "0 running stage 1 of 3: its nodes have finished; it bakes",
      "1 running stage 2 of 3 opened by itself",
      "2 running stage 3 of 3 opened by itself",
      "2 running stage 3 of 3: its nodes have finished; it bakes",
      "2 completed the last stage is over: it has baked",
    ]);
    expect(await rollout()).toMatchObject({ state: "completed", revision: 6 });
  });
});

describe("the gate within a batch", () => {
  it("closes with the node that is one too many: what comes after it in the same batch gets nothing", async () => {
    await planIn(world, { health: {} });
    await releaseIn(world, "4230.2.1");
    expect(await ask(range(9))).toHaveLength(9);
    const failures = range(5).map((n) => request(aReport(anEvent(3, 0, { errorCode: 9 }), { machineId: machine(n) })));
    const batch = [...failures.slice(0, 4), request(aCheckIn({ machineId: machine(20) })), ...failures.slice(4), request(aCheckIn({ machineId: machine(21) })), request(aCheckIn({ machineId: machine(8) }))]; // biome-ignore format: one line
    const reasons = (await decisions.run(batch)).map(([one]) => one?.reason);
    expect([reasons[4], reasons[6], reasons[7]]).toEqual(["granted", "rollout-not-running", "rollout-not-running"]);
    expect(await rollout()).toMatchObject({ state: "halted", revision: 2 });
    const [line] = (await history()).slice(-1);
    expect(line).toContain("5 of 5 finished nodes failed");
  });

  it("closes on nodes that are lost, as time shows it", async () => {
    await planIn(world, { health: { max_lost: 1 } });
    await releaseIn(world, "4230.2.1");
    await ask(range(3));
    await decisions.run(range(3).map((n) => request(aReport(anEvent(3, 1), { machineId: machine(n) }))));
    now += 2 * HOUR;
    await decisions.expireDue(now);
    expect(await rollout()).toMatchObject({ state: "halted" });
    expect((await history()).at(-1)).toContain("2 nodes lost, more than 1");
  });
});

describe("a stage without nodes", () => {
  const STAGES = { stages: [{ percent: 20, bake: "1h" }, { percent: 100 }] };
  /** Looks every half hour, each time as a server that has just been started. */
  async function pass(hours: number): Promise<void> {
    await decisions.flushAllSeen();
    for (const until = now + hours * HOUR; now < until; now += HOUR / 2) {
      await new Conductor(world.store).moveRollouts(now);
    }
  }
  /** Machines whose place in the present rollout is within these shares, in percent. */
  async function within(from: number, to: number, count: number): Promise<number[]> {
    const { seed } = await rollout();
    const place = (n: number) => percentile(seed, machine(n)) * 100;
    return range(10_000)
      .filter((n) => place(n) >= from && place(n) < to)
      .slice(0, count);
  }

  it("waits for its first node as long as it takes, and lets those of later stages wait", async () => {
    await planIn(world, STAGES);
    await releaseIn(world, "4230.2.1");
    await pass(36);
    expect(await rollout()).toMatchObject({ state: "running", stage: 0, awaits_nodes: 1, baking_since: null });
    expect((await history()).slice(1)).toEqual(["0 running stage 1 of 2 waits for its first node"]);
    // As when DNS has been switched: the fleet comes node by node, those of the second stage before any of the first.
    const [first, second] = [await within(0, 20, 3), await within(20, 100, 30)];
    expect(await ask(second)).toEqual([]);
    await pass(2);
    expect(await ask(second)).toEqual([]);
    expect(await ask(first)).toEqual(first);
    await pass(1);
    expect(await rollout()).toMatchObject({ stage: 0, awaits_nodes: 0 });
    await ask(first, { version: "4230.2.1" });
    await pass(0.5);
    expect(await rollout()).toMatchObject({ stage: 0, stage_opened_at: expect.any(Number) });
    expect((await rollout()).baking_since).not.toBeNull();
    await pass(2);
    expect(await rollout()).toMatchObject({ stage: 1 });
    expect(await ask(second)).toEqual(second);
  });

  it("rises, and comes to the end of its longest time, from its first node on", async () => {
    await planIn(world, { stages: [{ percent: 50, over: "10h", max_duration: "20h" }, { percent: 100 }] });
    await releaseIn(world, "4230.2.1");
    await pass(30);
    expect(await rollout()).toMatchObject({ stage: 0, awaits_nodes: 1 });
    const [early, late] = [await within(0, 5, 2), await within(45, 50, 2)];
    expect(await ask([...early, ...late])).toEqual([]); // it has only just begun
    await pass(0.5);
    const cameAt = (await rollout()).stage_opened_at;
    expect(cameAt).toBeGreaterThan(NOW + 29 * HOUR);
    await pass(1);
    expect(await ask([...early, ...late])).toEqual(early);
    await pass(8.5);
    expect(await ask([...early, ...late])).toEqual([...early, ...late]);
    await pass(21);
    expect(await rollout()).toMatchObject({ stage: 1 });
  });

  it("is passed over, without a bake, when its share includes none of a small group that has settled", async () => {
    await planIn(world, { stages: [{ percent: 20, bake: "10d" }, { percent: 100 }] });
    await releaseIn(world, "4230.2.1");
    const nodes = await within(20, 100, 3);
    for (let hour = 0; hour < 22; hour += 2) {
      await ask(nodes);
      await pass(2);
    }
    expect(await rollout()).toMatchObject({ stage: 0, awaits_nodes: 1 });
    await ask(nodes);
    await pass(3);
    expect(await rollout()).toMatchObject({ stage: 1, awaits_nodes: 0 });
    expect((await history()).at(-1)).toBe(
      "1 running stage 2 of 2 opened by itself: stage 1 of 2 includes none of the group's 3 nodes",
    );
    expect(await ask(nodes)).toEqual(nodes);
  });

  it("that names its nodes waits for them, whoever else is there; a person may open the next", async () => {
    await planIn(world, { stages: [{ match: { oem: ["vmware"] } }, { percent: 100 }] });
    await releaseIn(world, "4230.2.1");
    for (let day = 0; day < 3; day += 1) {
      expect(await ask(range(5))).toEqual([]);
      await pass(20);
    }
    expect(await rollout()).toMatchObject({ stage: 0, awaits_nodes: 1 });
    expect(await ask([77], { oem: "vmware" })).toEqual([77]);
    await pass(0.5);
    expect(await rollout()).toMatchObject({ stage: 0, awaits_nodes: 0 });
  });

  it("of 0 % is there for its bake, and waits for nobody", async () => {
    await planIn(world, { stages: [{ percent: 0, bake: "3h" }, { percent: 100 }] });
    await ask(range(3));
    await releaseIn(world, "4230.2.1");
    await pass(4);
    expect(await rollout()).toMatchObject({ stage: 1 });
  });

  it("counts no node that has not been seen for a day", async () => {
    await planIn(world, STAGES);
    await releaseIn(world, "4230.2.1");
    const first = await within(0, 20, 1);
    await ask(first, { updateCheck: false });
    now += 30 * HOUR;
    await pass(2);
    expect(await rollout()).toMatchObject({ stage: 0, awaits_nodes: 1 });
  });
});

describe("after success", () => {
  const NODES = range(8);
  const stateOf = async (groupNo?: number) => {
    const rows = await world.store.read.selectFrom("rollouts").selectAll().orderBy("no").execute();
    return rows.filter((row) => groupNo === undefined || row.group_no === groupNo).map(({ state }) => state);
  };
  /** All have it, and the rollout has completed. */
  async function complete(): Promise<Conductor> {
    await ask(NODES);
    await ask(NODES, { version: "4230.2.1", bootId: "{boot-2}" });
    const conductor = new Conductor(world.store);
    await conductor.moveRollouts(now);
    expect(await rollout()).toMatchObject({ state: "completed" });
    return conductor;
  }

  it("a rollout is halted by nodes that fall back, also over a restart, and nobody gets it any more", async () => {
    await planIn(world, { health: {} });
    await releaseIn(world, "4230.2.1");
    await complete();
    decisions = new Decisions(world.checkIns, { newNodesPerMinute: 0, onFault: (error) => { throw error; } }); // biome-ignore format: one line
    now += 48 * HOUR;
    await ask(NODES.slice(0, 2), { version: "4230.2.1", bootId: "{boot-3}" }); // only rebooted
    expect(await ask([20])).toEqual([20]);
    expect(await ask(NODES.slice(0, 6), { bootId: "{boot-4}" })).toEqual([]);
    expect(await rollout()).toMatchObject({ state: "halted" });
    expect((await history()).at(-1)).toMatch(/^0 halted \d of 8 finished nodes failed/);
    expect(await ask([21])).toEqual([]);
    const rows = world.db.prepare("SELECT status, failure, count(*) AS nodes FROM nodes WHERE status != 'unknown' GROUP BY 1, 2 ORDER BY 1").all(); // biome-ignore format: one line
    expect(rows).toEqual([
      { status: "complete", failure: null, nodes: 2 },
      { status: "granted", failure: null, nodes: 1 },
      { status: "rolled-back", failure: "rolled-back", nodes: 6 },
    ]);
  });

  it("a node that was installed anew is not watched any more, whatever it runs from then on", async () => {
    await planIn(world, { health: {} });
    await releaseIn(world, "4230.2.1");
    await complete();
    const anew = { events: [anEvent(3, 2, { previousVersion: "0.0.0.0" })], bootId: "{boot-3}" };
    await ask(NODES, anew);
    await ask(NODES, { bootId: "{boot-4}" });
    expect(await rollout()).toMatchObject({ state: "completed" });
    expect(world.db.prepare("SELECT DISTINCT failure FROM nodes").pluck().all()).toEqual([null]);
  });

  it("a node on hold for the next version keeps what it has completed, is counted there, and can still fall back", async () => {
    await releaseIn(world, "4230.2.1");
    await complete();
    await releaseIn(world, "4459.2.0");
    await world.store.write((tx) => tx.updateTable("groups").set({ policy_max_updates_per_period: 1 }).execute());
    await world.store.write((tx) => settleConfiguration(tx, SYSTEM, now));
    await ask(NODES, { version: "4230.2.1", bootId: "{boot-2}" });
    expect(world.db.prepare("SELECT count(*) FROM nodes WHERE status = 'on-hold' AND rollout_no IS NOT NULL").pluck().get()).toBe(8); // biome-ignore format: one line
    expect(await recount(world.store.read, false)).toEqual([]);
    await ask([3], { bootId: "{boot-3}" });
    const { complete: left, rolled_back: back, relapsed } = world.db.prepare("SELECT * FROM rollout_counters WHERE complete > 0").get() as Record<string, number>; // biome-ignore format: one line
    expect({ left, back, relapsed }).toEqual({ left: 7, back: 1, relapsed: 1 });
  });

  it.each([[true], [false]])(
    "what comes after a group that had it does not start on a halted rollout (replaced since: %s)",
    async (replaced) => {
      await planIn(world, { health: {} });
      const other = await addGroup(world, "other");
      await world.store.write((tx) =>
        tx
          .updateTable("groups")
          .set({ strategy: JSON.stringify({ after: [{ group: "Stable (AMD64)", bake: "1d" }] }) })
          .where("id", "=", other)
          .execute(),
      );
      await releaseIn(world, "4230.2.1");
      const groupNo = (await world.store.read.selectFrom("groups").select("no").where("id", "=", other).executeTakeFirstOrThrow()).no; // biome-ignore format: one line
      await ask(NODES);
      await ask(NODES, { version: "4230.2.1", bootId: "{boot-2}" });
      const conductor = new Conductor(world.store);
      await conductor.moveRollouts(now);
      expect((await stateOf()).sort()).toEqual(["completed", "scheduled"]);
      now += 12 * HOUR;
      await ask(NODES, { bootId: "{boot-3}" });
      expect((await stateOf()).sort()).toEqual(["halted", "scheduled"]);
      if (replaced) {
        // The first group goes on to another release; the second stays where it was.
        const stable = await world.store.read.selectFrom("rollouts").selectAll().where("group_no", "!=", groupNo).executeTakeFirstOrThrow(); // biome-ignore format: one line
        const [halted] = (await loadFleet(world.store.read)).rollouts.filter(({ no }) => no === stable.no);
        if (halted === undefined) throw new Error("no rollout");
        await world.store.write((tx) => retire(tx, halted, "another release", SYSTEM, now));
      }
      now += 48 * HOUR;
      await conductor.moveRollouts(now);
      expect(await stateOf(groupNo)).toEqual(["scheduled"]);
    },
  );
});
