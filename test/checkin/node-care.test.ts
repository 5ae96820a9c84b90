/** What people do to nodes, on a real database, with check-ins before and after. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Conductor } from "../../src/checkin/conductor.ts";
import { type CheckInRequest, Decisions } from "../../src/checkin/decisions.ts";
import { matchesPattern } from "../../src/rollout/fold.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import { deleteNodes, holdNodes, labelNodes, letNodesGo, moveNodes } from "../../src/store/node-care.ts";
import { type NodeRow, withSeen } from "../../src/store/node-list.ts";
import { type NodeSelection, selectedNodes } from "../../src/store/node-selection.ts";
import { recount } from "../../src/store/recount.ts";
import { aCheckIn, anEvent, aReport, HOUR, MINUTE } from "../rollout/builders.ts";
import { aDatabase, addGroup, type InProcess, NOW, planIn, releaseIn } from "../store/in-process.ts";

let world: InProcess;
let decisions: Decisions;
let now = NOW;
const fresh = () => new Decisions(world.checkIns, { newNodesPerMinute: 0, onFault: (error) => { throw error; } }); // biome-ignore format: one line

beforeEach(async () => {
  now = NOW;
  world = await aDatabase();
  decisions = fresh();
});
afterEach(async () => {
  expect(await recount(world.store.read, false)).toEqual([]);
  const kept = all("SELECT group_no, version, status, count FROM node_counts ORDER BY 1, 2, 3");
  expect(kept).toEqual(all("SELECT group_no, version, status, count(*) AS count FROM nodes GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")); // biome-ignore format: one line
  world.close();
});

const machine = (n: number) => n.toString(16).padStart(32, "0");
const all = <T>(sql: string) => world.db.prepare<[], T>(sql).all();
const request = (app: CheckIn): CheckInRequest => ({ apps: [app], ip: "192.0.2.1", now });
const reasons = async (...apps: CheckIn[]) =>
  (await decisions.run(apps.map(request))).flat().map(({ reason }) => reason);
const check = (n: number, what: Partial<CheckIn> = {}) => aCheckIn({ machineId: machine(n), ...what });
const held = { at: NOW, by: "ops", why: "its disk" };

async function tend(
  nodes: readonly number[],
  work: (tx: InProcess["store"]["read"], rows: readonly NodeRow[]) => Promise<void>,
): Promise<void> {
  await world.store.write(async (tx) => {
    await work(
      tx,
      await withSeen(tx).selectAll("nodes").select("seen.at").where("nodes.id", "in", nodes.map(machine)).execute(),
    );
  });
}
const group = (track: string) =>
  world.store.read.selectFrom("groups").selectAll().where("track", "=", track).executeTakeFirstOrThrow();
const rollout = () =>
  world.store.read.selectFrom("rollouts").selectAll().orderBy("no", "desc").executeTakeFirstOrThrow();

describe("a check-in", () => {
  it("sees what a person has set with the very next batch, and never writes it, also after a restart", async () => {
    await planIn(world, { stages: [{ match: { labels: { rack: "7" } } }, { percent: 100 }] });
    await addGroup(world, "other");
    await releaseIn(world, "4230.2.1");
    expect(await reasons(check(1), check(2))).toEqual(["not-in-stage", "not-in-stage"]);
    await tend([1, 2], (tx, rows) => labelNodes(tx, rows, { rack: "7", env: "lab" }));
    await tend([2], (tx, rows) => holdNodes(tx, rows, held));
    decisions = fresh();
    expect(await reasons(check(1), check(2))).toEqual(["granted", "held"]);
    const other = await group("other");
    await tend([1, 2], (tx, rows) => moveNodes(tx, rows, other));
    await reasons(check(1, { bootId: "{9}", version: "4230.2.1", machineAlias: "web" }), check(2, { oem: "vmware" }));
    decisions = fresh();
    expect(all("SELECT held, own_group, labels, group_no FROM nodes ORDER BY no")).toEqual([
      { held: null, own_group: other.id, labels: '{"env":"lab","rack":"7"}', group_no: other.no },
      { held: JSON.stringify(held), own_group: other.id, labels: '{"env":"lab","rack":"7"}', group_no: other.no },
    ]);
    await tend([1, 2], (tx, rows) => letNodesGo(tx, rows));
    await reasons(check(1, { version: "4230.2.1" }), check(2));
    const stable = await group("stable");
    expect(all("SELECT DISTINCT group_no FROM nodes")).toEqual([{ group_no: stable.no }]);
  });

  it("reads the counters of the group that a person has put its node into", async () => {
    await planIn(world, {}, { policy_max_updates_per_period: 5 });
    await addGroup(world, "other", 1);
    await releaseIn(world, "4230.2.1");
    const other = await group("other");
    await reasons(check(1, { updateCheck: false }), check(2, { updateCheck: false }), check(3, { updateCheck: false }));
    await tend([1, 2], (tx, rows) => moveNodes(tx, rows, other));
    expect(await reasons(check(1))).toEqual(["granted"]);
    expect(await reasons(check(2))).toEqual(["max-in-flight"]);
    expect(await reasons(check(3))).toEqual(["granted"]);
    expect(all("SELECT in_flight FROM group_counters ORDER BY group_no")).toEqual([{ in_flight: 1 }, { in_flight: 1 }]);
  });

  it("of a node that was deleted is a new node's", async () => {
    await planIn(world, {}, { policy_max_updates_per_period: 1 });
    await releaseIn(world, "4230.2.1");
    await reasons(check(1));
    now += MINUTE;
    await tend([1], (tx, rows) => deleteNodes(tx, rows, now));
    expect(all("SELECT no FROM nodes")).toEqual([]);
    expect(all("SELECT in_flight FROM group_counters")).toEqual([{ in_flight: 0 }]);
    expect(all("SELECT granted, withdrawn FROM rollout_counters")).toEqual([{ granted: 0, withdrawn: 1 }]);
    now += HOUR;
    expect(await reasons(check(1))).toEqual(["granted"]);
    expect(all("SELECT created_at FROM nodes")).toEqual([{ created_at: now }]);
  });
});

describe("deleting a node", () => {
  it("leaves nothing of it but what became of it, also when a mark of it still waits for the disk", async () => {
    await releaseIn(world, "4230.2.1");
    await reasons(check(1), aReport(anEvent(3, 0, { errorCode: 9 }), { machineId: machine(1) }), check(2));
    await decisions.flushSeen();
    await reasons(check(1), check(2));
    await tend([1], (tx, rows) => deleteNodes(tx, rows, now));
    while (await decisions.flushSeen());
    for (const table of ["seen", "events", "status_history"]) {
      expect(all(`SELECT count(*) AS n FROM ${table} WHERE node_no NOT IN (SELECT no FROM nodes)`)).toEqual([{ n: 0 }]);
    }
    expect(all("SELECT node_no, status, failure, error_code FROM past_grants")).toEqual([
      { node_no: 0, status: "failed", failure: "failed", error_code: 9 },
    ]);
  });

  it("opens no gate: what was lost stays lost", async () => {
    await planIn(world, { health: { max_lost: 1, on_breach: "pause" } });
    await releaseIn(world, "4230.2.1");
    await reasons(check(1), check(2), check(3));
    await reasons(...[1, 2].map((n) => aReport(anEvent(3, 1), { machineId: machine(n) })));
    now += 2 * HOUR;
    await decisions.expireDue(now);
    expect(await rollout()).toMatchObject({ state: "paused" });
    await tend([1, 2], (tx, rows) => deleteNodes(tx, rows, now));
    await new Conductor(world.store).moveRollouts(now);
    expect(await rollout()).toMatchObject({ state: "paused" });
    expect(all("SELECT lost FROM rollout_counters")).toEqual([{ lost: 2 }]);
  });

  it("does not mix up two nodes that have had the same number", async () => {
    await releaseIn(world, "4230.2.1");
    await reasons(check(1));
    await reasons(check(1, { version: "4230.2.1" }));
    await tend([1], (tx, rows) => deleteNodes(tx, rows, now));
    await reasons(check(2, { version: "4230.2.1" }));
    while (await decisions.flushSeen());
    expect(await decisions.forgetSeenOnce(now + 1, 0)).toBeNull();
    expect(all("SELECT count(*) AS n FROM nodes")).toEqual([{ n: 0 }]);
    expect(all("SELECT complete FROM rollout_counters")).toEqual([{ complete: 1 }]);
  });
});

describe("a stage", () => {
  it("does not wait for a node that is held, nor counts it among those it is for", async () => {
    await planIn(world, { stages: [{ percent: 100, bake: "1h" }], seed: "s" });
    await reasons(check(1), check(2), check(3));
    await tend([3], (tx, rows) => holdNodes(tx, rows, held));
    await releaseIn(world, "4230.2.1");
    const conductor = new Conductor(world.store);
    await conductor.moveRollouts(now);
    expect(JSON.parse((await rollout()).eligible)).toEqual([2]);
    await reasons(check(1), check(2), check(3));
    await reasons(check(1, { version: "4230.2.1" }), check(2, { version: "4230.2.1" }));
    await conductor.moveRollouts(now);
    expect((await rollout()).baking_since).toBe(now);
    now += HOUR;
    await conductor.moveRollouts(now);
    expect(await rollout()).toMatchObject({ state: "completed" });
    await tend([3], (tx, rows) => holdNodes(tx, rows, null));
    expect(await reasons(check(3))).toEqual(["granted"]);
  });

  it("that names nodes by label waits for these, and counts them", async () => {
    const stages = [{ match: { labels: { rack: "7" } }, bake: "1h" }, { percent: 100 }];
    await planIn(world, { stages });
    await reasons(check(1), check(2), check(3), check(4));
    await tend([1, 2, 4], (tx, rows) => labelNodes(tx, rows, { rack: "7" }));
    await tend([4], (tx, rows) => holdNodes(tx, rows, held));
    await releaseIn(world, "4230.2.1");
    const conductor = new Conductor(world.store);
    await conductor.moveRollouts(now);
    expect(JSON.parse((await rollout()).eligible)).toEqual([2, 1]);
    expect(await reasons(check(1), check(2), check(3), check(4))).toEqual([
      "granted",
      "granted",
      "not-in-stage",
      "held",
    ]);
    await reasons(check(1, { version: "4230.2.1" }));
    await conductor.moveRollouts(now);
    expect((await rollout()).baking_since).toBeNull();
    await reasons(check(2, { version: "4230.2.1" }));
    await conductor.moveRollouts(now);
    expect((await rollout()).baking_since).toBe(now);
  });
});

describe("a filter", () => {
  const ids = async (filter: NodeSelection) =>
    (await selectedNodes(world.store.read, 1, filter).select("nodes.id").orderBy("nodes.no").execute()).map(({ id }) => Number.parseInt(id, 16)); // biome-ignore format: one line

  it("finds labels by their very names, whatever stands in their values", async () => {
    const labels = [{ rack: "7" }, { rack: "77" }, { Rack: "7" }, { rack: "München" }, { rack: "lab" }, { note: '"rack":"7"' }, { note: 'x\\","rack":"7' }, { rack: 'a\\' }, { rack: 'a"' }, { rack: "50%" }, { rack: "50_" }, {}]; // biome-ignore format: one line
    await reasons(...labels.map((_, n) => check(n + 1)));
    for (const [n, one] of labels.entries()) await tend([n + 1], (tx, rows) => labelNodes(tx, rows, { ...one }));
    for (const [n, one] of labels.slice(0, -1).entries()) {
      expect(await ids({ labels: { ...one } }), JSON.stringify(one)).toEqual([n + 1]);
    }
    expect(await ids({ labels: { rack: null } })).toEqual([3, 6, 7, 12]);
    expect(await ids({ labels: { rack: "MÜNCHEN" } })).toEqual([4]);
    expect(await ids({ labels: { rack: "LAB" } })).toEqual([5]);
    await tend([4], (tx, rows) => labelNodes(tx, rows, { rack: "8" }));
    expect(await ids({ labels: { rack: "München" } })).toEqual([]);
    expect(await ids({ labels: { rack: "8" } })).toEqual([4]);
    expect(await ids({ labels: { rack: "7", note: "none" } })).toEqual([]);
  });

  it("finds aliases by pattern, in any case, given by a person or by the node", async () => {
    await reasons(check(1, { machineAlias: "lab-1" }), check(2, { machineAlias: "LAB-22" }), check(3, { machineAlias: "lab_3" }), check(4)); // biome-ignore format: one line
    world.db.exec(`UPDATE nodes SET alias = 'web-2' WHERE id = '${machine(2)}'`);
    expect(await ids({ alias: "lab-*" })).toEqual([1]);
    expect(await ids({ alias: "L?B_?" })).toEqual([3]);
    expect(await ids({ alias: "web-2" })).toEqual([2]);
    expect(await ids({ alias: "%" })).toEqual([]);
  });

  it("finds aliases in any case of any script, also when a node has changed its own", async () => {
    await reasons(check(1, { machineAlias: "MÜNCHEN-1" }), check(2, { machineAlias: "münchen-2" }), check(3, { machineAlias: "Straße" }), check(4, { machineAlias: "İstanbul" }), check(5, { machineAlias: "x" })); // biome-ignore format: one line
    expect(await ids({ alias: "mÜnchen-?" })).toEqual([1, 2]);
    expect(await ids({ alias: "STRASSE" })).toEqual([3]);
    expect(await ids({ alias: "istanbul" })).toEqual([4]);
    await reasons(check(1, { machineAlias: "ZÜRICH-1" }), check(5, { machineAlias: "KÖLN" }));
    expect(await ids({ alias: "münchen-*" })).toEqual([2]);
    expect(await ids({ alias: "zürich-1" })).toEqual([1]);
    expect(await ids({ alias: "Köln" })).toEqual([5]);
  });

  it("finds the very nodes that a stage with the same pattern includes", async () => {
    const letters = fc.constantFrom("a", "A", "ü", "Ü", "u\u0308", "ß", "ss", "S", "İ", "ı", "i", "I", "Σ", "ς", "ﬁ", "Ａ", "＊", "%", "_", "\\", "🚂"); // biome-ignore format: one line
    const aliases = fc.sample(fc.array(letters, { maxLength: 4 }), { numRuns: 60, seed: 7 }).map((all) => all.join(""));
    const checks = aliases.map((machineAlias, n) => check(n + 1, { machineAlias }));
    await reasons(...checks);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(letters, fc.constantFrom("*", "?")), { minLength: 1, maxLength: 4 }),
        async (parts) => {
          const alias = parts.join("");
          const included = aliases.flatMap((name, n) => (matchesPattern(alias, name) ? [n + 1] : []));
          expect(await ids({ alias })).toEqual(included);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("finds those that are held, and those that have not been seen for long", async () => {
    await reasons(check(1), check(2), check(3));
    await tend([2], (tx, rows) => holdNodes(tx, rows, held));
    while (await decisions.flushSeen());
    now += HOUR;
    await reasons(check(3));
    while (await decisions.flushSeen());
    expect(await ids({ held: true })).toEqual([2]);
    expect(await ids({ held: false })).toEqual([1, 3]);
    expect(await ids({ seenBefore: now - MINUTE })).toEqual([1, 2]);
    expect(await ids({ seenBefore: now - MINUTE, held: false, arch: 1, oems: ["azure"], statuses: ["unknown"], versions: ["4081.2.0"], ids: [machine(1)] })).toEqual([1]); // biome-ignore format: one line
  });
});
