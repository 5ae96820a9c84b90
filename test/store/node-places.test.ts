import { afterEach, describe, expect, it } from "vitest";
import { NodePlaces } from "../../src/store/sqlite/node-places.ts";
import type { NodeKey } from "../../src/store/store.ts";
import { aDatabase, type InProcess } from "./in-process.ts";

const machine = (n: number) => n.toString(16).padStart(32, "0");

describe("places", () => {
  it("are known for almost all nodes of a large fleet, and never another's for long", () => {
    const places = new NodePlaces();
    const nodes = 100_000;
    const learn = () => {
      for (let no = 1; no <= nodes; no += 1)
        if (places.find(machine(no), 1) !== no) places.remember(machine(no), 1, no);
    };
    learn();
    learn();
    let right = 0;
    let wrong = 0;
    for (let no = 1; no <= nodes; no += 1) {
      const found = places.find(machine(no), 1);
      if (found === no) right += 1;
      else if (found !== 0) wrong += 1;
    }
    expect(right / nodes).toBeGreaterThan(0.9);
    expect(wrong / nodes).toBeLessThan(0.02);
  });

  it("are another in another application, and the newest of what was remembered", () => {
    const places = new NodePlaces();
    expect(places.find(machine(1), 1)).toBe(0);
    places.remember(machine(1), 1, 7);
    places.remember(machine(1), 2, 8);
    expect([places.find(machine(1), 1), places.find(machine(1), 2)]).toEqual([7, 8]);
    places.remember(machine(1), 1, 9);
    expect(places.find(machine(1), 1)).toBe(9);
  });

  it("take no more memory for what there was: numbers count up as nodes come and go", () => {
    const before = process.memoryUsage().arrayBuffers;
    const places = new NodePlaces();
    for (let no = 1_000_000; no <= 200_000_000; no += 1_000_000) places.remember(machine(no), 1, no);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * 2 ** 20);
    expect(places.find(machine(200_000_000), 1)).toBe(200_000_000);
  });
});

describe("a node", () => {
  let world: InProcess;
  afterEach(() => world.close());

  const key = (n: number): NodeKey => ({ id: machine(n), applicationNo: 1 });
  async function find(...keys: NodeKey[]): Promise<(readonly [string, number] | null)[]> {
    await world.checkIns.begin("durable");
    const nodes = await world.checkIns.nodes(keys);
    await world.checkIns.commit();
    return nodes.map((node) => node && ([node.id, node.no] as const));
  }
  const insert = (no: number, n: number) =>
    world.db
      .prepare(`
        INSERT INTO nodes (no, id, application_no, group_no, version, arch, machine_alias, ip, oem, oem_version, aleph_version, boot_id,
          broken_quotes, created_at, status, status_at)
        VALUES (?, ?, 1, 1, '1.0.0', 1, '', '', '', '', '', '', 0, 0, 'unknown', 0)`)
      .run(no, machine(n));

  it("is found by its id wherever its row was before: gone, moved, or another node's by now", async () => {
    world = await aDatabase();
    insert(1, 1);
    insert(2, 2);
    expect(await find(key(1), key(2), key(3))).toEqual([[machine(1), 1], [machine(2), 2], null]);
    expect(await find(key(1), key(2))).toEqual([
      [machine(1), 1],
      [machine(2), 2],
    ]);
    world.db.exec("DELETE FROM nodes");
    expect(await find(key(1), key(2))).toEqual([null, null]);
    insert(1, 2);
    insert(2, 3);
    expect(await find(key(1), key(2), key(3))).toEqual([null, [machine(2), 1], [machine(3), 2]]);
    expect(await find({ ...key(2), applicationNo: 2 })).toEqual([null]);
  });
});
