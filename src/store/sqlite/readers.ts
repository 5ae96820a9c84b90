/** A few reader threads; each has one user at a time, the others wait their turn. */
import { Worker } from "node:worker_threads";
import { type SqlResult, type SqlSession, type SqlSessions, StoreUnavailable } from "../store.ts";

export interface ReaderMessage {
  readonly id: number;
  readonly sql: string;
  readonly parameters: readonly unknown[];
}
export interface ReaderReply {
  readonly id: number;
  readonly result?: SqlResult;
  readonly error?: { readonly name: string; readonly message: string };
}

export interface Readers extends SqlSessions {
  close(): Promise<void>;
}

/** Threads start when they are first needed. */
export function sqliteReaders(path: string, threads: number, onDeath: (error: Error) => void): Readers {
  const idle: Reader[] = [];
  const waiting: ((reader: Reader) => void)[] = [];
  const all: Reader[] = [];
  let closing = false;
  return {
    async acquire() {
      if (closing) throw new StoreUnavailable("the server is stopping");
      const free = idle.pop();
      if (free !== undefined) return free;
      if (all.length < threads) {
        const reader = new Reader(path, (error) => {
          if (!closing) onDeath(error);
        });
        all.push(reader);
        return reader;
      }
      return new Promise((resolve) => waiting.push(resolve));
    },
    async release(session) {
      if (!(session instanceof Reader)) return;
      const next = waiting.shift();
      if (next === undefined) idle.push(session);
      else next(session);
    },
    async close() {
      closing = true;
      await Promise.all(all.map((reader) => reader.close()));
    },
  };
}

class Reader implements SqlSession {
  readonly #worker: Worker;
  readonly #pending = new Map<number, { resolve: (result: SqlResult) => void; reject: (error: Error) => void }>();
  #nextId = 1;

  constructor(path: string, onDeath: (error: Error) => void) {
    this.#worker = new Worker(new URL("./reader-thread.ts", import.meta.url), { workerData: path, name: "reader" });
    this.#worker.on("message", ({ id, result, error }: ReaderReply) => {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (result !== undefined) pending?.resolve(result);
      else
        pending?.reject(
          error?.name === "StoreUnavailable" ? new StoreUnavailable(error.message) : new Error(error?.message),
        );
    });
    this.#worker.on("error", (error: Error) => {
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
      onDeath(error);
    });
  }

  query(sql: string, parameters: readonly unknown[]): Promise<SqlResult> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, sql, parameters } satisfies ReaderMessage);
    });
  }

  async close(): Promise<void> {
    for (const { reject } of this.#pending.values()) reject(new StoreUnavailable("the server is stopping"));
    await this.#worker.terminate();
  }
}
