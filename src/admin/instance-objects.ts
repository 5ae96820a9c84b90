/** An instance as the API shows it. */
import { z } from "zod";
import { type NodeRow, withSeen } from "../store/node-list.ts";
import { careFields, careOf } from "./care-objects.ts";
import { type Db, timestamp } from "./context.ts";
import type { ApplicationRow, GroupRow } from "./lookups.ts";
import { notFound } from "./problem.ts";
import { statusNumber } from "./statuses.ts";

export const instanceObject = z
  .object({
    id: z.string(),
    ip: z.string(),
    oem: z.string(),
    aleph_version: z.string(),
    created_ts: z.iso.datetime(),
    /** A person's, or else what the node calls itself. */
    alias: z.string(),
    ...careFields,
    application: z.object({
      instance_id: z.string(),
      application_id: z.uuid(),
      group_id: z.uuid().nullable(),
      version: z.string(),
      created_ts: z.iso.datetime(),
      status: z.int().min(1).max(8),
      /** Where it stands in the engine's own words, which tell more than `status`. */
      state: z.string(),
      error_code: z.int().nullable(),
      last_check_for_updates: z.iso.datetime(),
      last_update_granted_ts: z.iso.datetime().nullable(),
      last_update_version: z.string().nullable(),
      update_in_progress: z.boolean(),
    }),
  })
  .meta({ id: "Instance" });

export function toInstance(
  row: NodeRow,
  application: ApplicationRow,
  group: GroupRow | null,
): z.input<typeof instanceObject> {
  return {
    id: row.id,
    ip: row.ip,
    oem: row.oem,
    aleph_version: row.aleph_version,
    created_ts: timestamp(row.created_at),
    alias: row.alias || row.machine_alias,
    ...careOf(row),
    application: {
      instance_id: row.id,
      application_id: application.id,
      group_id: group?.id ?? null,
      version: row.version,
      created_ts: timestamp(row.created_at),
      status: statusNumber(row.status),
      state: row.status,
      error_code: row.error_code,
      last_check_for_updates: timestamp(row.at ?? row.created_at),
      last_update_granted_ts: row.granted_at === null ? null : timestamp(row.granted_at),
      last_update_version: row.grant_version,
      update_in_progress: row.deadline !== null,
    },
  };
}

export async function findNode(db: Db, application: ApplicationRow, group: GroupRow, id: string): Promise<NodeRow> {
  const row = await withSeen(db)
    .selectAll("nodes")
    .select("seen.at")
    .where("nodes.id", "=", id)
    .where("nodes.application_no", "=", application.no)
    .where("nodes.group_no", "=", group.no)
    .executeTakeFirst();
  if (row === undefined) throw notFound("instance", id);
  return row;
}
