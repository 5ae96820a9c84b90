/** What time alone brings about: deadlines, marks that wait for the disk, rollouts that are done, old rows. */

import { randomUUID } from "node:crypto";
import type { Clock } from "../clock.ts";
import { ACTIVITY, SEVERITY } from "../rollout/model.ts";
import { compareVersions } from "../rollout/version.ts";
import { moveRollout, SYSTEM } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Writer } from "./writer.ts";

const DAY_MS = 86_400_000;
/** A rollout waits only for nodes that were seen within this time. */
const ACTIVE_WITHIN_MS = DAY_MS;

export interface HousekeepingOptions {
  readonly writer: Writer;
  readonly store: Store;
  readonly clock: Clock;
  readonly historyDays: number;
  readonly forgetSeenOnceDays: number;
  readonly onError: (task: string, error: unknown) => void;
}

export interface Housekeeping {
  /** Each task once, in turn; what the timers do, for whoever drives the clock. */
  expireDeadlines(): Promise<void>;
  flushSeen(): Promise<void>;
  completeRollouts(): Promise<void>;
  deleteOldRows(): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

export function housekeeping(options: HousekeepingOptions): Housekeeping {
  const { writer, store, clock } = options;
  const timers: NodeJS.Timeout[] = [];
  const running = new Set<Promise<void>>();
  let stopping = false;

  const tasks = {
    async expireDeadlines() {
      while (!stopping && (await writer.ask({ kind: "expire-due", now: clock.now() })));
    },
    async flushSeen() {
      while (!stopping && (await writer.ask({ kind: "flush-seen" })));
    },
    completeRollouts: () => completeRollouts(store, clock.now()),
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

  /** Every `ms`, but never twice at a time: a task that takes long is simply not started again. */
  function every(ms: number, name: keyof typeof tasks): void {
    let busy = false;
    const timer = setInterval(() => {
      if (busy) return;
      busy = true;
      const run = tasks[name]()
        .catch((error: unknown) => options.onError(name, error))
        .finally(() => {
          busy = false;
          running.delete(run);
        });
      running.add(run);
    }, ms);
    timer.unref();
    timers.push(timer);
  }

  return {
    ...tasks,
    start() {
      every(2_000, "expireDeadlines");
      every(4_000, "flushSeen");
      every(5_000, "completeRollouts");
      every(3_600_000, "deleteOldRows");
    },
    async stop() {
      stopping = true;
      for (const timer of timers) clearInterval(timer);
      await Promise.all(running);
    },
  };
}

/** Running rollouts with nothing in flight, something complete, and no active node left below their version. */
async function completeRollouts(store: Store, now: number): Promise<void> {
  const candidates = await store.read
    .selectFrom("rollouts")
    .innerJoin("rollout_counters as c", "c.rollout_no", "rollouts.no")
    .innerJoin("packages", "packages.no", "rollouts.package_no")
    .innerJoin("groups", "groups.no", "rollouts.group_no")
    .select(["rollouts.no", "rollouts.group_no", "groups.application_no", "packages.version"])
    .where("rollouts.state", "=", "running")
    .where("c.complete", ">", 0)
    .where((eb) => eb(eb("c.granted", "+", eb.ref("c.downloading")), "=", 0))
    .where((eb) => eb(eb("c.downloaded", "+", eb.ref("c.installed")), "=", 0))
    .execute();
  for (const rollout of candidates) {
    if (await hasNodesToGo(store, rollout, now)) continue;
    await store.write(async (tx) => {
      await moveRollout(
        tx,
        rollout.no,
        "completed",
        SYSTEM,
        "every active node of the group has passed this version",
        now,
      );
      await tx
        .updateTable("meta")
        .set((eb) => ({ revision: eb("revision", "+", 1) }))
        .execute();
      await tx
        .insertInto("activity")
        .values({
          id: randomUUID(),
          at: now,
          class: ACTIVITY.rolloutFinished,
          severity: SEVERITY.success,
          application_no: rollout.application_no,
          group_no: rollout.group_no,
          channel_no: null,
          instance_id: null,
          version: rollout.version,
        })
        .execute();
    });
  }
}

async function hasNodesToGo(
  store: Store,
  rollout: { no: number; group_no: number; version: string },
  now: number,
): Promise<boolean> {
  const counts = await store.read
    .selectFrom("node_counts")
    .select("version")
    .distinct()
    .where("group_no", "=", rollout.group_no)
    .execute();
  const below = counts.map(({ version }) => version).filter((version) => compareVersions(version, rollout.version) < 0);
  for (const version of below) {
    const waiting = await store.read
      .selectFrom("nodes")
      .leftJoin("seen", "seen.node_no", "nodes.no")
      .select("nodes.no")
      .where("nodes.group_no", "=", rollout.group_no)
      .where("nodes.version", "=", version)
      // A node that this rollout failed on is through with it, until it tries again.
      .where((eb) => eb.or([eb("nodes.rollout_no", "is", null), eb("nodes.rollout_no", "!=", rollout.no)]))
      .where((eb) => eb(eb.fn.coalesce("seen.at", "nodes.created_at"), ">", now - ACTIVE_WITHIN_MS))
      .limit(1)
      .executeTakeFirst();
    if (waiting !== undefined) return true;
  }
  return false;
}
