/**
 * Moves rollouts on as time goes: starts them, ends stages, opens the next, completes. Any number of processes may run one:
 * a change is written only if the rollout is still as it was read.
 */
import { type Kysely, sql } from "kysely";
import { readCell } from "../rollout/cell.ts";
import { emptyRolloutCounters } from "../rollout/counters.ts";
import type { Arch } from "../rollout/model/arch.ts";
import type { Fleet } from "../rollout/model/fleet.ts";
import type { NodeStatus } from "../rollout/model/node.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { due, isLast, stageFinished } from "../rollout/run.ts";
import { isForAll, isWaitedFor, type Straggler, stageOf } from "../rollout/stages.ts";
import { compareVersions } from "../rollout/version.ts";
import { holdOf, labelsOf, sharedOf } from "../store/care.ts";
import { loadCounters } from "../store/counters.ts";
import { loadFleet } from "../store/fleet.ts";
import { RolloutMoved, recordChange, SYSTEM } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Tables } from "../store/tables.ts";
import { type Absence, seenBut } from "./absence.ts";

type Db = Kysely<Tables>;

/** Nodes read at a time: a few milliseconds each, so that check-ins come in between. */
const CHUNK = 1_000;
/** So many nodes that a stage waits for are remembered, to be asked after one by one. */
const REMEMBERED = 10_000;
/** A change may be followed by another at once (a stage without nodes); more than this can't be. */
const MAX_CHANGES = 100;

/** Nodes that a stage was seen to wait for: it is over no sooner than with the last of them. */
interface Waiting {
  readonly stage: number;
  readonly nodeNos: readonly number[];
  next: number;
}

export class Conductor {
  readonly #store: Store;
  readonly #absence: Absence | null;
  readonly #waiting = new Map<number, Waiting>();
  /** The stage, and the plan, that a rollout's nodes were counted by. */
  readonly #counted = new Map<number, string>();
  #fleet: Fleet | null = null;

  /** @param absence that came before the start. */
  constructor(store: Store, absence: Absence | null = null) {
    this.#store = store;
    this.#absence = absence;
  }

  /** Everything that is due at `now`. */
  async moveRollouts(now: number): Promise<void> {
    for (let changes = 0; changes < MAX_CHANGES; changes += 1) {
      if (!(await this.#moveOnce(now))) return;
    }
  }

  /** Answers whether something has moved, so that more may be due. */
  async #moveOnce(now: number): Promise<boolean> {
    const fleet = await this.#currentFleet();
    const live = fleet.rollouts.filter(
      ({ state }) => state === "scheduled" || state === "running" || state === "paused",
    );
    this.#forgetOthers(live);
    const { rollouts } = await loadCounters(
      this.#store.read,
      live.map(({ no }) => no),
    );
    let moved = false;
    for (const rollout of live) {
      const counters = rollouts.get(rollout.no) ?? emptyRolloutCounters();
      await this.#countEligible(rollout);
      let change = due(rollout, fleet, counters, now);
      if (change === null) continue;
      if (change === "look") {
        if (isLast(rollout) && counters.total.complete === 0 && !(await this.#isPassed(rollout))) continue;
        if (await this.#isWaiting(rollout, now)) continue;
        change = stageFinished(rollout, now);
      }
      const decided = change;
      try {
        await this.#store.write((tx) => recordChange(tx, rollout, decided, counters, SYSTEM, now));
        moved = true;
      } catch (error) {
        if (!(error instanceof RolloutMoved)) throw error;
      }
    }
    return moved;
  }

  async #currentFleet(): Promise<Fleet> {
    const { revision } = await this.#store.read.selectFrom("meta").select("revision").executeTakeFirstOrThrow();
    if (this.#fleet?.revision !== revision) this.#fleet = await loadFleet(this.#store.read);
    return this.#fleet;
  }

  #forgetOthers(live: readonly Rollout[]): void {
    const kept = new Set(live.map(({ no }) => no));
    for (const known of [this.#waiting, this.#counted]) {
      for (const no of known.keys()) if (!kept.has(no)) known.delete(no);
    }
  }

  /** Whether the stage waits for a node. The fleet is searched only when the nodes known to be waited for are through. */
  async #isWaiting(rollout: Rollout, now: number): Promise<boolean> {
    const known = this.#waiting.get(rollout.no);
    if (known?.stage === rollout.stage && (await this.#findNext(rollout, known, now))) return true;
    const nodeNos = await this.#store.snapshot((db) => this.#search(db, rollout, now));
    this.#waiting.set(rollout.no, { stage: rollout.stage, nodeNos, next: 0 });
    return nodeNos.length > 0;
  }

  async #findNext(rollout: Rollout, waiting: Waiting, now: number): Promise<boolean> {
    while (waiting.next < waiting.nodeNos.length) {
      const asked = waiting.nodeNos.slice(waiting.next, waiting.next + CHUNK / 2);
      const rows = await stragglers(this.#store.read)
        .where("nodes.group_no", "=", rollout.groupNo)
        .where("nodes.no", "in", asked)
        .execute();
      const waited = new Set(rows.filter((row) => this.#isWaitedFor(rollout, row, now)).map(({ no }) => no));
      const found = asked.findIndex((no) => waited.has(no));
      if (found !== -1) {
        waiting.next += found;
        return true;
      }
      waiting.next += asked.length;
    }
    return false;
  }

  #isWaitedFor(rollout: Rollout, row: Row, now: number): boolean {
    const node = toStraggler(row);
    return isWaitedFor(rollout, { ...node, lastSeenAt: seenBut(this.#absence, node.lastSeenAt) }, now);
  }

  async #search(db: Db, rollout: Rollout, now: number): Promise<number[]> {
    const found: number[] = [];
    await this.#visit(db, rollout, (row) => {
      if (this.#isWaitedFor(rollout, row, now)) found.push(row.no);
      return found.length < REMEMBERED;
    });
    return found;
  }

  /**
   * Shows the nodes that the rollout is for, as far as they have not got it yet, until `visitor` has seen enough.
   * @param db a snapshot: nodes that move meanwhile would be missed, or seen twice.
   */
  async #visit(db: Db, rollout: Rollout, visitor: (row: Row) => boolean): Promise<void> {
    for (const version of await this.#versionsToLookAt(db, rollout)) {
      let [status, no] = ["", 0];
      for (;;) {
        const rows = await stragglers(db)
          .where("nodes.group_no", "=", rollout.groupNo)
          .where("nodes.version", "=", version)
          .where(sql<boolean>`(nodes.status, nodes.no) > (${status}, ${no})`)
          .orderBy("nodes.status")
          .orderBy("nodes.no")
          .limit(CHUNK)
          .execute();
        for (const row of rows) if (!visitor(row)) return;
        const last = rows.at(-1);
        if (last === undefined || rows.length < CHUNK) break;
        [status, no] = [last.status, last.no];
      }
    }
  }

  /** Whether the group has nodes at all that are where the rollout leads, or beyond. */
  async #isPassed({ groupNo, package: wanted }: Rollout): Promise<boolean> {
    const counts = await versionCounts(this.#store.read, groupNo);
    return counts.some(({ version, nodes }) => nodes > 0 && compareVersions(version, wanted.version) >= 0);
  }

  /** How many nodes each stage is for, without those that are held: counted when it has opened or was planned anew, to be shown. */
  async #countEligible(rollout: Rollout): Promise<void> {
    const plan = `${rollout.stage} ${JSON.stringify(rollout.strategy.stages)}`;
    if (rollout.state !== "running" || this.#counted.get(rollout.no) === plan) return;
    const eligible = rollout.strategy.stages.map(() => 0);
    const add = (stage: number | null, nodes: number) => {
      if (stage !== null && eligible[stage] !== undefined) eligible[stage] += nodes;
    };
    await this.#store.snapshot(async (db) => {
      const counters = await loadCounters(db, [rollout.no]);
      const { cells } = counters.rollouts.get(rollout.no) ?? emptyRolloutCounters();
      for (const [cell, { complete }] of cells) add(readCell(cell).stage, complete);
      if (isForAll(rollout.strategy)) add(0, await this.#nodesToGo(db, rollout));
      else {
        await this.#visit(db, rollout, (row) => {
          if (row.held === null) add(stageOf(rollout, toStraggler(row)), 1);
          return true;
        });
      }
    });
    await this.#store.write((tx) =>
      tx
        .updateTable("rollouts")
        .set({ eligible: JSON.stringify(eligible) })
        .where("no", "=", rollout.no)
        .execute(),
    );
    this.#counted.set(rollout.no, plan);
  }

  async #nodesToGo(db: Db, { groupNo, undoes, package: wanted }: Rollout): Promise<number> {
    const concerned = (counts: readonly VersionCount[]) =>
      counts.reduce((sum, { version, nodes }) => sum + (concerns(version, undoes, wanted.version) ? nodes : 0), 0);
    return concerned(await versionCounts(db, groupNo)) - concerned(await heldCounts(db, groupNo));
  }

  async #versionsToLookAt(db: Db, { groupNo, undoes, package: wanted }: Rollout): Promise<string[]> {
    const counts = await versionCounts(db, groupNo);
    return counts.map(({ version }) => version).filter((version) => concerns(version, undoes, wanted.version));
  }
}

interface VersionCount {
  readonly version: string;
  readonly nodes: number;
}

async function versionCounts(db: Db, groupNo: number): Promise<VersionCount[]> {
  const rows = await db
    .selectFrom("node_counts")
    .select(["version", (eb) => eb.fn.sum("count").as("nodes")])
    .where("group_no", "=", groupNo)
    .groupBy("version")
    .execute();
  return rows.map(({ version, nodes }) => ({ version, nodes: Number(nodes) }));
}

async function heldCounts(db: Db, groupNo: number): Promise<VersionCount[]> {
  const rows = await db
    .selectFrom("nodes")
    .select(["version", (eb) => eb.fn.countAll().as("nodes")])
    .where("group_no", "=", groupNo)
    .where("held", "is not", null)
    .groupBy("version")
    .execute();
  return rows.map(({ version, nodes }) => ({ version, nodes: Number(nodes) }));
}

function concerns(version: string, undoes: string | null, target: string): boolean {
  return undoes === null ? compareVersions(version, target) < 0 : version === undoes;
}

function stragglers(db: Db) {
  return db
    .selectFrom("nodes")
    .leftJoin("seen", "seen.node_no", "nodes.no")
    .select(["nodes.no", "nodes.id", "nodes.oem", "nodes.version", "nodes.machine_alias", "nodes.alias"])
    .select(["nodes.labels", "nodes.held", "nodes.arch", "nodes.status", "nodes.rollout_no", "nodes.grant_version"])
    .select(["nodes.shared_since", "nodes.shared_at"])
    .select((eb) => eb.fn.coalesce("seen.at", "nodes.created_at").as("last_seen_at"));
}

type Row = Awaited<ReturnType<ReturnType<typeof stragglers>["execute"]>>[number];

function toStraggler(row: Row): Straggler {
  return {
    id: row.id,
    oem: row.oem,
    version: row.version,
    machineAlias: row.machine_alias,
    alias: row.alias,
    labels: labelsOf(row.labels),
    held: holdOf(row.held),
    shared: sharedOf(row.shared_since, row.shared_at),
    // Written from the engine's own types.
    arch: row.arch as Arch,
    status: row.status as NodeStatus,
    lastSeenAt: row.last_seen_at,
    rolloutNo: row.rollout_no,
    grantVersion: row.grant_version,
  };
}
