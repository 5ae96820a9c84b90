/** A thread with a read-only connection: a slow admin query keeps nobody waiting but the one who asked. */
import { setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { openReader, sessionOn } from "./connection.ts";
import type { ReaderMessage, ReaderReply } from "./readers.ts";

const port = parentPort;
if (port === null) throw new Error("reader-thread.ts runs as a worker thread only");
try {
  // On Linux this is the calling thread's alone: when cores are scarce, check-ins go first.
  setPriority(10);
} catch {
  // Not allowed here: then all threads are alike.
}
const session = sessionOn(openReader(String(workerData)));

port.on("message", async ({ id, sql, parameters }: ReaderMessage) => {
  let reply: ReaderReply;
  try {
    reply = { id, result: await session.query(sql, parameters) };
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    reply = { id, error: { name, message } };
  }
  port.postMessage(reply);
});
