/** What `turnout db` does, on the database of the settings, without a server. */
import { existsSync, mkdirSync, realpathSync, renameSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import Database from "better-sqlite3";
import { systemClock } from "./clock.ts";
import { readSettings } from "./settings.ts";
import { type AuditVerdict, verifyAudit } from "./store/audit.ts";
import { type Difference, recount } from "./store/recount.ts";
import { openWriter, sessionOn } from "./store/sqlite/connection.ts";
import {
  copyDatabase,
  DatabaseDamaged,
  openForReading,
  problemsOf,
  removeDatabase,
  sync,
} from "./store/sqlite/copy.ts";
import { kyselyOver } from "./store/sqlite/dialect.ts";
import { giveToOwnerOfFolder, lockFolder } from "./store/sqlite/lock.ts";
import { migrate, schemaOf } from "./store/sqlite/migrate.ts";
import { replaceDatabase } from "./store/sqlite/replace.ts";

/** Nothing was done; the message says what a person can mend. */
export class DatabaseProblem extends Error {
  override readonly name = "DatabaseProblem";
}

export interface BackedUp {
  readonly database: string;
  readonly file: string;
  readonly bytes: number;
  /** The number of its newest migration. */
  readonly schema: number;
}

/** Also while a server runs. The file is there when it is whole, checked and on disk, or not at all. */
export function backup(file: string, force: boolean): Promise<BackedUp> {
  return explained(async () => {
    const database = present();
    const target = resolve(file);
    checkTarget(target, database, force);
    const partial = `${target}.${process.pid}.partial`;
    await cleaningUp(partial, async () => {
      await copyDatabase(database, partial);
      // It may have come meanwhile.
      checkTarget(target, database, force);
      renameSync(partial, target);
      sync(dirname(target)); // its name
    });
    return { database, file: target, bytes: statSync(target).size, schema: numberOf(target) };
  });
}

/** Leaves nothing half-done, also when it is interrupted. */
async function cleaningUp(partial: string, work: () => Promise<void>): Promise<void> {
  const interrupted = () => {
    removeDatabase(partial);
    process.exit(1);
  };
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  try {
    await work();
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
    removeDatabase(partial);
  }
}

function checkTarget(target: string, database: string, force: boolean): void {
  const folder = dirname(target);
  if (!existsSync(folder)) throw new DatabaseProblem(`there is no folder ${folder}`);
  if (!existsSync(target)) return;
  if (statSync(target).isDirectory()) {
    throw new DatabaseProblem(`${target} is a folder: name a file, e.g. ${join(target, "turnout.db")}`);
  }
  if (realpathSync(target) === realpathSync(database)) throw new DatabaseProblem(`${target} is the database itself`);
  if (!force) throw new DatabaseProblem(`${target} is there already; --force overwrites it`);
}

export interface Restored {
  readonly database: string;
  readonly file: string;
  readonly schema: number;
  /** Migrations that the next start brings. */
  readonly pending: readonly string[];
  /** Where the database before is now; null: there was none. */
  readonly replaced: string | null;
}

/** Never while a server runs. */
export function restore(file: string): Promise<Restored> {
  return explained(async () => {
    const source = existing(file);
    const { dataDir, databasePath: database } = readSettings(process.env);
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    if (existsSync(database) && realpathSync(source) === realpathSync(database)) {
      throw new DatabaseProblem(`${source} is the database itself`);
    }
    const lock = lockFolder(dataDir);
    try {
      const schema = reading(source, (db) => schemaOf(db));
      const copy = `${database}.restoring`;
      removeDatabase(copy); // what a restore that was killed has left
      await copyDatabase(source, copy);
      giveToOwnerOfFolder(copy);
      const replaced = replaceDatabase(database, copy);
      return {
        database,
        file: source,
        schema: schema.number,
        pending: schema.pending.map(({ name }) => name),
        replaced,
      };
    } finally {
      lock.release();
    }
  });
}

/** Null: not looked at, since the pages are damaged, or the schema is an older one. */
export interface Findings {
  readonly database: string;
  readonly schema: number | null;
  /** Migrations that it has not had. */
  readonly pending: readonly string[];
  /** What SQLite finds wrong; empty: nothing. */
  readonly integrity: readonly string[];
  /** How many rows point to nothing, by table. */
  readonly dangling: Readonly<Record<string, number>> | null;
  readonly counters: readonly Difference[] | null;
  readonly audit: AuditVerdict | null;
  /** Nothing wrong was found. */
  readonly sound: boolean;
}

/**
 * Also while a server runs.
 * @param file null: the database of the settings.
 */
export function check(file: string | null): Promise<Findings> {
  return explained(async () => {
    const path = file === null ? present() : existing(file);
    const damaged = (integrity: readonly string[]): Findings => ({
      database: path,
      schema: null,
      pending: [],
      integrity,
      dangling: null,
      counters: null,
      audit: null,
      sound: false,
    });
    let db: Database.Database;
    try {
      db = openForReading(path);
    } catch (error) {
      if (error instanceof DatabaseDamaged) return damaged([error.message]);
      throw error;
    }
    try {
      const integrity = problemsOf(db);
      return integrity.length > 0 ? damaged(integrity) : await contentOf(db, path);
    } finally {
      db.close();
    }
  });
}

async function contentOf(db: Database.Database, database: string): Promise<Findings> {
  const { number, pending } = schemaOf(db);
  const dangling = danglingIn(db);
  const { counters, audit } = pending.length > 0 ? NOT_LOOKED_AT : await countAndFollow(db);
  const sound =
    Object.keys(dangling).length === 0 && (counters ?? []).length === 0 && (audit === null || audit.broken === null);
  const names = pending.map(({ name }) => name);
  return { database, schema: number, pending: names, integrity: [], dangling, counters, audit, sound };
}
const NOT_LOOKED_AT = { counters: null, audit: null };

/** Both of one moment. */
function countAndFollow(db: Database.Database): Promise<{ counters: Difference[]; audit: AuditVerdict }> {
  const session = sessionOn(db);
  const kysely = kyselyOver({ acquire: async () => session, release: async () => {} }, "BEGIN");
  return kysely.transaction().execute(async (tx) => ({
    counters: await recount(tx, false),
    audit: await verifyAudit(tx),
  }));
}

function danglingIn(db: Database.Database): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const table of db.prepare<[], string>('SELECT "table" FROM pragma_foreign_key_check').pluck().iterate()) {
    counts[table] = (counts[table] ?? 0) + 1;
  }
  return counts;
}

export interface Migrated {
  readonly database: string;
  /** What ran, or would run. */
  readonly migrations: readonly string[];
  readonly schema: number;
}

/** What a server does when it starts; not while one runs, except to see what there is to do. */
export function migrateDatabase(dryRun: boolean): Promise<Migrated> {
  return explained(async () => {
    const database = present();
    if (dryRun) {
      const { number, pending } = reading(database, (db) => schemaOf(db));
      return { database, migrations: pending.map(({ name }) => name), schema: number };
    }
    const lock = lockFolder(dirname(database));
    try {
      openForReading(database).close(); // or a file that is something else would be made a database
      const db = openWriter(database);
      try {
        return { database, migrations: migrate(db, systemClock.now()), schema: schemaOf(db).number };
      } finally {
        db.close();
      }
    } finally {
      lock.release();
    }
  });
}

/** The settings' database. */
function present(): string {
  const { databasePath: database } = readSettings(process.env);
  if (existsSync(database)) return database;
  throw new DatabaseProblem(
    `there is no database ${database}; TURNOUT_DATA_DIR, or the file that TURNOUT_CONFIG names, says where it is`,
  );
}

/** @throws DatabaseProblem */
function existing(file: string): string {
  const path = resolve(file);
  if (!existsSync(path)) throw new DatabaseProblem(`there is no file ${path}`);
  if (!statSync(path).isFile()) throw new DatabaseProblem(`${path} is not a file`);
  return path;
}

function reading<T>(path: string, work: (db: Database.Database) => T): T {
  const db = openForReading(path);
  try {
    return work(db);
  } finally {
    db.close();
  }
}

function numberOf(path: string): number {
  return reading(path, (db) => schemaOf(db).number);
}

const FOR_PEOPLE = ["SettingsError", "NewerDatabase", "DatabaseInUse", "DatabaseDamaged", "StoreUnavailable"];

/** What a person can mend comes out as `DatabaseProblem`. */
async function explained<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof DatabaseProblem) throw error;
    if (FOR_PEOPLE.includes(error.name)) throw new DatabaseProblem(error.message);
    if (error instanceof Database.SqliteError) throw new DatabaseProblem(`${error.message} (${error.code})`);
    // e.g. ENOSPC, EACCES: its message names the file.
    if ("syscall" in error) throw new DatabaseProblem(error.message);
    throw error;
  }
}
