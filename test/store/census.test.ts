import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { censusOf, nodesIn, SLOT_MS, takeCensus, type Within } from "../../src/store/census.ts";
import { pointsOf, statusTimeline, versionTimeline } from "../../src/store/timelines.ts";
import { aFilledNode, fill } from "./fleets.ts";
import { aDatabase, type InProcess, NOW } from "./in-process.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let world: InProcess;
beforeEach(async () => {
  world = await aDatabase();
});
afterEach(() => world.close());

const inOrder = (rows: readonly { version: string; status: string; nodes: number }[] = []) =>
  rows.map(({ version, status, nodes }) => `${version} ${status} ${nodes}`).sort();

describe("a census", () => {
  const fleet = () => [
    aFilledNode(1, { seenAt: NOW - 10 * MINUTE }),
    aFilledNode(2, { seenAt: NOW - 2 * HOUR }),
    aFilledNode(3, { seenAt: NOW - 3 * DAY, status: "failed" }),
    aFilledNode(4, { seenAt: NOW - 20 * DAY, version: "4230.2.1" }),
    aFilledNode(5, { seenAt: NOW - 5 * MINUTE, groupNo: 2 }),
    aFilledNode(6, { seenAt: NOW, id: "{b7d94e2c-61f8-4a0f-9d33-55aa10c2e8f4}" }),
  ];

  it("says the same from the background as on the spot", async () => {
    fill(world, fleet());
    expect(await takeCensus(world.store, NOW)).toBe(true);
    for (const within of ["1h", "1d", "7d", "30d"] satisfies Within[]) {
      const spot = await censusOf(world.store.read, [1, 2], within, NOW, 1_000);
      const background = await censusOf(world.store.read, [1, 2], within, NOW, 0);
      for (const group of [1, 2]) expect(inOrder(background.get(group))).toEqual(inOrder(spot.get(group)));
    }
    expect(inOrder((await censusOf(world.store.read, [1], "7d", NOW, 0)).get(1))).toEqual([
      "4081.2.0 failed 1",
      "4081.2.0 unknown 2",
    ]);
  });

  it("is taken once in a quarter of an hour, and knows what moved since", async () => {
    fill(world, fleet());
    expect(await takeCensus(world.store, NOW)).toBe(true);
    expect(await takeCensus(world.store, NOW + 14 * MINUTE)).toBe(false);
    world.db.exec(
      "UPDATE node_counts SET count = count - 1 WHERE group_no = 1 AND version = '4081.2.0' AND status = 'unknown'",
    );
    world.db.exec("INSERT INTO node_counts VALUES (1, '4230.2.1', 'granted', 1)");
    expect(inOrder((await censusOf(world.store.read, [1], "1d", NOW, 0)).get(1))).toEqual([
      "4081.2.0 unknown 1",
      "4230.2.1 granted 1",
    ]);
    expect(await takeCensus(world.store, NOW + 15 * MINUTE)).toBe(true);
  });

  it("counts many groups at once, small ones on the spot as far as that goes", async () => {
    fill(
      world,
      [1, 2, 3].flatMap((group) =>
        Array.from({ length: 10 * group }, (_, n) => aFilledNode(100 * group + n, { groupNo: group, seenAt: NOW })),
      ),
    );
    await takeCensus(world.store, NOW);
    const census = await censusOf(world.store.read, [1, 2, 3, 4], "1h", NOW, 30);
    expect([...census].map(([group, rows]) => [group, nodesIn(rows)]).sort()).toEqual([
      [1, 10],
      [2, 20],
      [3, 30],
    ]);
  });

  it("is thinned with age, and goes with the history", async () => {
    fill(world, fleet());
    const days = 12;
    for (let at = NOW - days * DAY; at <= NOW; at += SLOT_MS) await takeCensus(world.store, at);
    const slots = (from: number, to: number) =>
      world.db
        .prepare<[number, number], number>("SELECT count(DISTINCT slot) FROM census WHERE slot > ? AND slot <= ?")
        .pluck()
        .get((NOW - from * DAY) / SLOT_MS, (NOW - to * DAY) / SLOT_MS);
    expect(slots(1, 0)).toBe(96);
    expect(slots(5, 4)).toBe(24);
    expect(slots(11, 10)).toBe(4);
    await world.checkIns.begin("durable");
    while ((await world.checkIns.deleteHistory(NOW - 3 * DAY + 1, 10)) > 0);
    await world.checkIns.commit();
    expect(slots(20, 3)).toBe(0);
    expect(slots(1, 0)).toBe(96);
  });

  it("keeps a group's most common versions only, when nodes make up thousands", async () => {
    fill(
      world,
      Array.from({ length: 1_500 }, (_, n) => aFilledNode(n + 1, { version: `1.0.${n}`, seenAt: NOW })),
    );
    fill(
      world,
      Array.from({ length: 20 }, (_, n) => aFilledNode(2_000 + n, { version: "4230.2.1", seenAt: NOW })),
    );
    await takeCensus(world.store, NOW);
    expect(world.db.prepare("SELECT count(*) FROM census").pluck().get()).toBe(1_000);
    expect(world.db.prepare("SELECT total FROM census WHERE version = '4230.2.1'").pluck().get()).toBe(20);
  });
});

describe("timelines", () => {
  it("have the points that each duration has, the last one in the present quarter of an hour", () => {
    const points = (duration: Within) => pointsOf(duration, NOW + 7 * MINUTE);
    expect([points("1h").length, points("1d").length, points("7d").length, points("30d").length]).toEqual([
      5, 25, 8, 11,
    ]);
    expect(points("1h")).toEqual([-60, -45, -30, -15, 0].map((minutes) => NOW + minutes * MINUTE));
    expect(points("30d")[0]).toBe(NOW - 30 * DAY);
  });

  it("show which versions ran when, each at every point, and now as it is now", async () => {
    fill(world, [aFilledNode(1, { seenAt: NOW - 40 * MINUTE }), aFilledNode(2, { seenAt: NOW - 40 * MINUTE })]);
    await takeCensus(world.store, NOW - 30 * MINUTE);
    world.db.exec("UPDATE nodes SET version = '4230.2.1' WHERE no = 2");
    await takeCensus(world.store, NOW - 15 * MINUTE);
    world.db.exec("UPDATE nodes SET version = '4230.2.1' WHERE no = 1");
    const timeline = await versionTimeline(world.store.read, 1, "semver", "1h", NOW + MINUTE);
    expect([...timeline.values()].map((versions) => Object.fromEntries(versions))).toEqual([
      { "4081.2.0": 0, "4230.2.1": 0 },
      { "4081.2.0": 0, "4230.2.1": 0 },
      { "4081.2.0": 2, "4230.2.1": 0 },
      { "4081.2.0": 1, "4230.2.1": 1 },
      { "4081.2.0": 0, "4230.2.1": 2 },
    ]);
    // A census that was missed: the last one within a step stands for it.
    const day = [...(await versionTimeline(world.store.read, 1, "semver", "1d", NOW + 61 * MINUTE)).values()];
    expect(Object.fromEntries(day.at(-2) ?? [])).toEqual({ "4081.2.0": 1, "4230.2.1": 1 });
  });

  it("show how often nodes came to a status in each step", async () => {
    const slot = NOW / SLOT_MS;
    const insert = world.db.prepare<unknown[]>("INSERT INTO status_slots VALUES (?, ?, ?, ?, ?)");
    insert.run(1, slot, "granted", "4230.2.1", 3);
    insert.run(1, slot - 1, "granted", "4230.2.1", 2);
    insert.run(1, slot - 1, "complete", "4230.2.1", 1);
    insert.run(1, slot - 4, "failed", "4230.2.1", 1);
    insert.run(1, slot - 5, "failed", "4230.2.1", 9);
    insert.run(2, slot, "granted", "4230.2.1", 5);
    const hour = await statusTimeline(world.store.read, 1, "1h", NOW + MINUTE);
    expect(
      [...hour.values()].map((entries) => entries.map(({ status, entries: times }) => `${status} ${times}`).sort()),
    ).toEqual([["failed 1"], [], [], ["complete 1", "granted 2"], ["granted 3"]]);
    const day = [...(await statusTimeline(world.store.read, 1, "1d", NOW)).values()];
    expect(
      day
        .at(-2)
        ?.map(({ status, entries }) => `${status} ${entries}`)
        .sort(),
    ).toEqual(["complete 1", "failed 1", "granted 2"]);
  });
});
