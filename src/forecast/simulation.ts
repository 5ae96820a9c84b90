/**
 * A rollout on virtual time. Every decision is the engine's own: here it is only arranged who asks when, what nodes do with
 * what they are told, and what the server would do as time goes by. Nodes that can't be told anything new are not asked again
 * before that could change; `everyPoll` asks them all the same, which must come out alike.
 */
import { applyTransition, emptyRolloutCounters, inFlight, isInFlight } from "../rollout/counters.ts";
import { decide } from "../rollout/decide.ts";
import { isFetching } from "../rollout/downloads.ts";
import { expire } from "../rollout/expire.ts";
import { buildFleet } from "../rollout/fleet.ts";
import type { CheckIn, OmahaEvent } from "../rollout/model/check-in.ts";
import type { Group, VersionOrder } from "../rollout/model/configuration.ts";
import type { Counters, RolloutCounters } from "../rollout/model/counters.ts";
import type { Fleet } from "../rollout/model/fleet.ts";
import type { Node } from "../rollout/model/node.ts";
import type { Changes, Outcome, Reason, Standing } from "../rollout/model/outcome.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { NO_LIMITS, type ServerFacts } from "../rollout/model/server.ts";
import { newNode } from "../rollout/node.ts";
import { isExposed } from "../rollout/ramp.ts";
import { advance, type Change, due, firstRun, gated, hasMembers, type Members, stageFinished } from "../rollout/run.ts";
import { isMember, isWaitedFor } from "../rollout/stages.ts";
import { compareVersions } from "../rollout/version.ts";
import { type Outcome as Fate, outcomeOf } from "../virtual/behaviour.ts";
import { DueQueue } from "../virtual/queue.ts";
import { seededRandom } from "../virtual/random.ts";
import { Recorder } from "./record.ts";
import { Ring } from "./ring.ts";
import type { Forecast, ForecastEnd, ForecastNode, Scenario } from "./scenario.ts";
import { Silences } from "./silences.ts";

const APP_ID = "00000000-0000-4000-8000-000000000001";
const TICK_MS = 60_000;
const NEVER = Number.POSITIVE_INFINITY;

/** What a node does next. */
const LIFE = { polling: 0, downloading: 1, installing: 2, rebooting: 3, resting: 4, silent: 5, inRing: 6, relapsing: 7 } as const; // biome-ignore format: one line
/** Nodes that wait for a slot, and when the next of them asks for one that may be free. */
interface SlotQueue {
  readonly ring: Ring;
  at: number;
}
const NO_QUEUE: SlotQueue = { ring: new Ring(1_000, new Float64Array()), at: NEVER };

/** A ramp limits OEMs and architectures apart, so those who wait there have a queue of their own. */
function queueName({ strategy }: Scenario, { oem, arch }: ForecastNode): string {
  return strategy.ramp === null ? "" : `${arch} ${oem}`;
}

/** Limits that a slot of somebody else's frees. */
const FOR_A_SLOT: ReadonlySet<Reason> = new Set<Reason>([
  "max-in-flight",
  "ramp",
  "max-per-period",
  "downloads-busy",
  "canary-pending",
]);

export function simulate(scenario: Scenario, { everyPoll = false } = {}): Forecast {
  return new Simulation(scenario, everyPoll).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #everyPoll: boolean;
  readonly #counters: Counters;
  readonly #server: ServerFacts;
  readonly #records: (Node | null)[];
  readonly #fates: (Fate | null)[];
  readonly #boots: Uint32Array;
  readonly #life: Uint8Array;
  /** 1: it has fallen back from the release. */
  readonly #relapsed: Uint8Array;
  readonly #silences: Silences;
  readonly #phases: Float64Array;
  readonly #nextAt: Float64Array;
  readonly #seenAt: Float64Array;
  readonly #queues: readonly SlotQueue[];
  readonly #queueOf: (index: number) => SlotQueue;
  readonly #lives = new DueQueue();
  readonly #deadlines = new DueQueue();
  readonly #record: Recorder;
  #fleet: Fleet;
  #rollout: Rollout;
  #updatesOn: boolean;
  #approvalSince: number | null = null;
  #waiting: number[] = [];
  #waitingStage = -1;
  #hasMembers = true;
  #membersStage = -1;

  constructor(scenario: Scenario, everyPoll: boolean) {
    const { nodes, behaviour, startsAt, seed } = scenario;
    this.#scenario = scenario;
    const limited = scenario.mostDownloads !== null;
    const downloads = { rollouts: new Set(limited ? [ROLLOUT_NO] : []), fetching: 0 };
    this.#counters = { rollouts: new Map(), groups: new Map(), downloads };
    this.#server = { ...NO_LIMITS, downloads: scenario.mostDownloads ?? 0 };
    this.#everyPoll = everyPoll;
    this.#updatesOn = scenario.policy.updatesEnabled;
    this.#records = nodes.map(() => null);
    this.#fates = nodes.map(() => null);
    this.#boots = new Uint32Array(nodes.length);
    this.#life = new Uint8Array(nodes.length);
    this.#relapsed = new Uint8Array(nodes.length);
    this.#silences = new Silences(behaviour);
    this.#nextAt = new Float64Array(nodes.length);
    this.#seenAt = new Float64Array(nodes.length);
    const random = seededRandom(`forecast\n${seed}`);
    // Each at its own millisecond of the second: no two of a thousand ever ask in the same one.
    const second = () => Math.floor((random() * behaviour.pollMs) / 1000) * 1000;
    this.#phases = Float64Array.from(nodes, (_, index) => second() + 1 + (index % 999));
    const queues = new Map<string, SlotQueue>();
    const byNode = nodes.map((node) => {
      const name = queueName(scenario, node);
      const queue = queues.get(name) ?? { ring: new Ring(behaviour.pollMs, this.#phases), at: NEVER };
      queues.set(name, queue);
      return queue;
    });
    // One that tries again is not held by the ramp: it must not wait behind those that are.
    const tried: SlotQueue = { ring: new Ring(behaviour.pollMs, this.#phases), at: NEVER };
    this.#queues = [...queues.values(), tried];
    this.#queueOf = (index) => {
      const node = this.#records[index];
      return (node && isExposed(node, this.#rollout) ? tried : byNode[index]) ?? NO_QUEUE;
    };
    this.#rollout = firstRollout(scenario);
    this.#fleet = fleetOf(scenario, this.#rollout, true);
    this.#record = new Recorder(scenario, this.#rollout);
    const group = this.#fleet.groupByNo.get(1);
    for (const [index, { labels, ...kind }] of nodes.entries()) {
      if (compareVersions(kind.version, scenario.version, scenario.versionOrder) < 0) this.#silences.other(kind, 1);
      // The server knows them from their earlier checks.
      if (group !== undefined) {
        this.#records[index] = { ...newNode(this.#checkIn(index, []), group, "", startsAt), labels };
      }
      this.#wait(index, startsAt);
    }
  }

  run(): Forecast {
    const { startsAt, durationMs } = this.#scenario;
    const over = startsAt + durationMs;
    let tickAt = startsAt;
    for (;;) {
      const queue = this.#queues.reduce((first, one) => (one.at < first.at ? one : first), NO_QUEUE);
      const at = Math.min(this.#lives.firstAt, this.#deadlines.firstAt, queue.at, tickAt);
      if (at > over) return this.#finish(over, "time over");
      if (at === tickAt) {
        this.#tick(at);
        const end = this.#ended();
        if (end !== null) return this.#finish(at, end);
        tickAt += TICK_MS;
      } else if (at === queue.at) this.#askNext(queue, at);
      else if (at === this.#deadlines.firstAt) this.#passDeadline(at);
      else this.#live(at);
    }
  }

  #finish(at: number, end: ForecastEnd): Forecast {
    return this.#record.finish(at, end, this.#standing, this.#silences.dead(NEVER));
  }

  get #standing(): RolloutCounters {
    return this.#counters.rollouts.get(this.#rollout.no) ?? emptyRolloutCounters();
  }

  // -------------------------------------------------------------------------------------------- nodes

  #live(at: number): void {
    const index = this.#lives.pop();
    if (index === undefined || this.#nextAt[index] !== at) return; // it has been woken earlier, or put off
    this.#seenAt[index] = at;
    const { installMs, rebootMs } = this.#scenario.behaviour;
    const fate = this.#fates[index];
    switch (this.#life[index]) {
      case LIFE.polling:
        this.#poll(index, at);
        return;
      case LIFE.downloading:
        if (fate?.kind === "fails") {
          this.#report(index, at, event(3, 0, fate.code));
          this.#wait(index, at + 1);
          return;
        }
        this.#report(index, at, event(14, 1));
        this.#go(index, LIFE.installing, at + installMs);
        return;
      case LIFE.installing:
        this.#report(index, at, event(3, 1));
        if (fate?.kind === "dies") this.#go(index, LIFE.silent, NEVER);
        else this.#go(index, LIFE.rebooting, at + rebootMs);
        return;
      case LIFE.rebooting:
        this.#boot(index, at);
        this.#awaitLater(index, at);
        return;
      case LIFE.relapsing:
        this.#relapsed[index] = 1;
        this.#boot(index, at);
        return;
      default:
        return;
    }
  }

  #boot(index: number, at: number): void {
    this.#boots[index] = (this.#boots[index] ?? 0) + 1;
    this.#phases[index] = at % this.#scenario.behaviour.pollMs;
    this.#poll(index, at);
  }

  /** It is back with the release, which may be too much for it later. */
  #awaitLater(index: number, at: number): void {
    const kind = this.#fates[index]?.kind;
    const node = this.#scenario.nodes[index];
    if (kind === "falls-back-later") this.#go(index, LIFE.relapsing, at + this.#scenario.behaviour.laterMs);
    if (kind === "dies-later" && node !== undefined) this.#silences.dooms(node, at);
  }

  /** An update check, and what follows from its answer. */
  #poll(index: number, at: number): void {
    const outcome = this.#say(index, at, this.#checkIn(index, []));
    if (outcome.offer !== null) this.#begin(index, at);
    else this.#afterRefusal(index, at, outcome);
  }

  #begin(index: number, at: number): void {
    const node = this.#scenario.nodes[index];
    if (node === undefined) return;
    const { behaviour, version, seed } = this.#scenario;
    if (this.#fates[index] === null) this.#silences.other(node, -1);
    this.#fates[index] = outcomeOf(behaviour.rules, `${seed} ${node.id}`, node.oem, version);
    this.#relapsed[index] = 0;
    this.#report(index, at, event(13, 1));
    this.#go(index, LIFE.downloading, at + behaviour.downloadMs);
  }

  #afterRefusal(index: number, at: number, { reason, trace }: Outcome): void {
    const stop = trace.at(-1);
    // Its stage opens no sooner than the rollout moves; when that is, the trace can only give a bound for.
    const ofLaterStage = Number(stop?.facts.nodeStage) > Number(stop?.facts.stage);
    const until = ofLaterStage ? undefined : stop?.until;
    if (reason === "up-to-date") this.#go(index, LIFE.resting, NEVER);
    else if (this.#everyPoll) this.#wait(index, at + 1);
    else if (FOR_A_SLOT.has(reason)) {
      this.#go(index, LIFE.inRing, NEVER);
      this.#queueOf(index).ring.add(index);
      if (until !== undefined && until > at) this.#wakeQueues(until);
    } else if (until !== undefined) this.#wait(index, Math.max(until, at + 1));
    else this.#go(index, LIFE.polling, NEVER); // until the rollout moves
  }

  #report(index: number, at: number, what: OmahaEvent): void {
    this.#say(index, at, this.#checkIn(index, [what]));
  }

  #say(index: number, at: number, checkIn: CheckIn): Outcome {
    const outcome = decide(this.#fleet, this.#records[index] ?? null, checkIn, "", this.#counters, at, this.#server);
    this.#apply(index, at, outcome.changes);
    return outcome;
  }

  #apply(index: number, at: number, changes: Changes): void {
    const node = changes.node;
    if (node !== null) {
      const deadline = node.grant?.deadline ?? null;
      if (deadline !== null && deadline !== this.#records[index]?.grant?.deadline)
        this.#deadlines.push(deadline, index);
      this.#records[index] = node;
    }
    for (const transition of changes.transitions) {
      applyTransition(this.#counters, transition, this.#fleet);
      const { left, entered } = transition;
      // A node that was given up for lost may come back: a ramp lets others in for it.
      if (this.#isSlotFreed(left, entered) || entered?.status === "complete") this.#wakeQueues(at);
      if (transition.grants) this.#record.grants(index, this.#standing);
      if (entered?.failure != null) this.#move(gated(this.#rollout, this.#standing, at), at);
    }
    if (changes.stopUpdates !== null) {
      this.#updatesOn = false;
      this.#record.note(at, this.#rollout, `safe mode: ${changes.stopUpdates.why}`);
      this.#fleet = fleetOf(this.#scenario, this.#rollout, false);
    }
  }

  /** In flight, or for its download. */
  #isSlotFreed(left: Standing | null, entered: Standing | null): boolean {
    if (left === null) return false;
    if (isInFlight(left.status) && (entered === null || !isInFlight(entered.status))) return true;
    return this.#server.downloads > 0 && isFetching(left.status) && (entered === null || !isFetching(entered.status));
  }

  #checkIn(index: number, events: readonly OmahaEvent[]): CheckIn {
    const { nodes, version } = this.#scenario;
    const { id = "", oem = "", arch = 0, version: first = "", alias = "" } = nodes[index] ?? {};
    const boots = this.#boots[index] ?? 0;
    const kind = this.#fates[index]?.kind;
    const comesUp = kind === "succeeds" || kind === "dies-later" || kind === "falls-back-later";
    const updated = boots > 0 && comesUp && this.#relapsed[index] === 0;
    return {
      appId: APP_ID,
      version: updated ? version : first,
      track: "forecast",
      machineId: id,
      machineAlias: alias,
      bootId: `boot-${boots}`,
      oem,
      oemVersion: "",
      alephVersion: "",
      arch,
      ping: events.length === 0,
      updateCheck: events.length === 0,
      targetVersionPrefix: "",
      events,
      onDemand: false,
      syncer: false,
      multiManifest: false,
      updateEngine: true,
      brokenQuotes: false,
    };
  }

  // -------------------------------------------------------------------------------------------- who asks when

  #go(index: number, life: number, at: number): void {
    this.#life[index] = life;
    this.#nextAt[index] = at;
    if (at !== NEVER) this.#lives.push(at, index);
  }

  /** Its next check is the first of its own moments at or after `at`. */
  #wait(index: number, at: number): void {
    const { pollMs } = this.#scenario.behaviour;
    const phase = this.#phases[index] ?? 0;
    this.#go(index, LIFE.polling, Math.ceil((at - phase) / pollMs) * pollMs + phase);
  }

  /** A slot may be free from `at` on: in each queue, it is for whoever asks next. */
  #wakeQueues(at: number): void {
    for (const queue of this.#queues) this.#wake(queue, at);
  }

  #wake(queue: SlotQueue, at: number): void {
    const next = queue.ring.next(at);
    if (next !== null && next.at < queue.at) queue.at = next.at;
  }

  #askNext(queue: SlotQueue, at: number): void {
    queue.at = NEVER;
    const next = queue.ring.next(at);
    if (next === null) return;
    queue.ring.remove(next.node);
    this.#seenAt[next.node] = at;
    this.#poll(next.node, at);
    // While there are slots, the next one in turn may have one as well.
    if (this.#life[next.node] !== LIFE.inRing) this.#wake(queue, at);
  }

  /** The rollout has moved: whoever waits for that asks again in its turn. */
  #wakeAll(at: number): void {
    if (this.#everyPoll) return;
    for (const index of this.#records.keys()) {
      if (this.#life[index] === LIFE.polling) this.#wait(index, Math.max(at, (this.#seenAt[index] ?? 0) + 1));
    }
    this.#wakeQueues(at);
  }

  // -------------------------------------------------------------------------------------------- what the server does

  #passDeadline(at: number): void {
    const index = this.#deadlines.pop();
    const node = index === undefined ? null : this.#records[index];
    if (index === undefined || !node) return;
    const changes = expire(this.#fleet, node, this.#seenAt[index] ?? 0, this.#counters, at);
    if (changes !== null) this.#apply(index, at, changes);
  }

  #tick(at: number): void {
    this.#record.sample(at, this.#standing);
    const { approveAfterMs } = this.#scenario;
    if (this.#approvalSince !== null && approveAfterMs !== null && at >= this.#approvalSince + approveAfterMs) {
      this.#move(advance(this.#rollout, at, "approved"), at);
    }
    for (;;) {
      const silence = this.#silences.at(at, this.#standing);
      const change = due(this.#rollout, this.#fleet, this.#standing, this.#members(), at, silence);
      if (change === null || (change === "look" && this.#isWaiting(at))) return;
      this.#move(change === "look" ? stageFinished(this.#rollout, at) : change, at);
    }
  }

  /** Whether the open stages have any of the nodes. All are there, and have been for long. */
  #members(): Members {
    const rollout = this.#rollout;
    if (rollout.bakingSince === null && this.#membersStage !== rollout.stage) {
      const any =
        hasMembers(rollout, this.#standing) || this.#records.some((node) => node !== null && isMember(rollout, node));
      this.#membersStage = rollout.stage;
      this.#hasMembers = any;
    }
    return { any: this.#hasMembers, groupNodes: this.#records.length, newestAt: 0 };
  }

  /** As the conductor does it: the nodes known to be waited for first, then all of them. */
  #isWaiting(at: number): boolean {
    if (this.#waitingStage === this.#rollout.stage) {
      while (this.#waiting.length > 0) {
        if (this.#isWaitedFor(this.#waiting.at(-1) ?? 0, at)) return true;
        this.#waiting.pop();
      }
    }
    this.#waitingStage = this.#rollout.stage;
    this.#waiting = [...this.#records.keys()].filter((index) => this.#isWaitedFor(index, at));
    return this.#waiting.length > 0;
  }

  #isWaitedFor(index: number, at: number): boolean {
    const node = this.#records[index];
    if (!node) return false;
    const alive = this.#life[index] !== LIFE.silent;
    const straggler = {
      ...node,
      // One that waits for the rollout to move goes on asking.
      lastSeenAt: alive ? at : (this.#seenAt[index] ?? 0),
      rolloutNo: node.grant?.rolloutNo ?? null,
      grantVersion: node.grant?.version ?? null,
    };
    return isWaitedFor(this.#rollout, straggler, at);
  }

  #move(change: Change | null, at: number): void {
    if (change === null) return;
    const before = this.#rollout;
    this.#rollout = { ...before, ...change.next, revision: before.revision + 1 };
    this.#fleet = fleetOf(this.#scenario, this.#rollout, this.#updatesOn);
    this.#approvalSince = this.#rollout.awaitsApproval ? at : null;
    this.#record.change(at, before, this.#rollout, change.reason, this.#standing, this.#silences.dead(at));
    const matters =
      before.state !== this.#rollout.state ||
      before.stage !== this.#rollout.stage ||
      before.closed.length !== this.#rollout.closed.length;
    if (matters) this.#wakeAll(at);
  }

  /** Whether nothing will happen any more. */
  #ended(): ForecastEnd | null {
    const { state, awaitsNodes } = this.#rollout;
    if (state === "completed") return "completed";
    if (inFlight(this.#standing.total) > 0) return null;
    if (state === "halted" || state === "paused") return state;
    if (!this.#updatesOn) return "updates turned off";
    if (awaitsNodes) return "waiting for nodes";
    if (this.#approvalSince !== null && this.#scenario.approveAfterMs === null) return "waiting for approval";
    return null;
  }
}

function event(type: number, result: number, errorCode: number | null = null): OmahaEvent {
  return { type, result, errorCode, previousVersion: "" };
}

const PACKAGE_NO = 1;
const ROLLOUT_NO = 1;

function firstRollout({ strategy, startsAt, version, versionOrder, seed, nodes }: Scenario): Rollout {
  // It waits for no other group here: the forecast begins when it starts.
  const alone = { ...strategy, after: [] };
  return {
    no: ROLLOUT_NO,
    id: seed,
    groupNo: 1,
    package: packageOf(version, versionOrder),
    strategy: alone,
    seed: strategy.seed ?? seed,
    undoes: null,
    groupNodes: nodes.length,
    revision: 1,
    ...firstRun(alone, null, startsAt),
  };
}

function packageOf(version: string, versionOrder: VersionOrder): Rollout["package"] {
  return {
    no: PACKAGE_NO,
    id: "package",
    applicationNo: 1,
    type: 1,
    version,
    versionOrder,
    arch: 0,
    urls: ["/"],
    files: [{ name: "payload", sizeBytes: 1, sha1: null, sha256: null }],
    action: null,
    missing: [],
    blacklistedChannelNos: [],
  };
}

function fleetOf({ policy, versionOrder }: Scenario, rollout: Rollout, updatesOn: boolean): Fleet {
  const channel = { no: 1, id: "channel", applicationNo: 1, name: "forecast", arch: 0, package: rollout.package, floors: [] } as const; // biome-ignore format: one line
  const group: Group = {
    no: 1,
    id: "group",
    applicationNo: 1,
    name: "forecast",
    track: "forecast",
    channel,
    policy: { ...policy, updatesEnabled: updatesOn && policy.updatesEnabled },
    updatesStopped: null,
  };
  const applications = [{ no: 1, id: APP_ID, productId: null, name: "forecast", versionOrder }];
  return buildFleet(rollout.revision, { applications, groups: [group], rollouts: [rollout] });
}
