/** Applications: what is updated. */
import { randomUUID } from "node:crypto";
import type { Router } from "express";
import { z } from "zod";
import { toChannels } from "./channels.ts";
import { type AdminContext, change, type Db, readOnly, type Tx, timestamp } from "./context.ts";
import { toGroups } from "./groups.ts";
import { realNodesSince } from "./instances.ts";
import { type ApplicationRow, countOf, findApplication } from "./lookups.ts";
import { pageQuery, rangeOf } from "./paging.ts";
import { invalid, onlyMethods, validated } from "./problem.ts";

const DAY_MS = 86_400_000;

/** Segment by segment: one pattern with nested repeats would be a denial of service. */
function isProductId(text: string): boolean {
  const segments = text.split(".");
  return (
    text.length <= 155 && segments.length >= 2 && segments.every((segment) => /^[A-Za-z][A-Za-z\d-]*$/.test(segment))
  );
}

const appBody = z.strictObject({
  name: z.string().min(1).max(50),
  description: z.string().max(10_000).nullish(),
  product_id: z
    .string()
    .refine(isProductId, "must be a reverse-domain name such as io.example.billing, of 155 characters at most")
    .nullish(),
  ...readOnly("id", "created_ts", "groups", "channels", "instances"),
});
type AppBody = z.infer<typeof appBody>;

export function appRoutes(router: Router, context: AdminContext): void {
  const { store, clock } = context;

  router
    .route("/apps")
    .get(async (request, response) => {
      const page = validated(z.object(pageQuery), request.query);
      const { limit, offset } = rangeOf(page);
      const rows = await store.read
        .selectFrom("applications")
        .selectAll()
        .orderBy("created_at", "desc")
        .orderBy("no", "desc")
        .limit(limit)
        .offset(offset)
        .execute();
      const totalCount = await countOf(
        store.read.selectFrom("applications").select((eb) => eb.fn.countAll().as("count")),
      );
      response.json({
        totalCount,
        count: rows.length,
        applications: await toApplications(store.read, rows, clock.now()),
      });
    })
    .post(async (request, response) => {
      const { clone_from: cloneFrom } = validated(z.object({ clone_from: z.string().optional() }), request.query);
      const body = validated(appBody, request.body);
      const created = await change(context, response, async (tx, now) => {
        await checkUnique(tx, body, null);
        const { no } = await tx
          .insertInto("applications")
          .values({ id: randomUUID(), created_at: now, ...columnsOf(body) })
          .returning("no")
          .executeTakeFirstOrThrow();
        if (cloneFrom) await clone(tx, await findApplication(tx, cloneFrom), no, now);
        return shown(tx, no, now);
      });
      response.json(created);
    })
    .all(onlyMethods("GET", "POST"));

  router
    .route("/apps/:app")
    .get(async (request, response) => {
      const { no } = await findApplication(store.read, request.params.app);
      response.json(await shown(store.read, no, clock.now()));
    })
    .put(async (request, response) => {
      const body = validated(appBody, request.body);
      const updated = await change(context, response, async (tx, now) => {
        const { no } = await findApplication(tx, request.params.app);
        await checkUnique(tx, body, no);
        await tx.updateTable("applications").set(columnsOf(body)).where("no", "=", no).execute();
        return shown(tx, no, now);
      });
      response.json(updated);
    })
    .delete(async (request, response) => {
      await change(context, response, async (tx) => {
        const { no } = await findApplication(tx, request.params.app);
        await deleteNodes(tx, no);
        await tx
          .deleteFrom("channel_floors")
          .where("channel_no", "in", tx.selectFrom("channels").select("no").where("application_no", "=", no))
          .execute();
        await tx.deleteFrom("applications").where("no", "=", no).execute();
      });
      response.status(204).end();
    })
    .all(onlyMethods("GET", "PUT", "DELETE"));
}

function columnsOf(body: AppBody) {
  return { name: body.name, description: body.description ?? "", product_id: body.product_id ?? null };
}

async function checkUnique(tx: Tx, body: AppBody, ownNo: number | null): Promise<void> {
  const others = await tx
    .selectFrom("applications")
    .select(["no", "name", "product_id"])
    .where("no", "!=", ownNo ?? 0)
    .execute();
  for (const { name, product_id } of others) {
    if (name === body.name) throw invalid("name", `there is an application "${name}" already`, 409);
    if (product_id !== null && product_id.toLowerCase() === body.product_id?.toLowerCase()) {
      throw invalid("product_id", `application "${name}" has it already`, 409);
    }
  }
}

/** Channels, pointing to nothing, and groups with their policies, updates enabled. */
async function clone(tx: Tx, from: ApplicationRow, toNo: number, now: number): Promise<void> {
  const channelNos = new Map<number, number>();
  for (const { no, name, color, arch } of await tx
    .selectFrom("channels")
    .selectAll()
    .where("application_no", "=", from.no)
    .execute()) {
    const copy = await tx
      .insertInto("channels")
      .values({ id: randomUUID(), application_no: toNo, name, color, arch, package_no: null, created_at: now })
      .returning("no")
      .executeTakeFirstOrThrow();
    channelNos.set(no, copy.no);
  }
  for (const { no: _, ...group } of await tx
    .selectFrom("groups")
    .selectAll()
    .where("application_no", "=", from.no)
    .execute()) {
    const id = randomUUID();
    await tx
      .insertInto("groups")
      .values({
        ...group,
        id,
        application_no: toNo,
        channel_no: group.channel_no === null ? null : (channelNos.get(group.channel_no) ?? null),
        track: group.track === group.id ? id : group.track,
        policy_updates_enabled: 1,
        created_at: now,
      })
      .execute();
  }
}

/** The tables that grow with the fleet have no foreign keys: what belongs to an application is deleted by name. */
async function deleteNodes(tx: Tx, applicationNo: number): Promise<void> {
  const nodeNos = tx.selectFrom("nodes").select("no").where("application_no", "=", applicationNo);
  for (const table of ["seen", "events", "status_history", "past_grants"] as const) {
    await tx.deleteFrom(table).where("node_no", "in", nodeNos).execute();
  }
  const groupNos = tx.selectFrom("groups").select("no").where("application_no", "=", applicationNo);
  await tx.deleteFrom("node_counts").where("group_no", "in", groupNos).execute();
  await tx.deleteFrom("nodes").where("application_no", "=", applicationNo).execute();
  await tx.deleteFrom("activity").where("application_no", "=", applicationNo).execute();
}

async function shown(db: Db, no: number, now: number) {
  const row = await db.selectFrom("applications").selectAll().where("no", "=", no).executeTakeFirstOrThrow();
  return (await toApplications(db, [row], now))[0];
}

async function toApplications(db: Db, rows: readonly ApplicationRow[], now: number) {
  const objects = [];
  for (const row of rows) {
    const groups = await db
      .selectFrom("groups")
      .selectAll()
      .where("application_no", "=", row.no)
      .orderBy("created_at", "desc")
      .execute();
    const channels = await db
      .selectFrom("channels")
      .selectAll()
      .where("application_no", "=", row.no)
      .orderBy("name")
      .execute();
    const instances = realNodesSince(db, now - DAY_MS).where("nodes.application_no", "=", row.no);
    objects.push({
      id: row.id,
      product_id: row.product_id,
      name: row.name,
      description: row.description,
      created_ts: timestamp(row.created_at),
      groups: await toGroups(db, groups),
      channels: await toChannels(db, channels),
      instances: { count: await countOf(instances.select((eb) => eb.fn.countAll().as("count"))) },
    });
  }
  return objects;
}
