/** What time alone brings about: deadlines, marks that wait for the disk, rollouts that move on, old rows. */
import { setTimeout as pause } from "node:timers/promises";
import type { Clock } from "../clock.ts";
import { type Repeated, repeat } from "../repeating.ts";
import { takeCensus } from "../store/census.ts";
import type { Store } from "../store/store.ts";
import type { Absence } from "./absence.ts";
import { Conductor } from "./conductor.ts";
import type { Writer } from "./writer.ts";

const DAY_MS = 86_400_000;
/** Between two chunks of marks there is so much more time than one takes. */
const PAUSE_SHARE = 3;

export interface HousekeepingOptions {
  readonly writer: Writer;
  readonly store: Store;
  readonly clock: Clock;
  readonly historyDays: number;
  readonly forgetSeenOnceDays: number;
  /** Before the start. */
  readonly absence: Absence | null;
  readonly onError: (task: string, error: unknown) => void;
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
  const { writer, store, clock } = options;
  const conductor = new Conductor(store, options.absence);
  const repeated: Repeated[] = [];
  let stopping = false;

  const tasks = {
    async expireDeadlines() {
      while (!stopping && (await writer.ask({ kind: "expire-due", now: clock.now() })));
    },
    async flushSeen() {
      for (;;) {
        const startedAt = performance.now();
        if (stopping || !(await writer.ask({ kind: "flush-seen" }))) return;
        // Or check-ins would wait in line behind all of them, every time.
        await pause((performance.now() - startedAt) * PAUSE_SHARE);
      }
    },
    moveRollouts: () => conductor.moveRollouts(clock.now()),
    async takeCensus() {
      await takeCensus(store, clock.now());
    },
    async deleteOldRows() {
      const before = clock.now() - options.historyDays * DAY_MS;
      while (!stopping && (await writer.ask({ kind: "delete-history", before })));
      const seenBefore = clock.now() - options.forgetSeenOnceDays * DAY_MS;
      let afterNo: number | null = 0;
      while (!stopping && afterNo !== null) {
        afterNo = await writer.ask({ kind: "forget-seen-once", before: seenBefore, afterNo });
      }
    },
  };

  function every(ms: number, name: keyof typeof tasks): void {
    repeated.push(repeat(ms, tasks[name], (error) => options.onError(name, error)));
  }

  return {
    ...tasks,
    start() {
      every(2_000, "expireDeadlines");
      every(4_000, "flushSeen");
      every(2_000, "moveRollouts");
      every(60_000, "takeCensus");
      every(3_600_000, "deleteOldRows");
    },
    async stop() {
      stopping = true;
      await Promise.all(repeated.map((one) => one.stop()));
    },
  };
}
