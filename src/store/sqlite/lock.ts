/** A lock on a data directory: of a server while it runs, and of whoever puts another database in its place. */
import { chownSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";

/** The data directory can't be had, mostly since somebody else uses it; the message says why. */
export class DatabaseInUse extends Error {
  override readonly name = "DatabaseInUse";
}

export interface Lock {
  release(): void;
}

/**
 * The lock is SQLite's own, on an empty file beside the database: the operating system lets it go when the process ends,
 * however it ends. It holds as long as what is returned is kept; nobody waits for it.
 * @throws DatabaseInUse
 */
export function lockFolder(folder: string): Lock {
  const path = join(folder, "turnout.lock");
  try {
    const db = new Database(path, { timeout: 0 });
    try {
      giveToOwnerOfFolder(path);
      db.pragma("journal_mode = MEMORY"); // or there would be a second file
      db.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      db.close();
      throw error;
    }
    return { release: () => db.close() };
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    throw new DatabaseInUse(
      error.code === "SQLITE_BUSY"
        ? `${folder} is in use: another turnout process (the server?) holds turnout.lock; stop it first`
        : `${path} can't be locked: ${error.message} (${error.code})`,
    );
  }
}

/** What root makes in the directory of another user must be that user's, or the server could not use it. */
export function giveToOwnerOfFolder(path: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(dirname(path));
  chownSync(path, uid, gid);
}
