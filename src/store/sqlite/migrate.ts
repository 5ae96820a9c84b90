/**
 * Plain SQL files, forward only, each in a transaction of its own together with the record that it ran. Beyond SQLite's own
 * functions they have `fold` and `fold_labels`, which nothing that stays in the schema may use: other programs lack them.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type Database from "better-sqlite3";
import { fold } from "../../rollout/fold.ts";
import { keptFoldOfStoredLabels } from "../folded.ts";

const FOLDER = fileURLToPath(new URL("../../../migrations/sqlite/", import.meta.url));
const FILE_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;

export class NewerDatabase extends Error {
  override readonly name = "NewerDatabase";
}

interface Migration {
  readonly number: number;
  readonly name: string;
}

/** How far the schema of a database has come. */
export interface Schema {
  /** The newest migration it has had; 0: none. */
  readonly number: number;
  /** Those that this Turnout has and the database not, in order. */
  readonly pending: readonly Migration[];
}

/** @throws NewerDatabase when the database was written by a newer Turnout. */
export function schemaOf(db: Database.Database, folder: string = FOLDER): Schema {
  const migrations = readMigrations(folder);
  const applied = new Set(appliedTo(db));
  const number = Math.max(0, ...applied);
  const newest = migrations.at(-1)?.number ?? 0;
  if (number > newest) {
    throw new NewerDatabase(
      `the database ${db.name} was written by a newer Turnout: it has migration ${number}, this version knows ${newest}. ` +
        "Start the newer version again, or restore a backup made by this one.",
    );
  }
  return { number, pending: migrations.filter((migration) => !applied.has(migration.number)) };
}

function appliedTo(db: Database.Database): number[] {
  const table = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").get();
  return table === undefined ? [] : db.prepare<[], number>("SELECT number FROM migrations").pluck().all();
}

/**
 * Brings the database to this Turnout's schema.
 * @returns the names of the migrations that ran.
 * @throws NewerDatabase when the database was written by a newer Turnout; it is left as it is.
 */
export function migrate(db: Database.Database, now: number, folder: string = FOLDER): string[] {
  const { pending } = schemaOf(db, folder);
  db.exec(
    "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
  );
  if (pending.length > 0) {
    db.function("fold", { deterministic: true }, (text) => fold(String(text)));
    db.function("fold_labels", { deterministic: true }, (text) => keptFoldOfStoredLabels(String(text)));
  }
  for (const { number, name } of pending) {
    const sql = readFileSync(`${folder}/${name}`, "utf8");
    db.transaction(() => {
      db.exec(sql);
      db.prepare("INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, ?)").run(number, name, now);
    }).immediate();
  }
  return pending.map(({ name }) => name);
}

function readMigrations(folder: string): Migration[] {
  const migrations: Migration[] = [];
  for (const name of readdirSync(folder).sort()) {
    const number = FILE_NAME.exec(name)?.[1];
    if (number !== undefined) migrations.push({ number: Number(number), name });
  }
  return migrations;
}
