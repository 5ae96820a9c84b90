/** Channels: a named pointer to a package, for one architecture; and their floors. */
import { randomUUID } from "node:crypto";
import type { Router } from "express";
import { z } from "zod";
import { ACTIVITY, SEVERITY } from "../rollout/model.ts";
import { compareVersions } from "../rollout/version.ts";
import { type AdminContext, change, type Db, readOnly, type Tx, timestamp } from "./context.ts";
import { type ApplicationRow, type ChannelRow, countOf, findApplication, findChannel, findPackage } from "./lookups.ts";
import { toPackages } from "./packages.ts";
import { cut, pageQuery, rangeOf } from "./paging.ts";
import { invalid, notFound, onlyMethods, validated } from "./problem.ts";

const channelBody = z.strictObject({
  name: z.string().min(1).max(25),
  color: z.string().min(1).max(25),
  arch: z.number().int().min(0).max(3),
  application_id: z.string().optional(),
  package_id: z.string().nullish(),
  ...readOnly("id", "created_ts", "package"),
});
type ChannelBody = z.infer<typeof channelBody>;

const floorBody = z.strictObject({ floor_reason: z.string().max(500).nullish() }).optional();
const listQuery = z.object(pageQuery);

export function channelRoutes(router: Router, context: AdminContext): void {
  const { store } = context;

  router
    .route("/apps/:app/channels")
    .get(async (request, response) => {
      const page = validated(listQuery, request.query);
      const application = await findApplication(store.read, request.params.app);
      const { limit, offset } = rangeOf(page);
      const channels = store.read.selectFrom("channels").where("application_no", "=", application.no);
      const rows = await channels.selectAll().orderBy("name").orderBy("arch").limit(limit).offset(offset).execute();
      const totalCount = await countOf(channels.select((eb) => eb.fn.countAll().as("count")));
      response.json({ totalCount, count: rows.length, channels: await toChannels(store.read, rows) });
    })
    .post(async (request, response) => {
      const body = validated(channelBody, request.body);
      const created = await change(context, response, async (tx, now) => {
        const application = await findApplication(tx, request.params.app);
        const { no } = await tx
          .insertInto("channels")
          .values({
            id: randomUUID(),
            application_no: application.no,
            name: body.name,
            color: body.color,
            arch: body.arch,
            package_no: null,
            created_at: now,
          })
          .onConflict((conflict) => conflict.doNothing())
          .returning("no")
          .executeTakeFirst()
          .then((row) => row ?? Promise.reject(taken(body)));
        await point(tx, application, await channelByNo(tx, no), body, now);
        return shown(tx, no);
      });
      response.json(created);
    })
    .all(onlyMethods("GET", "POST"));

  router
    .route("/apps/:app/channels/:channel")
    .get(async (request, response) => {
      const application = await findApplication(store.read, request.params.app);
      const { no } = await findChannel(store.read, application, request.params.channel);
      response.json(await shown(store.read, no));
    })
    .put(async (request, response) => {
      const body = validated(channelBody, request.body);
      const updated = await change(context, response, async (tx, now) => {
        const application = await findApplication(tx, request.params.app);
        const before = await findChannel(tx, application, request.params.channel);
        const twin = await tx
          .selectFrom("channels")
          .select("no")
          .where("application_no", "=", application.no)
          .where("name", "=", body.name)
          .where("arch", "=", before.arch)
          .where("no", "!=", before.no)
          .executeTakeFirst();
        if (twin !== undefined) throw taken(body);
        // Its architecture never changes.
        await tx
          .updateTable("channels")
          .set({ name: body.name, color: body.color })
          .where("no", "=", before.no)
          .execute();
        await point(tx, application, before, body, now);
        return shown(tx, before.no);
      });
      response.json(updated);
    })
    .delete(async (request, response) => {
      await change(context, response, async (tx) => {
        const application = await findApplication(tx, request.params.app);
        const { no } = await findChannel(tx, application, request.params.channel);
        await tx.updateTable("groups").set({ channel_no: null }).where("channel_no", "=", no).execute();
        await tx.deleteFrom("channels").where("no", "=", no).execute();
      });
      response.status(204).end();
    })
    .all(onlyMethods("GET", "PUT", "DELETE"));
}

export function floorRoutes(router: Router, context: AdminContext): void {
  const { store } = context;

  router
    .route("/channels/:channel/floors")
    .get(async (request, response) => {
      const page = validated(z.object({ ...pageQuery, perpage: pageQuery.perpage.default(100) }), request.query);
      const channel = await findChannel(store.read, null, request.params.channel);
      const floors = await store.read
        .selectFrom("channel_floors")
        .innerJoin("packages", "packages.no", "channel_floors.package_no")
        .selectAll("packages")
        .select("channel_floors.reason")
        .where("channel_floors.channel_no", "=", channel.no)
        .execute();
      const shownFloors = cut(
        floors.sort((a, b) => compareVersions(a.version, b.version)),
        page,
      );
      const objects = await toPackages(store.read, shownFloors);
      const packages = objects.map((object, index) => ({
        ...object,
        is_floor: true,
        floor_reason: shownFloors[index]?.reason ?? null,
      }));
      response.json({ totalCount: floors.length, count: packages.length, packages });
    })
    .all(onlyMethods("GET"));

  router
    .route("/channels/:channel/floors/:package")
    .put(async (request, response) => {
      const body = validated(floorBody, request.body);
      const answer = await change(context, response, async (tx, now) => {
        const channel = await findChannel(tx, null, request.params.channel);
        const floor = await findPackage(tx, null, request.params.package);
        if (floor.application_no !== channel.application_no) {
          throw invalid("package", "Package does not belong to the same application as the channel");
        }
        if (floor.arch !== channel.arch) throw invalid("package", "Architecture mismatch between channel and package");
        if (await isBlacklisted(tx, floor.no, channel.no)) {
          throw invalid("package", "the package blacklists this channel", 409);
        }
        const reason = body?.floor_reason ?? null;
        await tx
          .insertInto("channel_floors")
          .values({ channel_no: channel.no, package_no: floor.no, reason, created_at: now })
          .onConflict((conflict) => conflict.columns(["channel_no", "package_no"]).doUpdateSet({ reason }))
          .execute();
        return { channel_id: channel.id, package_id: floor.id, status: "ok" };
      });
      response.json(answer);
    })
    .delete(async (request, response) => {
      await change(context, response, async (tx) => {
        const channel = await findChannel(tx, null, request.params.channel);
        const floor = await findPackage(tx, null, request.params.package);
        const gone = await tx
          .deleteFrom("channel_floors")
          .where("channel_no", "=", channel.no)
          .where("package_no", "=", floor.no)
          .executeTakeFirst();
        if (gone.numDeletedRows === 0n) throw notFound("floor", request.params.package);
      });
      response.status(204).end();
    })
    .all(onlyMethods("PUT", "DELETE"));
}

function taken({ name }: ChannelBody): Error {
  return invalid("name", `there is a channel "${name}" for this architecture already`, 409);
}

async function isBlacklisted(tx: Tx, packageNo: number, channelNo: number): Promise<boolean> {
  const row = await tx
    .selectFrom("package_blacklist")
    .select("package_no")
    .where("package_no", "=", packageNo)
    .where("channel_no", "=", channelNo)
    .executeTakeFirst();
  return row !== undefined;
}

/** Points the channel where the body says; a move to another package is written into the activity. */
async function point(
  tx: Tx,
  application: ApplicationRow,
  channel: ChannelRow,
  body: ChannelBody,
  now: number,
): Promise<void> {
  const { application_id: named } = body;
  if (
    named !== undefined &&
    named.toLowerCase() !== application.id &&
    named.toLowerCase() !== application.product_id?.toLowerCase()
  ) {
    throw invalid("application_id", `must be ${application.id}, the application of the path`);
  }
  if (!body.package_id) {
    await tx.updateTable("channels").set({ package_no: null }).where("no", "=", channel.no).execute();
    return;
  }
  const target = await tx
    .selectFrom("packages")
    .selectAll()
    .where("id", "=", body.package_id.toLowerCase())
    .where("application_no", "=", application.no)
    .executeTakeFirst();
  if (target === undefined) throw invalid("package_id", "there is no such package in this application");
  if (target.arch !== channel.arch)
    throw invalid("package_id", "the package is for another architecture than the channel");
  if (await isBlacklisted(tx, target.no, channel.no))
    throw invalid("package_id", "the package blacklists this channel", 409);
  if (channel.package_no === target.no) return;
  await tx.updateTable("channels").set({ package_no: target.no }).where("no", "=", channel.no).execute();
  await tx
    .insertInto("activity")
    .values({
      id: randomUUID(),
      at: now,
      class: ACTIVITY.channelPackageUpdated,
      severity: SEVERITY.info,
      application_no: application.no,
      group_no: null,
      channel_no: channel.no,
      instance_id: null,
      version: target.version,
    })
    .execute();
}

function channelByNo(db: Db, no: number): Promise<ChannelRow> {
  return db.selectFrom("channels").selectAll().where("no", "=", no).executeTakeFirstOrThrow();
}

async function shown(db: Db, no: number) {
  return (await toChannels(db, [await channelByNo(db, no)]))[0];
}

/** Rows as the API shows them, each with its package. */
export async function toChannels(db: Db, rows: readonly ChannelRow[]) {
  const objects = [];
  for (const row of rows) {
    const application = await db
      .selectFrom("applications")
      .select("id")
      .where("no", "=", row.application_no)
      .executeTakeFirstOrThrow();
    const packages =
      row.package_no === null
        ? []
        : await db.selectFrom("packages").selectAll().where("no", "=", row.package_no).execute();
    const [target] = await toPackages(db, packages);
    objects.push({
      id: row.id,
      name: row.name,
      color: row.color,
      created_ts: timestamp(row.created_at),
      application_id: application.id,
      package_id: target?.id ?? null,
      package: target ?? null,
      arch: row.arch,
    });
  }
  return objects;
}
