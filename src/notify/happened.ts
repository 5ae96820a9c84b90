/** What has happened and was not told yet: lines of the activity, with the names of what they are about. */
import type { Kysely } from "kysely";
import type { Tables } from "../store/tables.ts";
import { type EventName, eventOf } from "./events.ts";

export interface Named {
  readonly id: string;
  readonly name: string;
}

/** A line of the activity that somebody may want to be told of. */
export interface Happened {
  readonly no: number;
  readonly id: string;
  readonly at: number;
  readonly event: EventName;
  readonly class: number;
  readonly severity: number;
  readonly version: string;
  readonly application: Named | null;
  readonly group: Named | null;
  readonly channel: Named | null;
  readonly groupNo: number | null;
  readonly instance: { readonly id: string; readonly alias: string } | null;
  readonly nodeNo: number | null;
}

/** The oldest lines that were not told yet, and what happened; some may be gone, or of a class that we don't know. */
export async function untold(db: Kysely<Tables>, limit: number): Promise<{ numbers: number[]; happened: Happened[] }> {
  const rows = await db
    .selectFrom("untold")
    .leftJoin("activity", "activity.no", "untold.activity_no")
    .leftJoin("applications", "applications.no", "activity.application_no")
    .leftJoin("groups", "groups.no", "activity.group_no")
    .leftJoin("channels", "channels.no", "activity.channel_no")
    .leftJoin("nodes", (join) =>
      join.onRef("nodes.id", "=", "activity.instance_id").onRef("nodes.application_no", "=", "activity.application_no"),
    )
    .select(["untold.activity_no", "activity.id", "activity.at", "activity.class", "activity.severity"])
    .select(["activity.version", "activity.group_no", "activity.instance_id"])
    .select(["applications.id as application_id", "applications.name as application_name"])
    .select(["groups.id as group_id", "groups.name as group_name"])
    .select(["channels.id as channel_id", "channels.name as channel_name"])
    .select(["nodes.no as node_no", "nodes.alias", "nodes.machine_alias"])
    .orderBy("untold.activity_no")
    .limit(limit)
    .execute();
  const happened = rows.flatMap((row): Happened[] => {
    const { id, at, class: activityClass, severity, version } = row;
    if (id === null || at === null || activityClass === null || severity === null || version === null) return [];
    const event = eventOf(activityClass);
    if (event === null) return [];
    const alias = row.alias || row.machine_alias || "";
    return [
      {
        no: row.activity_no,
        id,
        at,
        event,
        class: activityClass,
        severity,
        version,
        application: named(row.application_id, row.application_name),
        group: named(row.group_id, row.group_name),
        channel: named(row.channel_id, row.channel_name),
        groupNo: row.group_no,
        instance: row.instance_id === null ? null : { id: row.instance_id, alias },
        nodeNo: row.node_no,
      },
    ];
  });
  return { numbers: rows.map((row) => row.activity_no), happened };
}

function named(id: string | null, name: string | null): Named | null {
  return id === null || name === null ? null : { id, name };
}
