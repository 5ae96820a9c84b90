import { type ChildProcess, spawn } from "node:child_process";
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { backup, check, migrateDatabase, restore } from "../src/database.ts";
import { openWriter } from "../src/store/sqlite/connection.ts";
import { copyDatabase } from "../src/store/sqlite/copy.ts";
import { lockFolder } from "../src/store/sqlite/lock.ts";
import { migrate } from "../src/store/sqlite/migrate.ts";
import { aProcess, apiClient, aTurnout, checks, postOmaha, release, type TurnoutProcess } from "./e2e/turnout.ts";

const ROOT = resolve(import.meta.dirname, "..");
const machine = (n: number) => n.toString(16).padStart(32, "0");

let folder: string;
let dataDir: string;
let database: string;
const servers: TurnoutProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "turnout-database-"));
  dataDir = join(folder, "data");
  database = join(dataDir, "turnout.db");
  process.env.TURNOUT_DATA_DIR = dataDir;
});
afterEach(async () => {
  delete process.env.TURNOUT_DATA_DIR;
  for (const { child, ended } of servers.splice(0)) {
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

async function aServer(): Promise<TurnoutProcess> {
  const server = await aProcess(dataDir);
  servers.push(server);
  return server;
}

/** A database that a server has left, with so many nodes. */
async function aDatabase(nodes: number): Promise<void> {
  const server = await aTurnout({}, { dataDir });
  for (let n = 0; n < nodes; n += 1) await server.omaha(checks({ machineId: machine(n) }));
  await server.close();
}

function nodesIn(path: string): string[] {
  const db = new Database(path, { readonly: true });
  try {
    return db.prepare<[], string>("SELECT id FROM nodes ORDER BY id").pluck().all();
  } finally {
    db.close();
  }
}

describe("a backup", () => {
  it("is whole and of one moment though check-ins never pause, and has all that was answered before", async () => {
    const server = await aServer();
    await release(apiClient(server.url), "4230.2.1");
    const answered: string[] = [];
    let going = true;
    let enough = { count: 0, resolve: () => {} };
    const ask = async (lane: number) => {
      for (let n = 0; going; n += 1) {
        const id = machine(lane * 100_000 + n);
        await postOmaha(server.url, checks({ machineId: id }));
        if (answered.push(id) >= enough.count) enough.resolve();
      }
    };
    const asking = [0, 1, 2, 3].map(ask);
    const moreAnswers = () =>
      new Promise<void>((resolve) => {
        enough = { count: answered.length + 10, resolve };
      });
    for (const name of ["one.db", "two.db", "three.db"]) {
      await moreAnswers();
      const before = [...answered];
      const { file, bytes } = await backup(join(folder, name), false);
      expect(statSync(file)).toMatchObject({ size: bytes });
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(await check(file)).toMatchObject({ sound: true, integrity: [], counters: [], audit: { broken: null } });
      const saved = new Set(nodesIn(file));
      expect(before.filter((id) => !saved.has(id))).toEqual([]);
    }
    going = false;
    await Promise.all(asking);
    expect(nodesIn(join(folder, "three.db")).length).toBeGreaterThan(nodesIn(join(folder, "one.db")).length);
    expect(readdirSync(folder).sort()).toEqual(["data", "one.db", "three.db", "two.db"]);
    expect(await check(null)).toMatchObject({ database, sound: true });
  });

  it("comes to an end though something is written all the time", async () => {
    mkdirSync(dataDir);
    const writer = openWriter(database);
    writer.exec("CREATE TABLE migrations (a); CREATE TABLE t (a TEXT); INSERT INTO t VALUES (hex(randomblob(2000)))");
    for (let doubling = 0; doubling < 12; doubling += 1) writer.exec("INSERT INTO t SELECT a FROM t");
    const rows = writer.prepare("SELECT count(*) FROM t").pluck();
    const before = rows.get();
    let writing = setImmediate(function write() {
      writer.exec("INSERT INTO t VALUES ('more')");
      writing = setImmediate(write);
    });
    await copyDatabase(database, join(folder, "copy.db"));
    clearImmediate(writing);
    expect(rows.get()).toBeGreaterThan(Number(before));
    writer.close();
    const copy = new Database(join(folder, "copy.db"), { readonly: true });
    expect(copy.pragma("page_count", { simple: true })).toBeGreaterThan(4_000);
    expect(copy.prepare("SELECT count(*) FROM t").pluck().get()).toBe(before);
    copy.close();
  });

  it("overwrites nothing unasked, never the database itself, and leaves nothing when it fails", async () => {
    await expect(backup(join(folder, "a.db"), false)).rejects.toThrow(
      /there is no database .*turnout\.db; TURNOUT_DATA_DIR/,
    );
    await aDatabase(1);
    const file = join(folder, "a.db");
    writeFileSync(file, "something dear");
    await expect(backup(file, false)).rejects.toThrow("is there already; --force overwrites it");
    await expect(backup(folder, true)).rejects.toThrow("is a folder: name a file, e.g. ");
    await expect(backup(join(folder, "none", "a.db"), true)).rejects.toThrow("there is no folder");
    await expect(backup(database, true)).rejects.toThrow("is the database itself");
    expect(readFileSync(file, "utf8")).toBe("something dear");
    await backup(file, true);
    expect(nodesIn(file)).toEqual([machine(0)]);
    damage(database);
    await expect(backup(join(folder, "b.db"), false)).rejects.toThrow(/turnout\.db is damaged: /);
    expect(readdirSync(folder).sort()).toEqual(["a.db", "data"]);
  });
});

/** Writes over the pages in the middle. */
function damage(path: string): void {
  const bytes = readFileSync(path);
  bytes.fill(0xa5, Math.floor(bytes.length / 8192) * 4096 - 8192, Math.floor(bytes.length / 8192) * 4096 + 8192);
  writeFileSync(path, bytes);
}

describe("a restore", () => {
  it("is refused while a server runs, and not after kill -9; what was there is kept, with what was in its log", async () => {
    const server = await aServer();
    await postOmaha(server.url, checks({ machineId: machine(1) }));
    const { file } = await backup(join(folder, "one.db"), false);
    await postOmaha(server.url, checks({ machineId: machine(2) }));
    await expect(restore(file)).rejects.toThrow(/data is in use: another turnout process \(the server\?\)/);
    server.child.kill("SIGKILL");
    await server.ended;
    const shell = new Database(database, { readonly: true });
    shell.prepare("SELECT id FROM nodes").all();
    await expect(restore(file)).rejects.toThrow(/turnout\.db is in use: another process/);
    shell.close();
    expect(statSync(`${database}-wal`).size).toBeGreaterThan(0);

    const done = await restore(file);
    expect(done).toEqual({ database, file, schema: done.schema, pending: [], replaced: `${database}.before-restore` });
    const files = readdirSync(dataDir).filter((name) => name.startsWith("turnout"));
    expect(files.sort()).toEqual(["turnout.db", "turnout.db.before-restore", "turnout.lock"]);
    expect(nodesIn(database)).toEqual([machine(1)]);
    expect(nodesIn(`${database}.before-restore`)).toEqual([machine(1), machine(2)]);

    const again = await aServer();
    await postOmaha(again.url, checks({ machineId: machine(3) }));
    again.child.kill("SIGTERM");
    expect(await again.ended).toBe(0);
    // There and back again: the first one that was kept is not overwritten.
    const back = await restore(`${database}.before-restore`);
    expect(back.replaced).toBe(`${database}.before-restore-2`);
    expect(nodesIn(database)).toEqual([machine(1), machine(2)]);
    expect(nodesIn(`${database}.before-restore`)).toEqual([machine(1), machine(2)]);
    expect(nodesIn(`${database}.before-restore-2`)).toEqual([machine(1), machine(3)]);
  });

  it("makes the data directory where there is none, and takes a database with its log beside it", async () => {
    await aDatabase(1);
    const crashed = join(folder, "crashed");
    mkdirSync(crashed);
    const db = new Database(database);
    db.pragma("wal_autocheckpoint = 0");
    db.exec("UPDATE nodes SET alias = 'only in the log'");
    for (const name of ["turnout.db", "turnout.db-wal"]) cpSync(join(dataDir, name), join(crashed, name));
    db.close();
    rmSync(dataDir, { recursive: true });
    expect((await restore(join(crashed, "turnout.db"))).replaced).toBeNull();
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    const restored = new Database(database, { readonly: true });
    expect(restored.prepare("SELECT alias FROM nodes").pluck().all()).toEqual(["only in the log"]);
    restored.close();
  });

  it("takes no database of a newer Turnout, none that is damaged, nothing else; and nothing is changed", async () => {
    await aDatabase(1);
    const { file } = await backup(join(folder, "one.db"), false);
    const before = nodesIn(database);
    const newer = new Database(file);
    newer.exec("INSERT INTO migrations VALUES (9999, '9999_future.sql', 0)");
    newer.close();
    await expect(restore(file)).rejects.toThrow(/one\.db was written by a newer Turnout: it has migration 9999, /);
    await backup(file, true);
    damage(file);
    await expect(restore(file)).rejects.toThrow(/one\.db is damaged: /);
    writeFileSync(file, "no database at all, but a text that is long enough to be looked at as one");
    await expect(restore(file)).rejects.toThrow("one.db is not a database");
    new Database(join(folder, "other.db")).exec("CREATE TABLE a (b)").close();
    await expect(restore(join(folder, "other.db"))).rejects.toThrow("is not a database of Turnout's");
    await expect(restore(join(folder, "nix.db"))).rejects.toThrow("there is no file");
    await expect(restore(folder)).rejects.toThrow("is not a file");
    await expect(restore(database)).rejects.toThrow("is the database itself");
    expect(nodesIn(database)).toEqual(before);
    expect(readdirSync(dataDir).filter((name) => /restor/.test(name))).toEqual([]);
  });

  it("brings an older schema along, which the next start brings up to date", async () => {
    const migrations = join(folder, "migrations");
    mkdirSync(migrations);
    cpSync(join(ROOT, "migrations/sqlite/0001_foundation.sql"), join(migrations, "0001_foundation.sql"));
    const old = new Database(join(folder, "old.db"));
    migrate(old, 1, migrations);
    old.close();
    expect(await check(join(folder, "old.db"))).toMatchObject({ schema: 1, counters: null, audit: null, sound: true });
    const { pending } = await restore(join(folder, "old.db"));
    expect(pending.length).toBeGreaterThan(1);
    expect(await migrateDatabase(true)).toEqual({ database, migrations: pending, schema: 1 });
    const lock = lockFolder(dataDir);
    await expect(migrateDatabase(false)).rejects.toThrow("is in use");
    lock.release();
    const { migrations: ran, schema } = await migrateDatabase(false);
    expect(ran).toEqual(pending);
    expect(await migrateDatabase(false)).toEqual({ database, migrations: [], schema });
    expect(await check(null)).toMatchObject({ schema, pending: [], counters: [], sound: true });
  });

  it("takes the place of a damaged database, which is kept as it is", async () => {
    await aDatabase(2);
    const { file } = await backup(join(folder, "one.db"), false);
    const db = new Database(database);
    db.exec("UPDATE nodes SET alias = 'only in the log'");
    const log = readFileSync(`${database}-wal`);
    db.close();
    writeFileSync(database, "rubbish".repeat(2_000));
    writeFileSync(`${database}-wal`, log);
    await restore(file);
    expect(nodesIn(database)).toEqual([machine(0), machine(1)]);
    expect(readFileSync(`${database}.before-restore`, "utf8")).toBe("rubbish".repeat(2_000));
    expect(readFileSync(`${database}.before-restore-wal`).equals(log)).toBe(true);
  });

  it("leaves a whole database, the one before or the new one, whenever it is killed", async () => {
    await aDatabase(3);
    const many = (await backup(join(folder, "many.db"), false)).file;
    rmSync(dataDir, { recursive: true });
    await aDatabase(1);
    const one = (await backup(join(folder, "one.db"), false)).file;
    for (let kill = 0; kill < 5; kill += 1) {
      const child = await restoringAllTheTime([many, one]);
      await new Promise((later) => setTimeout(later, 20 + kill * 15));
      child.kill("SIGKILL");
      await new Promise((gone) => child.once("exit", gone));
      const { sound } = await check(null);
      expect(sound).toBe(true);
      expect([1, 3]).toContain(nodesIn(database).length);
      expect(existsSync(`${database}-wal`)).toBe(false);
    }
    await restore(many);
    expect(nodesIn(database)).toHaveLength(3);
  });

  it.skipIf(process.getuid?.() !== 0)("by root gives the data directory's owner what is theirs", async () => {
    await aDatabase(1);
    const { file } = await backup(join(folder, "one.db"), false);
    rmSync(dataDir, { recursive: true });
    mkdirSync(dataDir);
    chownSync(dataDir, 65_534, 65_534);
    await restore(file);
    for (const name of readdirSync(dataDir)) expect(statSync(join(dataDir, name)).uid, name).toBe(65_534);
  });
});

/** A process that restores one after the other, again and again; resolves when it has begun. */
async function restoringAllTheTime(files: readonly string[]): Promise<ChildProcess> {
  const script = `
    import { rmSync } from "node:fs";
    const { restore } = await import(${JSON.stringify(join(ROOT, "src/database.ts"))});
    for (let turn = 0; ; turn += 1) {
      const { replaced } = await restore(${JSON.stringify(files)}[turn % 2]);
      rmSync(replaced, { force: true });
      if (turn === 1) process.stdout.write("going");
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    env: { PATH: process.env.PATH, TURNOUT_DATA_DIR: dataDir },
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((going) => child.stdout?.once("data", going));
  return child;
}

describe("a check", () => {
  it("finds pages, references, counters and audit lines that are not as they should be", async () => {
    const server = await aTurnout({}, { dataDir });
    await server.release("4230.2.1");
    await server.omaha(checks());
    await server.close();
    const sound = await check(null);
    expect(sound).toMatchObject({ integrity: [], dangling: {}, counters: [], audit: { broken: null }, sound: true });
    const change = (sql: string) => {
      const db = new Database(database);
      db.pragma("foreign_keys = OFF");
      db.exec(sql);
      db.close();
    };
    change("UPDATE rollout_counters SET granted = 7");
    expect(await check(null)).toMatchObject({ sound: false, counters: [{ what: "granted", kept: 7, counted: 1 }] });
    change("UPDATE rollout_counters SET granted = 1; DELETE FROM packages");
    expect((await check(null)).dangling).toMatchObject({ channels: 1, flatcar_actions: 1 });
    change("DROP TRIGGER audit_is_not_altered; UPDATE audit SET actor = 'somebody else' WHERE no = 2");
    const { audit, sound: still } = await check(null);
    expect([audit?.broken?.no, still]).toEqual([2, false]);
    damage(database);
    const { integrity, sound: at } = await check(null);
    expect([integrity.length > 0, at]).toEqual([true, false]);
  });
});

describe("the lock", () => {
  it("lets one server have a data directory; the next one is told so in one line, and comes in after kill -9", async () => {
    const first = await aServer();
    await expect(aServer()).rejects.toThrow(
      /^turnout ended with 1 .*\nturnout: .*data is in use: another turnout process .*\n$/s,
    );
    first.child.kill("SIGKILL");
    await first.ended;
    const second = await aServer();
    expect(await (await fetch(`${second.url}/health`)).text()).toBe("OK");
  });

  it("is let go when a server stops, or can't start", async () => {
    const first = await aTurnout({}, { dataDir });
    const port = new URL(first.url).port;
    await expect(aTurnout({ TURNOUT_PORT: port }, { dataDir: join(folder, "other") })).rejects.toThrow("EADDRINUSE");
    lockFolder(join(folder, "other")).release();
    expect(() => lockFolder(dataDir)).toThrow("is in use");
    await first.close();
    lockFolder(dataDir).release();
  });
});
