import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startWriter } from "../../src/checkin/writer.ts";
import type { CheckIn } from "../../src/rollout/model.ts";
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
