/** Applications: what is updated. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import {
  BUILD_METADATA,
  type BuildMetadata,
  VERSION_SCHEMES,
  type VersionScheme,
} from "../rollout/model/configuration.ts";
import { channelObject, createChannel, toChannels } from "./channels.ts";
import { type Db, readOnly, type Tx, timestamp } from "./context.ts";
import { groupBody } from "./group-bodies.ts";
import { type GroupObject, groupObject, toGroup, toGroups } from "./group-objects.ts";
import { createGroup, updateGroup } from "./groups.ts";
import { seenIn } from "./instances.ts";
import { type ApplicationRow, countOf, findApplication, findGroup } from "./lookups.ts";
import { type Audit, type Operation, operation } from "./operation.ts";
import { listOrNullOf, orNull, pageQuery, placeOf } from "./paging.ts";
import { setPayloadKey } from "./payloads.ts";
import { invalid } from "./problem.ts";
import { changeOrder } from "./version-schemes.ts";

/** Segment by segment: one pattern with nested repeats would be a denial of service. */
function isProductId(text: string): boolean {
  const segments = text.split(".");
  return (
    text.length <= 155 && segments.length >= 2 && segments.every((segment) => /^[A-Za-z][A-Za-z\d-]*$/.test(segment))
  );
}

export const appBody = z.strictObject({
  name: z.string().min(1).max(50),
  description: z.string().max(10_000).nullish(),
  product_id: z
    .string()
    .refine(
      (text) => text === "" || isProductId(text),
      "must be a reverse-domain name such as io.example.billing, of 155 characters at most",
    )
    .nullish(),
  version_scheme: z.enum(VERSION_SCHEMES).optional(),
  build_metadata: z.enum(BUILD_METADATA).optional(),
  ...readOnly("id", "created_ts", "groups", "channels", "instances"),
});
export type AppBody = z.output<typeof appBody>;

const applicationObject = z
  .object({
    id: z.uuid(),
    product_id: z.string().nullable(),
    name: z.string(),
    description: z.string(),
    version_scheme: z.enum(VERSION_SCHEMES),
    build_metadata: z.enum(BUILD_METADATA),
    created_ts: z.iso.datetime(),
    groups: z.array(groupObject).nullable(),
    channels: z.array(channelObject).nullable(),
    instances: z.object({ count: z.int() }),
  })
  .meta({ id: "Application" });
type ApplicationObject = z.input<typeof applicationObject>;

const TAG = "applications";

const listApps = operation({
  id: "listApplications",
  method: "get",
  path: "/apps",
  tag: TAG,
  summary: "The applications, the newest first, each with its groups and channels",
  role: "viewer",
  confined: "filters",
  query: z.object(pageQuery),
  answer: listOrNullOf("applications", applicationObject),
  async handle({ read, query, now, who }) {
    const mine = who.scope.applications;
    const all = read.selectFrom("applications").$if(mine !== null, (some) => some.where("id", "in", [...(mine ?? [])]));
    const newest = all.orderBy("created_at", "desc").orderBy("no", "desc");
    const { limit, offset } = await placeOf(query, () => newest.select("id").execute());
    const rows = await newest.selectAll().limit(limit).offset(offset).execute();
    const totalCount = await countOf(all.select((eb) => eb.fn.countAll().as("count")));
    return { totalCount, count: rows.length, applications: orNull(await toApplications(read, rows, now)) };
  },
});

const postApp = operation({
  id: "createApplication",
  method: "post",
  path: "/apps",
  tag: TAG,
  summary:
    "Make an application; with clone_from, with the channels, groups, payload key and kind of versions of another one",
  role: "admin",
  confined: "everywhere",
  query: z.object({ clone_from: z.string().optional() }),
  body: appBody,
  answer: applicationObject,
  handle: (call) =>
    call.configure(async (tx, now, audit) => {
      const { clone_from: name } = call.query;
      const from = name ? await findApplication(tx, name) : null;
      const row = await createApp(tx, { ...schemeOf(from), ...call.body }, now, audit);
      if (from !== null) await clone(tx, from, row, now, audit);
      return toApplication(tx, row, now);
    }),
});

const getApp = operation({
  id: "getApplication",
  method: "get",
  path: "/apps/:app",
  tag: TAG,
  summary: "One application, with its groups and channels",
  role: "viewer",
  answer: applicationObject,
  async handle(call) {
    const row = await findApplication(call.read, call.params.app);
    call.tag(stateOf(row));
    return toApplication(call.read, row, call.now);
  },
});

const putApp = operation({
  id: "updateApplication",
  method: "put",
  path: "/apps/:app",
  tag: TAG,
  summary: "Change an application: what the body leaves out is cleared, but for its kind of versions",
  role: "admin",
  body: appBody,
  answer: applicationObject,
  handle: (call) =>
    call.configure(async (tx, now, audit) => {
      const before = await findApplication(tx, call.params.app);
      call.expect(stateOf(before));
      const after = await updateApp(tx, before, call.body, now, audit);
      call.tag(stateOf(after));
      return toApplication(tx, after, now);
    }),
});

const removeApp = operation({
  id: "deleteApplication",
  method: "delete",
  path: "/apps/:app",
  tag: TAG,
  summary: "Delete an application with its groups, channels, packages and nodes",
  role: "admin",
  answer: null,
  handle: (call) =>
    call.configure(async (tx, _now, audit) => {
      const row = await findApplication(tx, call.params.app);
      call.expect(stateOf(row));
      await deleteApp(tx, row, audit);
    }),
});

export const appOperations: readonly Operation[] = [listApps, postApp, getApp, putApp, removeApp];

export async function createApp(
  tx: Tx,
  body: AppBody,
  now: number,
  audit: Audit,
  id: string = randomUUID(),
): Promise<ApplicationRow> {
  await checkUnique(tx, body, null);
  const row = await tx
    .insertInto("applications")
    .values({ id, created_at: now, ...columnsOf(body, null) })
    .returningAll()
    .executeTakeFirstOrThrow();
  await audit({ ...subject(row), before: null, after: stateOf(row) });
  return row;
}

export async function updateApp(
  tx: Tx,
  row: ApplicationRow,
  body: AppBody,
  now: number,
  audit: Audit,
): Promise<ApplicationRow> {
  await checkUnique(tx, body, row.no);
  const after = await tx
    .updateTable("applications")
    .set(columnsOf(body, row))
    .where("no", "=", row.no)
    .returningAll()
    .executeTakeFirstOrThrow();
  await changeOrder(tx, row, after, now);
  await audit({ ...subject(row), before: stateOf(row), after: stateOf(after) });
  return after;
}

export async function deleteApp(tx: Tx, row: ApplicationRow, audit: Audit): Promise<void> {
  await deleteNodes(tx, row.no);
  await tx
    .deleteFrom("channel_floors")
    .where("channel_no", "in", tx.selectFrom("channels").select("no").where("application_no", "=", row.no))
    .execute();
  await tx.deleteFrom("applications").where("no", "=", row.no).execute();
  await audit({ ...subject(row), before: stateOf(row), after: null });
}

function subject({ id }: ApplicationRow) {
  return { subject: "application", id, applicationId: id };
}

/** What a person has set of it: for the audit log, and to tell whether it has changed. */
function stateOf({ name, description, product_id, version_scheme, build_metadata }: ApplicationRow): object {
  return { name, description, product_id, version_scheme, build_metadata };
}

/** Clients that know of no schemes leave them out, and must not turn them back. */
function columnsOf(body: AppBody, before: ApplicationRow | null) {
  const { version_scheme: scheme = "semver", build_metadata: builds = "ignore" } = { ...schemeOf(before), ...body };
  if (scheme === "four-part" && body.build_metadata === "order") {
    throw invalid("build_metadata", "versions of four numbers have none that could be ordered");
  }
  return {
    name: body.name,
    description: body.description ?? "",
    product_id: body.product_id || null,
    version_scheme: scheme,
    build_metadata: scheme === "four-part" ? "ignore" : builds,
  };
}

function schemeOf(row: ApplicationRow | null): Pick<AppBody, "version_scheme" | "build_metadata"> {
  if (row === null) return {};
  // Checked when they came in.
  return { version_scheme: row.version_scheme as VersionScheme, build_metadata: row.build_metadata as BuildMetadata };
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

/** Channels, pointing to nothing, groups with their policies, updates enabled, and the key that payloads are signed with. */
async function clone(tx: Tx, from: ApplicationRow, to: ApplicationRow, now: number, audit: Audit): Promise<void> {
  await setPayloadKey(tx, to, from.payload_key, audit);
  const channelIds = new Map<number, string>();
  const channels = await tx.selectFrom("channels").selectAll().where("application_no", "=", from.no).execute();
  for (const { no, name, color, arch } of channels) {
    channelIds.set(no, (await createChannel(tx, to, { name, color, arch }, now, audit)).id);
  }
  const rows = await tx.selectFrom("groups").selectAll().where("application_no", "=", from.no).execute();
  const groupIds = new Map<string, string>();
  for (const row of rows) {
    const channelId = row.channel_no === null ? null : (channelIds.get(row.channel_no) ?? null);
    const body = { ...copied(await toGroup(tx, row)), channel_id: channelId, strategy: null };
    groupIds.set(row.id, (await createGroup(tx, to, groupBody.parse(body), now, audit)).id);
  }
  // Strategies may name other groups: they come when all of these are there.
  for (const row of rows.filter(({ strategy }) => strategy !== null)) {
    const copy = await findGroup(tx, to, groupIds.get(row.id) ?? "");
    const { strategy } = await toGroup(tx, row);
    const after = strategy?.after?.map((one) => ({ ...one, group: groupIds.get(one.group) ?? one.group }));
    const body = {
      ...copied(await toGroup(tx, copy)),
      track: copy.track,
      strategy: { ...strategy, ...(after && { after }) },
    };
    await updateGroup(tx, to, copy, groupBody.parse(body), audit);
  }
}

function copied({ id, track, ...group }: GroupObject) {
  return { ...group, track: track === id ? null : track, policy_updates_enabled: true };
}

/** The tables that grow with the fleet have no foreign keys: what belongs to an application is deleted by name. */
async function deleteNodes(tx: Tx, applicationNo: number): Promise<void> {
  const nodeNos = tx.selectFrom("nodes").select("no").where("application_no", "=", applicationNo);
  for (const table of ["seen", "events", "status_history", "past_grants"] as const) {
    await tx.deleteFrom(table).where("node_no", "in", nodeNos).execute();
  }
  const groupNos = tx.selectFrom("groups").select("no").where("application_no", "=", applicationNo);
  for (const table of ["node_counts", "status_slots", "census"] as const) {
    await tx.deleteFrom(table).where("group_no", "in", groupNos).execute();
  }
  await tx.deleteFrom("nodes").where("application_no", "=", applicationNo).execute();
  await tx.deleteFrom("activity").where("application_no", "=", applicationNo).execute();
}

async function toApplications(db: Db, rows: readonly ApplicationRow[], now: number): Promise<ApplicationObject[]> {
  const applications: ApplicationObject[] = [];
  for (const row of rows) applications.push(await toApplication(db, row, now));
  return applications;
}

async function toApplication(db: Db, row: ApplicationRow, now: number): Promise<ApplicationObject> {
  const groups = await db
    .selectFrom("groups")
    .selectAll()
    .where("application_no", "=", row.no)
    .orderBy("created_at", "desc")
    .orderBy("no", "desc")
    .execute();
  const channels = await db
    .selectFrom("channels")
    .selectAll()
    .where("application_no", "=", row.no)
    .orderBy("name")
    .orderBy("arch")
    .execute();
  const groupNos = groups.map(({ no }) => no);
  return {
    id: row.id,
    product_id: row.product_id,
    name: row.name,
    description: row.description,
    version_scheme: row.version_scheme as VersionScheme,
    build_metadata: row.build_metadata as BuildMetadata,
    created_ts: timestamp(row.created_at),
    groups: orNull(await toGroups(db, groups)),
    channels: orNull(await toChannels(db, channels)),
    instances: { count: await seenIn(db, groupNos, "1d", now) },
  };
}
