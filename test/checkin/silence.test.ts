/** Nodes on virtual time, one update check every 45 minutes each, and a server that looks who has fallen silent. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Conductor } from "../../src/checkin/conductor.ts";
import { Decisions } from "../../src/checkin/decisions.ts";
import type { PollingOptions } from "../../src/checkin/polling.ts";
import { SilenceWatch } from "../../src/checkin/silence.ts";
import type { StrategyDocument } from "../../src/rollout/strategy.ts";
import { takeCensus } from "../../src/store/census.ts";
import { recount } from "../../src/store/recount.ts";
import { silenceOf } from "../../src/store/silence-record.ts";
import { aCheckIn, HOUR, MINUTE } from "../rollout/builders.ts";
import { aDatabase, addGroup, type InProcess, NOW, planIn, releaseIn } from "../store/in-process.ts";

const DAY = 24 * HOUR;
const NODES = 40;
const STAGES: StrategyDocument = { stages: [{ percent: 40, bake: "1d" }, { percent: 100 }], health: {}, seed: "fixed" };
const POLLING: PollingOptions = { normalSeconds: null, longestMs: 4 * HOUR, adaptive: true, overloadWaitMs: 1_000 };
const machine = (n: number) => n.toString(16).padStart(32, "0");
const range = (length: number) => Array.from({ length }, (_, n) => n);

/** What the tests do to a fleet, and how it lives on by itself. */
class LiveFleet {
  readonly world: InProcess;
  now = NOW;
  /** By node: with the release or not, in which boot. */
  readonly #version = new Map<number, string>();
  /** Nodes that are off now. */
  readonly off = new Set<number>();
  #decisions: Decisions;
  #watch: SilenceWatch;
  #conductor: Conductor;

  constructor(world: InProcess) {
    this.world = world;
    this.#decisions = this.#fresh();
    this.#watch = new SilenceWatch(world.store, null, POLLING);
    this.#conductor = new Conductor(world.store, null, this.#watch);
  }

  #fresh(): Decisions {
    const onFault = (error: unknown) => {
      throw error;
    };
    return new Decisions(this.world.checkIns, { newNodesPerMinute: 0, onFault, polling: POLLING });
  }

  restart(absence: { from: number; to: number } | null): void {
    this.#decisions = this.#fresh();
    this.#watch = new SilenceWatch(this.world.store, absence, POLLING);
    this.#conductor = new Conductor(this.world.store, absence, this.#watch);
  }

  /** One check of each node that is on; whoever is offered the release has it with its next one. */
  async poll(oem: (n: number) => string = () => "azure"): Promise<void> {
    const asking = range(NODES).filter((n) => !this.off.has(n));
    const requests = asking.map((n) => {
      const version = this.#version.get(n) ?? "4081.2.0";
      const bootId = version === "4081.2.0" ? "{1}" : "{2}";
      return {
        apps: [aCheckIn({ machineId: machine(n), version, bootId, oem: oem(n) })],
        ip: "192.0.2.1",
        now: this.now,
      };
    });
    const answers = await this.#decisions.run(requests);
    for (const [index, n] of asking.entries()) {
      if (answers[index]?.[0]?.offer != null) this.#version.set(n, "4230.2.1");
    }
    while (await this.#decisions.flushSeen());
  }

  /** So much time, with a check of each node every 45 minutes, and what the server does meanwhile. */
  async live(ms: number, oem?: (n: number) => string): Promise<void> {
    for (const until = this.now + ms; this.now < until; this.now += 45 * MINUTE) {
      await this.poll(oem);
      await this.#watch.missedAfterMs(this.now); // as with every census
      await this.#conductor.moveRollouts(this.now);
    }
  }

  async census(): Promise<void> {
    await takeCensus(this.world.store, this.now, await this.#watch.missedAfterMs(this.now));
  }

  /** As if the server had known all of them for so many days, with nobody silent. */
  knowFor(days: number): void {
    this.world.db.prepare("UPDATE nodes SET created_at = ?").run(this.now - days * DAY);
    const insert = this.world.db.prepare(
      "INSERT INTO census VALUES (1, ?, '4081.2.0', 'unknown', ?, ?, 0, 0, 0, 0, ?, 0) ON CONFLICT DO NOTHING",
    );
    for (let at = this.now - days * DAY; at < this.now; at += 3 * HOUR) insert.run(at / 900_000, at, NODES, NODES);
  }

  async look(): Promise<void> {
    await this.#conductor.moveRollouts(this.now);
  }

  /** Those that have completed. */
  get updated(): number[] {
    const rows = this.world.db.prepare<[], string>("SELECT id FROM nodes WHERE status = 'complete'").pluck().all();
    return rows.map((id) => Number.parseInt(id, 16));
  }

  async rollout() {
    return this.world.store.read.selectFrom("rollouts").selectAll().orderBy("no", "desc").executeTakeFirstOrThrow();
  }

  async silence() {
    return silenceOf((await this.rollout()).silence);
  }

  async reason() {
    const rows = await this.world.store.read
      .selectFrom("rollout_history")
      .select("reason")
      .orderBy("no", "desc")
      .execute();
    return rows[0]?.reason ?? "";
  }
}

let world: InProcess;
let fleet: LiveFleet;
beforeEach(async () => {
  world = await aDatabase();
  fleet = new LiveFleet(world);
});
afterEach(async () => {
  expect(await recount(world.store.read, false)).toEqual([]);
  world.close();
});

/** The first stage has the release, and bakes. */
async function baking(strategy: StrategyDocument = STAGES): Promise<number[]> {
  await planIn(world, strategy);
  await fleet.live(3 * HOUR);
  await releaseIn(world, "4230.2.1");
  await world.store.write((tx) =>
    tx.updateTable("rollouts").set({ state_at: fleet.now, stage_opened_at: fleet.now }).execute(),
  );
  await fleet.live(2 * HOUR);
  expect(await fleet.rollout()).toMatchObject({ state: "running", stage: 0, baking_since: expect.any(Number) });
  const updated = fleet.updated;
  expect(updated.length).toBeGreaterThan(10);
  expect(updated.length).toBeLessThan(22);
  return updated;
}

describe("nodes that fall silent after they have completed", () => {
  it("halt the rollout, two checks and a quarter of an hour after the last that was heard of them", async () => {
    const updated = await baking();
    for (const n of updated) fleet.off.add(n);
    await fleet.live(90 * MINUTE);
    expect(await fleet.rollout()).toMatchObject({ state: "running" });
    await fleet.live(45 * MINUTE);
    expect(await fleet.rollout()).toMatchObject({ state: "halted" });
    expect(await fleet.reason()).toMatch(
      new RegExp(`^${updated.length} of ${updated.length} nodes that had completed have fallen silent, and 0 of ${NODES - updated.length} of the others: at least \\d+\\.\\d % more, more than 5 %$`), // biome-ignore format: one line
    );
    expect(await fleet.silence()).toMatchObject({ silent: updated.length, compared: { against: "others" } });
  });

  it("do not, when as many of the others have fallen silent: it is something else", async () => {
    const updated = await baking();
    const others = range(NODES).filter((n) => !updated.includes(n));
    for (const n of [...updated.slice(0, 6), ...others.slice(0, 16)]) fleet.off.add(n);
    await fleet.live(5 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: "running" });
    expect(await fleet.silence()).toMatchObject({ silent: 6, compared: { other: { silent: 16 } } });
  });

  it("are complete again as soon as they are heard", async () => {
    const updated = await baking({ ...STAGES, health: { on_breach: "watch" } });
    for (const n of updated) fleet.off.add(n);
    await fleet.live(3 * HOUR);
    expect(await fleet.silence()).toMatchObject({ silent: updated.length });
    expect(await fleet.reason()).toContain("would have closed all of it");
    fleet.off.clear();
    await fleet.live(45 * MINUTE);
    expect(await fleet.silence()).toMatchObject({ silent: 0 });
    expect(fleet.updated.sort()).toEqual(updated.sort());
  });

  it("pause it with `pause`, until they are heard again", async () => {
    const updated = await baking({ ...STAGES, health: { on_breach: "pause" } });
    for (const n of updated) fleet.off.add(n);
    await fleet.live(3 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: "paused", paused_by_gate: 1 });
    fleet.restart(null);
    await fleet.live(3 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: "paused" });
    fleet.off.clear();
    await fleet.live(90 * MINUTE);
    expect(await fleet.rollout()).toMatchObject({ state: "running" });
  });

  it("are known to the gate when a person has resumed: it looks at those that fall silent from then on", async () => {
    const updated = await baking();
    const [early, late] = [updated.slice(0, -6), updated.slice(-6)];
    for (const n of early) fleet.off.add(n);
    await fleet.live(3 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: "halted" });
    await world.store.write((tx) =>
      tx.updateTable("rollouts").set({ state: "running", state_at: fleet.now }).execute(),
    );
    await world.store.write((tx) =>
      tx
        .updateTable("meta")
        .set((eb) => ({ revision: eb("revision", "+", 1) }))
        .execute(),
    );
    await fleet.live(4 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: "running" });
    for (const n of late) fleet.off.add(n);
    await fleet.live(3 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: "halted" });
    expect(await fleet.reason()).toMatch(/^6 of 6 nodes/);
  });

  it("of one OEM close it there, and it goes on elsewhere", async () => {
    const oem = (n: number) => (n % 2 === 0 ? "vmware" : "azure");
    await planIn(world, { ...STAGES, stages: [{ percent: 60, bake: "1d" }, { percent: 100 }] });
    await fleet.live(HOUR, oem);
    await releaseIn(world, "4230.2.1");
    await fleet.live(2 * HOUR, oem);
    for (const n of fleet.updated) if (n % 2 === 0) fleet.off.add(n);
    await fleet.live(3 * HOUR, oem);
    const { state, closed } = await fleet.rollout();
    expect({ state, closed: JSON.parse(closed) }).toMatchObject({
      state: "running",
      closed: [{ slice: { value: "vmware" } }],
    });
  });

  it("are nobody's business where that is off, or where there is no gate", async () => {
    for (const health of [{ silence: "off" as const }, null]) {
      const updated = await baking({ ...STAGES, health });
      for (const n of updated) fleet.off.add(n);
      await fleet.live(6 * HOUR);
      expect(await fleet.rollout()).toMatchObject({ state: "running", silence: null });
      world.close();
      world = await aDatabase();
      fleet = new LiveFleet(world);
    }
  });
});

describe("machines that are switched off each night", () => {
  /** From the ninth hour on, for twelve; the tests begin at noon. */
  async function aDay(lab: readonly number[]): Promise<void> {
    await fleet.live(9 * HOUR);
    for (const n of lab) fleet.off.add(n);
    await fleet.live(12 * HOUR);
    for (const n of lab) fleet.off.delete(n);
    await fleet.live(3 * HOUR);
  }

  it("are not missed at night, though they are the first to get a release; but when they do not come back in the morning", async () => {
    const lab = range(15);
    const strategy = { ...STAGES, stages: [{ match: { id: lab.map(machine) }, bake: "3d" }, { percent: 100 }] };
    await planIn(world, strategy);
    await aDay(lab);
    fleet.knowFor(9);
    await releaseIn(world, "4230.2.1");
    await world.store.write((tx) =>
      tx.updateTable("rollouts").set({ state_at: fleet.now, stage_opened_at: fleet.now }).execute(),
    );
    await aDay(lab);
    expect(fleet.updated.length).toBe(15);
    await aDay(lab);
    expect(await fleet.rollout()).toMatchObject({ state: "running", stage: 0 });
    expect(await fleet.silence()).toMatchObject({ silent: 0, compared: { complete: { nodes: 15 } } });
    await fleet.live(9 * HOUR);
    for (const n of lab) fleet.off.add(n);
    await fleet.live(12 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: "running" });
    await fleet.live(5 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: "halted" });
    expect(await fleet.reason()).toMatch(/^15 of 15 nodes/);
  });

  it("are missed as soon as any when they fall silent at a time at which they are on", async () => {
    const lab = range(15);
    await planIn(world, { ...STAGES, stages: [{ match: { id: lab.map(machine) }, bake: "3d" }, { percent: 100 }] });
    await aDay(lab);
    fleet.knowFor(9);
    await releaseIn(world, "4230.2.1");
    await world.store.write((tx) =>
      tx.updateTable("rollouts").set({ state_at: fleet.now, stage_opened_at: fleet.now }).execute(),
    );
    await fleet.live(90 * MINUTE);
    for (const n of lab) fleet.off.add(n);
    await fleet.live(90 * MINUTE);
    expect(await fleet.rollout()).toMatchObject({ state: "running" });
    await fleet.live(45 * MINUTE);
    expect(await fleet.rollout()).toMatchObject({ state: "halted" });
  });

  it("are judged neither way before the server has known them for a week", async () => {
    const lab = range(15);
    await planIn(world, { ...STAGES, stages: [{ match: { id: lab.map(machine) }, bake: "3d" }, { percent: 100 }] });
    await aDay(lab);
    await releaseIn(world, "4230.2.1");
    await aDay(lab);
    await fleet.live(9 * HOUR);
    for (const n of lab) fleet.off.add(n);
    await fleet.live(40 * HOUR);
    expect(await fleet.rollout()).toMatchObject({ state: "running" });
    expect(await fleet.silence()).toMatchObject({ silent: 0, compared: null });
  });
});

describe("a group in which everybody has the release", () => {
  async function lastStage(days: number): Promise<void> {
    await planIn(world, { stages: [{ percent: 100, bake: "2d" }], health: {} });
    await fleet.live(HOUR);
    fleet.knowFor(days);
    await releaseIn(world, "4230.2.1");
    await world.store.write((tx) =>
      tx.updateTable("rollouts").set({ state_at: fleet.now, stage_opened_at: fleet.now }).execute(),
    );
    await fleet.live(2 * HOUR);
    expect(fleet.updated).toHaveLength(NODES);
    for (const n of range(20)) fleet.off.add(n);
    await fleet.live(3 * HOUR);
  }

  it("is compared with how it was in the week before", async () => {
    await lastStage(8);
    expect(await fleet.rollout()).toMatchObject({ state: "halted" });
    expect(await fleet.reason()).toMatch(/^20 of 40 nodes .* and 0 of 40 in the worst hour of the week before/);
  });

  it("and how it was is counted with every census", async () => {
    await planIn(world, STAGES);
    await fleet.live(3 * HOUR);
    await fleet.census();
    for (const n of range(8)) fleet.off.add(n);
    await fleet.live(3 * HOUR);
    await fleet.census();
    await fleet.live(24 * HOUR);
    await fleet.census();
    fleet.now += 2 * HOUR;
    await fleet.census();
    const rows = world.db.prepare("SELECT judged, silent FROM census ORDER BY slot").all();
    // Silent for over a day, they are left out; and nothing is known of a time in which nobody was heard.
    expect(rows).toEqual([{ judged: 40, silent: 0 }, { judged: 40, silent: 8 }, { judged: 32, silent: 0 }, { judged: 0, silent: 0 }]); // biome-ignore format: one line
  });

  it("is not judged while the server has not known it for a week", async () => {
    await lastStage(3);
    expect(await fleet.rollout()).toMatchObject({ state: "running" });
    expect(await fleet.silence()).toMatchObject({ silent: 20, compared: null });
  });
});

describe("while nodes could not be heard", () => {
  it("nobody was silent: neither with the server away, nor with the way to it", async () => {
    for (const away of [true, false]) {
      const updated = await baking();
      const from = fleet.now - 45 * MINUTE;
      fleet.now += 10 * HOUR;
      if (away) fleet.restart({ from, to: fleet.now });
      await fleet.look();
      // The others are back at once, those with the release a little later.
      for (const n of updated) fleet.off.add(n);
      await fleet.live(45 * MINUTE);
      for (const n of updated.slice(-3)) fleet.off.delete(n);
      await fleet.live(45 * MINUTE);
      expect(await fleet.rollout()).toMatchObject({ state: "running" });
      // Some are not back when they should be.
      await fleet.live(2 * HOUR);
      expect(await fleet.rollout()).toMatchObject({ state: "halted" });
      expect(await fleet.silence()).toMatchObject({ silent: updated.length - 3 });
      world.close();
      world = await aDatabase();
      fleet = new LiveFleet(world);
    }
  });

  it("nobody learns from it that a node is sometimes away", async () => {
    await fleet.live(3 * HOUR);
    fleet.now += 10 * HOUR;
    await fleet.live(2 * HOUR);
    const away = () => world.db.prepare<[], string>("SELECT away FROM seen WHERE away IS NOT NULL").pluck().all();
    expect(away()).toEqual([]);
    fleet.restart(null);
    fleet.off.add(7);
    await fleet.live(5 * HOUR);
    fleet.restart(null); // a short one: what was before is known
    fleet.off.clear();
    await fleet.live(HOUR);
    const [[from = 0, to = 0] = []] = JSON.parse(away()[0] ?? "[]") as [number, number][];
    expect([away().length, to - from]).toEqual([1, 6 * HOUR]);
  });
});

describe("what else is looked at", () => {
  it("a completed rollout is halted while another group waits for it, and then that does not start", async () => {
    await planIn(world, { stages: [{ percent: 100 }], health: {} });
    const other = await addGroup(world, "other");
    const after = { after: [{ group: "Stable (AMD64)", bake: "1d" }] };
    await world.store.write((tx) =>
      tx
        .updateTable("groups")
        .set({ strategy: JSON.stringify(after) })
        .where("id", "=", other)
        .execute(),
    );
    await fleet.live(HOUR);
    fleet.knowFor(8);
    await releaseIn(world, "4230.2.1");
    await world.store.write((tx) =>
      tx.updateTable("rollouts").set({ state_at: fleet.now, stage_opened_at: fleet.now }).execute(),
    );
    await fleet.live(2 * HOUR);
    const states = () => world.db.prepare("SELECT state FROM rollouts ORDER BY state").pluck().all();
    expect(states()).toEqual(["completed", "scheduled"]);
    for (const n of range(30)) fleet.off.add(n);
    await fleet.live(4 * HOUR);
    expect(states()).toEqual(["halted", "scheduled"]);
  });

  it("nodes that others are compared with are told nothing longer than usual, as soon as there is somebody to compare", async () => {
    await planIn(world, STAGES);
    await fleet.live(HOUR);
    await releaseIn(world, "4230.2.1");
    const due = () => world.db.prepare("SELECT count(*) FROM seen WHERE due_at IS NOT NULL").pluck().get();
    await fleet.poll();
    expect(due()).toBeGreaterThan(15); // it will be a day before their stage can open
    fleet.now += 45 * MINUTE;
    await fleet.poll();
    fleet.now += 45 * MINUTE;
    await fleet.poll();
    expect(due()).toBe(0);
    // They were late, but not later than they were told.
    expect(world.db.prepare("SELECT DISTINCT away FROM seen").pluck().all()).toEqual([null]);
  });
});
