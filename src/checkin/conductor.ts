/**
 * Moves rollouts on as time goes: starts them, ends stages, opens the next, completes. Any number of processes may run one:
 * a change is written only if the rollout is still as it was read.
 */
import type { Kysely } from "kysely";
import { readCell } from "../rollout/cell.ts";
import { emptyRolloutCounters } from "../rollout/counters.ts";
import type { RolloutCounters } from "../rollout/model/counters.ts";
import type { Fleet } from "../rollout/model/fleet.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { awaitedIn, due, hasMembers, isLast, type Members, stageFinished } from "../rollout/run.ts";
import { isConcerned, isForAll, isMember, isToGo, isWaitedFor, stageOf } from "../rollout/stages.ts";
import { compareVersions } from "../rollout/version.ts";
import { loadCounters } from "../store/counters.ts";
import { loadFleet } from "../store/fleet.ts";
import { moveRevision, RolloutMoved, recordChange, SYSTEM } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Tables } from "../store/tables.ts";
import { type Absence, seenBut } from "./absence.ts";
import {
  type GroupNode,
  heldCounts,
  nodesOf,
  PORTION,
  type VersionCount,
  versionCounts,
  visitNodes,
  visitNodesToGo,
} from "./group-nodes.ts";
import { OWN_PACE } from "./polling.ts";
import { SilenceWatch } from "./silence.ts";

type Db = Kysely<Tables>;

/** So many nodes that a stage waits for are remembered, to be asked after one by one. */
const REMEMBERED = 10_000;
/** A change may be followed by another at once (a stage without nodes); more than this can't be. */
const MAX_CHANGES = 100;
/** Looking through a whole large group is done no more often than this. */
const LOOK_AGAIN_MS = 60_000;

/** Nodes that a stage was seen to wait for: it is over no sooner than with the last of them. */
interface Waiting {
  readonly stage: number;
  readonly nodeNos: readonly number[];
  next: number;
}

/** What a look through the group has found of a plan's open stages, when, and how many nodes it took. */
interface Look {
  readonly plan: string;
  readonly at: number;
  readonly looked: number;
  readonly members: Members;
}

/** How many nodes each stage is for, by which plan and of which nodes, and when they were counted. */
interface Count {
  readonly plan: string;
  readonly nodes: string;
  readonly at: number;
}

const SOME: Members = { any: true, groupNodes: 0, newestAt: null };

export class Conductor {
  readonly #store: Store;
  readonly #absence: Absence | null;
  readonly #silence: SilenceWatch;
  readonly #waiting = new Map<number, Waiting>();
  readonly #looks = new Map<number, Look>();
  readonly #counts = new Map<number, Count>();
  #fleet: Fleet | null = null;

  /** @param absence that came before the start. */
  constructor(
    store: Store,
    absence: Absence | null = null,
    silence: SilenceWatch = new SilenceWatch(store, absence, OWN_PACE),
  ) {
    this.#store = store;
    this.#absence = absence;
    this.#silence = silence;
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
    const awaited = awaitedIn(fleet);
    const live = fleet.rollouts.filter(
      (one) => one.state === "scheduled" || one.state === "running" || one.state === "paused" || awaited.has(one),
    );
    this.#forgetOthers(live);
    const { rollouts } = await loadCounters(
      this.#store.read,
      live.map(({ no }) => no),
    );
    let moved = false;
    for (const rollout of live) {
      const counters = rollouts.get(rollout.no) ?? emptyRolloutCounters();
      await this.#countNodes(rollout, now);
      const members = await this.#members(rollout, counters, now);
      let change = due(rollout, fleet, counters, members, now, await this.#silence.of(rollout, counters, now));
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
    for (const known of [this.#waiting, this.#looks, this.#counts]) {
      for (const no of known.keys()) if (!kept.has(no)) known.delete(no);
    }
    this.#silence.forgetAllBut(kept);
  }

  // ---------------------------------------------------------------------------------------- who is in its stages

  /** The group is searched only while nothing tells that there is somebody; a large one once a minute at most. */
  async #members(rollout: Rollout, counters: RolloutCounters, now: number): Promise<Members> {
    const { state, bakingSince, awaitsApproval } = rollout;
    if (state !== "running" || bakingSince !== null || awaitsApproval || hasMembers(rollout, counters)) return SOME;
    const plan = planOf(rollout);
    const known = this.#looks.get(rollout.no);
    const isFresh =
      known?.plan === plan && (known.members.any || (known.looked > PORTION && now - known.at < LOOK_AGAIN_MS));
    if (known !== undefined && isFresh) return known.members;
    const look = await this.#store.snapshot((db) => this.#lookForMembers(db, rollout, now));
    this.#looks.set(rollout.no, { plan, at: now, ...look });
    return look.members;
  }

  async #lookForMembers(db: Db, rollout: Rollout, now: number): Promise<Pick<Look, "looked" | "members">> {
    let [any, looked, groupNodes, newestAt] = [false, 0, 0, null as number | null];
    await visitNodes(db, rollout, (row) => {
      looked += 1;
      const node = this.#seen(row);
      if (!isConcerned(rollout, node, now)) return true;
      groupNodes += 1;
      newestAt = Math.max(newestAt ?? 0, node.createdAt);
      any = isMember(rollout, node);
      return !any;
    });
    return { looked, members: { any, groupNodes, newestAt } };
  }

  #seen(node: GroupNode): GroupNode {
    return { ...node, lastSeenAt: seenBut(this.#absence, node.lastSeenAt) };
  }

  // ------------------------------------------------------------------------------------------- whom it waits for

  /** Whether the stage waits for a node. The group is searched only when the nodes known to be waited for are through. */
  async #isWaiting(rollout: Rollout, now: number): Promise<boolean> {
    const known = this.#waiting.get(rollout.no);
    if (known?.stage === rollout.stage && (await this.#findNext(rollout, known, now))) return true;
    const nodeNos = await this.#store.snapshot((db) => this.#search(db, rollout, now));
    this.#waiting.set(rollout.no, { stage: rollout.stage, nodeNos, next: 0 });
    return nodeNos.length > 0;
  }

  async #findNext(rollout: Rollout, waiting: Waiting, now: number): Promise<boolean> {
    while (waiting.next < waiting.nodeNos.length) {
      const asked = waiting.nodeNos.slice(waiting.next, waiting.next + PORTION / 2);
      const nodes = await nodesOf(this.#store.read, rollout.groupNo, asked);
      const waited = new Set(nodes.filter((node) => isWaitedFor(rollout, this.#seen(node), now)).map(({ no }) => no));
      const found = asked.findIndex((no) => waited.has(no));
      if (found !== -1) {
        waiting.next += found;
        return true;
      }
      waiting.next += asked.length;
    }
    return false;
  }

  async #search(db: Db, rollout: Rollout, now: number): Promise<number[]> {
    const found: number[] = [];
    await visitNodesToGo(db, rollout, (node) => {
      if (isWaitedFor(rollout, this.#seen(node), now)) found.push(node.no);
      return found.length < REMEMBERED;
    });
    return found;
  }

  /** Whether the group has nodes at all that are where the rollout leads, or beyond. */
  async #isPassed({ groupNo, package: wanted }: Rollout): Promise<boolean> {
    const counts = await versionCounts(this.#store.read, groupNo);
    return counts.some(({ version }) => compareVersions(version, wanted.version, wanted.versionOrder) >= 0);
  }

  // --------------------------------------------------------------------------------------------- how many they are

  /**
   * How many nodes each stage is for, without those that are held, to be shown; and how many the group has, where the ramp
   * starts with a share of them. Counted when the plan has changed, and once a minute when nodes have come, gone or moved on.
   */
  async #countNodes(rollout: Rollout, now: number): Promise<void> {
    const { no, state, strategy, groupNo } = rollout;
    if (state !== "running") return;
    const plan = planOf(rollout);
    const before = this.#counts.get(no);
    if (before?.plan === plan && now - before.at < LOOK_AGAIN_MS) return;
    const counts = await versionCounts(this.#store.read, groupNo);
    const nodes = JSON.stringify([counts, await heldCounts(this.#store.read, groupNo)]);
    this.#counts.set(no, { plan, nodes, at: now });
    if (before?.plan === plan && before.nodes === nodes) return;
    const eligible = await this.#store.snapshot((db) => eligibleNodes(db, rollout));
    const groupNodes = sumOf(counts);
    const moves = strategy.ramp !== null && "percent" in strategy.ramp.start && groupNodes !== rollout.groupNodes;
    await this.#store.write(async (tx) => {
      await tx
        .updateTable("rollouts")
        .set({ eligible: JSON.stringify(eligible), eligible_at: now, group_nodes: groupNodes })
        .where("no", "=", no)
        .execute();
      if (moves) await moveRevision(tx);
    });
  }
}

/** By what stages are looked at: the present one, and all as they are planned. */
function planOf({ stage, strategy }: Rollout): string {
  return `${stage} ${JSON.stringify(strategy.stages)}`;
}

/** By stage: nodes that have it, and nodes that have still to go and are not held. */
async function eligibleNodes(db: Db, rollout: Rollout): Promise<number[]> {
  const { no, groupNo, strategy } = rollout;
  const eligible = strategy.stages.map(() => 0);
  const add = (stage: number | null, nodes: number) => {
    if (stage !== null && eligible[stage] !== undefined) eligible[stage] += nodes;
  };
  const counters = await loadCounters(db, [no]);
  const { cells } = counters.rollouts.get(no) ?? emptyRolloutCounters();
  for (const [cell, { complete }] of cells) add(readCell(cell).stage, complete);
  if (isForAll(strategy)) {
    const toGo = (counts: readonly VersionCount[]) => sumOf(counts.filter(({ version }) => isToGo(rollout, version)));
    add(0, toGo(await versionCounts(db, groupNo)) - toGo(await heldCounts(db, groupNo)));
  } else {
    await visitNodesToGo(db, rollout, (node) => {
      if (node.held === null) add(stageOf(rollout, node), 1);
      return true;
    });
  }
  return eligible;
}

function sumOf(counts: readonly VersionCount[]): number {
  return counts.reduce((sum, { nodes }) => sum + nodes, 0);
}
