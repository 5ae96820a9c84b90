/** An instance as the API shows it. */
import { z } from "zod";
import { isShared, readFormerBoots } from "../rollout/shared-id.ts";
import { sharedOf } from "../store/care.ts";
import { type NodeRow, withSeen } from "../store/node-list.ts";
import { careFields, careOf } from "./care-objects.ts";
import { type Db, timestamp } from "./context.ts";
import type { ApplicationRow, GroupRow } from "./lookups.ts";
import { notFound } from "./problem.ts";
import { statusNumber } from "./statuses.ts";

const sharedObject = z.object({
  since: z.iso.datetime(),
  /** When one of them was last heard again after another; a day later it is over. */
  last_noticed_ts: z.iso.datetime(),
  /** Those heard before the one that the node's own fields are of, as far as they are known, the last one first. */
  others: z.array(z.object({ version: z.string(), ip: z.string(), heard_until_ts: z.iso.datetime() })),
});

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
    /** Two machines or more report with this id; null: it is one machine's, as far as anybody knows. */
    shared_machine_id: sharedObject.nullable(),
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
  now: number,
): z.input<typeof instanceObject> {
  return {
    id: row.id,
    ip: row.ip,
    oem: row.oem,
    aleph_version: row.aleph_version,
    created_ts: timestamp(row.created_at),
    alias: row.alias || row.machine_alias,
    ...careOf(row),
    shared_machine_id: sharedIn(row, now),
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

function sharedIn(row: NodeRow, now: number): z.input<typeof sharedObject> | null {
  const shared = sharedOf(row.shared_since, row.shared_at);
  if (!isShared(shared, now)) return null;
  const others = readFormerBoots(row.former_boots ?? "").flatMap(({ version, ip, leftAt }) =>
    version === null || ip === null ? [] : [{ version, ip, heard_until_ts: timestamp(leftAt) }],
  );
  return { since: timestamp(shared.since), last_noticed_ts: timestamp(shared.lastAt), others: others.reverse() };
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
