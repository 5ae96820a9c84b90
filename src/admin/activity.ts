/** Activity: what happened, newest first. */
import type { Router } from "express";
import { z } from "zod";
import { type AdminContext, timestamp } from "./context.ts";
import { countOf, findApplication } from "./lookups.ts";
import { pageQuery, rangeOf, wholeNumber } from "./paging.ts";
import { onlyMethods, validated } from "./problem.ts";

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

export function activityRoutes(router: Router, { store, clock }: AdminContext): void {
  router
    .route("/activity")
    .get(async (request, response) => {
      const wanted = validated(query, request.query);
      const end = wanted.end ?? clock.now();
      const start = wanted.start ?? end - THREE_DAYS_MS;
      let entries = store.read
        .selectFrom("activity")
        .innerJoin("applications", "applications.no", "activity.application_no")
        .leftJoin("groups", "groups.no", "activity.group_no")
        .leftJoin("channels", "channels.no", "activity.channel_no")
        .where("activity.at", ">=", start)
        .where("activity.at", "<=", end);
      if (wanted.appIDorProductID) {
        const { no } = await findApplication(store.read, wanted.appIDorProductID);
        entries = entries.where("activity.application_no", "=", no);
      }
      if (wanted.groupID) entries = entries.where("groups.id", "=", wanted.groupID.toLowerCase());
      if (wanted.channelID) entries = entries.where("channels.id", "=", wanted.channelID.toLowerCase());
      if (wanted.instanceID) entries = entries.where("activity.instance_id", "=", wanted.instanceID);
      if (wanted.version) entries = entries.where("activity.version", "=", wanted.version);
      if (wanted.severity) entries = entries.where("activity.severity", "=", wanted.severity);
      const { limit, offset } = rangeOf(wanted);
      const rows = await entries
        .selectAll("activity")
        .select(["applications.id as app_id", "applications.name as application_name"])
        .select(["groups.id as group_id", "groups.name as group_name", "channels.name as channel_name"])
        .orderBy("activity.no", "desc")
        .limit(limit)
        .offset(offset)
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
      response.json({ totalCount, count: activities.length, activities });
    })
    .all(onlyMethods("GET"));
}
