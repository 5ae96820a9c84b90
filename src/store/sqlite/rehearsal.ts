/**
 * Changes of the configuration worked out beforehand, on a copy in memory: a fleet's document takes thousands of looks at what is
 * there, and check-ins would wait meanwhile (docs/decisions/0016).
 */
import type { Transaction } from "kysely";
import type { Recorded, SqlResult, SqlSession } from "../store.ts";
import type { Tables } from "../tables.ts";
import { kyselyOver } from "./dialect.ts";
import { SessionThread } from "./session-thread.ts";

const PROGRAM = new URL("./rehearsal-thread.ts", import.meta.url);

export interface Rehearsed<T> {
  readonly answer: T;
  /** What it has written, in order; the first one looks whether the configuration is still the same. */
  readonly statements: readonly Recorded[];
}

export interface Rehearsals {
  /** One at a time. Whatever `work` throws comes out. */
  run<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<Rehearsed<T>>;
  close(): Promise<void>;
}

export function rehearsals(path: string): Rehearsals {
  let last: Promise<unknown> = Promise.resolve();
  let thread: SessionThread | null = null;

  async function rehearse<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<Rehearsed<T>> {
    // Its death rejects what was asked of it: nobody else needs to know.
    thread = new SessionThread(PROGRAM, "rehearsal", path, () => undefined);
    const recording = new Recording(thread);
    try {
      const db = kyselyOver({ acquire: async () => recording, release: async () => undefined });
      return await db.transaction().execute(async (tx) => {
        await recording.expect("SELECT revision FROM meta");
        return { answer: await work(tx), statements: recording.statements };
      });
    } finally {
      await thread.close();
      thread = null;
    }
  }

  return {
    run(work) {
      const next = last.then(() => rehearse(work));
      last = next.catch(() => undefined);
      return next;
    },
    async close() {
      await thread?.close();
    },
  };
}

class Recording implements SqlSession {
  readonly statements: Recorded[] = [];
  readonly #session: SqlSession;

  constructor(session: SqlSession) {
    this.#session = session;
  }

  async query(sql: string, parameters: readonly unknown[]): Promise<SqlResult> {
    const result = await this.#session.query(sql, parameters);
    if (!/^(select|begin|commit|rollback)\b/i.test(sql)) this.statements.push({ sql, parameters, rows: result.rows });
    return result;
  }

  /** To be answered alike when the statements are run again. */
  async expect(sql: string): Promise<void> {
    const { rows } = await this.#session.query(sql, []);
    this.statements.push({ sql, parameters: [], rows });
  }
}
