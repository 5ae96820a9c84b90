import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, it } from "vitest";
import { startWriter } from "../../src/checkin/writer.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import { StoreUnavailable } from "../../src/store/store.ts";
import { aCheckIn } from "../rollout/builders.ts";
import { NOW } from "../store/in-process.ts";

it("the writer's thread hands back errors by name, reports faults, and takes nothing after it was closed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "turnout-thread-"));
  const faults: string[] = [];
  const writer = await startWriter(
    { databasePath: join(folder, "turnout.db"), newNodesPerMinute: 0, now: NOW },
    { onFault: (_, machineId) => faults.push(machineId), onDeath: (error) => faults.push(error.message) },
  );
  await expect(writer.ask({ kind: "query", sql: "SELECT nonsense", parameters: [] })).rejects.toMatchObject({
    name: "SqliteError",
  });
  const broken = { ...aCheckIn(), appId: null } as unknown as CheckIn; // what no parser makes
  await expect(writer.ask({ kind: "batch", requests: [{ apps: [broken], ip: "", now: NOW }] })).rejects.toThrow();
  await writer.close();
  await writer.close();
  await expect(writer.ask({ kind: "flush-seen" })).rejects.toBeInstanceOf(StoreUnavailable);
  expect(faults).toEqual([]);
  rmSync(folder, { recursive: true, force: true });
});

it("the writer's thread lets a transaction that is under way end before it closes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "turnout-thread-"));
  const writer = await startWriter(
    { databasePath: join(folder, "turnout.db"), newNodesPerMinute: 0, now: NOW },
    { onFault: () => undefined, onDeath: () => undefined },
  );
  const session = await writer.acquire();
  await session.query("BEGIN IMMEDIATE", []);
  const closed = writer.close();
  await expect(writer.acquire()).rejects.toBeInstanceOf(StoreUnavailable);
  await session.query("UPDATE meta SET revision = revision + 1", []);
  await session.query("COMMIT", []);
  await writer.release(session);
  await closed;
  await expect(session.query("SELECT 1", [])).rejects.toBeInstanceOf(StoreUnavailable);
  const db = new Database(join(folder, "turnout.db"), { readonly: true });
  expect(db.prepare("SELECT revision FROM meta").get()).toEqual({ revision: 1 });
  db.close();
  rmSync(folder, { recursive: true, force: true });
});
