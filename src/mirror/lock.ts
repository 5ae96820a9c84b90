/** One process at a time writes into a mirror. */
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { MirrorError } from "./keys.ts";

/**
 * Empty, and never removed: one that comes and goes can be locked by two, each with a file of its own that had the name in
 * turn.
 */
export const LOCK_FILE = ".turnout-mirror.lock";

/**
 * The lock is SQLite's own, on an empty file: the operating system lets it go when the process ends, however it ends, and it
 * holds between containers, too, where numbers of processes say nothing.
 * @throws MirrorError when another process is at it
 */
export async function alone<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const lock = lockOf(folder);
  try {
    return await work();
  } finally {
    lock.close();
  }
}

/** @throws MirrorError */
function lockOf(folder: string): Database.Database {
  const path = join(folder, LOCK_FILE);
  try {
    accessSync(folder, constants.W_OK); // says more than SQLite does about why not
    return locked(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code === "SQLITE_BUSY") throw new MirrorError(`another turnout mirror is writing into ${folder}`);
    if (code === "SQLITE_NOTADB") throw new MirrorError(`${path} is no lock; if no turnout mirror runs, remove it`);
    throw new MirrorError(`nothing can be written there: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function locked(path: string): Database.Database {
  const db = new Database(path, { timeout: 0 });
  try {
    db.pragma("journal_mode = MEMORY"); // or there would be a second file
    db.exec("BEGIN EXCLUSIVE");
    accessSync(path, constants.W_OK); // what SQLite may only read it shares with others
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}
