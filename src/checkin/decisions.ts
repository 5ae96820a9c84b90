/**
 * One batch of check-ins in one transaction: read what they need, decide node by node, write everything, commit.
 * The one place where wire, engine and store meet. Runs on the writer's thread; time comes with each request.
 */
import { allowing, type MirrorRule } from "../networks.ts";
import { applyTransition, rolloutCounters } from "../rollout/counters.ts";
import { decide } from "../rollout/decide.ts";
import { downloadCounters, isLimited } from "../rollout/downloads.ts";
import { expire } from "../rollout/expire.ts";
import { findApplication, findGroup } from "../rollout/fleet.ts";
import type { CheckIn } from "../rollout/model/check-in.ts";
import type { Counters } from "../rollout/model/counters.ts";
import type { Fleet } from "../rollout/model/fleet.ts";
import type { Node } from "../rollout/model/node.ts";
import type { AppStatus, Changes, Offer, Outcome, Reason, Standing, StopUpdates } from "../rollout/model/outcome.ts";
import { type CutDownload, type DownloadLimits, NO_LIMITS, type ServerFacts } from "../rollout/model/server.ts";
import { rebased } from "../rollout/quota.ts";
import { gated } from "../rollout/run.ts";
import type { MirrorAsked } from "../store/mirroring.ts";
import type { CheckInStore, Durability, NodeKey, NodeWrite, SeenMark } from "../store/store.ts";
import { Hearing } from "./hearing.ts";
import { NewcomerLimit } from "./newcomers.ts";
import { PendingMirrors } from "./pending-mirrors.ts";
import { PendingSeen } from "./pending-seen.ts";
import { dueAt, OWN_PACE, type PollingOptions, quietMs, silentAfterMs } from "./polling.ts";

/** One HTTP request: its apps are decided and written together. */
export interface CheckInRequest {
  readonly apps: readonly CheckIn[];
  readonly ip: string;
  readonly now: number;
  /** Downloads from its address that this server has refused or cut off lately; left out: none. */
  readonly cut?: readonly CutDownload[];
}

/** What an app is answered. `reason: "fault"`: deciding failed on a bug of ours; nothing of this app was stored. */
export interface Decision {
  readonly status: AppStatus;
  readonly reason: Reason | "fault";
  readonly offer: Offer | null;
  /** The group's UUID, for metrics; null when there is none. */
  readonly groupId: string | null;
  /** Nothing else will be decided before then, unless a person changes something; null: unknown. */
  readonly notBefore: number | null;
  /** Of `cut`, what explains a failure that the app has reported: it counts for nothing. */
  readonly excused: CutDownload | null;
}

export interface DecisionOptions {
  /** New nodes that one address may bring a minute; 0: as many as it likes. */
  readonly newNodesPerMinute: number;
  /** Everyone, if it is not said. */
  readonly mirrors?: MirrorRule;
  /** Left out: it has no limits. */
  readonly server?: ServerFacts;
  readonly onFault: (error: unknown, checkIn: CheckIn) => void;
  /** When nodes are told to ask again. */
  readonly polling?: PollingOptions;
}

/** How many overdue nodes, or "last seen" marks, are written in one transaction: small, since check-ins wait for it. */
const CHUNK = 500;
const SEEN_CHUNK = 250;

export class Decisions {
  readonly #store: CheckInStore;
  readonly #options: DecisionOptions;
  readonly #newcomers: NewcomerLimit;
  readonly #server: ServerFacts;
  readonly #seen = new PendingSeen();
  readonly #mayMirror: (address: string) => boolean;
  readonly #mirrors = new PendingMirrors();
  readonly #polling: PollingOptions;
  #hearing: Hearing | null = null;
  #fleet: Fleet | null = null;

  constructor(store: CheckInStore, options: DecisionOptions) {
    this.#store = store;
    this.#options = options;
    this.#newcomers = new NewcomerLimit(options.newNodesPerMinute);
    this.#mayMirror = allowing(options.mirrors ?? "everyone");
    this.#server = options.server ?? NO_LIMITS;
    this.#polling = options.polling ?? OWN_PACE;
  }

  /**
   * Decides a batch. When it resolves, every change is on disk.
   * @throws StoreUnavailable when the database can't take it now; then nothing of the batch was written.
   */
  async run(requests: readonly CheckInRequest[]): Promise<Decision[][]> {
    const { decisions, seen, mirrors, hearing } = await this.#transaction(async () => {
      const hearing = await this.#currentHearing();
      const batch = await Batch.begin(this.#store, await this.#currentFleet(), this.#server, requests);
      const decisions: Decision[][] = [];
      const mirrors: MirrorAsked[] = [];
      for (const request of requests) {
        const answers: Decision[] = [];
        for (const checkIn of request.apps) {
          const decision = await this.#decideOne(batch, request, checkIn);
          answers.push(decision);
          if (checkIn.syncer && checkIn.updateCheck) mirrors.push(mirrorOf(checkIn, request, decision));
        }
        decisions.push(answers);
      }
      await batch.write();
      return { decisions, seen: batch.seen, mirrors, hearing };
    });
    for (const [no, at, dueAt] of seen) {
      this.#seen.add(no, at, dueAt);
      hearing.heard(at);
    }
    for (const mirror of mirrors) this.#mirrors.add(mirror);
    return decisions;
  }

  async #currentHearing(): Promise<Hearing> {
    if (this.#hearing === null) {
      this.#hearing = new Hearing(quietMs(this.#polling));
      const last = await this.#store.lastSeenAt();
      if (last !== null) this.#hearing.heard(last);
    }
    return this.#hearing;
  }

  async #decideOne(batch: Batch, { ip, now, cut }: CheckInRequest, checkIn: CheckIn): Promise<Decision> {
    const fleet = batch.fleet;
    const application = findApplication(fleet, checkIn.appId);
    const node = application ? batch.node({ applicationNo: application.no, id: checkIn.machineId }) : null;
    const group = application && findGroup(fleet, application.no, node, checkIn);
    const groupId = group?.id ?? null;
    if (node === null && group && !checkIn.syncer && !this.#newcomers.admits(ip, now)) {
      return { status: "ok", reason: "too-many-new-nodes", offer: null, groupId, notBefore: null, excused: null };
    }
    if (group && checkIn.syncer && checkIn.updateCheck && !this.#mayMirror(ip)) {
      return { status: "ok", reason: "mirror-not-allowed", offer: null, groupId, notBefore: null, excused: null };
    }
    const server = cut === undefined ? this.#server : { ...this.#server, cut };
    let outcome: Outcome;
    try {
      outcome = decide(batch.fleet, node, checkIn, ip, batch.counters, now, server);
    } catch (error) {
      this.#options.onFault(error, checkIn);
      return { status: "ok", reason: "fault", offer: null, groupId, notBefore: null, excused: null };
    }
    const { status, reason, offer, trace, changes } = outcome;
    const until = trace.at(-1)?.until ?? null;
    const notBefore = until !== null && group !== undefined && batch.isControl(group.no) ? null : until;
    // What fails from here on may have been done by half: then the batch goes as a whole.
    await batch.add(node, changes, now, now, until === null ? null : dueAt(this.#polling, notBefore, now));
    if (node === null && changes.node !== null) this.#newcomers.count(ip, now);
    return { status, reason, offer, groupId, notBefore, excused: outcome.excused };
  }

  /** Ends grants whose deadline has passed, a chunk at a time; answers whether there may be more. */
  async expireDue(now: number): Promise<boolean> {
    return this.#transaction(async () => {
      const due = await this.#store.dueNodes(now, CHUNK);
      if (due.length === 0) return false;
      const fleet = await this.#currentFleet();
      const batch = new Batch(
        this.#store,
        fleet,
        await loadCounters(
          this.#store,
          fleet,
          [],
          due.map(({ node }) => node),
        ),
      );
      let moved = 0;
      for (const { node, lastSeenAt } of due) {
        const changes = expire(batch.fleet, node, this.#seen.at(node.no) ?? lastSeenAt, batch.counters, now);
        if (changes === null) continue;
        moved += 1;
        await batch.add(node, changes, null, now, null);
      }
      await batch.write();
      return moved > 0 && due.length === CHUNK;
    });
  }

  /** Writes "last seen" marks that have waited, in the order of the table, and mirrors; answers whether there are more marks. */
  async flushSeen(): Promise<boolean> {
    const chunk = this.#seen.take(SEEN_CHUNK);
    const mirrors = this.#mirrors.take();
    if (chunk.length === 0 && mirrors.length === 0) return false;
    try {
      const silences = { afterMs: silentAfterMs(this.#polling), heardSince: this.#hearing?.since ?? 0 };
      await this.#transaction(async () => {
        await this.#store.writeSeen(chunk, silences);
        if (mirrors.length > 0) await this.#store.writeMirrors(mirrors);
      }, "lazy");
    } catch (error) {
      this.#seen.putBack(chunk);
      this.#mirrors.putBack(mirrors);
      throw error;
    }
    return this.#seen.hasMore;
  }

  /** Writes all of them, also those that came while others were being written. */
  async flushAllSeen(): Promise<void> {
    while (!this.#seen.isEmpty || !this.#mirrors.isEmpty) await this.flushSeen();
  }

  /** Deletes what is older than `before`, a chunk at a time; answers whether there may be more. */
  async deleteHistory(before: number): Promise<boolean> {
    return this.#transaction(async () => (await this.#store.deleteHistory(before, CHUNK)) > 0);
  }

  /** Forgets nodes seen once, before `before`; answers the number to go on after, or null when it has seen them all. */
  async forgetSeenOnce(before: number, afterNo: number): Promise<number | null> {
    const waits = (nodeNo: number) => this.#seen.at(nodeNo) !== undefined;
    return this.#transaction(() => this.#store.forgetSeenOnce(before, afterNo, CHUNK, waits));
  }

  async #currentFleet(): Promise<Fleet> {
    if (this.#fleet?.revision !== (await this.#store.revision())) this.#fleet = await this.#store.fleet();
    return this.#fleet;
  }

  async #transaction<T>(work: () => Promise<T>, durability: Durability = "durable"): Promise<T> {
    await this.#store.begin(durability);
    try {
      const result = await work();
      await this.#store.commit();
      return result;
    } catch (error) {
      this.#fleet = null; // it may have been read inside the transaction that is now undone
      await this.#store.rollback();
      throw error;
    }
  }
}

function mirrorOf(checkIn: CheckIn, { ip, now }: CheckInRequest, { groupId, reason, offer }: Decision): MirrorAsked {
  const { arch, appId: application, track, version, multiManifest } = checkIn;
  const asked = { address: ip, groupId, arch, application, track, version, multiManifest, reason };
  return { ...asked, leftOut: offer?.leftOut ?? [], firstAt: now, lastAt: now, asked: 1 };
}

/** A batch's working copy: later check-ins see what earlier ones did. */
class Batch {
  readonly #store: CheckInStore;
  readonly #nodes: Map<string, Node | null>;
  readonly #writes: NodeWrite[] = [];
  readonly #writtenMarks: (readonly [at: number, dueAt: number | null] | null)[] = [];
  readonly #touchedRollouts = new Set<number>();
  readonly #touchedGroups = new Set<number>();
  readonly counters: Counters;
  readonly seen: SeenMark[] = [];
  fleet: Fleet;

  constructor(store: CheckInStore, fleet: Fleet, counters: Counters, nodes: Map<string, Node | null> = new Map()) {
    this.#store = store;
    this.fleet = fleet;
    this.counters = counters;
    this.#nodes = nodes;
  }

  static async begin(
    store: CheckInStore,
    fleet: Fleet,
    limits: DownloadLimits,
    requests: readonly CheckInRequest[],
  ): Promise<Batch> {
    const keys = new Map<string, NodeKey>();
    const asked: { key: string; applicationNo: number; checkIn: CheckIn }[] = [];
    for (const { apps } of requests) {
      for (const checkIn of apps) {
        const application = findApplication(fleet, checkIn.appId);
        if (!application) continue;
        const { no: applicationNo } = application;
        const node = { applicationNo, id: checkIn.machineId };
        const key = nodeKey(node);
        keys.set(key, node);
        asked.push({ key, applicationNo, checkIn });
      }
    }
    const found = await store.nodes([...keys.values()]);
    const nodes = new Map([...keys.keys()].map((key, index) => [key, found[index] ?? null]));
    const groupNos = new Set<number>();
    for (const { key, applicationNo, checkIn } of asked) {
      const group = findGroup(fleet, applicationNo, nodes.get(key) ?? null, checkIn);
      if (group) groupNos.add(group.no);
    }
    const counters = await loadCounters(store, fleet, groupNos, found);
    const held = fleet.hostedRollouts.size > 0 && isLimited(limits);
    const downloads = held ? downloadCounters(fleet, await store.fetching()) : counters.downloads;
    const batch = new Batch(store, fleet, { ...counters, downloads }, nodes);
    batch.#rebaseQuotas(Math.max(0, ...requests.map(({ now }) => now)));
    return batch;
  }

  node(key: NodeKey): Node | null {
    return this.#nodes.get(nodeKey(key)) ?? null;
  }

  /**
   * Whether silence in this group is judged by the nodes that a release has not reached yet: these are asked to come as often as
   * those that have it.
   */
  isControl(groupNo: number): boolean {
    const rollouts = this.fleet.watchedForSilence.get(groupNo);
    return rollouts?.some((no) => rolloutCounters(this.counters, no).total.complete > 0) ?? false;
  }

  /**
   * @param seenAt null when the node did not speak itself.
   * @param due by when it is back at the latest; null: as usual.
   */
  async add(
    before: Node | null,
    changes: Changes,
    seenAt: number | null,
    now: number,
    due: number | null,
  ): Promise<void> {
    const node = changes.node;
    if (node === null) return;
    for (const transition of changes.transitions) {
      applyTransition(this.counters, transition, this.fleet);
      this.#touch(transition.left);
      this.#touch(transition.entered);
    }
    if (node === before && changes.events.length === 0 && changes.activities.length === 0) {
      if (seenAt !== null && node.no !== 0) this.seen.push([node.no, seenAt, due]);
      return;
    }
    this.#nodes.set(nodeKey(node), node);
    this.#writes.push({ before, changes });
    this.#writtenMarks.push(seenAt === null ? null : [seenAt, due]);
    if (changes.stopUpdates !== null) await this.#stopUpdates(changes.stopUpdates, now);
    for (const { entered } of changes.transitions) {
      if (entered?.failure != null) await this.#askGate(entered.rolloutNo, now);
    }
  }

  /** A failure may be the one too many: then the gate closes here and now, before anybody else is granted anything. */
  async #askGate(rolloutNo: number, now: number): Promise<void> {
    const rollout = this.fleet.rolloutByNo.get(rolloutNo);
    const counters = this.counters.rollouts.get(rolloutNo);
    if (rollout === undefined || counters === undefined) return;
    const change = gated(rollout, counters, now);
    if (change === null) return;
    await this.#store.changeRollout(rollout, change, counters, now);
    this.fleet = await this.#store.fleet();
  }

  /** After the clock was set back, grants of the future are counted as of now: kept that way, or they would block for long. */
  #rebaseQuotas(now: number): void {
    for (const [no, group] of this.counters.groups) {
      const slices = rebased(group.slices, this.fleet.groupByNo.get(no)?.policy.periodMs ?? 1, now);
      if (slices === group.slices) continue;
      this.counters.groups.set(no, { ...group, slices });
      this.#touchedGroups.add(no);
    }
  }

  /** A group that was deleted meanwhile has no counters any more. */
  #touch(standing: Standing | null): void {
    if (standing === null) return;
    this.#touchedRollouts.add(standing.rolloutNo);
    // A grant outlives its group; there is nobody left to count it for.
    if (this.fleet.groupByNo.has(standing.groupNo)) this.#touchedGroups.add(standing.groupNo);
  }

  async #stopUpdates({ groupNo, rolloutNo, ...about }: StopUpdates, now: number): Promise<void> {
    const rolloutId = this.fleet.rolloutByNo.get(rolloutNo)?.id ?? null;
    await this.#store.stopUpdates(groupNo, { by: "safe-mode", at: now, rolloutId, ...about });
    this.fleet = await this.#store.fleet();
  }

  async write(): Promise<void> {
    if (this.#writes.length === 0 && this.#touchedGroups.size === 0) return;
    const numbers = await this.#store.writeNodes(this.#writes);
    await this.#store.writeCounters({
      rollouts: pick(this.counters.rollouts, this.#touchedRollouts),
      groups: pick(this.counters.groups, this.#touchedGroups),
    });
    for (const [index, { changes }] of this.#writes.entries()) {
      const mark = this.#writtenMarks[index];
      const no = numbers[index];
      if (mark != null && no !== undefined) this.seen.push([no, ...mark]);
      for (const activity of changes.activities) {
        await this.#store.writeActivity(activity, activity.ofNode ? (changes.node?.id ?? null) : null);
      }
    }
  }
}

/** The counters of all groups and rollouts that these groups and nodes can touch. */
async function loadCounters(
  store: CheckInStore,
  fleet: Fleet,
  groups: Iterable<number>,
  nodes: readonly (Node | null)[],
): Promise<Counters> {
  const groupNos = new Set(groups);
  const rolloutNos = new Set<number>();
  for (const rollout of fleet.rollouts) if (groupNos.has(rollout.groupNo)) rolloutNos.add(rollout.no);
  for (const node of nodes) {
    if (!node?.grant) continue;
    rolloutNos.add(node.grant.rolloutNo);
    groupNos.add(node.grant.groupNo);
  }
  return store.counters([...rolloutNos], [...groupNos]);
}

function nodeKey({ applicationNo, id }: NodeKey): string {
  return `${applicationNo} ${id}`;
}

function pick<V>(from: ReadonlyMap<number, V>, keys: ReadonlySet<number>): Map<number, V> {
  const picked = new Map<number, V>();
  for (const key of keys) {
    const value = from.get(key);
    if (value !== undefined) picked.set(key, value);
  }
  return picked;
}
