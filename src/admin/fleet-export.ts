/**
 * The present fleet as a document: applying it changes nothing. It also has the fields in which nothing is set, so that what
 * is set later is a difference to it.
 */
import type { z } from "zod";
import { archName, type fleetObject, typeName } from "../fleet/document.ts";
import type { BuildMetadata, VersionOrder, VersionScheme } from "../rollout/model/configuration.ts";
import { compareVersions } from "../rollout/version.ts";
import { versionOrderOf } from "../store/version-order.ts";
import type { Db } from "./context.ts";
import { isTurnedOn, toGroup } from "./group-objects.ts";
import type { ApplicationRow, ChannelRow } from "./lookups.ts";
import { type PackageObject, toPackages } from "./package-objects.ts";

type FleetObject = z.input<typeof fleetObject>;
type ApplicationObject = FleetObject["applications"][number];
type Named<K extends "packages" | "channels" | "groups"> = NonNullable<ApplicationObject[K]>;

/**
 * @param db a snapshot: the parts must be of one moment.
 * @param only UUIDs; null: all applications.
 */
export async function exportFleet(db: Db, only: readonly string[] | null = null): Promise<FleetObject> {
  const applications: ApplicationObject[] = [];
  for (const row of await db.selectFrom("applications").selectAll().orderBy("no").execute()) {
    if (only !== null && !only.includes(row.id)) continue;
    const channels = await db
      .selectFrom("channels")
      .selectAll()
      .where("application_no", "=", row.no)
      .orderBy("no")
      .execute();
    applications.push({
      id: row.id,
      name: row.name,
      description: row.description,
      product_id: row.product_id,
      payload_key: row.payload_key,
      // Checked when they came in.
      version_scheme: row.version_scheme as VersionScheme,
      build_metadata: row.build_metadata as BuildMetadata,
      packages: await packagesOf(db, row, channels),
      channels: await channelsOf(db, channels, versionOrderOf(row)),
      groups: await groupsOf(db, row, channels),
    });
  }
  return { applications };
}

async function packagesOf(db: Db, row: ApplicationRow, channels: readonly ChannelRow[]): Promise<Named<"packages">> {
  const rows = await db.selectFrom("packages").selectAll().where("application_no", "=", row.no).execute();
  const packages = await toPackages(db, rows);
  const order = versionOrderOf(row);
  return packages
    .sort((a, b) => compareVersions(a.version, b.version, order) || a.arch - b.arch)
    .map((one) => toPackageInFile(one, channels));
}

function toPackageInFile(one: PackageObject, channels: readonly ChannelRow[]): Named<"packages">[number] {
  const { flatcar_action: action, extra_files: files } = one;
  const blacklist = channels.filter(({ id }) => one.channels_blacklist?.includes(id)).map(({ name }) => name);
  return {
    version: one.version,
    arch: archName(one.arch),
    type: typeName(one.type),
    url: one.url,
    filename: one.filename,
    description: one.description,
    size: one.size,
    hash: one.hash,
    hosting: one.hosting,
    ...(action !== null && { flatcar_action: actionInFile(action) }),
    extra_files: (files ?? []).map(({ name, size, hash, hash256 }) => ({ name, size, hash, hash256 })),
    channels_blacklist: blacklist,
  };
}

/** All of it: what an export leaves out, applying it would leave as it is. */
function actionInFile({ id: _, created_ts: __, ...action }: NonNullable<PackageObject["flatcar_action"]>) {
  return action;
}

async function channelsOf(db: Db, rows: readonly ChannelRow[], order: VersionOrder): Promise<Named<"channels">> {
  const channels: Named<"channels"> = [];
  for (const row of rows) {
    const target = await db
      .selectFrom("packages")
      .select("version")
      .where("no", "=", row.package_no)
      .executeTakeFirst();
    const floors = await db
      .selectFrom("channel_floors")
      .innerJoin("packages", "packages.no", "channel_floors.package_no")
      .select(["packages.version", "channel_floors.reason"])
      .where("channel_floors.channel_no", "=", row.no)
      .execute();
    channels.push({
      id: row.id,
      name: row.name,
      arch: archName(row.arch),
      color: row.color,
      package: target?.version ?? null,
      floors: floors.sort((a, b) => compareVersions(a.version, b.version, order)),
    });
  }
  return channels;
}

async function groupsOf(db: Db, { no }: ApplicationRow, channels: readonly ChannelRow[]): Promise<Named<"groups">> {
  const rows = await db.selectFrom("groups").selectAll().where("application_no", "=", no).orderBy("no").execute();
  const groups: Named<"groups"> = [];
  for (const row of rows) {
    const group = await toGroup(db, row);
    const channel = channels.find(({ id }) => id === group.channel_id);
    groups.push({
      id: group.id,
      name: group.name,
      description: group.description,
      track: group.track === group.id ? null : group.track,
      channel: channel === undefined ? null : { name: channel.name, arch: archName(channel.arch) },
      policy: {
        // What a person has set: what safe mode has stopped is no configuration.
        updates_enabled: isTurnedOn(row),
        safe_mode: group.policy_safe_mode,
        office_hours: group.policy_office_hours,
        timezone: group.policy_timezone ?? "",
        period_interval: group.policy_period_interval,
        max_updates_per_period: group.policy_max_updates_per_period,
        update_timeout: group.policy_update_timeout,
      },
      strategy: group.strategy,
      maintenance_windows: group.maintenance_windows,
      freezes: group.freezes,
    });
  }
  return groups;
}
