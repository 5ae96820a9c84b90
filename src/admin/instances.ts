/** Instances: the nodes of a group, how they stand and how they came there. */
import type { Router } from "express";
import type { Selectable } from "kysely";
import { z } from "zod";
import { compareVersions } from "../rollout/version.ts";
import type { Tables } from "../store/tables.ts";
import { type AdminContext, type Db, readOnly, timestamp } from "./context.ts";
import { type ApplicationRow, countOf, findApplication, findGroup, type GroupRow } from "./lookups.ts";
import { pageQuery, rangeOf, wholeNumber } from "./paging.ts";
import { notFound, onlyMethods, validated } from "./problem.ts";
import { statusesOf, statusNumber } from "./statuses.ts";

const DAY_MS = 86_400_000;
const DURATION_MS = { "1h": DAY_MS / 24, "1d": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS } as const;
const duration = z
  .enum(["1h", "1d", "7d", "30d"], { error: "must be 1h, 1d, 7d or 30d" })
  .transform((name) => DURATION_MS[name]);

const listQuery = z.object({
  ...pageQuery,
  status: wholeNumber(0, 8).default(0),
  duration: duration.default(DAY_MS),
  version: z.string().max(255).optional(),
  sortFilter: wholeNumber(0, 2).default(0),
  sortOrder: wholeNumber(0, 1).default(0),
  searchFilter: z.string().max(20).optional(),
  searchValue: z.string().max(255).optional(),
});
type ListQuery = z.infer<typeof listQuery>;

export function instanceRoutes(router: Router, { store, clock }: AdminContext): void {
  const groupOf = async (params: {
    app: string;
    group: string;
  }): Promise<{ application: ApplicationRow; group: GroupRow }> => {
    const application = await findApplication(store.read, params.app);
    return { application, group: await findGroup(store.read, application, params.group) };
  };
  const nodesOf = (group: GroupRow, withinMs: number) =>
    realNodesSince(store.read, clock.now() - withinMs).where("nodes.group_no", "=", group.no);

  router
    .route("/apps/:app/groups/:group/instances")
    .get(async (request, response) => {
      const query = validated(listQuery, request.query);
      const { application, group } = await groupOf(request.params);
      const nodes = filtered(nodesOf(group, query.duration), query);
      const total = await countOf(nodes.select((eb) => eb.fn.countAll().as("count")));
      const { limit, offset } = rangeOf(query);
      const rows = await sorted(nodes, query)
        .selectAll("nodes")
        .select("seen.at")
        .limit(limit)
        .offset(offset)
        .execute();
      response.json({ total, instances: rows.map((row) => toInstance(row, application, group)) });
    })
    .all(onlyMethods("GET"));

  router
    .route("/apps/:app/groups/:group/instancescount")
    .get(async (request, response) => {
      const query = validated(z.object({ duration }), request.query);
      const { group } = await groupOf(request.params);
      response.json({
        count: await countOf(nodesOf(group, query.duration).select((eb) => eb.fn.countAll().as("count"))),
      });
    })
    .all(onlyMethods("GET"));

  router
    .route("/apps/:app/groups/:group/instances_stats")
    .get(async (request, response) => {
      const query = validated(z.object({ duration }), request.query);
      const { group } = await groupOf(request.params);
      const rows = await nodesOf(group, query.duration)
        .select(["nodes.status", "nodes.version", (eb) => eb.fn.countAll().as("count")])
        .groupBy(["nodes.status", "nodes.version"])
        .execute();
      response.json(toStatistics(rows, await targetVersion(store.read, group)));
    })
    .all(onlyMethods("GET"));

  router
    .route("/apps/:app/groups/:group/version_breakdown")
    .get(async (request, response) => {
      const { group } = await groupOf(request.params);
      const rows = await nodesOf(group, DAY_MS)
        .select(["nodes.version", (eb) => eb.fn.countAll().as("count")])
        .groupBy("nodes.version")
        .execute();
      const total = rows.reduce((sum, { count }) => sum + Number(count), 0);
      const breakdown = rows
        .sort((a, b) => compareVersions(b.version, a.version))
        .map(({ version, count }) => ({
          version,
          instances: Number(count),
          percentage: (Number(count) * 100) / total,
        }));
      response.json(breakdown);
    })
    .all(onlyMethods("GET"));

  router
    .route("/apps/:app/groups/:group/instances/:instance")
    .get(async (request, response) => {
      const { application, group } = await groupOf(request.params);
      const row = await findNode(store.read, application, group, request.params.instance);
      response.json(toInstance(row, application, group));
    })
    .all(onlyMethods("GET"));

  router
    .route("/apps/:app/groups/:group/instances/:instance/status_history")
    .get(async (request, response) => {
      const { limit } = validated(z.object({ limit: wholeNumber(1, 1000).default(20) }), request.query);
      const { application, group } = await groupOf(request.params);
      const { no } = await findNode(store.read, application, group, request.params.instance);
      const rows = await store.read
        .selectFrom("status_history")
        .selectAll()
        .where("node_no", "=", no)
        .orderBy("no", "desc")
        .limit(limit)
        .execute();
      response.json(
        rows.map((row) => ({
          status: statusNumber(row.status),
          state: row.status,
          version: row.version,
          created_ts: timestamp(row.at),
          error_code: row.error_code === null ? null : String(row.error_code),
        })),
      );
    })
    .all(onlyMethods("GET"));

  router
    .route("/instances/:instance")
    .put(async (request, response) => {
      const { alias } = validated(
        z.strictObject({
          alias: z.string().max(256),
          ...readOnly("id", "ip", "oem", "aleph_version", "created_ts", "application"),
        }),
        request.body,
      );
      const id = request.params.instance;
      await store.write((tx) => tx.updateTable("nodes").set({ alias }).where("id", "=", id).execute());
      const row = await withSeen(store.read).where("nodes.id", "=", id).executeTakeFirst();
      if (row === undefined) throw notFound("instance", id);
      const application = await store.read
        .selectFrom("applications")
        .selectAll()
        .where("no", "=", row.application_no)
        .executeTakeFirstOrThrow();
      const group = await store.read.selectFrom("groups").selectAll().where("no", "=", row.group_no).executeTakeFirst();
      response.json(toInstance(row, application, group ?? null));
    })
    .all(onlyMethods("PUT"));
}

function withSeen(db: Db) {
  return db.selectFrom("nodes").leftJoin("seen", "seen.node_no", "nodes.no").selectAll("nodes").select("seen.at");
}

/** Nodes seen since then. Ids of the form `{uuid}` are mirrors' and counted nowhere. */
export function realNodesSince(db: Db, since: number) {
  return db
    .selectFrom("nodes")
    .leftJoin("seen", "seen.node_no", "nodes.no")
    .where((eb) => eb(eb.fn.coalesce("seen.at", "nodes.created_at"), ">", since))
    .where("nodes.id", "not like", "{________-____-____-____-____________}");
}
type Nodes = ReturnType<typeof realNodesSince>;

function filtered(nodes: Nodes, { status, version, searchFilter = "All", searchValue }: ListQuery): Nodes {
  let query = nodes;
  if (status !== 0) query = query.where("nodes.status", "in", statusesOf(status));
  if (version) query = query.where("nodes.version", "=", version);
  if (searchValue) {
    const pattern = `%${searchValue.toLowerCase().replace(/[\\%_]/g, "\\$&")}%`;
    query = query.where((eb) => {
      const contains = (column: "nodes.id" | "nodes.ip" | "nodes.alias" | "nodes.machine_alias") =>
        eb.and([eb(eb.fn<string>("lower", [column]), "like", pattern)]);
      if (searchFilter === "id") return contains("nodes.id");
      if (searchFilter === "ip") return contains("nodes.ip");
      const aliases = [contains("nodes.alias"), contains("nodes.machine_alias")];
      return eb.or(searchFilter === "alias" ? aliases : [contains("nodes.id"), contains("nodes.ip"), ...aliases]);
    });
  }
  return query;
}

/** 0 alias or else id, 1 ip, 2 last check; order 0 ascending, 1 descending. */
function sorted(nodes: Nodes, { sortFilter, sortOrder }: ListQuery): Nodes {
  const direction = sortOrder === 0 ? "asc" : "desc";
  if (sortFilter === 1) return nodes.orderBy("nodes.ip", direction).orderBy("nodes.id");
  if (sortFilter === 2) return nodes.orderBy("seen.at", direction).orderBy("nodes.id");
  return nodes
    .orderBy(
      (eb) =>
        eb.fn.coalesce(
          eb.fn<string>("nullif", ["nodes.alias", eb.val("")]),
          eb.fn<string>("nullif", ["nodes.machine_alias", eb.val("")]),
          "nodes.id",
        ),
      direction,
    )
    .orderBy("nodes.id");
}

export async function findNode(db: Db, application: ApplicationRow, group: GroupRow, id: string): Promise<NodeRow> {
  const row = await withSeen(db)
    .where("nodes.id", "=", id)
    .where("nodes.application_no", "=", application.no)
    .where("nodes.group_no", "=", group.no)
    .executeTakeFirst();
  if (row === undefined) throw notFound("instance", id);
  return row;
}

async function targetVersion(db: Db, { channel_no }: GroupRow): Promise<string | null> {
  const row = await db
    .selectFrom("channels")
    .innerJoin("packages", "packages.no", "channels.package_no")
    .select("packages.version")
    .where("channels.no", "=", channel_no)
    .executeTakeFirst();
  return row?.version ?? null;
}

/** Each node in exactly one class; one that came with the target's version and was never granted anything is complete. */
function toStatistics(
  rows: readonly { status: string; version: string; count: number | string | bigint }[],
  target: string | null,
) {
  const byNumber = new Array<number>(9).fill(0);
  for (const { status, version, count } of rows) {
    const number = status === "unknown" && version === target ? 4 : statusNumber(status);
    byNumber[number] = (byNumber[number] ?? 0) + Number(count);
  }
  const [
    ,
    undefinedCount = 0,
    granted = 0,
    error = 0,
    complete = 0,
    installed = 0,
    downloaded = 0,
    downloading = 0,
    onhold = 0,
  ] = byNumber;
  return {
    total: byNumber.reduce((sum, count) => sum + count, 0),
    undefined: undefinedCount,
    update_granted: granted,
    error,
    complete,
    installed,
    downloaded,
    downloading,
    onhold,
  };
}

export type NodeRow = Selectable<Tables["nodes"]> & { at: number | null };

function toInstance(row: NodeRow, application: ApplicationRow, group: GroupRow | null) {
  const inFlight = row.deadline !== null;
  return {
    id: row.id,
    ip: row.ip,
    oem: row.oem,
    aleph_version: row.aleph_version,
    created_ts: timestamp(row.created_at),
    alias: row.alias || row.machine_alias,
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
      update_in_progress: inFlight,
    },
  };
}
