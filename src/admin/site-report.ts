/** What a site says of itself: who it is, how its nodes stand, how its rollouts go. The newest is all there is. */
import { z } from "zod";
import { archSchema } from "../fleet/document.ts";
import { ROLLOUT_STATES } from "../rollout/model/rollout.ts";
import { countersObject } from "./rollout-views.ts";

const count = z.int().nonnegative();
const text = z.string().max(2_000);

/** What nodes make up must not fill the central server's disk. */
export const MAX_NODE_ROWS = 2_000;
export const MAX_ROLLOUT_ROWS = 1_000;
export const MAX_STOPPED_ROWS = 1_000;

const nodeRow = z.object({
  group: z.uuid(),
  version: z.string().max(255),
  status: z.string().max(50),
  nodes: count,
});

const rolloutRow = z.object({
  group: z.uuid(),
  version: z.string().max(255),
  arch: archSchema,
  state: z.enum(ROLLOUT_STATES),
  /** From 1. */
  stage: z.int().positive(),
  stages: z.int().positive(),
  /** Why it is as it is. */
  reason: text,
  /** Older sites don't know who had completed before. */
  counters: countersObject.partial({ relapsed: true }),
});

/** A group whose updates safe mode has stopped there. */
const stoppedRow = z.object({
  group: z.uuid(),
  since: z.iso.datetime(),
  /** That its first node did not come through with. */
  version: z.string().max(255),
  reason: text,
});

export const siteReport = z
  .object({
    instance: z.uuid(),
    /** Turnout's own. */
    version: z.string().max(100),
    /** The site's clock. */
    sent_ts: z.iso.datetime(),
    /** Of the configuration: the ETag of what it has applied; null: nothing yet. */
    applied: z.string().max(200).nullable(),
    applied_ts: z.iso.datetime().nullable(),
    /** Why it could not get or apply the configuration; null: it could. */
    error: text.nullable(),
    /** Channels that wait for their release's files. */
    held: z.int().nonnegative(),
    nodes: z.array(nodeRow).max(MAX_NODE_ROWS),
    /** Nodes that are in none of the rows: there are too many versions. */
    other_nodes: count,
    rollouts: z.array(rolloutRow).max(MAX_ROLLOUT_ROWS),
    /** Sites of older versions say nothing of them. */
    stopped_groups: z.array(stoppedRow).max(MAX_STOPPED_ROWS).default([]),
  })
  .meta({ id: "SiteReport" });
export type SiteReport = z.output<typeof siteReport>;
