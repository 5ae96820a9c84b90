/** A thread with a copy of the configuration, to change at will. */
import { setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { copyConfiguration } from "./configuration-copy.ts";
import { sessionOn } from "./connection.ts";
import { serveSession } from "./session-thread.ts";

if (parentPort === null) throw new Error("rehearsal-thread.ts runs as a worker thread only");
try {
  // On Linux this is the calling thread's alone: when cores are scarce, check-ins go first.
  setPriority(10);
} catch {
  // Not allowed here: then all threads are alike.
}
serveSession(parentPort, sessionOn(copyConfiguration(String(workerData))));
