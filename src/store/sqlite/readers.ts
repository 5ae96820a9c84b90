/** A few reader threads; each has one user at a time, the others wait their turn. */
import { type SqlSessions, StoreUnavailable } from "../store.ts";
import { SessionThread } from "./session-thread.ts";

const PROGRAM = new URL("./reader-thread.ts", import.meta.url);

/** Shorter reads than this come one after another on one thread: each takes some 12 MB, which most servers never need twice. */
const PATIENCE_MS = 250;

export interface ReadersOptions {
  readonly path: string;
  /** At most. */
  readonly threads: number;
  readonly onDeath: (error: Error) => void;
  /** After so long a wait one more thread starts, up to `threads`. */
  readonly patienceMs?: number;
}

interface Waiting {
  readonly timer: NodeJS.Timeout;
  readonly resolve: (reader: SessionThread) => void;
  readonly reject: (error: Error) => void;
}

export interface Readers extends SqlSessions {
  close(): Promise<void>;
}

/** Threads start when they are first needed, and stay. */
export function sqliteReaders({ path, threads, onDeath, patienceMs = PATIENCE_MS }: ReadersOptions): Readers {
  const idle: SessionThread[] = [];
  const waiting: Waiting[] = [];
  const all: SessionThread[] = [];
  let closing = false;

  function start(): SessionThread {
    const reader = new SessionThread(PROGRAM, "reader", path, (error) => {
      if (!closing) onDeath(error);
    });
    all.push(reader);
    return reader;
  }

  /** The next to get one that is released, or one of its own when that takes too long. */
  function wait(): Promise<SessionThread> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        if (all.length === threads) return;
        waiting.splice(waiting.indexOf(entry), 1);
        resolve(start());
      }, patienceMs);
      const entry = { timer, resolve, reject };
      waiting.push(entry);
    });
  }

  function stopping(): Error {
    return new StoreUnavailable("the server is stopping");
  }

  return {
    async acquire() {
      if (closing) throw stopping();
      const free = idle.pop();
      if (free !== undefined) return free;
      return all.length === 0 ? start() : wait();
    },
    async release(session) {
      if (!(session instanceof SessionThread)) return;
      const next = waiting.shift();
      if (next === undefined) {
        idle.push(session);
        return;
      }
      clearTimeout(next.timer);
      next.resolve(session);
    },
    async close() {
      closing = true;
      for (const { timer, reject } of waiting.splice(0)) {
        clearTimeout(timer);
        reject(stopping());
      }
      await Promise.all(all.map((reader) => reader.close()));
    },
  };
}
