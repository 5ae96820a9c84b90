/** Groups: the nodes that share a policy. */
import { randomUUID } from "node:crypto";
import { IANAZone } from "luxon";
import { z } from "zod";
import { freezesSchema, strategyObject, strategySchema, windowsSchema } from "../fleet/strategy.ts";
import { grantedTotal } from "../rollout/counters.ts";
import { parseInterval } from "../rollout/interval.ts";
import { ARCH } from "../rollout/model.ts";
import type { StrategyDocument } from "../rollout/strategy.ts";
import { checkFreeze, type FreezeDocument } from "../rollout/windows.ts";
import { toRolloutCounters } from "../store/counters.ts";
import { nextNumber } from "../store/numbers.ts";
import { channelObject, toChannels } from "./channels.ts";
import { type Db, readOnly, type Tx, timestamp } from "./context.ts";
import { type ApplicationRow, countOf, findApplication, findGroup, type GroupRow } from "./lookups.ts";
import { type Audit, type Operation, operation } from "./operation.ts";
import { listOrNullOf, orNull, pageQuery, placeOf } from "./paging.ts";
import { invalid } from "./problem.ts";

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
  ...readOnly("id", "created_ts", "rollout_in_progress", "application_id", "channel"),
});
export type GroupBody = z.output<typeof groupBody>;

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
    policy_timezone: z.string(),
    policy_period_interval: z.string(),
    policy_max_updates_per_period: z.int(),
    policy_update_timeout: z.string(),
    strategy: strategyObject.nullable(),
    maintenance_windows: windowsSchema,
    freezes: freezesSchema,
    channel: channelObject.optional(),
    track: z.string(),
  })
  .meta({ id: "Group" });
export type GroupObject = z.input<typeof groupObject>;

const TAG = "groups";

const listGroups = operation({
  id: "listGroups",
  method: "get",
  path: "/apps/:app/groups",
  tag: TAG,
  summary: "The application's groups, the newest first",
  role: "viewer",
  query: z.object(pageQuery),
  answer: listOrNullOf("groups", groupObject),
  async handle({ read, params, query }) {
    const application = await findApplication(read, params.app);
    const groups = read.selectFrom("groups").where("application_no", "=", application.no);
    const newest = groups.orderBy("created_at", "desc").orderBy("no", "desc");
    const { limit, offset } = await placeOf(query, () => newest.select("id").execute());
    const rows = await newest.selectAll().limit(limit).offset(offset).execute();
    const totalCount = await countOf(groups.select((eb) => eb.fn.countAll().as("count")));
    return { totalCount, count: rows.length, groups: orNull(await toGroups(read, rows)) };
  },
});

const postGroup = operation({
  id: "createGroup",
  method: "post",
  path: "/apps/:app/groups",
  tag: TAG,
  summary: "Make a group",
  role: "admin",
  body: groupBody,
  answer: groupObject,
  handle: (call) =>
    call.configure(async (tx, now, audit) => {
      const application = await findApplication(tx, call.params.app);
      return createGroup(tx, application, call.body, now, audit);
    }),
});

const getGroup = operation({
  id: "getGroup",
  method: "get",
  path: "/apps/:app/groups/:group",
  tag: TAG,
  summary: "One group, with its channel",
  role: "viewer",
  answer: groupObject,
  async handle(call) {
    const application = await findApplication(call.read, call.params.app);
    const row = await findGroup(call.read, application, call.params.group);
    const group = await toGroup(call.read, row);
    call.tag(stateOf(group));
    return group;
  },
});

const putGroup = operation({
  id: "updateGroup",
  method: "put",
  path: "/apps/:app/groups/:group",
  tag: TAG,
  summary: "Change a group: what the body leaves out is cleared, but for its switches, strategy, windows and freezes",
  role: "admin",
  body: groupBody,
  answer: groupObject,
  handle: (call) =>
    call.configure(async (tx, _now, audit) => {
      const application = await findApplication(tx, call.params.app);
      const before = await findGroup(tx, application, call.params.group);
      call.expect(stateOf(await toGroup(tx, before)));
      const after = await updateGroup(tx, application, before, call.body, audit);
      call.tag(stateOf(after));
      return after;
    }),
});

const removeGroup = operation({
  id: "deleteGroup",
  method: "delete",
  path: "/apps/:app/groups/:group",
  tag: TAG,
  summary: "Delete a group; its nodes stay, and move to another group with their next check-in",
  role: "admin",
  answer: null,
  handle: (call) =>
    call.configure(async (tx, _now, audit) => {
      const application = await findApplication(tx, call.params.app);
      const row = await findGroup(tx, application, call.params.group);
      call.expect(stateOf(await toGroup(tx, row)));
      await deleteGroup(tx, row, audit);
    }),
});

export const groupOperations: readonly Operation[] = [listGroups, postGroup, getGroup, putGroup, removeGroup];

export async function createGroup(
  tx: Tx,
  application: ApplicationRow,
  body: GroupBody,
  now: number,
  audit: Audit,
  id: string = randomUUID(),
): Promise<GroupObject> {
  const columns = await columnsOf(tx, application, body, id, null);
  const row = await tx
    .insertInto("groups")
    .values({ no: await nextNumber(tx, "groups"), id, application_no: application.no, created_at: now, ...columns })
    .returningAll()
    .executeTakeFirstOrThrow();
  const group = await toGroup(tx, row);
  await audit({ ...subject(group), before: null, after: stateOf(group) });
  return group;
}

export async function updateGroup(
  tx: Tx,
  application: ApplicationRow,
  row: GroupRow,
  body: GroupBody,
  audit: Audit,
): Promise<GroupObject> {
  const before = await toGroup(tx, row);
  const columns = await columnsOf(tx, application, body, row.id, row);
  const changed = await tx
    .updateTable("groups")
    .set(columns)
    .where("no", "=", row.no)
    .returningAll()
    .executeTakeFirstOrThrow();
  const group = await toGroup(tx, changed);
  await audit({ ...subject(group), before: stateOf(before), after: stateOf(group) });
  return group;
}

export async function deleteGroup(tx: Tx, row: GroupRow, audit: Audit): Promise<void> {
  const group = await toGroup(tx, row);
  await tx.deleteFrom("groups").where("no", "=", row.no).execute();
  await audit({ ...subject(group), before: stateOf(group), after: null });
}

function subject({ id, application_id: applicationId }: GroupObject) {
  return { subject: "group", id, applicationId, groupId: id };
}

/** What a person has set of it: for the audit log, and to tell whether it has changed. */
function stateOf({ id, created_ts: _, rollout_in_progress: __, channel: ___, track, ...state }: GroupObject): object {
  return { ...state, track: track === id ? null : track };
}

/**
 * The body as columns. What a group must have is in every body; without a channel it follows none, without a track its own
 * id is the track. Switches that the body leaves out stay as they are: turning updates off is never an oversight.
 */
async function columnsOf(tx: Tx, application: ApplicationRow, body: GroupBody, id: string, before: GroupRow | null) {
  const channel = body.channel_id
    ? await tx
        .selectFrom("channels")
        .select(["no", "arch"])
        .where("id", "=", body.channel_id.toLowerCase())
        .where("application_no", "=", application.no)
        .executeTakeFirst()
    : null;
  if (channel === undefined) throw invalid("channel_id", "there is no such channel in this application");
  const track = body.track || id;
  await checkUnique(tx, application, body.name, track, channel, before);
  if (body.strategy) await checkAfter(tx, application, { id, name: body.name, track }, body.strategy);
  const columns = {
    name: body.name,
    description: body.description ?? "",
    channel_no: channel?.no ?? null,
    track,
    policy_updates_enabled: Number(body.policy_updates_enabled ?? before?.policy_updates_enabled ?? 1),
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

/** Rows as the API shows them, each with its channel. */
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
    policy_timezone: row.policy_timezone,
    policy_period_interval: row.policy_period_interval,
    policy_max_updates_per_period: row.policy_max_updates_per_period,
    policy_update_timeout: row.policy_update_timeout,
    strategy: JSON.parse(row.strategy ?? "null"),
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
