/** Copies of a database that are consistent and checked, also of one that a server is writing to. */
import { closeSync, fsyncSync, openSync, rmSync } from "node:fs";
import Database from "better-sqlite3";

/** Some 4 MiB: other work of this process comes in between. */
const PAGES_AT_A_TIME = 1_000;
/** Nobody waits for a copy; it waits for others instead, e.g. while a server that was killed is starting again. */
const PATIENCE_MS = 10_000;

/** The database is damaged, or none of Turnout's; the message says which, and how. */
export class DatabaseDamaged extends Error {
  override readonly name = "DatabaseDamaged";
}

/**
 * Copies a database as it is at one moment, checks the copy, and brings it to the disk. It is one file: what was in the
 * log is in it.
 * @param to must not exist; nothing is left of it when this fails.
 * @throws DatabaseDamaged
 */
export async function copyDatabase(from: string, to: string): Promise<void> {
  closeSync(openSync(to, "wx", 0o600));
  try {
    await copyPages(from, to);
    const [problem] = settled(to);
    if (problem !== undefined) throw new DatabaseDamaged(`${from} is damaged: ${problem}`);
    sync(to);
  } catch (error) {
    removeDatabase(to);
    throw error;
  }
}

/** With all that SQLite may have left beside it. */
export function removeDatabase(path: string): void {
  for (const suffix of ["", "-journal", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
}

async function copyPages(from: string, to: string): Promise<void> {
  const source = openForReading(from);
  try {
    // In one transaction, or the copy would begin anew with everything that a server writes, and never come to an end.
    source.exec("BEGIN");
    source.prepare("SELECT count(*) FROM sqlite_schema").get();
    await source.backup(to, { progress: () => PAGES_AT_A_TIME });
  } catch (error) {
    throw explained(error, from);
  } finally {
    source.close();
  }
}

/** Makes the copy a database without a log beside it. @returns what is wrong with it. */
function settled(copy: string): string[] {
  const db = new Database(copy);
  try {
    db.pragma("journal_mode = DELETE");
    return problemsOf(db);
  } finally {
    db.close();
  }
}

/** @throws DatabaseDamaged also when the file is none of Turnout's databases. */
export function openForReading(path: string): Database.Database {
  const db = new Database(path, { readonly: true, fileMustExist: true, timeout: PATIENCE_MS });
  try {
    const known = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").get();
    if (known === undefined) throw new DatabaseDamaged(`${path} is not a database of Turnout's`);
    return db;
  } catch (error) {
    db.close();
    throw explained(error, path);
  }
}

function explained(error: unknown, path: string): unknown {
  if (!isCorrupt(error)) return error;
  return new DatabaseDamaged(
    error.code === "SQLITE_NOTADB" ? `${path} is not a database` : `${path} is damaged: ${error.message}`,
  );
}

function isCorrupt(error: unknown): error is InstanceType<typeof Database.SqliteError> {
  return error instanceof Database.SqliteError && /^SQLITE_(CORRUPT|NOTADB)/.test(error.code);
}

/** What SQLite finds when it looks at every page and every index; empty: nothing. */
export function problemsOf(db: Database.Database): string[] {
  try {
    const rows = db.prepare<[], string>("PRAGMA integrity_check(20)").pluck().all();
    return rows.length === 1 && rows[0] === "ok" ? [] : rows;
  } catch (error) {
    if (isCorrupt(error)) return [error.message];
    throw error;
  }
}

/** Brings a file, or the names in a folder, to the disk. */
export function sync(path: string): void {
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
