/** Plain SQL files, forward only, each in a transaction of its own together with the record that it ran. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type Database from "better-sqlite3";

const FOLDER = fileURLToPath(new URL("../../../migrations/sqlite/", import.meta.url));
const FILE_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;

export class NewerDatabase extends Error {
  override readonly name = "NewerDatabase";
}

interface Migration {
  readonly number: number;
  readonly name: string;
}

/**
 * Brings the database to this Turnout's schema.
 * @throws NewerDatabase when the database was written by a newer Turnout; it is left as it is.
 */
export function migrate(db: Database.Database, now: number, folder: string = FOLDER): void {
  const migrations = readMigrations(folder);
  db.exec(
    "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
  );
  const applied = new Set(db.prepare<[], number>("SELECT number FROM migrations").pluck().all());
  const newest = migrations.at(-1)?.number ?? 0;
  const newer = [...applied].filter((number) => number > newest);
  if (newer.length > 0) {
    throw new NewerDatabase(
      `the database ${db.name} was written by a newer Turnout: it has migration ${Math.max(...newer)}, this version knows ${newest}. ` +
        "Start the newer version again, or restore a backup made by this one.",
    );
  }
  for (const migration of migrations) {
    if (applied.has(migration.number)) continue;
    const sql = readFileSync(`${folder}/${migration.name}`, "utf8");
    db.transaction(() => {
      db.exec(sql);
      db.prepare("INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, ?)").run(
        migration.number,
        migration.name,
        now,
      );
    }).immediate();
  }
}

function readMigrations(folder: string): Migration[] {
  const migrations: Migration[] = [];
  for (const name of readdirSync(folder).sort()) {
    const number = FILE_NAME.exec(name)?.[1];
    if (number !== undefined) migrations.push({ number: Number(number), name });
  }
  return migrations;
}
