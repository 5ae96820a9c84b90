import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { type SiteReport, siteReport } from "../../src/admin/site-report.ts";
import { fitting, makeReport } from "../../src/edge/report.ts";
import { release, STABLE_GROUP } from "../e2e/turnout.ts";
import { EMPTY_REPORT } from "./site-report.ts";
import { round, type World, worlds } from "./world.ts";

let world: World;
worlds((one) => {
  world = one;
});

const REPORT: SiteReport = {
  ...EMPTY_REPORT,
  nodes: [5, 4, 3, 2, 1].map((nodes) => ({
    group: STABLE_GROUP,
    version: `4230.2.${nodes}+${"x".repeat(200)}`,
    status: "complete",
    nodes,
  })),
  other_nodes: 10,
};

it("a report that would be too large tells of the most common nodes, and counts the others", () => {
  const size = Buffer.byteLength(JSON.stringify(REPORT));
  expect(fitting(REPORT, size)).toBe(REPORT);
  const smaller = fitting(REPORT, size - 1);
  expect(smaller.nodes).toEqual(REPORT.nodes.slice(0, 2));
  expect(smaller.other_nodes).toBe(16);
  expect(fitting(REPORT, 10)).toMatchObject({ nodes: [], other_nodes: 25 });
});

it("a report tells of the newest rollouts and the most common nodes, as many as the central server takes", async () => {
  const central = await world.central();
  await release(central.api, "4230.2.1");
  const site = await world.site(central);
  await round(site);
  const { store } = site.turnout;
  await store.write(async (tx) => {
    const first = await tx.selectFrom("rollouts").selectAll().executeTakeFirstOrThrow();
    await tx.updateTable("rollouts").set({ state: "paused" }).execute();
    for (let n = 1; n <= 1_000; n += 1) {
      const state = n === 1_000 ? "halted" : "running";
      await tx
        .insertInto("rollouts")
        .values({ ...first, no: first.no + n, id: randomUUID(), state })
        .execute();
    }
    for (let count = 1; count <= 2_001; count += 1) {
      const row = { group_no: first.group_no, version: `1.${count}.0`, status: "seen", count };
      await tx.insertInto("node_counts").values(row).execute();
    }
  });
  const { instance } = EMPTY_REPORT;
  const report = await store.snapshot((db) => makeReport(db, { instance, version: "1", error: null, now: 0 }));
  expect(siteReport.parse(report)).toEqual(report);
  expect(report.rollouts).toHaveLength(1_000);
  expect(report.rollouts.filter(({ state }) => state !== "running")).toMatchObject([{ state: "halted" }]);
  expect([report.nodes.length, report.nodes[0]?.nodes, report.other_nodes]).toEqual([2_000, 2_001, 1]);
  expect(Buffer.byteLength(JSON.stringify(report))).toBeLessThan(2 ** 20);
});
