import { expect, it } from "vitest";
import type { SiteReport } from "../../src/admin/site-report.ts";
import { fitting } from "../../src/edge/report.ts";
import { STABLE_GROUP } from "../e2e/turnout.ts";
import { EMPTY_REPORT } from "./site-report.ts";

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
