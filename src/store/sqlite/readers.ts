/** A few reader threads; each has one user at a time, the others wait their turn. */
import { type SqlSessions, StoreUnavailable } from "../store.ts";
import { SessionThread } from "./session-thread.ts";

const PROGRAM = new URL("./reader-thread.ts", import.meta.url);

export interface Readers extends SqlSessions {
  close(): Promise<void>;
}

/** Threads start when they are first needed. */
export function sqliteReaders(path: string, threads: number, onDeath: (error: Error) => void): Readers {
  const idle: SessionThread[] = [];
  const waiting: ((reader: SessionThread) => void)[] = [];
  const all: SessionThread[] = [];
  let closing = false;
  return {
    async acquire() {
      if (closing) throw new StoreUnavailable("the server is stopping");
      const free = idle.pop();
      if (free !== undefined) return free;
      if (all.length < threads) {
        const reader = new SessionThread(PROGRAM, "reader", path, (error) => {
          if (!closing) onDeath(error);
        });
        all.push(reader);
        return reader;
      }
      return new Promise((resolve) => waiting.push(resolve));
    },
    async release(session) {
      if (!(session instanceof SessionThread)) return;
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
