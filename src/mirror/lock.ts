/** One process at a time writes into a mirror. */
import { closeSync, openSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { MirrorError } from "./keys.ts";

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
    // Still locked: whoever opens it meanwhile finds out that it is gone.
    rmSync(join(folder, LOCK_FILE), { force: true });
    lock.close();
  }
}

/** @throws MirrorError */
function lockOf(folder: string): Database.Database {
  const path = join(folder, LOCK_FILE);
  try {
    for (;;) {
      // It must be there before, to be known again.
      closeSync(openSync(path, "a"));
      const before = numberOf(path);
      const db = locked(path);
      // Whoever had it may have removed it between the two: then this lock is on a file that nobody else will open.
      if (before !== null && before === numberOf(path)) return db;
      db.close();
    }
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
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** The file's own, whatever it is called; null: there is none. */
function numberOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
