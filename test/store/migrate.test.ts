import { cpSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { loadCounters } from "../../src/store/counters.ts";
import { loadFleet } from "../../src/store/fleet.ts";
import { listNodes, type NodeFilter } from "../../src/store/node-list.ts";
import { recount } from "../../src/store/recount.ts";
import { sessionOn } from "../../src/store/sqlite/connection.ts";
import { kyselyOver } from "../../src/store/sqlite/dialect.ts";
import { migrate, NewerDatabase } from "../../src/store/sqlite/migrate.ts";

const NOW = Date.UTC(2026, 2, 4, 12);
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

  it("make nodes found by names that were there before, in any case of any script", async () => {
    const folder = mkdtempSync(join(tmpdir(), "turnout-unfolded-"));
    for (const name of readdirSync(FOLDER)) {
      if (name < "0015") cpSync(join(FOLDER, name), join(folder, name));
    }
    const db = new Database(":memory:");
    migrate(db, 1, folder);
    const node = db.prepare(`
      INSERT INTO nodes (id, application_no, group_no, version, arch, machine_alias, alias, ip, oem, oem_version, aleph_version, boot_id,
        broken_quotes, created_at, status, status_at, labels)
      VALUES (?, 1, 1, '4081.2.0', 1, ?, ?, '192.0.2.1', '', '', '', '', 0, ?, 'unknown', 1, ?)`);
    node.run("a", "MÜNCHEN-1", "", NOW, '{"site":"KÖLN"}');
    node.run("b", "x", "Straße", NOW, '{"site":"Lab"}');
    node.run("c", "plain", "", NOW, '{"site":"lab"}');
    node.run("Ä", "", "", NOW, null);
    db.exec("INSERT INTO node_counts VALUES (1, '4081.2.0', 'unknown', 4)");
    migrate(db, 2);
    const session = sessionOn(db);
    const kysely = kyselyOver({ acquire: async () => session, release: async () => {} });
    const listed = async (filter: Partial<NodeFilter>) => {
      const all = {
        groupNo: 1,
        within: "1d",
        statuses: null,
        version: null,
        search: null,
        held: null,
        label: null,
        sharedAfter: null,
      } as const;
      const page = { limit: 10, start: 0 };
      const { rows } = await listNodes(kysely, { ...all, ...filter }, { by: "name", descending: false }, page, NOW);
      return rows.map(({ id }) => id);
    };
    for (const where of ["alias", "anywhere"] as const) {
      expect(await listed({ search: { where, text: "münchen" } })).toEqual(["a"]);
      expect(await listed({ search: { where, text: "STRASSE" } })).toEqual(["b"]);
      expect(await listed({ search: { where, text: "PLAIN" } })).toEqual(["c"]);
    }
    expect(await listed({ search: { where: "id", text: "ä" } })).toEqual(["Ä"]);
    expect(await listed({ label: { name: "site", value: "Köln" } })).toEqual(["a"]);
    expect(await listed({ label: { name: "site", value: "LAB" } })).toEqual(["b", "c"]);
    // What is in the schema for good is read and written by other programs, too.
    const schema = db.prepare<[], string>("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").pluck().all();
    expect(schema.join("\n")).not.toMatch(/fold(_labels)?\(/);
  });

  it("bring rollouts of the first schema along, counters and all", async () => {
    const folder = mkdtempSync(join(tmpdir(), "turnout-first-"));
    cpSync(join(FOLDER, "0001_foundation.sql"), join(folder, "0001_foundation.sql"));
    const db = new Database(":memory:");
    migrate(db, 1, folder);
    db.exec(`
      INSERT INTO applications VALUES (1, 'app', NULL, 'Flatcar', '', 1);
      INSERT INTO packages VALUES (1, 'package', 1, 1, '4230.2.1', 1, 'https://x/', 'f.gz', NULL, '5', NULL, 1);
      INSERT INTO channels VALUES (1, 'channel', 1, 'stable', '', 1, 1, 1);
      INSERT INTO groups VALUES (1, 'group', 1, 'Stable', '', 1, 'stable', 1, 0, 0, 'UTC', '1 hours', 999999, '1 hours', 1);
      INSERT INTO rollouts VALUES (1, 'rollout', 1, 1, 'running', '[{"percent":100}]', '{"afterMs":1800000,"max":3}', 7, 8);
      INSERT INTO rollouts VALUES (2, 'older', 1, 1, 'superseded', '[{"percent":100}]', '{"afterMs":3600000,"max":5}', 5, 6);
      INSERT INTO rollout_counters (rollout_no, granted, complete, failed, lost) VALUES (1, 1, 2, 2, 1), (2, 0, 0, 0, 0);
      INSERT INTO group_counters VALUES (1, 1, '[]');
    `);
    const node = db.prepare(`
      INSERT INTO nodes (id, application_no, group_no, version, arch, machine_alias, ip, oem, oem_version, aleph_version, boot_id,
        broken_quotes, created_at, status, status_at, rollout_no, grant_group_no, grant_version, deadline, error_code)
      VALUES (?, 1, 1, '4081.2.0', 1, '', '', ?, '', '', '', 0, 1, ?, 1, ?, ?, ?, ?, ?)`);
    node.run("a", "azure", "granted", 1, 1, "4230.2.1", 99, null);
    node.run("b", "azure", "complete", 1, 1, "4230.2.1", null, null);
    node.run("c", "ami", "failed", 1, 1, "4230.2.1", null, 9);
    node.run("d", "ami", "lost", 1, 1, "4230.2.1", null, null);
    node.run("e", "ami", "unknown", null, null, null, null, null);
    db.exec(`
      INSERT INTO past_grants (rollout_no, node_no, status, version, granted_at, ended_at, attempt, error_code)
      VALUES (1, 9, 'complete', '4230.2.1', 1, 2, 1, NULL), (1, 8, 'failed', '4230.2.1', 1, 2, 1, 12)`);
    migrate(db, 2);
    const session = sessionOn(db);
    const kysely = kyselyOver({ acquire: async () => session, release: async () => {} });
    expect(await recount(kysely, false)).toEqual([]);
    const { rollouts } = await loadFleet(kysely);
    expect(rollouts).toMatchObject([
      {
        id: "rollout",
        seed: "rollout",
        state: "running",
        stage: 0,
        strategy: { retry: { afterMs: 1_800_000, max: 3 } },
      },
    ]);
    const { rollouts: counters } = await loadCounters(kysely, [1]);
    expect(counters.get(1)?.causes).toEqual(new Map([[9, 1], [12, 1]])); // biome-ignore format: one line
    // A counter that is wrong is found, and repaired when that is asked for.
    db.exec("UPDATE rollout_counters SET complete = 7 WHERE rollout_no = 1; UPDATE group_counters SET in_flight = 3");
    const wrong = [
      { id: "rollout", what: "complete", kept: 7, counted: 2 },
      { id: "group", what: "in flight", kept: 3, counted: 1 },
    ];
    expect(await recount(kysely, true)).toEqual(wrong);
    expect(await recount(kysely, false)).toEqual([]);
    // Who had completed is watched for a week from then on.
    const watched = db.prepare("SELECT id, watched_until FROM nodes WHERE watched_until IS NOT NULL").all();
    expect(watched).toEqual([{ id: "b", watched_until: 1 + 7 * 86_400_000 }]);
  });
});
