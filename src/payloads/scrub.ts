/**
 * Reads every file again from time to time, slowly, and takes what is no longer what it was out of service: its packages are
 * offered from their own URL again, or not at all when nodes are to get them here only.
 */
import type { Clock } from "../clock.ts";
import { type Repeated, repeat } from "../repeating.ts";
import { ACTIVITY, SEVERITY } from "../rollout/model/activity.ts";
import { noteActivity } from "../store/activity.ts";
import { moveRevision } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Payloads } from "./payloads.ts";
import { Rate } from "./rate.ts";
import { lookAgain } from "./signatures.ts";
import { judge } from "./stored.ts";

const DAY_MS = 86_400_000;
const EVERY_MS = 60_000;
/** When a file was read last that somebody has found wanting. */
const AT_ONCE = 0;

export interface ScrubOptions {
  readonly payloads: Payloads;
  readonly store: Store;
  readonly clock: Clock;
  /** How often each file is read; 0: only when there is a reason. */
  readonly days: number;
  /** Bytes a second. */
  readonly rate: number;
  readonly onCorrupt: (sha256: string, why: string) => void;
  /** A file of a package is not signed with its application's new payload key. */
  readonly onRefused: (file: string, why: string) => void;
  readonly onError: (error: unknown) => void;
}

export interface Scrub {
  /** Reads what is due, one file after another; what the timer does, for whoever drives the clock. Answers how many files. */
  run(): Promise<number>;
  /** Something is wrong with it: it is due at once. */
  suspect(sha256: string): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

interface Content {
  readonly sha256: string;
  readonly checked_at: number;
}

export function scrub(options: ScrubOptions): Scrub {
  const { payloads, store, clock, days, onRefused, onError } = options;
  let stopping = false;
  const reading = { blobs: payloads.blobs, rate: new Rate(options.rate), isStopping: () => stopping };
  let rounds: Repeated | undefined;

  async function run(): Promise<number> {
    const now = () => clock.now();
    let files = await lookAgain({ store, reading, now, onRefused, onError, onDamaged: takeOut });
    const due = await store.read
      .selectFrom("payloads")
      .select(["sha256", "checked_at"])
      .where("state", "=", "stored")
      .where("checked_at", "<=", days > 0 ? clock.now() - days * DAY_MS : AT_ONCE)
      .orderBy("checked_at")
      .execute();
    for (const content of due) {
      try {
        const judgement = await judge(content.sha256, null, reading);
        if (judgement.kind === "stopped") break;
        if (judgement.kind === "damaged") await takeOut(content, judgement.why);
        else await pass(content);
        files += 1;
      } catch (error) {
        onError(error); // the next one may be read all the same
      }
    }
    return files;
  }

  async function pass({ sha256, checked_at: seen }: Content): Promise<void> {
    const now = clock.now();
    await store.write((tx) =>
      tx
        .updateTable("payloads")
        .set({ checked_at: now })
        .where("sha256", "=", sha256)
        .where("checked_at", "=", seen)
        .execute(),
    );
  }

  async function takeOut({ sha256, checked_at: seen }: Content, why: string): Promise<void> {
    await payloads.exclusive(async () => {
      const now = clock.now();
      // The row first: from then on nobody is sent here for it.
      const found = await store.write(async (tx) => {
        const { numUpdatedRows } = await tx
          .updateTable("payloads")
          .set({ state: "corrupt", checked_at: now })
          .where("sha256", "=", sha256)
          // Somebody may have brought it again meanwhile, or it was collected.
          .where("state", "=", "stored")
          .where("checked_at", "=", seen)
          .executeTakeFirst();
        if (numUpdatedRows === 0n) return false;
        const packages = await tx
          .selectFrom("packages")
          .innerJoin("hosted_files", "hosted_files.package_no", "packages.no")
          .innerJoin("payloads", "payloads.no", "hosted_files.payload_no")
          .select(["packages.no", "packages.application_no", "packages.version"])
          .where("payloads.sha256", "=", sha256)
          .distinct()
          .execute();
        for (const one of packages) await noteActivity(tx, ACTIVITY.payloadCorrupt, SEVERITY.error, one, now);
        await moveRevision(tx);
        return true;
      });
      if (!found) return;
      await payloads.blobs.quarantine(sha256, now);
      options.onCorrupt(sha256, why);
    });
  }

  return {
    run,
    async suspect(sha256) {
      await store.write((tx) =>
        tx
          .updateTable("payloads")
          .set({ checked_at: AT_ONCE })
          .where("sha256", "=", sha256)
          .where("state", "=", "stored")
          .execute(),
      );
    },
    start() {
      rounds = repeat(EVERY_MS, run, onError);
    },
    async stop() {
      stopping = true;
      await rounds?.stop();
    },
  };
}
