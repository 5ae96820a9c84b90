/** The SQLite store in this process, without threads: the same code, where a test can see all of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type Database from "better-sqlite3";
import { seedFleet } from "../../src/fleet/seed.ts";
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

/** With the fleet that a new server starts with. */
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
      busy = true;
      return session;
    },
    async release() {
      busy = false;
      turns.shift()?.();
    },
  });
  const store: Store = {
    read: kysely,
    write: (work) => kysely.transaction().execute(work),
    close: async () => {},
  };
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
