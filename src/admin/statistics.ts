/** Statistics: a group's nodes by status and version, now and in time. */
import { z } from "zod";
import { compareVersions } from "../rollout/version.ts";
import { type Counted, censusOf, nodesIn } from "../store/census.ts";
import { statusTimeline, versionTimeline } from "../store/timelines.ts";
import { versionOrderOf } from "../store/version-order.ts";
import { type Db, timestamp } from "./context.ts";
import { duration, groupOf } from "./instances.ts";
import type { GroupRow } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { statusNumber } from "./statuses.ts";

const TAG = "statistics";
const OF_BIG_GROUPS =
  "Of a group with more than 20,000 nodes, who was seen lately is counted every quarter of an hour; where they stand is always of now.";

const statisticsObject = z
  .object({
    total: z.int(),
    undefined: z.int(),
    update_granted: z.int(),
    error: z.int(),
    complete: z.int(),
    installed: z.int(),
    downloaded: z.int(),
    downloading: z.int(),
    onhold: z.int(),
  })
  .meta({ id: "InstanceStatistics" });

const getStatistics = operation({
  id: "getInstanceStatistics",
  method: "get",
  path: "/apps/:app/groups/:group/instances_stats",
  tag: TAG,
  summary: "How many nodes stand where, each in one class",
  description: OF_BIG_GROUPS,
  role: "viewer",
  query: z.object({ duration }),
  answer: statisticsObject,
  async handle({ read, params, query, now }) {
    const { group } = await groupOf(read, params);
    const census = await censusOf(read, [group.no], query.duration, now);
    return toStatistics(census.get(group.no) ?? [], await targetVersion(read, group));
  },
});

const getBreakdown = operation({
  id: "getVersionBreakdown",
  method: "get",
  path: "/apps/:app/groups/:group/version_breakdown",
  tag: TAG,
  summary: "How many of the nodes seen within a day run which version, the highest first",
  description: OF_BIG_GROUPS,
  role: "viewer",
  answer: z.array(z.object({ version: z.string(), instances: z.int(), percentage: z.number() })),
  async handle({ read, params, now }) {
    const { application, group } = await groupOf(read, params);
    const order = versionOrderOf(application);
    const counted = (await censusOf(read, [group.no], "1d", now)).get(group.no) ?? [];
    const total = nodesIn(counted);
    return [...Map.groupBy(counted, ({ version }) => version)]
      .sort(([a], [b]) => compareVersions(b, a, order))
      .map(([version, rows]) => ({
        version,
        instances: nodesIn(rows),
        percentage: (nodesIn(rows) * 100) / total,
      }));
  },
});

const byVersion = z.record(z.string(), z.int());

const getVersionTimeline = operation({
  id: "getVersionTimeline",
  method: "get",
  path: "/apps/:app/groups/:group/version_timeline",
  tag: TAG,
  summary: "How many nodes ran which version: by time, then version",
  description: `In steps of 15 minutes, 1 hour, 1 day or 3 days; of nodes seen within a day before. ${OF_BIG_GROUPS}`,
  role: "viewer",
  query: z.object({ duration }),
  answer: z.record(z.string(), byVersion),
  async handle({ read, params, query, now }) {
    const { application, group } = await groupOf(read, params);
    const timeline = await versionTimeline(read, group.no, versionOrderOf(application), query.duration, now);
    return Object.fromEntries([...timeline].map(([at, versions]) => [timestamp(at), Object.fromEntries(versions)]));
  },
});

const getStatusTimeline = operation({
  id: "getStatusTimeline",
  method: "get",
  path: "/apps/:app/groups/:group/status_timeline",
  tag: TAG,
  summary: "How many times nodes came to which status: by time, then status, then version",
  description: "In steps of 15 minutes, 1 hour, 1 day or 3 days, each by the time that it begins at.",
  role: "viewer",
  query: z.object({ duration }),
  answer: z.record(z.string(), z.record(z.string(), byVersion)),
  async handle({ read, params, query, now }) {
    const { group } = await groupOf(read, params);
    const timeline = await statusTimeline(read, group.no, query.duration, now);
    const seen = [...timeline.values()].flat().map(({ status }) => statusNumber(status));
    const statuses = [...new Set(seen)].sort();
    return Object.fromEntries(
      [...timeline].map(([at, entries]) => {
        const counts: Record<string, Record<string, number>> = {};
        for (const status of statuses) counts[status] = {};
        for (const { status, version, entries: times } of entries) {
          const versions = counts[statusNumber(status)];
          if (versions !== undefined) versions[version] = (versions[version] ?? 0) + times;
        }
        return [timestamp(at), counts];
      }),
    );
  },
});

export const statisticsOperations: readonly Operation[] = [
  getStatistics,
  getBreakdown,
  getVersionTimeline,
  getStatusTimeline,
];

async function targetVersion(db: Db, { channel_no }: GroupRow): Promise<string | null> {
  const row = await db
    .selectFrom("channels")
    .innerJoin("packages", "packages.no", "channels.package_no")
    .select("packages.version")
    .where("channels.no", "=", channel_no)
    .executeTakeFirst();
  return row?.version ?? null;
}

/** Each node in exactly one class; one that came with the target's version and was never granted anything is complete. */
function toStatistics(rows: readonly Counted[], target: string | null): z.input<typeof statisticsObject> {
  const byNumber = new Array<number>(9).fill(0);
  for (const { status, version, nodes } of rows) {
    const number = status === "unknown" && version === target ? 4 : statusNumber(status);
    byNumber[number] = (byNumber[number] ?? 0) + nodes;
  }
  const of = (number: number) => byNumber[number] ?? 0;
  return {
    total: nodesIn(rows),
    undefined: of(1),
    update_granted: of(2),
    error: of(3),
    complete: of(4),
    installed: of(5),
    downloaded: of(6),
    downloading: of(7),
    onhold: of(8),
  };
}
