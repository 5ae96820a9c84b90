/** A thread with a read-only connection: a slow admin query keeps nobody waiting but the one who asked. */
import { setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { openReader, sessionOn } from "./connection.ts";
import { serveSession } from "./session-thread.ts";

if (parentPort === null) throw new Error("reader-thread.ts runs as a worker thread only");
try {
  // On Linux this is the calling thread's alone: when cores are scarce, check-ins go first.
  setPriority(10);
} catch {
  // Not allowed here: then all threads are alike.
}
serveSession(parentPort, sessionOn(openReader(String(workerData))));
