/** The SQLite store for everything but check-ins. */
import { Worker } from "node:worker_threads";
import type { SqlSessions, Store } from "../store.ts";
import { kyselyOver } from "./dialect.ts";
import { sqliteReaders } from "./readers.ts";

/** Two: one long statistics query leaves room for the short ones. */
const READER_THREADS = 2;

/** @param writer sessions on the one connection that writes. */
export function sqliteStore(path: string, writer: SqlSessions, onDeath: (error: Error) => void): Store {
  const readers = sqliteReaders(path, READER_THREADS, onDeath);
  const checkpoints = new Worker(new URL("./checkpoint-thread.ts", import.meta.url), {
    workerData: path,
    name: "checkpoints",
  });
  checkpoints.on("error", onDeath);
  checkpoints.unref();
  const read = kyselyOver(readers, "BEGIN");
  const write = kyselyOver(writer);
  return {
    read,
    snapshot: (work) => read.transaction().execute(work),
    write: (work) => write.transaction().execute(work),
    async close() {
      await readers.close();
      await checkpoints.terminate();
    },
  };
}
