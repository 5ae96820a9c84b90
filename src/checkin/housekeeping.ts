/** What time alone brings about: deadlines, marks that wait for the disk, rollouts that move on, old rows. */
import { setTimeout } from "node:timers/promises";
import type { Clock } from "../clock.ts";
import { type Repeated, repeat } from "../repeating.ts";
import { takeCensus } from "../store/census.ts";
import type { Store } from "../store/store.ts";
import type { Absence } from "./absence.ts";
import { Conductor } from "./conductor.ts";
import { OWN_PACE, type PollingOptions } from "./polling.ts";
import { SilenceWatch } from "./silence.ts";
import type { Writer } from "./writer.ts";

const DAY_MS = 86_400_000;
/** Between two chunks of work there is so much more time than one takes. */
const PAUSE_SHARE = 3;
/** Marks are on disk within five seconds: gathered for the first, written over the second, what is left then at once. */
const SEEN_PERIOD_MS = 3_000;
const SEEN_SPREAD_MS = 800;

export interface HousekeepingOptions {
  readonly writer: Writer;
  readonly store: Store;
  readonly clock: Clock;
  readonly historyDays: number;
  readonly forgetSeenOnceDays: number;
  /** Before the start. */
  readonly absence: Absence | null;
  /** When nodes are told to ask again. */
  readonly polling?: PollingOptions;
  readonly onError: (task: string, error: unknown) => void;
  /** Waits, and rejects when the signal comes before its end; Node's own unless a test has another. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

export interface Housekeeping {
  /** Each task once, in turn; what the timers do, for whoever drives the clock. */
  expireDeadlines(): Promise<void>;
  flushSeen(): Promise<void>;
  moveRollouts(): Promise<void>;
  takeCensus(): Promise<void>;
  deleteOldRows(): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

export function housekeeping(options: HousekeepingOptions): Housekeeping {
  const { writer, store, clock, pause = (ms, signal) => setTimeout(ms, undefined, { signal }) } = options;
  const silence = new SilenceWatch(store, options.absence, options.polling ?? OWN_PACE);
  const conductor = new Conductor(store, options.absence, silence);
  const repeated: Repeated[] = [];
  const stopping = new AbortController();

  /** As long as there is more; with pauses, or check-ins would wait in line behind all of it. @param spreadMs after so long without */
  async function inChunks(chunk: () => Promise<boolean>, spreadMs = Number.POSITIVE_INFINITY): Promise<void> {
    const begunAt = performance.now();
    for (;;) {
      const startedAt = performance.now();
      if (stopping.signal.aborted || !(await chunk())) return;
      const now = performance.now();
      const pauseMs = Math.min((now - startedAt) * PAUSE_SHARE, spreadMs - (now - begunAt));
      if (pauseMs > 0) await pause(pauseMs, stopping.signal).catch(() => undefined);
    }
  }

  const tasks = {
    async expireDeadlines() {
      while (!stopping.signal.aborted && (await writer.ask({ kind: "expire-due", now: clock.now() })));
    },
    flushSeen: () => inChunks(() => writer.ask({ kind: "flush-seen" }), SEEN_SPREAD_MS),
    moveRollouts: () => conductor.moveRollouts(clock.now()),
    async takeCensus() {
      const now = clock.now();
      await takeCensus(store, now, await silence.missedAfterMs(now));
    },
    async deleteOldRows() {
      const before = clock.now() - options.historyDays * DAY_MS;
      await inChunks(() => writer.ask({ kind: "delete-history", before }));
      const seenBefore = clock.now() - options.forgetSeenOnceDays * DAY_MS;
      let afterNo: number | null = 0;
      await inChunks(async () => {
        if (afterNo !== null) afterNo = await writer.ask({ kind: "forget-seen-once", before: seenBefore, afterNo });
        return afterNo !== null;
      });
    },
  };

  function every(ms: number, name: keyof typeof tasks): void {
    repeated.push(repeat(ms, tasks[name], (error) => options.onError(name, error)));
  }

  return {
    ...tasks,
    start() {
      every(2_000, "expireDeadlines");
      every(SEEN_PERIOD_MS, "flushSeen");
      every(2_000, "moveRollouts");
      every(60_000, "takeCensus");
      every(3_600_000, "deleteOldRows");
    },
    async stop() {
      stopping.abort();
      await Promise.all(repeated.map((one) => one.stop()));
    },
  };
}
