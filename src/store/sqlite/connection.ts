/** Opening a SQLite database: its pragmas, and its errors in Turnout's words. */
import Database from "better-sqlite3";
import { type SqlResult, type SqlSession, StoreUnavailable } from "../store.ts";

/** How long a statement waits for a lock that somebody else (a backup, a shell) holds on the file. */
const BUSY_TIMEOUT_MS = 250;

/** The writer: there is one per process. Commits are durable (synchronous=FULL); readers never wait for it (WAL). */
export function openWriter(path: string): Database.Database {
  const db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.pragma("foreign_keys = ON");
  db.pragma("cache_size = -32768"); // 32 MiB
  db.pragma("temp_store = MEMORY");
  // Checkpoints run on a thread of their own; the writer only finishes them, when the log has grown to some 64 MiB.
  db.pragma("wal_autocheckpoint = 16000");
  db.pragma("journal_size_limit = 67108864");
  return db;
}

export function openReader(path: string): Database.Database {
  const db = new Database(path, { readonly: true, timeout: BUSY_TIMEOUT_MS });
  db.pragma("cache_size = -16384"); // 16 MiB
  db.pragma("query_only = ON");
  return db;
}

const TRANSIENT = /^SQLITE_(BUSY|LOCKED|FULL|IOERR|CANTOPEN|READONLY|PROTOCOL)/;

/** Runs `work`; a lock, a full disk or an I/O fault comes out as `StoreUnavailable`, anything else as it is. */
export function translatingFaults<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Database.SqliteError && TRANSIENT.test(error.code)) {
      throw new StoreUnavailable(`the database can't be used now: ${error.message} (${error.code})`);
    }
    throw error;
  }
}

/** A session on this very connection. Statements are prepared once for each text. */
export function sessionOn(db: Database.Database): SqlSession {
  const statements = new Map<string, Database.Statement<unknown[]>>();
  return {
    async query(sql, parameters): Promise<SqlResult> {
      return translatingFaults(() => {
        let statement = statements.get(sql);
        if (statement === undefined) {
          if (statements.size > 500) statements.clear();
          statement = db.prepare<unknown[]>(sql);
          statements.set(sql, statement);
        }
        if (statement.reader) return { rows: statement.all(...parameters), changes: 0 };
        return { rows: [], changes: statement.run(...parameters).changes };
      });
    },
  };
}
