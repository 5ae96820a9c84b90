import { rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { moveRevision } from "../../src/store/rollouts.ts";
import { COPIED, copyConfiguration } from "../../src/store/sqlite/configuration-copy.ts";
import type { Store } from "../../src/store/store.ts";
import { aTurnout, checks, FLATCAR, type TestTurnout } from "../e2e/turnout.ts";
import { aDatabase, releaseIn } from "./in-process.ts";

/** What no operation on the configuration looks at. */
const NOT_COPIED = [
  "migrations",
  "nodes",
  "seen",
  "node_counts",
  "past_grants",
  "status_history",
  "status_slots",
  "census",
  "events",
  "activity",
  "audit",
  "tokens",
  "sessions",
  "webhooks",
  "webhook_deliveries",
  "untold",
  "upstream_releases",
  "mirror_imports",
  "mirroring_servers",
  "silent_nodes",
  "sites",
];

it("the copy has every table of the configuration, row by row", async () => {
  const world = await aDatabase();
  await releaseIn(world, "4230.2.1");
  const copy = copyConfiguration(world.path);
  const tables = world.db
    .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .pluck()
    .all();
  expect([...COPIED, ...NOT_COPIED].sort()).toEqual(tables.sort());
  for (const table of COPIED) {
    const rows = `SELECT * FROM ${table}`;
    expect([table, copy.prepare(rows).all()]).toEqual([table, world.db.prepare(rows).all()]);
  }
  copy.close();
  world.close();
});

describe("what is rehearsed", () => {
  let server: TestTurnout;
  let store: Store;
  beforeEach(async () => {
    server = await aTurnout();
    store = server.turnout.store;
  });
  afterEach(async () => {
    await server.close();
    rmSync(server.dataDir, { recursive: true, force: true });
  });

  type Tx = Parameters<Parameters<Store["write"]>[0]>[0];
  const rename = (tx: Tx, name: string) =>
    tx.updateTable("applications").set({ name }).returning("name").executeTakeFirstOrThrow();
  const nameNow = async () => (await store.read.selectFrom("applications").select("name").execute())[0]?.name;

  it("keeps no check-in waiting, and is then written as it was worked out", async () => {
    const answer = await store.writeRehearsed(async (tx) => {
      expect(await server.omaha(checks())).toContain('status="noupdate"');
      return rename(tx, "Rehearsed");
    });
    expect(answer).toEqual({ name: "Rehearsed" });
    expect(await nameNow()).toBe("Rehearsed");
  });

  it("is rehearsed anew when the configuration has moved meanwhile", async () => {
    const seen: unknown[] = [];
    await store.writeRehearsed(async (tx) => {
      seen.push(await tx.selectFrom("applications").select(["name", "description"]).executeTakeFirst());
      if (seen.length === 1) {
        await store.write(async (other) => {
          await other.updateTable("applications").set({ description: "meanwhile" }).execute();
          await moveRevision(other);
        });
      }
      await rename(tx, `try ${seen.length}`);
    });
    expect(seen).toEqual([
      expect.objectContaining({ description: expect.not.stringContaining("meanwhile") }),
      {
        name: "Flatcar Container Linux",
        description: "meanwhile",
      },
    ]);
    expect(await nameNow()).toBe("try 2");
  });

  it("is taken back and rehearsed anew when a statement answers something else than it did", async () => {
    let runs = 0;
    await store.writeRehearsed(async (tx) => {
      runs += 1;
      // No revision moves with a line of the audit log.
      if (runs === 1) await store.write((other) => other.updateTable("audit_head").set({ no: 7 }).execute());
      await rename(tx, `try ${runs}`);
      await tx
        .updateTable("audit_head")
        .set((eb) => ({ no: eb("no", "+", 1) }))
        .returning("no")
        .execute();
    });
    expect(runs).toBe(2);
    expect(await nameNow()).toBe("try 2");
    expect(await store.read.selectFrom("audit_head").select("no").execute()).toEqual([{ no: 8 }]);
  });

  it("is done before the others' eyes when they never stop", async () => {
    let runs = 0;
    await store.writeRehearsed(async (tx) => {
      runs += 1;
      if (runs <= 3) await store.write(moveRevision);
      await rename(tx, `try ${runs}`);
    });
    expect(await nameNow()).toBe("try 4");
  });

  it("leaves nothing when it fails, here or there, and what comes after is not in its way", async () => {
    const failing = store.writeRehearsed(async (tx) => {
      await rename(tx, "Never");
      throw new Error("no good");
    });
    await expect(failing).rejects.toThrow("no good");
    const unique = store.writeRehearsed((tx) =>
      tx
        .insertInto("applications")
        .values({ id: FLATCAR, name: "Twin", description: "", product_id: null, payload_key: null, created_at: 0 })
        .execute(),
    );
    await expect(unique).rejects.toThrow("UNIQUE");
    expect(await store.rehearse((tx) => rename(tx, "Only thought of"))).toEqual({ name: "Only thought of" });
    expect(await nameNow()).toBe("Flatcar Container Linux");
    await store.writeRehearsed((tx) => rename(tx, "At last"));
    expect(await nameNow()).toBe("At last");
  });

  it("as a plan waits for nobody who writes; a fleet is applied when it has been rehearsed", async () => {
    const fleet = { applications: [{ name: "Flatcar Container Linux", description: "as in the file" }] };
    const [writing, rehearsing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const held = store.write(() => writing.promise);
    expect(await server.api("POST", "/fleet/plan", { fleet })).toMatchObject({ changes: [{ action: "change" }] });
    writing.resolve();
    await held;
    const other = store.rehearse(() => rehearsing.promise);
    const applied = server.api("POST", "/fleet/apply", { fleet });
    await server.omaha(checks());
    const { description } = await server.api(`GET`, `/apps/${FLATCAR}`);
    expect(description).not.toBe("as in the file");
    rehearsing.resolve();
    await Promise.all([other, applied]);
    expect(await server.api("GET", `/apps/${FLATCAR}`)).toMatchObject({ description: "as in the file" });
  });
});
