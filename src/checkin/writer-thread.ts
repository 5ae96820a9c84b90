/**
 * The writer's thread: the one connection that writes, and the decisions made inside its transactions. An fsync that takes
 * its time stops this thread, never the one that reads and answers requests.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { WriterData } from "./messages.ts";
import { serveWriter } from "./writer-jobs.ts";

if (parentPort === null) throw new Error("writer-thread.ts runs as a worker thread only");
serveWriter(parentPort, workerData as WriterData); // set by `startWriter`, in this shape
