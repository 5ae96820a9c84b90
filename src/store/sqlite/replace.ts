/** Puts another database in the place of one that nobody uses. */
import { constants, copyFileSync, existsSync, linkSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { openForReading, sync } from "./copy.ts";
import { DatabaseInUse } from "./lock.ts";

/**
 * Whatever stops this in the middle: there is a whole database at `path`, the one before or the new one, and never a log
 * beside it that belongs to the other.
 * @param replacement a file in the same folder, on disk. The caller holds the folder's lock.
 * @returns where the database before is kept; null: there was none.
 */
export function replaceDatabase(path: string, replacement: string): string | null {
  const kept = existsSync(path) ? freeName(`${path}.before-restore`) : null;
  if (kept !== null) {
    takeInLog(path);
    keep(path, kept);
    // Only of a damaged database there is still a log; it goes along under the name that SQLite looks for.
    if (existsSync(`${path}-wal`)) renameSync(`${path}-wal`, `${kept}-wal`);
  }
  rmSync(`${path}-wal`, { force: true });
  rmSync(`${path}-shm`, { force: true });
  renameSync(replacement, path);
  sync(dirname(path)); // the names
  return kept;
}

/** An earlier one is never overwritten: it may be the only good one. */
function freeName(wanted: string): string {
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? wanted : `${wanted}-${number}`;
    if (!existsSync(name)) return name;
  }
}

/**
 * Moves what is committed from the log into the database, so that it is whole without it. A damaged database, perhaps the
 * very reason for the restore, is kept as it is.
 * @throws DatabaseInUse when something that takes no lock of ours has it open: a shell, or a backup.
 */
function takeInLog(path: string): void {
  try {
    openForReading(path).close(); // who only reads changes nothing
    const db = new Database(path);
    try {
      db.pragma("journal_mode = DELETE");
    } finally {
      db.close();
    }
  } catch (error) {
    if (error instanceof Database.SqliteError && error.code === "SQLITE_BUSY") {
      throw new DatabaseInUse(`${path} is in use: another process (a backup, a shell?) has it open`);
    }
  }
}

/** Under both names, so that there is a database at the first one all the time. */
function keep(path: string, kept: string): void {
  try {
    linkSync(path, kept);
  } catch {
    // A file system without hard links.
    copyFileSync(path, kept, constants.COPYFILE_EXCL);
    sync(kept);
  }
}
