import { expect, it } from "vitest";
import type { SiteReport } from "../../src/admin/site-report.ts";
import { fitting } from "../../src/edge/report.ts";
import { STABLE_GROUP } from "../e2e/turnout.ts";

const REPORT: SiteReport = {
  instance: "5f0c6a3e-6d0f-4a3b-9a55-1b1f4ad0c001",
  version: "0.1.0",
  sent_ts: "2026-03-04T12:00:00.000Z",
  applied: null,
  applied_ts: null,
  error: null,
  held: 0,
  nodes: [5, 4, 3, 2, 1].map((nodes) => ({
    group: STABLE_GROUP,
    version: `4230.2.${nodes}+${"x".repeat(200)}`,
    status: "complete",
    nodes,
  })),
  other_nodes: 10,
  rollouts: [],
};

it("a report that would be too large tells of the most common nodes, and counts the others", () => {
  const size = Buffer.byteLength(JSON.stringify(REPORT));
  expect(fitting(REPORT, size)).toBe(REPORT);
  const smaller = fitting(REPORT, size - 1);
  expect(smaller.nodes).toEqual(REPORT.nodes.slice(0, 2));
  expect(smaller.other_nodes).toBe(16);
  expect(fitting(REPORT, 10)).toMatchObject({ nodes: [], other_nodes: 25 });
});
