/** The SQLite store for everything but check-ins. */
import { Worker } from "node:worker_threads";
import type { Recorded, SqlSessions, Store } from "../store.ts";
import { kyselyOver } from "./dialect.ts";
import { sqliteReaders } from "./readers.ts";
import { rehearsals } from "./rehearsal.ts";

/** Two: one long statistics query leaves room for the short ones. */
const READER_THREADS = 2;
const MAX_REHEARSALS = 3;

/** The one connection that writes. */
export interface SqlWriter extends SqlSessions {
  /** These statements in one transaction, or none of them: then any has answered other rows. */
  replay(statements: readonly Recorded[]): Promise<boolean>;
}

export function sqliteStore(path: string, writer: SqlWriter, onDeath: (error: Error) => void): Store {
  const readers = sqliteReaders({ path, threads: READER_THREADS, onDeath });
  const checkpoints = new Worker(new URL("./checkpoint-thread.ts", import.meta.url), {
    workerData: path,
    name: "checkpoints",
  });
  checkpoints.on("error", onDeath);
  checkpoints.unref();
  const read = kyselyOver(readers, "BEGIN");
  const writing = kyselyOver(writer);
  const write: Store["write"] = (work) => writing.transaction().execute(work);
  const rehearsing = rehearsals(path);
  return {
    read,
    snapshot: (work) => read.transaction().execute(work),
    write,
    rehearse: async (work) => (await rehearsing.run(work)).answer,
    async writeRehearsed(work) {
      for (let attempt = 0; attempt < MAX_REHEARSALS; attempt += 1) {
        const { answer, statements } = await rehearsing.run(work);
        if (await writer.replay(statements)) return answer;
      }
      // Others change so much at once that it has to be done before their eyes.
      return write(work);
    },
    async close() {
      await rehearsing.close();
      await readers.close();
      await checkpoints.terminate();
    },
  };
}
