/** Activity: what happened, newest first. */
import { z } from "zod";
import { type Db, timestamp } from "./context.ts";
import { countOf, findApplication } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { listOrNullOf, numberAfter, orNull, pageQuery, rangeOf, wholeNumber } from "./paging.ts";

const THREE_DAYS_MS = 3 * 86_400_000;

const time = z.iso
  .datetime({ offset: true, error: "must be a time such as 2026-03-04T12:00:00Z" })
  .transform((text) => Date.parse(text));
const query = z.object({
  ...pageQuery,
  start: time.optional(),
  end: time.optional(),
  appIDorProductID: z.string().optional(),
  groupID: z.string().optional(),
  channelID: z.string().optional(),
  instanceID: z.string().optional(),
  version: z.string().optional(),
  severity: wholeNumber(0, 4).optional(),
});

const activityObject = z
  .object({
    id: z.uuid(),
    app_id: z.uuid(),
    group_id: z.uuid().nullable(),
    created_ts: z.iso.datetime(),
    class: z.int(),
    severity: z.int(),
    version: z.string(),
    application_name: z.string(),
    group_name: z.string().nullable(),
    channel_name: z.string().nullable(),
    instance_id: z.string().nullable(),
  })
  .meta({ id: "Activity" });

const listActivity = operation({
  id: "listActivity",
  method: "get",
  path: "/activity",
  tag: "activity",
  summary: "What happened, the newest first; of the last three days, if not said otherwise",
  role: "viewer",
  confined: "filters",
  query,
  answer: listOrNullOf("activities", activityObject),
  async handle({ read, query: wanted, now, who }) {
    const end = wanted.end ?? now;
    const start = wanted.start ?? end - THREE_DAYS_MS;
    let entries = read.selectFrom("activity").where("activity.at", ">=", start).where("activity.at", "<=", end);
    const ofMine = (names: readonly string[]) => read.selectFrom("applications").select("no").where("id", "in", names);
    const mine = who.scope.applications;
    if (mine !== null) entries = entries.where("activity.application_no", "in", ofMine(mine));
    if (wanted.appIDorProductID) {
      const { no } = await findApplication(read, wanted.appIDorProductID);
      entries = entries.where("activity.application_no", "=", no);
    }
    if (wanted.groupID) entries = entries.where("activity.group_no", "in", numbersOf(read, "groups", wanted.groupID));
    if (wanted.channelID) {
      entries = entries.where("activity.channel_no", "in", numbersOf(read, "channels", wanted.channelID));
    }
    if (wanted.instanceID) entries = entries.where("activity.instance_id", "=", wanted.instanceID);
    if (wanted.version) entries = entries.where("activity.version", "=", wanted.version);
    if (wanted.severity) entries = entries.where("activity.severity", "=", wanted.severity);
    const { limit, offset } = rangeOf(wanted);
    const after = await numberAfter(wanted, (id) =>
      entries.select("activity.no").where("activity.id", "=", id.toLowerCase()).executeTakeFirst(),
    );
    const here = after === null ? entries.offset(offset) : entries.where("activity.no", "<", after);
    const rows = await here
      .innerJoin("applications", "applications.no", "activity.application_no")
      .leftJoin("groups", "groups.no", "activity.group_no")
      .leftJoin("channels", "channels.no", "activity.channel_no")
      .selectAll("activity")
      .select(["applications.id as app_id", "applications.name as application_name"])
      .select(["groups.id as group_id", "groups.name as group_name", "channels.name as channel_name"])
      .orderBy("activity.no", "desc")
      .limit(limit)
      .execute();
    const totalCount = await countOf(entries.select((eb) => eb.fn.countAll().as("count")));
    const activities = rows.map((row) => ({
      id: row.id,
      app_id: row.app_id,
      group_id: row.group_id,
      created_ts: timestamp(row.at),
      class: row.class,
      severity: row.severity,
      version: row.version,
      application_name: row.application_name,
      group_name: row.group_name,
      channel_name: row.channel_name,
      instance_id: row.instance_id,
    }));
    return { totalCount, count: activities.length, activities: orNull(activities) };
  },
});

export const activityOperations: readonly Operation[] = [listActivity];

function numbersOf(db: Db, table: "groups" | "channels", id: string) {
  return db.selectFrom(table).select("no").where("id", "=", id.toLowerCase());
}
