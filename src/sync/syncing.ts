/** The background work: checks every upstream when it is due. One process of several does each. */
import { randomUUID } from "node:crypto";
import type { Clock } from "../clock.ts";
import { type Repeated, repeat } from "../repeating.ts";
import type { BringInContext } from "./bring-in.ts";
import { type Checked, check } from "./check.ts";
import { nextCheckAt } from "./schedule.ts";
import type { Upstream } from "./upstream.ts";
import { dueUpstreams, putBack, renew, settle, take, type UpstreamRow } from "./upstreams.ts";

const TICK_MS = 15_000;
const AT_ONCE = 2;
const RENEW_MS = 60_000;

export interface Progress {
  readonly version: string;
  readonly file: string;
  readonly received: number;
  readonly total: number;
}

export interface SyncingOptions extends BringInContext {
  readonly clock: Clock;
  /** The upstream that a row describes. */
  readonly open: (row: UpstreamRow) => Upstream;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onChecked: (row: UpstreamRow, error: string | null) => void;
  readonly onBytes: (bytes: number) => void;
  readonly onError: (error: unknown) => void;
  /** After the last turn. */
  readonly close: () => Promise<void>;
}

export class Syncing {
  readonly #options: SyncingOptions;
  readonly #stop = new AbortController();
  /** By upstream, while they last. */
  readonly #turns = new Map<number, Promise<void>>();
  /** Ends one of them. */
  readonly #lost = new Map<number, AbortController>();
  readonly #progress = new Map<number, Progress>();
  #ticks: Repeated | undefined;

  constructor(options: SyncingOptions) {
    this.#options = options;
  }

  /** Checks all that is due, and waits until that is done: for whoever drives the clock; the timer does not wait. */
  async run(): Promise<void> {
    const { store, clock } = this.#options;
    for (const no of await dueUpstreams(store.read, clock.now())) {
      this.begin(no);
      await this.#turns.get(no);
    }
    await this.idle();
  }

  /** Checks it now, due or not, unless that is being done already. */
  begin(no: number): void {
    if (this.#turns.has(no) || this.#stop.signal.aborted) return;
    const turn = this.#turn(no)
      .catch(this.#options.onError)
      .finally(() => {
        this.#turns.delete(no);
        this.#progress.delete(no);
      });
    this.#turns.set(no, turn);
  }

  /** Breaks off what is being done for it here: it has become another one, or is gone. What has come stays. */
  drop(no: number): void {
    this.#lost.get(no)?.abort();
  }

  /** When nothing is being checked any more. */
  async idle(): Promise<void> {
    await Promise.all(this.#turns.values());
  }

  /** What this process is downloading for it now; null: nothing. */
  progressOf(no: number): Progress | null {
    return this.#progress.get(no) ?? null;
  }

  start(): void {
    this.#ticks = repeat(TICK_MS, () => this.#beginDue(), this.#options.onError);
  }

  /** What is being downloaded is broken off, and gone on with after the next start. */
  async stop(): Promise<void> {
    const ended = this.#ticks?.stop();
    this.#stop.abort();
    await ended;
    await this.idle();
    await this.#options.close();
  }

  async #beginDue(): Promise<void> {
    const { store, clock } = this.#options;
    if (this.#turns.size >= AT_ONCE) return;
    for (const no of await dueUpstreams(store.read, clock.now())) {
      if (this.#turns.size >= AT_ONCE) return;
      this.begin(no);
    }
  }

  async #turn(no: number): Promise<void> {
    const { store, clock, random, onChecked } = this.#options;
    const lease = randomUUID();
    const row = await store.write((tx) => take(tx, no, lease, clock.now()));
    if (row === null) return;
    const lost = new AbortController();
    this.#lost.set(no, lost);
    const renewal = setInterval(() => {
      store
        .write((tx) => renew(tx, no, lease, clock.now()))
        // Somebody has deleted it, or another process has taken it.
        .then((held) => held || lost.abort())
        .catch(this.#options.onError);
    }, RENEW_MS);
    try {
      const checked = await this.#check(row, AbortSignal.any([this.#stop.signal, lost.signal]));
      if (this.#stop.signal.aborted) {
        await store.write((tx) => putBack(tx, no, lease, clock.now()));
        return;
      }
      const now = clock.now();
      const outcome = { ...checked, nextCheckAt: nextCheckAt(row, checked, { now, random: random() }) };
      if (await store.write((tx) => settle(tx, row, lease, outcome, now))) onChecked(row, checked.error);
    } finally {
      this.#lost.delete(no);
      clearInterval(renewal);
    }
  }

  /** A fault of ours is written down like one of the upstream's, so that it is seen, and not tried without end. */
  async #check(row: UpstreamRow, signal: AbortSignal): Promise<Checked> {
    const { clock, open, onBytes, onError } = this.#options;
    let before: Progress | null = null;
    try {
      return await check(
        {
          ...this.#options,
          now: () => clock.now(),
          upstream: open(row),
          signal,
          onBytes: (version, file, received, total) => {
            const isSame = before?.version === version && before.file === file;
            // It becomes less where another place begins anew.
            if (isSame && before !== null) onBytes(Math.max(0, received - before.received));
            before = { version, file, received, total };
            this.#progress.set(row.no, before);
          },
        },
        row,
      );
    } catch (error) {
      onError(error);
      const why = error instanceof Error ? error.message : String(error);
      return { error: why, version: "", found: null, heldBack: null, until: null };
    }
  }
}
