/**
 * Group commit. While one batch is being written, the requests that arrive form the next: an fsync is shared by all of
 * them, and a request waits for nothing but the batch before its own.
 */
import { StoreUnavailable } from "../store/store.ts";

/** So many are answered in one turn of the event loop. */
const TOLD_A_TURN = 8;

interface Waiting<Q, A> {
  readonly request: Q;
  readonly resolve: (answer: A) => void;
  readonly reject: (error: unknown) => void;
}

export interface BatchOptions<Q, A> {
  /** Decides and commits a batch; answers in its order. */
  readonly run: (requests: readonly Q[]) => Promise<readonly A[]>;
  readonly maxBatch: number;
  /** Beyond this many waiting requests, new ones are refused at once. */
  readonly maxWaiting: number;
  readonly onBatch?: (size: number, milliseconds: number) => void;
  /** Milliseconds that never go back. */
  readonly stopwatch?: () => number;
}

export class Batches<Q, A> {
  readonly #options: BatchOptions<Q, A>;
  #waiting: Waiting<Q, A>[] = [];
  #running = false;
  /** What a batch has taken lately, in milliseconds. */
  #batchMs = 0;
  #startedAt = 0;

  constructor(options: BatchOptions<Q, A>) {
    this.#options = options;
  }

  /**
   * How long a request that came now would wait for its batch, in milliseconds, as far as the last batches tell, and the
   * one that is being written, if it takes longer: the disk may hang. Counted in batches, since most of a small one is the
   * fsync, which a large one has only once, too.
   */
  get expectedWaitMs(): number {
    if (this.#waiting.length === 0) return 0;
    const present = this.#running ? this.#now() - this.#startedAt : 0;
    return Math.ceil(this.#waiting.length / this.#options.maxBatch) * Math.max(this.#batchMs, present);
  }

  #now(): number {
    const { stopwatch = () => performance.now() } = this.#options;
    return stopwatch();
  }

  /** @throws StoreUnavailable when the batch could not be written, or too many requests wait already. */
  submit(request: Q): Promise<A> {
    if (this.#waiting.length >= this.#options.maxWaiting) {
      return Promise.reject(new StoreUnavailable(`${this.#waiting.length} requests are waiting already`));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject });
      if (this.#running) return;
      this.#running = true;
      this.#startedAt = this.#now();
      // Requests that arrived in the same turn of the event loop join the same batch.
      setImmediate(() => void this.#runAll());
    });
  }

  async #runAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#options.maxBatch);
      this.#startedAt = this.#now();
      try {
        // The next batch does not wait until these are told.
        void tell(batch, await this.#options.run(batch.map(({ request }) => request)));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
      const took = this.#now() - this.#startedAt;
      this.#batchMs = this.#batchMs * 0.8 + took * 0.2;
      this.#options.onBatch?.(batch.length, took);
    }
    this.#running = false;
  }
}

/** A few at a time: an answer takes a while to write, and whoever asks for something else would wait for all of them. */
async function tell<Q, A>(batch: readonly Waiting<Q, A>[], answers: readonly A[]): Promise<void> {
  for (const [index, { resolve, reject }] of batch.entries()) {
    if (index > 0 && index % TOLD_A_TURN === 0) await new Promise<void>((turn) => setImmediate(turn));
    const answer = answers[index];
    if (answer === undefined) reject(new Error("the batch came back without an answer for this request"));
    else resolve(answer);
  }
}
