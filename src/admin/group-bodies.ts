/** Groups as they come in: what each field may be, the rules beyond the single field, and how they are written. */
import { IANAZone } from "luxon";
import { z } from "zod";
import { freezesSchema, strategySchema, windowsSchema } from "../fleet/strategy.ts";
import { parseInterval } from "../rollout/interval.ts";
import { ARCH } from "../rollout/model/arch.ts";
import type { StrategyDocument } from "../rollout/strategy.ts";
import { checkFreeze, type FreezeDocument } from "../rollout/windows.ts";
import { stopOf } from "../store/fleet.ts";
import { versionOrderOf } from "../store/version-order.ts";
import { checkChannelComplete } from "./completeness.ts";
import { readOnly, type Tx } from "./context.ts";
import type { ApplicationRow, GroupRow } from "./lookups.ts";
import { invalid } from "./problem.ts";
import { checkRanges } from "./version-schemes.ts";

const interval = z
  .string()
  .max(100)
  .refine((text) => parseInterval(text) !== null, {
    error: ({ input }) => `"${input}" is not an interval; write e.g. "15 minutes"`,
  });

export const groupBody = z.strictObject({
  name: z.string().min(1).max(50),
  description: z.string().max(10_000).nullish(),
  channel_id: z.string().nullish(),
  track: z.string().max(256).nullish(),
  policy_updates_enabled: z.boolean().optional(),
  policy_safe_mode: z.boolean().optional(),
  policy_office_hours: z.boolean().optional(),
  policy_timezone: z
    .string()
    .nullable()
    .transform((zone) => zone ?? "")
    .refine((zone) => zone === "" || IANAZone.isValidZone(zone), 'must be a time zone\'s name, e.g. "Europe/Berlin"'),
  policy_period_interval: interval,
  policy_max_updates_per_period: z
    .number()
    .int()
    .min(1)
    .max(2 ** 31 - 1),
  policy_update_timeout: interval,
  strategy: strategySchema.nullish(),
  maintenance_windows: windowsSchema.optional(),
  freezes: freezesSchema.optional(),
  ...readOnly(
    "id",
    "created_ts",
    "rollout_in_progress",
    "application_id",
    "channel",
    "effective_strategy",
    "updates_stopped_by",
    "updates_stopped",
  ),
});
export type GroupBody = z.output<typeof groupBody>;

/**
 * The body as columns. What a group must have is in every body; without a channel it follows none, without a track its own
 * id is the track. Switches that the body leaves out stay as they are: turning updates off is never an oversight.
 */
export async function columnsOf(
  tx: Tx,
  application: ApplicationRow,
  body: GroupBody,
  id: string,
  before: GroupRow | null,
) {
  const channel = body.channel_id
    ? await tx
        .selectFrom("channels")
        .select(["no", "arch"])
        .where("id", "=", body.channel_id.toLowerCase())
        .where("application_no", "=", application.no)
        .executeTakeFirst()
    : null;
  if (channel === undefined) throw invalid("channel_id", "there is no such channel in this application");
  // In a new group nobody waits yet.
  if (before !== null && channel !== null && channel.no !== before.channel_no) {
    await checkChannelComplete(tx, channel.no, "channel_id");
  }
  const track = body.track || id;
  await checkUnique(tx, application, body.name, track, channel, before);
  if (body.strategy) checkRanges(body.strategy, versionOrderOf(application), "strategy");
  if (body.strategy) await checkAfter(tx, application, { id, name: body.name, track }, body.strategy);
  const columns = {
    name: body.name,
    description: body.description ?? "",
    channel_no: channel?.no ?? null,
    track,
    policy_updates_enabled: Number(turnedOn(body, before) ?? before?.policy_updates_enabled ?? 1),
    policy_safe_mode: Number(body.policy_safe_mode ?? before?.policy_safe_mode ?? 0),
    policy_office_hours: Number(body.policy_office_hours ?? before?.policy_office_hours ?? 0),
    policy_timezone: body.policy_timezone,
    policy_period_interval: body.policy_period_interval,
    policy_max_updates_per_period: body.policy_max_updates_per_period,
    policy_update_timeout: body.policy_update_timeout,
    strategy: body.strategy === undefined ? (before?.strategy ?? null) : asText(body.strategy),
    maintenance_windows: asText(body.maintenance_windows) ?? before?.maintenance_windows ?? "[]",
    freezes: asText(body.freezes) ?? before?.freezes ?? "[]",
  };
  const { policy_timezone: zone, policy_office_hours: officeHours, maintenance_windows, freezes } = columns;
  if (zone === "" && (officeHours === 1 || maintenance_windows !== "[]" || freezes !== "[]")) {
    throw invalid("policy_timezone", 'office hours, windows and freezes need one, e.g. "Europe/Berlin"');
  }
  checkFreezes(JSON.parse(freezes), zone);
  return columns;
}

/**
 * What the person says; undefined: nothing. While something has stopped the updates, they are shown as off: who sends the whole
 * object back, and in it what has stopped them, has not turned them off.
 */
function turnedOn(
  { policy_updates_enabled: enabled, updates_stopped_by: by }: GroupBody,
  before: GroupRow | null,
): boolean | undefined {
  const isAsShown = enabled === false && before?.updates_stopped != null && by === stopOf(before.updates_stopped)?.by;
  return isAsShown ? undefined : enabled;
}

/** In the group's zone, which may be another than the one they were written for. */
function checkFreezes(freezes: readonly FreezeDocument[], timezone: string): void {
  for (const [index, freeze] of freezes.entries()) {
    try {
      checkFreeze(freeze, timezone);
    } catch (error) {
      throw invalid(`freezes.${index}`, error instanceof Error ? error.message : String(error));
    }
  }
}

function asText(document: unknown): string | null {
  return document == null ? null : JSON.stringify(document);
}

interface NamedGroup {
  readonly id: string;
  readonly name: string;
  readonly track: string;
}

/** `after` names groups that exist, and no chain of them leads back here, or all would wait for each other for ever. */
async function checkAfter(
  tx: Tx,
  application: ApplicationRow,
  own: NamedGroup,
  strategy: StrategyDocument,
): Promise<void> {
  const others = await tx
    .selectFrom("groups")
    .select(["id", "name", "track", "strategy"])
    .where("application_no", "=", application.no)
    .where("id", "!=", own.id)
    .execute();
  const named = (name: string, group: NamedGroup) => [group.id, group.name, group.track].includes(name);
  const seen = new Set<string>();
  const follow = (after: StrategyDocument["after"], path: string): void => {
    for (const { group: name } of after ?? []) {
      if (named(name, own)) throw invalid(path, `group "${own.name}" would wait for itself`);
      const next = others.filter((other) => named(name, other));
      if (next.length === 0) throw invalid(path, `there is no group with the id, name or track "${name}"`);
      for (const { id, strategy: text } of next) {
        if (seen.has(id)) continue;
        seen.add(id);
        follow((JSON.parse(text ?? "{}") as StrategyDocument).after, path);
      }
    }
  };
  follow(strategy.after, "strategy.after");
}

/**
 * A name once in an application; a track once for each architecture, or nodes could not tell their group. Groups that lost
 * their channel may share one: they can be changed in all else.
 */
async function checkUnique(
  tx: Tx,
  application: ApplicationRow,
  name: string,
  track: string,
  channel: { no: number; arch: number } | null,
  before: GroupRow | null,
): Promise<void> {
  const others = await tx
    .selectFrom("groups")
    .leftJoin("channels", "channels.no", "groups.channel_no")
    .select(["groups.name", "groups.track", "channels.arch"])
    .where("groups.application_no", "=", application.no)
    .where("groups.no", "!=", before?.no ?? 0)
    .execute();
  const sameNodes = before?.track === track && before.channel_no === (channel?.no ?? null);
  for (const other of others) {
    if (other.name === name) throw invalid("name", `there is a group "${name}" already`, 409);
    if (!sameNodes && other.track === track && (other.arch ?? ARCH.all) === (channel?.arch ?? ARCH.all)) {
      throw invalid("track", `group "${other.name}" has the track "${track}" for this architecture already`, 409);
    }
  }
}
