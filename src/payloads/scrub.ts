/**
 * Reads every file again from time to time, slowly, and takes what is no longer what it was out of service: its packages are
 * offered from their own URL again, or not at all when nodes are to get them here only.
 */
import { createHash, randomUUID } from "node:crypto";
import type { Clock } from "../clock.ts";
import { type Repeated, repeat } from "../repeating.ts";
import { ACTIVITY, SEVERITY } from "../rollout/model.ts";
import { moveRevision } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Payloads } from "./payloads.ts";
import { paced, Rate } from "./rate.ts";

const DAY_MS = 86_400_000;
const EVERY_MS = 600_000;
const READ_BYTES = 256 * 2 ** 10;

export interface ScrubOptions {
  readonly payloads: Payloads;
  readonly store: Store;
  readonly clock: Clock;
  /** How often each file is read; 0: never. */
  readonly days: number;
  /** Bytes a second. */
  readonly rate: number;
  readonly onCorrupt: (sha256: string, why: string) => void;
  readonly onError: (error: unknown) => void;
}

export interface Scrub {
  /** Reads what is due, one file after another; what the timer does, for whoever drives the clock. Answers how many files. */
  run(): Promise<number>;
  start(): void;
  stop(): Promise<void>;
}

export function scrub(options: ScrubOptions): Scrub {
  const { payloads, store, clock } = options;
  const rate = new Rate(options.rate);
  let stopping = false;
  let rounds: Repeated | undefined;

  async function run(): Promise<number> {
    let files = 0;
    while (!stopping && options.days > 0) {
      const due = await store.read
        .selectFrom("payloads")
        .selectAll()
        .where("state", "=", "stored")
        .where("checked_at", "<=", clock.now() - options.days * DAY_MS)
        .orderBy("checked_at")
        .limit(1)
        .executeTakeFirst();
      if (due === undefined) break;
      const why = await wrongWith(due.sha256);
      if (stopping) break;
      if (why === null) await passed(due.sha256);
      else await failed(due.sha256, why);
      files += 1;
    }
    return files;
  }

  /** Null: it is as it was stored. */
  async function wrongWith(sha256: string): Promise<string | null> {
    try {
      const file = await payloads.blobs.read(sha256);
      try {
        const hash = createHash("sha256");
        const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
        for (let at = 0; !stopping; ) {
          const { bytesRead } = await file.read(buffer, 0, READ_BYTES, at);
          if (bytesRead === 0) break;
          hash.update(buffer.subarray(0, bytesRead));
          at += bytesRead;
          await paced(rate, bytesRead);
        }
        const found = hash.digest("hex");
        return found === sha256 ? null : `its SHA-256 is ${found} by now`;
      } finally {
        await file.close();
      }
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      if (code === "ENOENT") return "the file is gone";
      if (code === "EIO") return "the disk can't read it";
      throw error;
    }
  }

  async function passed(sha256: string): Promise<void> {
    const now = clock.now();
    await store.write((tx) =>
      tx.updateTable("payloads").set({ checked_at: now }).where("sha256", "=", sha256).execute(),
    );
  }

  async function failed(sha256: string, why: string): Promise<void> {
    await payloads.exclusive(async () => {
      const now = clock.now();
      // The row first: from then on nobody is sent here for it.
      const found = await store.write(async (tx) => {
        const { numUpdatedRows } = await tx
          .updateTable("payloads")
          .set({ state: "corrupt", checked_at: now })
          .where("sha256", "=", sha256)
          // Somebody may have brought it again meanwhile, or it was collected.
          .where("checked_at", "<=", now - options.days * DAY_MS)
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
        for (const { application_no, version } of packages) {
          await tx
            .insertInto("activity")
            .values({
              id: randomUUID(),
              at: now,
              class: ACTIVITY.payloadCorrupt,
              severity: SEVERITY.error,
              application_no,
              group_no: null,
              channel_no: null,
              instance_id: null,
              version,
            })
            .execute();
        }
        await moveRevision(tx);
        return true;
      });
      if (!found) return;
      await payloads.blobs.quarantine(sha256);
      options.onCorrupt(sha256, why);
    });
  }

  return {
    run,
    start() {
      rounds = repeat(EVERY_MS, run, options.onError);
    },
    async stop() {
      stopping = true;
      await rounds?.stop();
    },
  };
}
