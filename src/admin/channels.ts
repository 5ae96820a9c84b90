/** Channels: a named pointer to a package, for one architecture. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { FIRST_COLOR } from "../fleet/document.ts";
import { ACTIVITY, SEVERITY } from "../rollout/model/activity.ts";
import { noteActivity } from "../store/activity.ts";
import { nextNumber } from "../store/numbers.ts";
import { checkComplete, isFollowed } from "./completeness.ts";
import { type Db, readOnly, type Tx, timestamp } from "./context.ts";
import {
  type ApplicationRow,
  type ChannelRow,
  checkApplication,
  countOf,
  findApplication,
  findChannel,
} from "./lookups.ts";
import { type Audit, type Operation, operation } from "./operation.ts";
import { packageObject, toPackages } from "./package-objects.ts";
import { listOrNullOf, orNull, pageQuery, placeOf } from "./paging.ts";
import { invalid } from "./problem.ts";
import { deleteUpstreamOf } from "./sync.ts";
import { warningsOf } from "./version-schemes.ts";

export const channelBody = z.strictObject({
  name: z.string().min(1).max(25),
  /** Empty or left out: a new channel's first one, or the one that it has. */
  color: z.string().max(25).optional(),
  arch: z.int().min(0).max(3),
  application_id: z.string().optional(),
  package_id: z.string().nullish(),
  ...readOnly("id", "created_ts", "package", "warnings"),
});
export type ChannelBody = z.output<typeof channelBody>;

export const channelObject = z
  .object({
    id: z.uuid(),
    name: z.string(),
    color: z.string(),
    created_ts: z.iso.datetime(),
    application_id: z.uuid(),
    package_id: z.uuid().nullable(),
    package: packageObject.nullable(),
    arch: z.int(),
  })
  .meta({ id: "Channel" });
type ChannelObject = z.input<typeof channelObject>;

/** What somebody should know of the change; absent: nothing. */
const changedChannel = z
  .object({ ...channelObject.shape, warnings: z.array(z.string()).optional() })
  .meta({ id: "ChangedChannel" });

const TAG = "channels";

const listChannels = operation({
  id: "listChannels",
  method: "get",
  path: "/apps/:app/channels",
  tag: TAG,
  summary: "The application's channels by name, each with its package",
  role: "viewer",
  query: z.object(pageQuery),
  answer: listOrNullOf("channels", channelObject),
  async handle({ read, params, query }) {
    const application = await findApplication(read, params.app);
    const channels = read.selectFrom("channels").where("application_no", "=", application.no);
    const named = channels.orderBy("name").orderBy("arch");
    const { limit, offset } = await placeOf(query, () => named.select("id").execute());
    const rows = await named.selectAll().limit(limit).offset(offset).execute();
    const totalCount = await countOf(channels.select((eb) => eb.fn.countAll().as("count")));
    return { totalCount, count: rows.length, channels: orNull(await toChannels(read, rows)) };
  },
});

const postChannel = operation({
  id: "createChannel",
  method: "post",
  path: "/apps/:app/channels",
  tag: TAG,
  summary: "Make a channel",
  role: "admin",
  body: channelBody,
  answer: channelObject,
  handle: (call) =>
    call.configure(async (tx, now, audit) =>
      createChannel(tx, await findApplication(tx, call.params.app), call.body, now, audit),
    ),
});

const getChannel = operation({
  id: "getChannel",
  method: "get",
  path: "/apps/:app/channels/:channel",
  tag: TAG,
  summary: "One channel, with its package",
  role: "viewer",
  answer: channelObject,
  async handle(call) {
    const application = await findApplication(call.read, call.params.app);
    const channel = await toChannel(call.read, await findChannel(call.read, application, call.params.channel));
    call.tag(stateOf(channel));
    return channel;
  },
});

const putChannel = operation({
  id: "updateChannel",
  method: "put",
  path: "/apps/:app/channels/:channel",
  tag: TAG,
  summary: "Change a channel, and what it points to: this is how a release starts",
  description: "Its architecture never changes. Without `package_id` it points to nothing.",
  role: "admin",
  body: channelBody,
  answer: changedChannel,
  handle: (call) =>
    call.configure(async (tx, now, audit) => {
      const application = await findApplication(tx, call.params.app);
      const row = await findChannel(tx, application, call.params.channel);
      const before = await toChannel(tx, row);
      call.expect(stateOf(before));
      const after = await updateChannel(tx, application, row, call.body, now, audit);
      call.tag(stateOf(after));
      const [from, to] = [before, after].map((channel) => channel.package?.version ?? null);
      const warnings = await warningsOf(tx, application, row, from ?? null, to ?? null);
      return warnings.length === 0 ? after : { ...after, warnings };
    }),
});

const removeChannel = operation({
  id: "deleteChannel",
  method: "delete",
  path: "/apps/:app/channels/:channel",
  tag: TAG,
  summary: "Delete a channel; its groups are left without one",
  role: "admin",
  answer: null,
  handle: (call) =>
    call.configure(async (tx, _now, audit) => {
      const application = await findApplication(tx, call.params.app);
      const row = await findChannel(tx, application, call.params.channel);
      call.expect(stateOf(await toChannel(tx, row)));
      await deleteChannel(tx, row, audit);
    }),
});

export const channelOperations: readonly Operation[] = [
  listChannels,
  postChannel,
  getChannel,
  putChannel,
  removeChannel,
];

export async function createChannel(
  tx: Tx,
  application: ApplicationRow,
  body: ChannelBody,
  now: number,
  audit: Audit,
  id: string = randomUUID(),
): Promise<ChannelObject> {
  const { name, arch } = body;
  const row = await tx
    .insertInto("channels")
    .values({
      no: await nextNumber(tx, "channels"),
      id,
      application_no: application.no,
      name,
      color: body.color || FIRST_COLOR,
      arch,
      package_no: null,
      created_at: now,
    })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw taken(body);
  await point(tx, application, row, body, now);
  const channel = await toChannel(tx, await channelByNo(tx, row.no));
  await audit({ ...subject(channel), before: null, after: stateOf(channel) });
  return channel;
}

export async function updateChannel(
  tx: Tx,
  application: ApplicationRow,
  row: ChannelRow,
  body: ChannelBody,
  now: number,
  audit: Audit,
): Promise<ChannelObject> {
  const before = await toChannel(tx, row);
  const twin = await tx
    .selectFrom("channels")
    .select("no")
    .where("application_no", "=", application.no)
    .where("name", "=", body.name)
    .where("arch", "=", row.arch)
    .where("no", "!=", row.no)
    .executeTakeFirst();
  if (twin !== undefined) throw taken(body);
  const color = body.color || row.color;
  await tx.updateTable("channels").set({ name: body.name, color }).where("no", "=", row.no).execute();
  await point(tx, application, row, body, now);
  const channel = await toChannel(tx, await channelByNo(tx, row.no));
  await audit({ ...subject(channel), before: stateOf(before), after: stateOf(channel) });
  return channel;
}

export async function deleteChannel(tx: Tx, row: ChannelRow, audit: Audit): Promise<void> {
  const channel = await toChannel(tx, row);
  await deleteUpstreamOf(tx, row, audit);
  await tx.updateTable("groups").set({ channel_no: null }).where("channel_no", "=", row.no).execute();
  await tx.deleteFrom("channels").where("no", "=", row.no).execute();
  await audit({ ...subject(channel), before: stateOf(channel), after: null });
}

function subject({ id, application_id: applicationId }: ChannelObject) {
  return { subject: "channel", id, applicationId };
}

/** What a person has set of it: for the audit log, and to tell whether it has changed. */
function stateOf({ id: _, created_ts: __, package: target, ...state }: ChannelObject): object {
  return { ...state, version: target?.version ?? null };
}

function taken({ name }: ChannelBody): Error {
  return invalid("name", `there is a channel "${name}" for this architecture already`, 409);
}

export async function isBlacklisted(tx: Tx, packageNo: number, channelNo: number): Promise<boolean> {
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
  checkApplication(application, body.application_id);
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
  if (await isFollowed(tx, channel)) await checkComplete(tx, target, "package_id");
  await tx.updateTable("channels").set({ package_no: target.no }).where("no", "=", channel.no).execute();
  const about = { application_no: application.no, channel_no: channel.no, version: target.version };
  await noteActivity(tx, ACTIVITY.channelPackageUpdated, SEVERITY.info, about, now);
}

function channelByNo(db: Db, no: number): Promise<ChannelRow> {
  return db.selectFrom("channels").selectAll().where("no", "=", no).executeTakeFirstOrThrow();
}

/** Rows as the API shows them, each with its package. */
export async function toChannels(db: Db, rows: readonly ChannelRow[]): Promise<ChannelObject[]> {
  const channels: ChannelObject[] = [];
  for (const row of rows) channels.push(await toChannel(db, row));
  return channels;
}

export async function toChannel(db: Db, row: ChannelRow): Promise<ChannelObject> {
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
  return {
    id: row.id,
    name: row.name,
    color: row.color,
    created_ts: timestamp(row.created_at),
    application_id: application.id,
    package_id: target?.id ?? null,
    package: target ?? null,
    arch: row.arch,
  };
}
