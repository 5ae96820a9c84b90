/**
 * Moves committed pages from the log into the database, once a second, on a thread and connection of its own: a check-in
 * never waits for it. While commits never pause the log can't start over; then the writer finishes the work, by itself and
 * seldom (see `wal_autocheckpoint` in connection.ts), and finds most of it done.
 */
import { workerData } from "node:worker_threads";
import Database from "better-sqlite3";

const PERIOD_MS = 1_000;

const db = new Database(String(workerData), { timeout: 0 });
db.pragma("synchronous = FULL");
db.pragma("cache_size = -1024");

setInterval(() => {
  try {
    db.pragma("wal_checkpoint(PASSIVE)");
  } catch {
    // Locked, or the disk is full: what is committed is safe in the log, and the next round tries again.
  }
}, PERIOD_MS);
