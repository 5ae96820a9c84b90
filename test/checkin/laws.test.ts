/** The engine's laws on a real database: whatever comes in, and people do, in whatever order, with restarts in between. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Conductor } from "../../src/checkin/conductor.ts";
import { Decisions } from "../../src/checkin/decisions.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import type { StrategyDocument } from "../../src/rollout/strategy.ts";
import { deleteNodes, holdNodes, labelNodes, letNodesGo, moveNodes } from "../../src/store/node-care.ts";
import { withSeen } from "../../src/store/node-list.ts";
import { recount } from "../../src/store/recount.ts";
import { aCheckIn, anEvent, aPing, aReport, MINUTE } from "../rollout/builders.ts";
import { aDatabase, addGroup, type InProcess, NOW, planIn, releaseIn } from "../store/in-process.ts";

const VERSIONS = ["4081.2.0", "4152.0.0", "4230.2.1"];
const strategy: fc.Arbitrary<StrategyDocument> = fc.record(
  {
    stages: fc.constantFrom([{ percent: 100 }], [{ percent: 40, bake: "10m" }, { percent: 100, over: "1h" }], [{ match: { oem: ["azure"] } }, { percent: 100 }], [{ match: { labels: { rack: "7" } } }, { percent: 100 }]), // biome-ignore format: one line
    health: fc.constantFrom({}, { min_finished: 1 }, { on_breach: "pause" as const, min_finished: 2 }),
    max_in_flight: fc.constantFrom(1, 3),
    retry: fc.constantFrom({ after: "10m", max: 3 }),
  },
  { requiredKeys: ["stages"] },
);
const machine = (n: number) => n.toString(16).padStart(32, "0");
const about = fc.record({
  machineId: fc.integer({ min: 1, max: 7 }).map(machine),
  version: fc.constantFrom(...VERSIONS),
  bootId: fc.constantFrom("{1}", "{2}"),
  oem: fc.constantFrom("azure", "vmware"),
});
const event = fc.constantFrom(anEvent(13, 1), anEvent(14, 1), anEvent(3, 1), anEvent(3, 0, { errorCode: 9 }), anEvent(3, 0, { errorCode: 44 })); // biome-ignore format: one line
const checkIn: fc.Arbitrary<CheckIn> = fc.oneof(
  { weight: 4, arbitrary: about.map((what) => aCheckIn({ ...what, version: "4081.2.0" })) },
  { weight: 2, arbitrary: about.map((what) => aCheckIn(what)) },
  { weight: 4, arbitrary: fc.tuple(event, about).map(([one, what]) => aReport(one, { ...what, version: "4081.2.0" })) },
  { weight: 1, arbitrary: about.map((what) => aPing(what)) },
);
type Step =
  | { kind: "batch"; apps: CheckIn[] }
  | { kind: "again" }
  | { kind: "time"; minutes: number }
  | { kind: "restart" }
  | { kind: "release"; version: string }
  | { kind: "care"; what: "hold" | "release" | "label" | "move" | "let go" | "delete"; machines: string[] }
  | { kind: "plan"; strategy: StrategyDocument };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.array(checkIn, { minLength: 1, maxLength: 8 }).map((apps): Step => ({ kind: "batch", apps })),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: "again" }) },
  { weight: 4, arbitrary: fc.constantFrom(1, 11, 61, 600).map((minutes): Step => ({ kind: "time", minutes })) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: "restart" }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom("4152.0.0", "4230.2.1").map((version): Step => ({ kind: "release", version })),
  },
  { weight: 1, arbitrary: strategy.map((one): Step => ({ kind: "plan", strategy: one })) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.constantFrom("hold", "release", "label", "move", "let go", "delete"),
        fc.uniqueArray(fc.integer({ min: 1, max: 7 }).map(machine), { minLength: 1, maxLength: 4 }),
      )
      .map(([what, machines]): Step => ({ kind: "care", what, machines })),
  },
);

class Driver {
  readonly #world: InProcess;
  readonly #limit: number;
  #decisions: Decisions;
  #conductor: Conductor;
  #now = NOW;
  #last: CheckIn[] = [];
  readonly #released = new Set<string>();

  constructor(world: InProcess, limit: number) {
    this.#world = world;
    this.#limit = limit;
    this.#decisions = this.#fresh();
    this.#conductor = new Conductor(world.store);
  }

  #fresh(): Decisions {
    const onFault = (error: unknown) => {
      throw error;
    };
    return new Decisions(this.#world.checkIns, { newNodesPerMinute: 0, onFault });
  }

  async take(one: Step): Promise<void> {
    switch (one.kind) {
      case "batch":
        this.#last = one.apps;
        return this.#ask(one.apps);
      case "again": // the answers were lost
        return this.#ask(this.#last);
      case "time":
        this.#now += one.minutes * MINUTE;
        while (await this.#decisions.expireDue(this.#now));
        while (await this.#decisions.flushSeen());
        await this.#conductor.moveRollouts(this.#now);
        return;
      case "restart":
        this.#decisions = this.#fresh();
        this.#conductor = new Conductor(this.#world.store);
        return;
      case "release":
        if (this.#released.has(one.version)) return;
        this.#released.add(one.version);
        return releaseIn(this.#world, one.version);
      case "care":
        return this.#tend(one.what, one.machines);
      case "plan":
        return planIn(this.#world, one.strategy, { policy_max_updates_per_period: this.#limit });
      default:
        one satisfies never;
    }
  }

  async #tend(what: Extract<Step, { kind: "care" }>["what"], machines: readonly string[]): Promise<void> {
    await this.#world.store.write(async (tx) => {
      const nodes = await withSeen(tx).selectAll("nodes").select("seen.at").where("nodes.id", "in", machines).execute();
      const other = await tx.selectFrom("groups").selectAll().where("track", "=", "other").executeTakeFirstOrThrow();
      switch (what) {
        case "hold":
          return holdNodes(tx, nodes, { at: this.#now, by: "ops", why: "its disk" });
        case "release":
          return holdNodes(tx, nodes, null);
        case "label":
          return labelNodes(tx, nodes, { rack: "7" });
        case "move":
          return moveNodes(tx, nodes, other);
        case "let go":
          return letNodesGo(tx, nodes);
        case "delete":
          return deleteNodes(tx, nodes, this.#now);
        default:
          what satisfies never;
      }
    });
  }

  async #ask(apps: readonly CheckIn[]): Promise<void> {
    // The first two ids have two machines each, which are heard in turn; any other has one, which never has an old boot id again.
    const said = apps.map((app) =>
      app.machineId > machine(2) ? { ...app, bootId: `{${Math.floor(this.#now / (30 * MINUTE))}}` } : app,
    );
    await this.#decisions.run(said.map((app) => ({ apps: [app], ip: "192.0.2.1", now: this.#now })));
  }
}

describe("whatever comes in, through restarts", () => {
  it("counters equal a recount, quotas hold, and every state has its line of history", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(2, 999_999),
        strategy,
        fc.array(step, { minLength: 5, maxLength: 40, size: "max" }),
        async (limit, first, steps) => {
          const world = await aDatabase();
          try {
            const driver = new Driver(world, limit);
            await addGroup(world, "other", limit);
            await driver.take({ kind: "plan", strategy: first });
            await driver.take({ kind: "release", version: "4152.0.0" });
            for (const one of steps) {
              await driver.take(one);
              expect(await recount(world.store.read, false)).toEqual([]);
              const flying = world.db
                .prepare<[], number>(
                  "SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM nodes WHERE deadline IS NOT NULL GROUP BY grant_group_no)",
                )
                .pluck()
                .get();
              expect(flying).toBeLessThanOrEqual(limit);
              const strays = world.db
                .prepare("SELECT node_no FROM seen WHERE node_no NOT IN (SELECT no FROM nodes)")
                .all();
              expect(strays).toEqual([]);
              const kept = world.db
                .prepare("SELECT group_no, version, status, count FROM node_counts ORDER BY 1, 2, 3")
                .all();
              const counted = world.db
                .prepare(
                  "SELECT group_no, version, status, count(*) AS count FROM nodes GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
                )
                .all();
              expect(kept).toEqual(counted);
            }
            const stands = world.db
              .prepare<[], { state: string; said: string; revision: number; lines: number }>(
                `SELECT state, revision,
                   (SELECT to_state FROM rollout_history h WHERE h.rollout_no = r.no ORDER BY h.no DESC LIMIT 1) AS said,
                   (SELECT count(*) FROM rollout_history h WHERE h.rollout_no = r.no) AS lines
                 FROM rollouts r`,
              )
              .all();
            for (const { state, said, revision, lines } of stands) expect([said, lines]).toEqual([state, revision]);
          } finally {
            world.close();
          }
        },
      ),
      { numRuns: 120 },
    );
  }, 300_000);
});
