/** Groups as the API shows them. */
import { z } from "zod";
import { freezesSchema, strategyObject, windowsSchema } from "../fleet/strategy.ts";
import { grantedTotal } from "../rollout/counters.ts";
import { strategyInFull } from "../rollout/strategy.ts";
import { toRolloutCounters } from "../store/counters.ts";
import { effectiveStrategy } from "../store/rollouts.ts";
import { channelObject, toChannels } from "./channels.ts";
import { type Db, timestamp } from "./context.ts";
import type { GroupRow } from "./lookups.ts";

export const groupObject = z
  .object({
    id: z.uuid(),
    name: z.string(),
    description: z.string(),
    created_ts: z.iso.datetime(),
    rollout_in_progress: z.boolean(),
    application_id: z.uuid(),
    channel_id: z.uuid().nullable(),
    policy_updates_enabled: z.boolean(),
    policy_safe_mode: z.boolean(),
    policy_office_hours: z.boolean(),
    /** Null: none is set. */
    policy_timezone: z.string().nullable(),
    policy_period_interval: z.string(),
    policy_max_updates_per_period: z.int(),
    policy_update_timeout: z.string(),
    strategy: strategyObject.nullable(),
    /** What its next rollout goes by: `strategy`, or the server's default where that is null. */
    effective_strategy: strategyObject,
    maintenance_windows: windowsSchema,
    freezes: freezesSchema,
    channel: channelObject.optional(),
    track: z.string(),
  })
  .meta({ id: "Group" });
/** As it was checked when it came in. */
type StrategyView = z.input<typeof strategyObject>;
export type GroupObject = z.input<typeof groupObject>;

/** Each with its channel. */
export async function toGroups(db: Db, rows: readonly GroupRow[]): Promise<GroupObject[]> {
  const groups: GroupObject[] = [];
  for (const row of rows) groups.push(await toGroup(db, row));
  return groups;
}

export async function toGroup(db: Db, row: GroupRow): Promise<GroupObject> {
  const application = await db
    .selectFrom("applications")
    .select("id")
    .where("no", "=", row.application_no)
    .executeTakeFirstOrThrow();
  const channels =
    row.channel_no === null
      ? []
      : await db.selectFrom("channels").selectAll().where("no", "=", row.channel_no).execute();
  const [channel] = await toChannels(db, channels);
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    created_ts: timestamp(row.created_at),
    rollout_in_progress: await rolloutInProgress(db, row.no, channels[0]?.package_no ?? null),
    application_id: application.id,
    channel_id: channel?.id ?? null,
    policy_updates_enabled: row.policy_updates_enabled === 1,
    policy_safe_mode: row.policy_safe_mode === 1,
    policy_office_hours: row.policy_office_hours === 1,
    policy_timezone: row.policy_timezone || null,
    policy_period_interval: row.policy_period_interval,
    policy_max_updates_per_period: row.policy_max_updates_per_period,
    policy_update_timeout: row.policy_update_timeout,
    strategy: JSON.parse(row.strategy ?? "null"),
    effective_strategy: strategyInFull(await effectiveStrategy(db, row.strategy)) as StrategyView,
    maintenance_windows: JSON.parse(row.maintenance_windows),
    freezes: JSON.parse(row.freezes),
    ...(channel === undefined ? {} : { channel }),
    track: row.track,
  };
}

/** From the first grant of the channel's package until its rollout is completed. */
async function rolloutInProgress(db: Db, groupNo: number, packageNo: number | null): Promise<boolean> {
  if (packageNo === null) return false;
  const running = await db
    .selectFrom("rollouts")
    .innerJoin("rollout_counters", "rollout_counters.rollout_no", "rollouts.no")
    .selectAll("rollout_counters")
    .where("rollouts.group_no", "=", groupNo)
    .where("rollouts.package_no", "=", packageNo)
    .where("rollouts.state", "=", "running")
    .executeTakeFirst();
  if (running === undefined) return false;
  return grantedTotal(toRolloutCounters(running).total) > 0;
}
