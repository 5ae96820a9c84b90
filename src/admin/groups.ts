/** Groups: the nodes that share a policy. */
import { randomUUID } from "node:crypto";
import type { Router } from "express";
import { IANAZone } from "luxon";
import { z } from "zod";
import { freezesSchema, strategySchema, windowsSchema } from "../fleet/strategy.ts";
import { grantedTotal } from "../rollout/counters.ts";
import { parseInterval } from "../rollout/interval.ts";
import type { StrategyDocument } from "../rollout/strategy.ts";
import { toRolloutCounters } from "../store/counters.ts";
import { toChannels } from "./channels.ts";
import { type AdminContext, change, type Db, readOnly, type Tx, timestamp } from "./context.ts";
import { type ApplicationRow, countOf, findApplication, findGroup, type GroupRow } from "./lookups.ts";
import { pageQuery, rangeOf } from "./paging.ts";
import { invalid, onlyMethods, validated } from "./problem.ts";

const interval = z
  .string()
  .max(100)
  .refine((text) => parseInterval(text) !== null, {
    error: ({ input }) => `"${input}" is not an interval; write e.g. "15 minutes"`,
  });

const groupBody = z.strictObject({
  name: z.string().min(1).max(50),
  description: z.string().max(10_000).nullish(),
  channel_id: z.string().nullish(),
  track: z.string().max(256).nullish(),
  policy_updates_enabled: z.boolean().optional(),
  policy_safe_mode: z.boolean().optional(),
  policy_office_hours: z.boolean().optional(),
  policy_timezone: z
    .string()
    .refine((zone) => IANAZone.isValidZone(zone), 'must be a time zone\'s name, e.g. "Europe/Berlin"'),
  policy_period_interval: interval,
  policy_max_updates_per_period: z.number().int().min(1).max(2_000_000_000),
  policy_update_timeout: interval,
  strategy: strategySchema.nullish(),
  maintenance_windows: windowsSchema.optional(),
  freezes: freezesSchema.optional(),
  ...readOnly("id", "created_ts", "rollout_in_progress", "application_id", "channel"),
});
type GroupBody = z.infer<typeof groupBody>;

export function groupRoutes(router: Router, context: AdminContext): void {
  const { store } = context;

  router
    .route("/apps/:app/groups")
    .get(async (request, response) => {
      const page = validated(z.object(pageQuery), request.query);
      const application = await findApplication(store.read, request.params.app);
      const { limit, offset } = rangeOf(page);
      const groups = store.read.selectFrom("groups").where("application_no", "=", application.no);
      const rows = await groups
        .selectAll()
        .orderBy("created_at", "desc")
        .orderBy("no", "desc")
        .limit(limit)
        .offset(offset)
        .execute();
      const totalCount = await countOf(groups.select((eb) => eb.fn.countAll().as("count")));
      response.json({ totalCount, count: rows.length, groups: await toGroups(store.read, rows) });
    })
    .post(async (request, response) => {
      const body = validated(groupBody, request.body);
      const created = await change(context, response, async (tx, now) => {
        const application = await findApplication(tx, request.params.app);
        const id = randomUUID();
        const columns = await columnsOf(tx, application, body, id, null);
        const { no } = await tx
          .insertInto("groups")
          .values({ id, application_no: application.no, created_at: now, ...columns })
          .returning("no")
          .executeTakeFirstOrThrow();
        return shown(tx, no);
      });
      response.json(created);
    })
    .all(onlyMethods("GET", "POST"));

  router
    .route("/apps/:app/groups/:group")
    .get(async (request, response) => {
      const application = await findApplication(store.read, request.params.app);
      const { no } = await findGroup(store.read, application, request.params.group);
      response.json(await shown(store.read, no));
    })
    .put(async (request, response) => {
      const body = validated(groupBody, request.body);
      const updated = await change(context, response, async (tx) => {
        const application = await findApplication(tx, request.params.app);
        const before = await findGroup(tx, application, request.params.group);
        const columns = await columnsOf(tx, application, body, before.id, before);
        await tx.updateTable("groups").set(columns).where("no", "=", before.no).execute();
        return shown(tx, before.no);
      });
      response.json(updated);
    })
    .delete(async (request, response) => {
      await change(context, response, async (tx) => {
        const application = await findApplication(tx, request.params.app);
        const { no } = await findGroup(tx, application, request.params.group);
        // Its nodes stay, and move to another group with their next check-in.
        await tx.deleteFrom("groups").where("no", "=", no).execute();
      });
      response.status(204).end();
    })
    .all(onlyMethods("GET", "PUT", "DELETE"));
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
  return {
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

/** A name once in an application; a track once for each architecture, or nodes could not tell their group. */
async function checkUnique(
  tx: Tx,
  application: ApplicationRow,
  name: string,
  track: string,
  channel: { arch: number } | null,
  before: GroupRow | null,
): Promise<void> {
  const others = await tx
    .selectFrom("groups")
    .leftJoin("channels", "channels.no", "groups.channel_no")
    .select(["groups.name", "groups.track", "channels.arch"])
    .where("groups.application_no", "=", application.no)
    .where("groups.no", "!=", before?.no ?? 0)
    .execute();
  for (const other of others) {
    if (other.name === name) throw invalid("name", `there is a group "${name}" already`, 409);
    if (other.track === track && other.arch === (channel?.arch ?? null)) {
      throw invalid("track", `group "${other.name}" has the track "${track}" for this architecture already`, 409);
    }
  }
}

async function shown(db: Db, no: number) {
  return (
    await toGroups(db, [await db.selectFrom("groups").selectAll().where("no", "=", no).executeTakeFirstOrThrow()])
  )[0];
}

/** Rows as the API shows them, each with its channel. */
export async function toGroups(db: Db, rows: readonly GroupRow[]) {
  const objects = [];
  for (const row of rows) {
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
    objects.push({
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
    });
  }
  return objects;
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
