/** What a site may say of itself: that it has nothing yet. */
import type { SiteReport } from "../../src/admin/site-report.ts";

export const EMPTY_REPORT: SiteReport = {
  instance: "5f0c6a3e-6d0f-4a3b-9a55-1b1f4ad0c001",
  version: "0.1.0",
  sent_ts: "2026-03-04T12:00:00.000Z",
  applied: null,
  applied_ts: null,
  error: null,
  held: 0,
  nodes: [],
  other_nodes: 0,
  rollouts: [],
  stopped_groups: [],
};
