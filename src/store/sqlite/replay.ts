/** What was worked out on a copy, done in earnest. */
import { isDeepStrictEqual } from "node:util";
import type Database from "better-sqlite3";
import type { Recorded } from "../store.ts";
import { translatingFaults } from "./connection.ts";

/** All of it in one transaction; false, and nothing of it, when a statement answers other rows than it did before. */
export function replay(db: Database.Database, statements: readonly Recorded[]): boolean {
  return translatingFaults(() => {
    db.exec("BEGIN IMMEDIATE");
    try {
      const isSame = runAll(db, statements);
      db.exec(isSame ? "COMMIT" : "ROLLBACK");
      return isSame;
    } finally {
      if (db.inTransaction) db.exec("ROLLBACK");
    }
  });
}

function runAll(db: Database.Database, statements: readonly Recorded[]): boolean {
  const prepared = new Map<string, Database.Statement<unknown[]>>();
  return statements.every(({ sql, parameters, rows }) => {
    const statement = prepared.get(sql) ?? db.prepare<unknown[]>(sql);
    prepared.set(sql, statement);
    if (statement.reader) return isDeepStrictEqual(statement.all(...parameters), rows);
    statement.run(...parameters);
    return true;
  });
}
