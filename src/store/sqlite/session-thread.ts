/** A SQL session on a thread of its own: the end that asks, and the end that answers. */
import { setPriority } from "node:os";
import { parentPort, Worker, workerData } from "node:worker_threads";
import { type SqlResult, type SqlSession, StoreUnavailable } from "../store.ts";

interface Question {
  readonly id: number;
  readonly sql: string;
  readonly parameters: readonly unknown[];
}
interface Answer {
  readonly id: number;
  readonly result?: SqlResult;
  readonly error?: { readonly name: string; readonly message: string };
}

export class SessionThread implements SqlSession {
  readonly #worker: Worker;
  readonly #pending = new Map<number, { resolve: (result: SqlResult) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  /** Why nothing is answered any more. */
  #end: Error | null = null;

  /** @param path the database's, handed to the thread. */
  constructor(program: URL, name: string, path: string, onDeath: (error: Error) => void) {
    this.#worker = new Worker(program, { workerData: path, name });
    this.#worker.on("message", ({ id, result, error }: Answer) => {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (result !== undefined) pending?.resolve(result);
      else
        pending?.reject(
          error?.name === "StoreUnavailable" ? new StoreUnavailable(error.message) : new Error(error?.message),
        );
    });
    this.#worker.on("error", (error: Error) => {
      this.#endWith(error);
      onDeath(error);
    });
  }

  query(sql: string, parameters: readonly unknown[]): Promise<SqlResult> {
    return new Promise((resolve, reject) => {
      // Whoever is told of the end in a transaction still asks to undo it.
      if (this.#end !== null) return reject(this.#end);
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, sql, parameters } satisfies Question);
    });
  }

  async close(): Promise<void> {
    this.#endWith(new StoreUnavailable("the server is stopping"));
    await this.#worker.terminate();
  }

  #endWith(error: Error): void {
    this.#end ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

/** What the thread's program does. Check-ins wait for none of it, so they go first when cores are scarce. */
export function serveSession(open: (path: string) => SqlSession): void {
  const port = parentPort;
  if (port === null) throw new Error("this program runs as a worker thread only");
  try {
    // On Linux this is the calling thread's alone.
    setPriority(10);
  } catch {
    // Not allowed here: then all threads are alike.
  }
  const session = open(String(workerData));
  port.on("message", async ({ id, sql, parameters }: Question) => {
    let answer: Answer;
    try {
      answer = { id, result: await session.query(sql, parameters) };
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      answer = { id, error: { name, message } };
    }
    port.postMessage(answer);
  });
}
