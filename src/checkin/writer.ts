/** The server's end of the writer's thread. */
import { Worker } from "node:worker_threads";
import type { SqlWriter } from "../store/sqlite/open.ts";
import { type SqlSession, StoreUnavailable } from "../store/store.ts";
import type { WriterAnswers, WriterData, WriterJob, WriterReply } from "./messages.ts";

interface Pending {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
}

export interface Writer extends SqlWriter {
  ask<K extends WriterJob["kind"]>(job: Extract<WriterJob, { kind: K }>): Promise<WriterAnswers[K]>;
  /** Writes what still waits and ends the thread. */
  close(): Promise<void>;
}

export interface WriterEvents {
  /** Deciding one check-in failed on a bug of ours. */
  readonly onFault: (message: string, machineId: string) => void;
  /** The thread is gone though nobody closed it: the process can't go on. */
  readonly onDeath: (error: Error) => void;
}

/** While it closes: who holds the session finishes first, or the thread would wait for it in vain. */
const STILL_TAKEN: ReadonlySet<WriterJob["kind"]> = new Set(["close", "query", "release"]);

/** Starts the thread; resolves when the database is open and its schema up to date. */
export async function startWriter(data: WriterData, events: WriterEvents): Promise<Writer> {
  const worker = new Worker(new URL("./writer-thread.ts", import.meta.url), { workerData: data, name: "writer" });
  const pending = new Map<number, Pending>();
  let nextId = 1;
  let started = false;
  let closed = false;
  let ended = false;

  const ready = Promise.withResolvers<void>();
  const fail = (error: Error): void => {
    ready.reject(error);
    for (const { reject } of pending.values()) reject(error);
    pending.clear();
    if (started && !closed) events.onDeath(error);
  };
  worker.on("error", fail);
  worker.on("exit", (code) => {
    if (!closed) fail(new Error(`the writer's thread ended with code ${code}`));
  });
  worker.on("message", (message: WriterReply) => {
    switch (message.kind) {
      case "ready":
        ready.resolve();
        return;
      case "fault":
        events.onFault(message.message, message.machineId);
        return;
      case "answer": {
        const waiting = pending.get(message.id);
        pending.delete(message.id);
        waiting?.resolve(message.answer as never); // `ask` ties each job's kind to its answer
        return;
      }
      case "error": {
        const waiting = pending.get(message.id);
        pending.delete(message.id);
        waiting?.reject(restoreError(message.name, message.message));
        return;
      }
      default:
        message satisfies never;
    }
  });

  const ask: Writer["ask"] = (job) =>
    new Promise((resolve, reject) => {
      if (ended || (closed && !STILL_TAKEN.has(job.kind))) {
        reject(new StoreUnavailable("the server is stopping"));
        return;
      }
      const id = nextId++;
      pending.set(id, { resolve, reject });
      worker.postMessage({ id, ...job });
    });

  const session: SqlSession = { query: (sql, parameters) => ask({ kind: "query", sql, parameters }) };
  await ready.promise;
  started = true;
  return {
    ask,
    async acquire() {
      await ask({ kind: "acquire" });
      return session;
    },
    async release() {
      await ask({ kind: "release" });
    },
    replay: (statements) => ask({ kind: "replay", statements }),
    async close() {
      if (closed) return;
      closed = true;
      await ask({ kind: "close" });
      ended = true;
      await worker.terminate();
    },
  };
}

function restoreError(name: string, message: string): Error {
  if (name === "StoreUnavailable") return new StoreUnavailable(message);
  const error = new Error(message);
  error.name = name;
  return error;
}
