/** The activity: what people are told of. Nodes' own lines are written with their check-ins. */
import { randomUUID } from "node:crypto";
import type { Kysely } from "kysely";
import type { Tables } from "./tables.ts";

/** Row numbers; what is left out it is not about. */
export interface About {
  readonly application_no: number;
  readonly group_no?: number;
  readonly channel_no?: number;
  readonly version: string;
}

/** @param activityClass one of `ACTIVITY`, as the severity is one of `SEVERITY`. @param at milliseconds since the epoch */
export async function noteActivity(
  tx: Kysely<Tables>,
  activityClass: number,
  severity: number,
  { application_no, group_no, channel_no, version }: About,
  at: number,
): Promise<void> {
  await tx
    .insertInto("activity")
    .values({
      id: randomUUID(),
      at,
      class: activityClass,
      severity,
      application_no,
      group_no: group_no ?? null,
      channel_no: channel_no ?? null,
      instance_id: null,
      version,
    })
    .execute();
}
