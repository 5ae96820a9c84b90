/** The SQLite store in this process, without threads: the same code, where a test can see all of it. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type Database from "better-sqlite3";
import { seedFleet } from "../../src/admin/fleet.ts";
import type { StrategyDocument } from "../../src/rollout/strategy.ts";
import { nextNumber } from "../../src/store/numbers.ts";
import { SYSTEM, setDefaultStrategy, settleConfiguration } from "../../src/store/rollouts.ts";
import { sqliteCheckIns } from "../../src/store/sqlite/checkins.ts";
import { openWriter, sessionOn } from "../../src/store/sqlite/connection.ts";
import { kyselyOver } from "../../src/store/sqlite/dialect.ts";
import { migrate } from "../../src/store/sqlite/migrate.ts";
import type { CheckInStore, Store } from "../../src/store/store.ts";

export const NOW = Date.UTC(2026, 2, 4, 12);

export interface InProcess {
  readonly path: string;
  readonly db: Database.Database;
  readonly store: Store;
  readonly checkIns: CheckInStore;
  close(): void;
}

/** With the fleet that a new server starts with; its groups roll out to all at once unless a test gives them a strategy. */
export async function aDatabase(): Promise<InProcess> {
  const folder = mkdtempSync(join(tmpdir(), "turnout-store-"));
  const path = join(folder, "turnout.db");
  const db = openWriter(path);
  migrate(db, NOW);
  const session = sessionOn(db);
  const turns: (() => void)[] = [];
  let busy = false;
  const kysely = kyselyOver({
    async acquire() {
      if (busy) await new Promise<void>((turn) => turns.push(turn));
      else busy = true;
      return session;
    },
    async release() {
      // Handed over, if somebody waits: nobody slips in between.
      const next = turns.shift();
      if (next === undefined) busy = false;
      else next();
    },
  });
  const write: Store["write"] = (work) => kysely.transaction().execute(work);
  const store: Store = {
    read: kysely,
    // One connection for all: a transaction of ours would be in the check-ins' way.
    snapshot: (work) => work(kysely),
    write,
    writeRehearsed: write,
    async rehearse(work) {
      const tx = await kysely.startTransaction().execute();
      return work(tx as Parameters<typeof work>[0]).finally(() => tx.rollback().execute());
    },
    close: async () => {},
  };
  await setDefaultStrategy(store, "none");
  await seedFleet(store, resolve(import.meta.dirname, "../../config/flatcar.yaml"), NOW);
  return {
    path,
    db,
    store,
    checkIns: sqliteCheckIns(db, kysely),
    close() {
      db.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Puts a version on the stable amd64 channel. */
export async function releaseIn(world: InProcess, version: string): Promise<void> {
  await world.store.write(async (tx) => {
    const channel = await tx
      .selectFrom("channels")
      .selectAll()
      .where("name", "=", "stable")
      .where("arch", "=", 1)
      .executeTakeFirstOrThrow();
    const { no } = await tx
      .insertInto("packages")
      .values({
        id: randomUUID(),
        application_no: channel.application_no,
        type: 1,
        version,
        arch: 1,
        url: "https://updates.example.org/",
        filename: "flatcar_production_update.gz",
        size: "5",
        description: null,
        hash: null,
        created_at: NOW,
      })
      .returning("no")
      .executeTakeFirstOrThrow();
    await tx
      .insertInto("flatcar_actions")
      .values({
        package_no: no,
        id: randomUUID(),
        event: "postinstall",
        sha256: Buffer.from(String(no).padStart(64, "0"), "hex").toString("base64"),
        chromeos_version: "",
        needs_admin: 0,
        is_delta: 0,
        disable_payload_backoff: 1,
        metadata_signature_rsa: "",
        metadata_size: "",
        deadline: "",
        created_at: NOW,
      })
      .execute();
    await tx.updateTable("channels").set({ package_no: no }).where("no", "=", channel.no).execute();
    await settleConfiguration(tx, SYSTEM, NOW);
  });
}

/** Gives the groups of the stable track a strategy, as people write it. */
export async function planIn(
  world: InProcess,
  strategy: StrategyDocument,
  policy: Record<string, number> = {},
): Promise<void> {
  await world.store.write(async (tx) => {
    const text = JSON.stringify(strategy);
    await tx
      .updateTable("groups")
      .set({ strategy: text, ...policy })
      .where("track", "=", "stable")
      .execute();
    await settleConfiguration(tx, SYSTEM, NOW);
  });
}

/** A group of a track of its own, which follows the stable amd64 channel. */
export async function addGroup(world: InProcess, track: string, maxUpdatesPerPeriod = 999_999): Promise<string> {
  const id = randomUUID();
  await world.store.write(async (tx) => {
    const stable = await tx
      .selectFrom("groups")
      .innerJoin("channels", "channels.no", "groups.channel_no")
      .selectAll("groups")
      .where("groups.track", "=", "stable")
      .where("channels.arch", "=", 1)
      .executeTakeFirstOrThrow();
    const own = { no: await nextNumber(tx, "groups"), id, name: track, track };
    await tx
      .insertInto("groups")
      .values({ ...stable, ...own, policy_max_updates_per_period: maxUpdatesPerPeriod })
      .execute();
    await settleConfiguration(tx, SYSTEM, NOW);
  });
  return id;
}
