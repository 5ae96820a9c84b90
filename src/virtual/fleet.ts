/** A fleet of virtual nodes against a real server, on compressed time. */
import { randomUUID } from "node:crypto";
import type { Offer } from "./answer.ts";
import { outcomeOf } from "./behaviour.ts";
import { type OmahaClient, omahaClient } from "./client.ts";
import { type Downloader, downloader } from "./download.ts";
import { type Happening, type NodeState, newNode, type Step, step, type World } from "./node.ts";
import { FLATCAR_APP_ID, type FleetOptions } from "./options.ts";
import { noIdleTime, type Pace, realTime } from "./pace.ts";
import { DueQueue } from "./queue.ts";
import { machineId, seededRandom } from "./random.ts";
import { type Identity, type Message, renderRequest } from "./request.ts";
import { hasSettled, isNewer } from "./settled.ts";
import { type FleetReport, type Progress, Statistics } from "./statistics.ts";
import { DEFAULT_TIMING } from "./timing.ts";

/** The server gave no answer at all, or can't be asked: the message says which and why. */
export class FleetError extends Error {
  override readonly name = "FleetError";
}

const HOUR_MS = 3_600_000;
const SAMPLES = 120;
const PROGRESS_MS = 200;
/** So many requests without a single answer: there is no server. */
const HOPELESS = 20;

/** @throws FleetError */
export async function runFleet(options: FleetOptions): Promise<FleetReport> {
  const client = omahaClient(options.server, options.connections ?? 50);
  const files = options.fetch ? downloader(options.connections ?? 50) : null;
  const fleet = new Fleet(options, client, files);
  try {
    return await fleet.run();
  } finally {
    fleet.stop();
    await client.close();
    await files?.close();
  }
}

class Fleet {
  readonly #options: FleetOptions;
  readonly #client: OmahaClient;
  readonly #files: Downloader | null;
  readonly #pace: Pace;
  readonly #startedAt = performance.now();
  readonly #forMs: number;
  readonly #connections: number;
  readonly #queue = new DueQueue();
  readonly #nodes: NodeState[] = [];
  readonly #worlds: World[] = [];
  readonly #settled: boolean[] = [];
  readonly #statistics = new Statistics();
  /** By node: when its unanswered request was sent, virtually. */
  readonly #inFlight = new Map<number, number>();
  #settledCount = 0;
  #target: string | null;
  #answered = 0;
  #lastError: string | null = null;
  #unanswered = 0;
  #ended = false;
  #wake: () => void = () => {};
  #fault: unknown = null;

  constructor(options: FleetOptions, client: OmahaClient, files: Downloader | null) {
    this.#options = options;
    this.#client = client;
    this.#files = files;
    this.#forMs = options.forMs ?? 6 * HOUR_MS;
    this.#connections = options.connections ?? 50;
    this.#target = options.untilVersion ?? null;
    const speed = options.speed ?? 600;
    this.#pace = Number.isFinite(speed) ? realTime(speed, () => performance.now()) : noIdleTime();
    for (let index = 0; index < options.nodes; index += 1) this.#add(index);
  }

  async run(): Promise<FleetReport> {
    const { signal, onProgress } = this.#options;
    const wake = () => this.#wake();
    signal?.addEventListener("abort", wake);
    let progressAt = 0;
    for (;;) {
      if (this.#fault !== null) throw this.#fault;
      if (this.#unanswered >= Math.min(HOPELESS, this.#options.nodes) && this.#answered === 0) {
        throw new FleetError(`no answer from ${this.#options.server}: ${this.#lastError}`);
      }
      this.#sample();
      const end = this.#end();
      if (performance.now() >= progressAt || end !== null) {
        progressAt = performance.now() + PROGRESS_MS;
        onProgress?.(this.#progress());
      }
      if (end !== null) {
        signal?.removeEventListener("abort", wake);
        return this.#report(end);
      }
      await this.#sleep(this.#runDue());
    }
  }

  /** Answers that come from now on are not listened to. */
  stop(): void {
    this.#ended = true;
  }

  /** Does what is due, as far as there are connections. @returns the real milliseconds until there is more to do. */
  #runDue(): number {
    while (this.#inFlight.size < this.#connections && this.#queue.firstAt <= this.#forMs) {
      const delay = this.#pace.until(this.#queue.firstAt, Math.min(...this.#inFlight.values()));
      if (delay > 0) return delay;
      const index = this.#queue.pop();
      if (index === undefined) break;
      this.#happens(index, { kind: "due" }, this.#pace.now());
    }
    return Number.POSITIVE_INFINITY;
  }

  async #sleep(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(delayMs, PROGRESS_MS));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #add(index: number): void {
    const { seed = "1", oems = [""], rules = [] } = this.#options;
    const id = machineId(seed, index);
    const identity: Identity = {
      appId: this.#options.appId ?? FLATCAR_APP_ID,
      track: this.#options.track ?? "stable",
      oem: oems[index % oems.length] ?? "",
      machineId: id,
      machineAlias: `virtual-${index + 1}`,
      board: this.#options.board ?? "amd64-usr",
    };
    const world: World = {
      timing: { ...DEFAULT_TIMING, ...this.#options.timing },
      downloads: this.#files === null ? "timed" : "real",
      random: seededRandom(`${seed}\n${id}`),
      newBootId: randomUUID,
      outcome: (version) => outcomeOf(rules, id, identity.oem, version),
    };
    this.#worlds.push(world);
    this.#settled.push(false);
    this.#take(index, newNode(identity, this.#options.version, 0, world), 0);
  }

  #happens(index: number, happening: Happening, now: number): Step {
    const [state, world] = [this.#nodes[index], this.#worlds[index]];
    if (state === undefined || world === undefined) throw new RangeError(`there is no node ${index}`);
    const next = step(state, happening, now, world);
    this.#take(index, next, now);
    return next;
  }

  #take(index: number, { state, action, answer }: Step, now: number): void {
    this.#statistics.moved(this.#nodes[index] ?? null, state);
    this.#nodes[index] = state;
    if (answer?.kind === "update") this.#offered(answer.offer.version);
    this.#settle(index, state);
    if (action.kind === "wait") this.#queue.push(action.until, index);
    else if (action.kind === "send") this.#send(index, state, action.message, now);
    else if (action.kind === "download") this.#download(index, state, action.offer, now);
  }

  #download(index: number, state: NodeState, offer: Offer, startedAt: number): void {
    const world = this.#worlds[index];
    if (this.#files === null || world === undefined) throw new RangeError("nobody fetches files here");
    this.#inFlight.set(index, startedAt);
    this.#files
      .fetch(offer, state.identity.oem, world.random)
      .then((downloaded) => {
        if (this.#ended) return;
        this.#inFlight.delete(index);
        this.#statistics.downloaded(downloaded);
        this.#happens(index, { kind: "downloaded", ...downloaded }, this.#pace.answeredAt(startedAt));
        this.#wake();
      })
      .catch((error: unknown) => {
        this.#fault = error;
        this.#wake();
      });
  }

  #send(index: number, state: NodeState, message: Message, sentAt: number): void {
    this.#inFlight.set(index, sentAt);
    this.#statistics.request(message);
    const started = performance.now();
    this.#client
      .post(renderRequest(state.identity, state, message))
      .then((happening) => {
        if (this.#ended) return;
        this.#inFlight.delete(index);
        this.#count(happening);
        const { answer } = this.#happens(index, happening, this.#pace.answeredAt(sentAt));
        this.#statistics.answer(happening, answer, performance.now() - started);
        this.#wake();
      })
      .catch((error: unknown) => {
        this.#fault = error;
        this.#wake();
      });
  }

  #count(happening: Awaited<ReturnType<OmahaClient["post"]>>): void {
    if (happening.kind === "answer") {
      this.#answered += 1;
    } else {
      this.#unanswered += 1;
      this.#lastError = happening.reason;
    }
  }

  #offered(version: string): void {
    if (this.#options.untilVersion != null || (this.#target !== null && !isNewer(version, this.#target))) return;
    this.#target = version;
    this.#settled.fill(false);
    this.#settledCount = 0;
    for (const [index, state] of this.#nodes.entries()) this.#settle(index, state);
  }

  /** Once settled, a node stays so until the target moves: it goes on asking, and all of them are never idle at once. */
  #settle(index: number, state: NodeState): void {
    if (this.#settled[index] === true || !hasSettled(state, this.#target)) return;
    this.#settled[index] = true;
    this.#settledCount += 1;
  }

  #end(): FleetReport["end"] | null {
    if (this.#options.signal?.aborted) return "interrupted";
    if (this.#settledCount === this.#nodes.length) return "settled";
    const nothingLeft = this.#queue.firstAt > this.#forMs && this.#inFlight.size === 0;
    const realTimeOver = performance.now() - this.#startedAt >= (this.#options.realLimitMs ?? Number.POSITIVE_INFINITY);
    return nothingLeft || realTimeOver || this.#pace.now() >= this.#forMs ? "time over" : null;
  }

  #sample(): void {
    const { timeline } = this.#statistics;
    const nextAt = (timeline.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY) + this.#forMs / SAMPLES;
    if (this.#pace.now() >= nextAt) timeline.push(this.#statistics.sample(this.#pace.now()));
  }

  #progress(): Progress {
    return {
      ...this.#statistics.sample(this.#pace.now()),
      settled: this.#settledCount,
      requests: this.#statistics.requests,
    };
  }

  #report(end: FleetReport["end"]): FleetReport {
    const realMs = performance.now() - this.#startedAt;
    const { atMs, ...counts } = this.#statistics.sample(this.#pace.now());
    const figures = this.#statistics.figures();
    return {
      end,
      nodes: this.#nodes.length,
      settled: this.#settledCount,
      target: this.#target,
      onTarget: this.#target === null ? 0 : (counts.byVersion[this.#target] ?? 0),
      ...counts,
      ...figures,
      requestsPerSecond: figures.requests.total / (realMs / 1000),
      virtualMs: Math.min(atMs, this.#forMs),
      realMs,
      timeline: this.#statistics.timeline,
    };
  }
}
