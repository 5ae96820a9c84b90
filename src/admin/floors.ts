/** Floors: packages of a channel that no node may skip on its way to the channel's own. */
import { z } from "zod";
import { compareVersions } from "../rollout/version.ts";
import { versionOrderOf } from "../store/version-order.ts";
import { channelObject, isBlacklisted, toChannels } from "./channels.ts";
import { checkComplete } from "./completeness.ts";
import type { Db, Tx } from "./context.ts";
import { type ChannelRow, findApplication, findChannel, findPackage, type PackageRow } from "./lookups.ts";
import { type Audit, type Operation, operation } from "./operation.ts";
import { packageObject, toPackages } from "./package-objects.ts";
import { cut, listOf, pageQuery } from "./paging.ts";
import { invalid, notFound, Problem } from "./problem.ts";

const TAG = "floors";

const floorBody = z.strictObject({ floor_reason: z.string().max(500).nullish() });

/** The paths of floors name no application: it is the channel's. */
async function confined(db: Db, params: Readonly<Record<string, string>>) {
  const { id } = await applicationOf(db, await findChannel(db, null, params.channel ?? ""));
  return { applicationId: id };
}

function applicationOf(db: Db, { application_no: no }: ChannelRow) {
  return db.selectFrom("applications").selectAll().where("no", "=", no).executeTakeFirstOrThrow();
}

const listFloors = operation({
  id: "listFloors",
  method: "get",
  path: "/channels/:channel/floors",
  tag: TAG,
  summary: "The channel's floors, the lowest version first",
  role: "viewer",
  confined,
  query: z.object({ ...pageQuery, perpage: pageQuery.perpage.default(100) }),
  answer: listOf("packages", packageObject),
  async handle({ read, params, query }) {
    const channel = await findChannel(read, null, params.channel);
    const floors = await read
      .selectFrom("channel_floors")
      .innerJoin("packages", "packages.no", "channel_floors.package_no")
      .selectAll("packages")
      .select("channel_floors.reason")
      .where("channel_floors.channel_no", "=", channel.no)
      .execute();
    const order = versionOrderOf(await applicationOf(read, channel));
    const here = cut(
      floors.sort((a, b) => compareVersions(a.version, b.version, order)),
      query,
    );
    const objects = await toPackages(read, here);
    const packages = objects.map((object, index) => ({
      ...object,
      is_floor: true as const,
      floor_reason: here[index]?.reason ?? null,
    }));
    return { totalCount: floors.length, count: packages.length, packages };
  },
});

const putFloor = operation({
  id: "setFloor",
  method: "put",
  path: "/channels/:channel/floors/:package",
  tag: TAG,
  summary: "Make a package a floor of the channel, or change the reason why it is one",
  role: "admin",
  confined,
  body: floorBody,
  bodyOptional: true,
  answer: z.object({ channel_id: z.uuid(), package_id: z.uuid(), status: z.literal("ok") }),
  handle: (call) =>
    call.configure(async (tx, now, audit) => {
      const channel = await findChannel(tx, null, call.params.channel);
      const floor = await findPackage(tx, null, call.params.package);
      await setFloor(tx, channel, floor, call.body.floor_reason ?? null, now, audit);
      return { channel_id: channel.id, package_id: floor.id, status: "ok" as const };
    }),
});

const removeFloor = operation({
  id: "deleteFloor",
  method: "delete",
  path: "/channels/:channel/floors/:package",
  tag: TAG,
  summary: "The package is a floor of the channel no longer",
  role: "admin",
  confined,
  answer: null,
  handle: (call) =>
    call.configure(async (tx, _now, audit) => {
      const channel = await findChannel(tx, null, call.params.channel);
      const floor = await findPackage(tx, null, call.params.package);
      if (!(await deleteFloor(tx, channel, floor, audit))) throw notFound("floor", call.params.package);
    }),
});

const listFloorChannels = operation({
  id: "listFloorChannels",
  method: "get",
  path: "/apps/:app/packages/:package/floor-channels",
  tag: TAG,
  summary: "The channels that the package is a floor of",
  role: "viewer",
  answer: z.object({
    channels: z.array(z.object({ channel: channelObject, floor_reason: z.string().nullable() })),
    count: z.int(),
  }),
  async handle({ read, params }) {
    const application = await findApplication(read, params.app);
    const { no } = await findPackage(read, application, params.package);
    const rows = await read
      .selectFrom("channel_floors")
      .innerJoin("channels", "channels.no", "channel_floors.channel_no")
      .selectAll("channels")
      .select("channel_floors.reason")
      .where("channel_floors.package_no", "=", no)
      .orderBy("channels.name")
      .orderBy("channels.arch")
      .execute();
    const objects = await toChannels(read, rows);
    const channels = objects.map((channel, index) => ({ channel, floor_reason: rows[index]?.reason ?? null }));
    return { channels, count: channels.length };
  },
});

export const floorOperations: readonly Operation[] = [listFloors, putFloor, removeFloor, listFloorChannels];

export async function setFloor(
  tx: Tx,
  channel: ChannelRow,
  floor: PackageRow,
  reason: string | null,
  now: number,
  audit: Audit,
): Promise<void> {
  if (floor.application_no !== channel.application_no) {
    throw mismatch("Package does not belong to the same application as the channel");
  }
  if (floor.arch !== channel.arch) throw mismatch("Architecture mismatch between channel and package");
  if (await isBlacklisted(tx, floor.no, channel.no))
    throw invalid("package", "the package blacklists this channel", 409);
  const before = await floorOf(tx, channel, floor);
  if (before === null) await checkComplete(tx, floor, "package");
  await tx
    .insertInto("channel_floors")
    .values({ channel_no: channel.no, package_no: floor.no, reason, created_at: now })
    .onConflict((conflict) => conflict.columns(["channel_no", "package_no"]).doUpdateSet({ reason }))
    .execute();
  await audit({ ...(await subject(tx, channel)), before, after: stateOf(channel, floor, reason) });
}

/** Word for word what scripts look for. */
function mismatch(message: string): Problem {
  return new Problem(400, message, { errors: [{ path: "package", message }] });
}

/** @returns whether it was one. */
export async function deleteFloor(tx: Tx, channel: ChannelRow, floor: PackageRow, audit: Audit): Promise<boolean> {
  const before = await floorOf(tx, channel, floor);
  if (before === null) return false;
  await tx
    .deleteFrom("channel_floors")
    .where("channel_no", "=", channel.no)
    .where("package_no", "=", floor.no)
    .execute();
  await audit({ ...(await subject(tx, channel)), before, after: null });
  return true;
}

async function floorOf(tx: Tx, channel: ChannelRow, floor: PackageRow): Promise<object | null> {
  const row = await tx
    .selectFrom("channel_floors")
    .select("reason")
    .where("channel_no", "=", channel.no)
    .where("package_no", "=", floor.no)
    .executeTakeFirst();
  return row === undefined ? null : stateOf(channel, floor, row.reason);
}

function stateOf({ name }: ChannelRow, { id, version }: PackageRow, reason: string | null): object {
  return { package_id: id, version, channel: name, floor_reason: reason };
}

async function subject(tx: Tx, channel: ChannelRow) {
  const { applicationId } = await confined(tx, { channel: channel.id });
  return { subject: "floor", id: channel.id, applicationId };
}
