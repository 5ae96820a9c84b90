/** The webhooks' background work: hands the activity over, ends what is not to be sent any more, sends what is due. */
import type { Clock } from "../clock.ts";
import { type Repeated, repeat } from "../repeating.ts";
import type { Store } from "../store/store.ts";
import { type Resolve, systemResolve } from "../target.ts";
import { handOver } from "./hand-over.ts";
import { type DeliveryRow, end, endingOf, isDue, type Queue, survey, type WebhookRow } from "./outbox.ts";
import { type SendOptions, send } from "./send.ts";
import { type Outcome, outcomeOf, settle, type Taken, type Tried, take } from "./tries.ts";

const TICK_MS = 1_000;
/** A webhook gets one turn a tick at most, of so many deliveries, so many of them at once. */
const TURN = 40;
const AT_ONCE = 4;
const WEBHOOKS_AT_ONCE = 8;
/** After that long a turn ends, whatever is left of it. */
const TURN_MS = 10_000;
const TIMEOUT_MS = 10_000;
/** By how much a delivery is held longer than any turn can take. */
const LEASE_MARGIN_MS = 60_000;
/** How long a stop waits for deliveries that are under way. */
const GRACE_MS = 2_000;

export interface NotificationOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Turnout's own. */
  readonly version: string;
  readonly privateTargets: boolean;
  /** What a receiver has to answer within. */
  readonly timeoutMs?: number | undefined;
  readonly resolve?: Resolve | undefined;
  readonly onOutcome: (outcome: Outcome | "dropped", deliveries: number) => void;
  /** A try failed. The URL is not told: it may hold a secret. */
  readonly onFailure: (webhook: string, event: string, why: string) => void;
  readonly onError: (error: unknown) => void;
}

export class Notifications {
  readonly #options: NotificationOptions;
  readonly #sending: SendOptions;
  readonly #abort = new AbortController();
  /** By webhook, while they last. */
  readonly #turns = new Map<number, Promise<void>>();
  #ticks: Repeated | undefined;
  #stopping = false;

  constructor(options: NotificationOptions) {
    this.#options = options;
    const { privateTargets, timeoutMs = TIMEOUT_MS, resolve = systemResolve, version } = options;
    this.#sending = {
      timeoutMs,
      privateTargets,
      resolve,
      userAgent: `Turnout/${version}`,
      stop: this.#abort.signal,
    };
  }

  /** Makes deliveries of everything that has happened. */
  async handOver(): Promise<void> {
    const { store, clock } = this.#options;
    while (!this.#stopping && (await handOver(store, clock.now())));
  }

  /**
   * Gives a turn to every webhook for which something is due, and waits until all turns are over: for whoever drives the
   * clock; the timer does not wait.
   */
  async deliver(): Promise<void> {
    await this.#startTurns();
    await Promise.all(this.#turns.values());
  }

  start(): void {
    const { onError } = this.#options;
    const tick = () =>
      this.handOver()
        .catch(onError)
        .then(() => this.#startTurns());
    this.#ticks = repeat(TICK_MS, tick, onError);
  }

  /** Deliveries under way have a moment to finish; those that take longer are put back. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const ended = this.#ticks?.stop();
    const patience = setTimeout(() => this.#abort.abort(), GRACE_MS);
    await ended;
    await Promise.all(this.#turns.values());
    clearTimeout(patience);
  }

  /** Waits for no turn: one that takes long keeps no other from starting. Who has waited longest comes first. */
  async #startTurns(): Promise<void> {
    const { store, clock, onError } = this.#options;
    const now = clock.now();
    const queues = await survey(store.read);
    for (const queue of queues) await this.#endSome(queue, now);
    const due = queues.filter((queue) => isDue(queue, now)).sort((a, b) => a.firstDueAt - b.firstDueAt);
    for (const { webhookNo } of due) {
      if (this.#stopping || this.#turns.size >= WEBHOOKS_AT_ONCE) return;
      if (this.#turns.has(webhookNo)) continue;
      const turn = this.#turn(webhookNo)
        .catch(onError)
        .finally(() => this.#turns.delete(webhookNo));
      this.#turns.set(webhookNo, turn);
    }
  }

  async #endSome(queue: Queue, now: number): Promise<void> {
    const ending = endingOf(queue, now);
    if (ending === null) return;
    for (let left = ending.deliveries; left > 0 && !this.#stopping; ) {
      const some = { ...ending, deliveries: left };
      const ended = await this.#options.store.write((tx) => end(tx, queue.webhookNo, some, now));
      if (ended === 0) return;
      this.#options.onOutcome(ending.state, ended);
      left -= ended;
    }
  }

  async #turn(webhookNo: number): Promise<void> {
    const { store, clock, onOutcome, onFailure } = this.#options;
    const leaseMs = TURN_MS + this.#sending.timeoutMs + LEASE_MARGIN_MS;
    const taken = await store.write((tx) => take(tx, webhookNo, TURN, leaseMs, clock.now()));
    if (taken === null) return;
    const { tried, untried } = await this.#sendAll(taken);
    await store.write((tx) => settle(tx, taken.webhook, tried, untried, clock.now()));
    for (const one of tried) {
      onOutcome(outcomeOf(one).outcome, 1);
      if (one.result.error !== null) onFailure(taken.webhook.name, one.delivery.event, one.result.error);
    }
  }

  /** A few at a time; when one fails, or they have taken long enough, no other is begun. */
  async #sendAll({ webhook, deliveries }: Taken): Promise<{ tried: Tried[]; untried: DeliveryRow[] }> {
    const untried = [...deliveries];
    const tried: Tried[] = [];
    const enough = AbortSignal.timeout(TURN_MS);
    let goOn = true;
    const sendSome = async () => {
      while (goOn && !enough.aborted && !this.#stopping) {
        const delivery = untried.shift();
        if (delivery === undefined) return;
        const one = await this.#sendOne(webhook, delivery);
        if (one === null) untried.push(delivery);
        else tried.push(one);
        goOn &&= one?.result.error === null;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, sendSome));
    return { tried, untried };
  }

  /** Null: it was broken off. */
  async #sendOne({ url, secret }: WebhookRow, delivery: DeliveryRow): Promise<Tried | null> {
    const at = this.#options.clock.now();
    const began = performance.now();
    const { id: deliveryId, event, body } = delivery;
    const result = await send({ url, secret, deliveryId, event, body }, at, this.#sending);
    return result && { delivery, result, at, tookMs: Math.round(performance.now() - began) };
  }
}
