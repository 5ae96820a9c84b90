/** Kysely over SQL sessions that may live on another thread. */
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import type { SqlSession, SqlSessions } from "../store.ts";
import type { Tables } from "../tables.ts";

/** @param begin how a transaction starts: a plain `BEGIN` is for those that only read. */
export function kyselyOver(
  sessions: SqlSessions,
  begin: "BEGIN" | "BEGIN IMMEDIATE" = "BEGIN IMMEDIATE",
): Kysely<Tables> {
  return new Kysely<Tables>({ dialect: new SessionDialect(sessions, begin) });
}

class SessionDialect implements Dialect {
  readonly #sessions: SqlSessions;
  readonly #begin: string;

  constructor(sessions: SqlSessions, begin: string) {
    this.#sessions = sessions;
    this.#begin = begin;
  }

  createAdapter = () => new SqliteAdapter();
  createDriver = () => new SessionDriver(this.#sessions, this.#begin);
  createIntrospector = (db: Kysely<unknown>) => new SqliteIntrospector(db);
  createQueryCompiler = () => new SqliteQueryCompiler();
}

class SessionConnection implements DatabaseConnection {
  readonly session: SqlSession;

  constructor(session: SqlSession) {
    this.session = session;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const result = await this.session.query(query.sql, query.parameters);
    // The row's shape is what the query's types promise; Kysely has no way to say so here.
    return { rows: result.rows as R[], numAffectedRows: BigInt(result.changes) };
  }

  // biome-ignore lint/correctness/useYield: nothing here is large enough to be streamed
  async *streamQuery(): AsyncGenerator<never> {
    throw new Error("streaming is not supported: page through the rows instead");
  }
}

class SessionDriver implements Driver {
  readonly #sessions: SqlSessions;
  readonly #begin: string;

  constructor(sessions: SqlSessions, begin: string) {
    this.#sessions = sessions;
    this.#begin = begin;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<SessionConnection> {
    return new SessionConnection(await this.#sessions.acquire());
  }

  async beginTransaction(connection: SessionConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(this.#begin));
  }

  async commitTransaction(connection: SessionConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("COMMIT"));
  }

  async rollbackTransaction(connection: SessionConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("ROLLBACK"));
  }

  async releaseConnection(connection: SessionConnection): Promise<void> {
    await this.#sessions.release(connection.session);
  }

  async destroy(): Promise<void> {}
}
