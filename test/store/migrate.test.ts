import { cpSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { migrate, NewerDatabase } from "../../src/store/sqlite/migrate.ts";

const FOLDER = resolve(import.meta.dirname, "../../migrations/sqlite");

describe("migrations", () => {
  it("bring an empty database up to date, and do nothing the second time", () => {
    const db = new Database(":memory:");
    migrate(db, 1);
    migrate(db, 2);
    const rows = db.prepare("SELECT name, applied_at FROM migrations").all();
    expect(rows).toEqual(readdirSync(FOLDER).map((name) => ({ name, applied_at: 1 })));
  });

  it("leave a database from a newer Turnout as it is, and say so", () => {
    const db = new Database(":memory:");
    migrate(db, 1);
    db.exec("INSERT INTO migrations VALUES (9999, '9999_future.sql', 3)");
    expect(() => migrate(db, 4)).toThrow(NewerDatabase);
    expect(() => migrate(db, 4)).toThrow(/newer Turnout: it has migration 9999/);
  });

  it("that fail in the middle leave nothing behind", () => {
    const folder = mkdtempSync(join(tmpdir(), "turnout-migrations-"));
    cpSync(FOLDER, folder, { recursive: true });
    writeFileSync(join(folder, "9998_broken.sql"), "CREATE TABLE half (a INTEGER); SELECT nonsense;");
    const db = new Database(":memory:");
    expect(() => migrate(db, 1, folder)).toThrow();
    expect(db.prepare("SELECT name FROM sqlite_master WHERE name = 'half'").all()).toEqual([]);
    expect(db.prepare("SELECT max(number) AS newest FROM migrations").get()).not.toEqual({ newest: 9998 });
  });
});
