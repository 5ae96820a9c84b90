/**
 * A fleet's document made true, within one transaction. There is one way to do it: a plan is what applying did, before it
 * is taken back.
 */
import {
  type ApplicationInFile,
  archName,
  archNumber,
  type ChannelInFile,
  FIRST_COLOR,
  FIRST_POLICY,
  type FleetDocument,
  type GroupInFile,
  type PackageInFile,
  typeNumber,
} from "../fleet/document.ts";
import { appBody, createApp, deleteApp, updateApp } from "./apps.ts";
import { createChannel, deleteChannel, toChannel, updateChannel } from "./channels.ts";
import { checkComplete } from "./completeness.ts";
import type { Tx } from "./context.ts";
import { deleteFloor, setFloor } from "./floors.ts";
import { type GroupBody, groupBody } from "./group-bodies.ts";
import { isTurnedOn, toGroup } from "./group-objects.ts";
import { createGroup, deleteGroup, updateGroup } from "./groups.ts";
import type { ApplicationRow, ChannelRow, GroupRow, PackageRow } from "./lookups.ts";
import type { Audit } from "./operation.ts";
import { type PackageBody, packageBody } from "./package-bodies.ts";
import { type PackageObject, toPackages } from "./package-objects.ts";
import { createPackage, deletePackage, updatePackage } from "./packages.ts";
import { orNull } from "./paging.ts";
import { plainKey, setPayloadKey } from "./payloads.ts";
import { invalid, Problem, validated } from "./problem.ts";
import { warningsOf } from "./version-schemes.ts";

export interface ApplyOptions {
  /** Removes what the document does not name: of each kind that it lists at all. */
  readonly prune: boolean;
  readonly now: number;
  readonly audit: Audit;
  /** What somebody should know of what is done. */
  readonly warn?: (warning: string) => void;
}

/** @throws Problem with the path in the document */
export async function applyFleet(tx: Tx, fleet: FleetDocument, options: ApplyOptions): Promise<void> {
  const kept = await applyApplications(tx, fleet, options);
  if (!options.prune) return;
  for (const row of await tx.selectFrom("applications").selectAll().execute()) {
    if (!kept.has(row.no)) await deleteApp(tx, row, options.audit);
  }
}

/** The same, but that other applications are let be, also when pruning. Answers the numbers of those that it names. */
export async function applyApplications(
  tx: Tx,
  fleet: FleetDocument,
  options: ApplyOptions,
): Promise<ReadonlySet<number>> {
  const kept = new Set<number>();
  for (const [index, wanted] of fleet.applications.entries()) {
    await at(`applications.${index}`, async () => {
      const application = await applyApplication(tx, wanted, options);
      await applyKey(tx, application, wanted, options);
      if (kept.has(application.no)) throw invalid("name", `application "${wanted.name}" is named twice`);
      kept.add(application.no);
      await new Applying(tx, application, options).run(wanted);
    });
  }
  return kept;
}

async function applyApplication(
  tx: Tx,
  wanted: ApplicationInFile,
  { now, audit }: ApplyOptions,
): Promise<ApplicationRow> {
  const { id, name, product_id: productId, description, version_scheme, build_metadata } = wanted;
  const all = await tx.selectFrom("applications").selectAll().execute();
  const present =
    all.find((row) => id !== undefined && row.id === id.toLowerCase()) ??
    all.find((row) => productId != null && row.product_id?.toLowerCase() === productId.toLowerCase()) ??
    all.find((row) => row.name === name);
  if (present === undefined) {
    const body = validated(appBody, { name, description, product_id: productId, version_scheme, build_metadata });
    return createApp(tx, body, now, audit, id?.toLowerCase());
  }
  sameId(id, present);
  const body = {
    name,
    description: description ?? present.description,
    product_id: productId === undefined ? present.product_id : productId,
    version_scheme,
    build_metadata,
  };
  return updateApp(tx, present, validated(appBody, body), now, audit);
}

async function applyKey(
  tx: Tx,
  application: ApplicationRow,
  { payload_key: key }: ApplicationInFile,
  { audit }: ApplyOptions,
): Promise<void> {
  if (key === undefined) return;
  await setPayloadKey(tx, application, key === null ? null : plainKey(key, "payload_key"), audit);
}

interface Rows {
  readonly groups: GroupRow;
  readonly channels: ChannelRow;
}

interface PackageHere {
  readonly row: PackageRow;
  readonly object: PackageObject;
}

/** One application's part. */
class Applying {
  readonly #tx: Tx;
  readonly #application: ApplicationRow;
  readonly #options: ApplyOptions;

  constructor(tx: Tx, application: ApplicationRow, options: ApplyOptions) {
    this.#tx = tx;
    this.#application = application;
    this.#options = options;
  }

  /** In an order in which nothing names what is not there yet, and nothing is in the way that will be gone. */
  async run({ packages, channels, groups }: ApplicationInFile): Promise<void> {
    if (this.#options.prune) {
      if (groups !== undefined) await this.#pruneGroups(groups);
      if (channels !== undefined) await this.#pruneChannels(channels);
    }
    await each("channels", channels, (one) => this.#provideChannel(one));
    const unfinished = await this.#applyPackages(packages);
    await each("channels", channels, (one) => this.#applyChannel(one));
    await each("packages", packages, async (one) => {
      if (unfinished.has(one)) await this.#applyPackage(one, (await this.#packages(one)).get(nameOf(one)), "whole");
    });
    await each("groups", groups, (one) => this.#applyGroup(one, "without strategy"));
    await each("groups", groups, (one) => this.#applyGroup(one, "whole"));
    if (!this.#options.prune) return;
    await each("channels", channels, (one) => this.#pruneFloorsOf(one));
    if (packages !== undefined) await this.#prunePackages(packages);
  }

  /** There, by the name that the rest of the document knows it by; where it points comes later. */
  async #provideChannel({ name, arch, id, color, ...rest }: ChannelInFile): Promise<void> {
    const { now, audit } = this.#options;
    const row = await this.#find("channels", { id, name, arch, ...rest });
    if (row === undefined) {
      await this.#checkFree("channels", id);
      const body = { name, color: color ?? FIRST_COLOR, arch: archNumber(arch) };
      await createChannel(this.#tx, this.#application, body, now, audit, id?.toLowerCase());
    } else if (row.name !== name) {
      const { package_id } = await toChannel(this.#tx, row);
      const body = { name, color: row.color, arch: row.arch, package_id };
      await updateChannel(this.#tx, this.#application, row, body, now, audit);
    }
  }

  async #applyChannel(wanted: ChannelInFile): Promise<void> {
    const row = await this.#find("channels", wanted);
    if (row === undefined) return;
    const present = await toChannel(this.#tx, row);
    const { package: version, name, color = present.color } = wanted;
    const target = version == null ? null : await this.#package("package", version, row.arch);
    if (target !== null && target.no !== row.package_no) await checkComplete(this.#tx, target, "package");
    const body = {
      name,
      color,
      arch: row.arch,
      package_id: version === undefined ? present.package_id : (target?.id ?? null),
    };
    const { now, audit, warn } = this.#options;
    const { package: moved } = await updateChannel(this.#tx, this.#application, row, body, now, audit);
    const [from, to] = [present.package, moved].map((one) => one?.version ?? null);
    for (const one of await warningsOf(this.#tx, this.#application, row, from ?? null, to ?? null)) warn?.(one);
    for (const [index, { version: floor, reason }] of (wanted.floors ?? []).entries()) {
      await at(`floors.${index}`, async () => {
        const found = await this.#package("version", floor, row.arch);
        await setFloor(this.#tx, row, found, reason ?? null, now, audit);
      });
    }
  }

  /** Answers those that are not yet all that the document says: channels that they are to blacklist may point to them. */
  async #applyPackages(packages: ApplicationInFile["packages"]): Promise<ReadonlySet<PackageInFile>> {
    const here = await this.#packages();
    const named = new Set<string>();
    const unfinished = new Set<PackageInFile>();
    await each("packages", packages, async (one) => {
      const name = nameOf(one);
      if (named.has(name)) throw invalid("version", `package ${one.version} for ${one.arch} is named twice`);
      named.add(name);
      const isWhole = await this.#applyPackage(one, here.get(name), "without what is new on its blacklist");
      if (!isWhole) unfinished.add(one);
    });
    return unfinished;
  }

  /** Answers whether it is now all that the document says. */
  async #applyPackage(
    wanted: PackageInFile,
    here: PackageHere | undefined,
    how: "without what is new on its blacklist" | "whole",
  ): Promise<boolean> {
    const present = here?.object;
    const before = present?.channels_blacklist ?? [];
    const blacklist = (await this.#blacklist(wanted)) ?? before;
    const allowed = how === "whole" ? blacklist : blacklist.filter((id) => before.includes(id));
    const { type, arch, channels_blacklist: _, extra_files: files, flatcar_action: action, ...fields } = wanted;
    const body = {
      ...present,
      ...fields,
      arch: archNumber(arch),
      type: type === undefined ? (present?.type ?? typeNumber("flatcar")) : typeNumber(type),
      ...(action !== undefined && { flatcar_action: { ...present?.flatcar_action, ...action } }),
      // Files are known by their names in the document, by numbers in the API.
      ...(files !== undefined && {
        extra_files: orNull(
          files.map((file) => ({ ...present?.extra_files?.find(({ name }) => name === file.name), ...file })),
        ),
      }),
      channels_blacklist: orNull(allowed),
    };
    const isWhole = allowed.length === blacklist.length;
    if (present !== undefined && JSON.stringify(body) === JSON.stringify(present)) return isWhole;
    const checked: PackageBody = validated(packageBody, body);
    const { now, audit } = this.#options;
    if (here === undefined) await createPackage(this.#tx, this.#application, checked, now, audit);
    else await updatePackage(this.#tx, this.#application, here.row, checked, now, audit);
    return isWhole;
  }

  async #applyGroup(wanted: GroupInFile, how: "without strategy" | "whole"): Promise<void> {
    const row = await this.#find("groups", wanted);
    const present = row === undefined ? null : await toGroup(this.#tx, row);
    const channel = wanted.channel == null ? wanted.channel : await this.#channel(wanted.channel);
    if (wanted.channel != null && channel === undefined) {
      throw invalid("channel", `there is no channel "${wanted.channel.name}" for ${wanted.channel.arch}`);
    }
    const policy = wanted.policy ?? {};
    const kept = <K extends keyof typeof FIRST_POLICY>(name: K) =>
      policy[name] ?? present?.[`policy_${name}`] ?? FIRST_POLICY[name];
    const body: GroupBody = validated(groupBody, {
      name: wanted.name,
      description: wanted.description ?? present?.description,
      channel_id: channel === undefined ? present?.channel_id : (channel?.id ?? null),
      track: wanted.track === undefined ? present?.track : wanted.track,
      policy_updates_enabled:
        policy.updates_enabled ?? (row === undefined ? FIRST_POLICY.updates_enabled : isTurnedOn(row)),
      policy_safe_mode: kept("safe_mode"),
      policy_office_hours: kept("office_hours"),
      // None, too, is one that is kept.
      policy_timezone: present === null ? kept("timezone") : (policy.timezone ?? present.policy_timezone),
      policy_period_interval: kept("period_interval"),
      policy_max_updates_per_period: kept("max_updates_per_period"),
      policy_update_timeout: kept("update_timeout"),
      // Strategies may name other groups: they come when all of these are there.
      ...(how === "whole" && wanted.strategy !== undefined && { strategy: wanted.strategy }),
      ...(wanted.maintenance_windows && { maintenance_windows: wanted.maintenance_windows }),
      ...(wanted.freezes && { freezes: wanted.freezes }),
    });
    const { now, audit } = this.#options;
    if (row === undefined) {
      await this.#checkFree("groups", wanted.id);
      await createGroup(this.#tx, this.#application, body, now, audit, wanted.id?.toLowerCase());
      return;
    }
    await updateGroup(this.#tx, this.#application, row, body, audit);
  }

  async #pruneGroups(wanted: readonly GroupInFile[]): Promise<void> {
    for (const row of await this.#rows("groups")) {
      if (wanted.some((one) => isMeant(one, row))) continue;
      // One that only has the name of a group with another id is in its way, but what it has at work is not to be lost by that.
      if (wanted.some(({ name }) => name === row.name) && (await this.#hasRollouts(row))) continue;
      await deleteGroup(this.#tx, row, this.#options.audit);
    }
  }

  async #hasRollouts({ no }: GroupRow): Promise<boolean> {
    const rollouts = this.#tx.selectFrom("rollouts").select("no").where("group_no", "=", no);
    return (await rollouts.limit(1).executeTakeFirst()) !== undefined;
  }

  async #pruneChannels(wanted: readonly ChannelInFile[]): Promise<void> {
    for (const row of await this.#rows("channels")) {
      if (wanted.some((one) => isMeant(one, row) && (one.id !== undefined || archNumber(one.arch) === row.arch)))
        continue;
      await this.#pruneFloors(row, []);
      await deleteChannel(this.#tx, row, this.#options.audit);
    }
  }

  async #pruneFloorsOf(wanted: ChannelInFile): Promise<void> {
    const row = await this.#channel(wanted);
    if (row !== undefined && wanted.floors !== undefined) await this.#pruneFloors(row, wanted.floors);
  }

  async #pruneFloors(channel: ChannelRow, wanted: readonly { readonly version: string }[]): Promise<void> {
    const floors = await this.#tx
      .selectFrom("channel_floors")
      .innerJoin("packages", "packages.no", "channel_floors.package_no")
      .selectAll("packages")
      .where("channel_floors.channel_no", "=", channel.no)
      .execute();
    for (const floor of floors) {
      if (wanted.some(({ version }) => version === floor.version)) continue;
      await deleteFloor(this.#tx, channel, floor, this.#options.audit);
    }
  }

  async #prunePackages(wanted: readonly PackageInFile[]): Promise<void> {
    const kept = new Set(wanted.map(nameOf));
    for (const row of await this.#packageRows(null)) {
      if (!kept.has(nameOf({ version: row.version, arch: archName(row.arch) })))
        await deletePackage(this.#tx, row, this.#options.audit);
    }
  }

  /** By its id, if the file says it: then its name may be another. */
  async #find<T extends "groups" | "channels">(
    table: T,
    {
      id,
      name,
      arch,
    }: { readonly id?: string | undefined; readonly name: string; readonly arch?: ChannelInFile["arch"] },
  ): Promise<Rows[T] | undefined> {
    const rows = await this.#rows(table);
    const found =
      rows.find((row) => row.id === id?.toLowerCase()) ??
      rows.find((row) => row.name === name && (arch === undefined || ("arch" in row && row.arch === archNumber(arch))));
    if (found !== undefined) sameId(id, found);
    if (found !== undefined && arch !== undefined && "arch" in found && found.arch !== archNumber(arch)) {
      throw invalid("arch", `the channel with this id is for ${archName(Number(found.arch))}; that never changes`, 409);
    }
    return found;
  }

  async #checkFree(table: "groups" | "channels", id: string | undefined): Promise<void> {
    if (id === undefined) return;
    const other = await this.#tx.selectFrom(table).select("name").where("id", "=", id.toLowerCase()).executeTakeFirst();
    if (other !== undefined) throw invalid("id", `"${other.name}" of another application has this id`, 409);
  }

  async #channel({ name, arch }: { readonly name: string; readonly arch: ChannelInFile["arch"] }) {
    return (await this.#rows("channels")).find((row) => row.name === name && row.arch === archNumber(arch));
  }

  /** @throws Problem that names the field */
  async #package(field: string, version: string, arch: number): Promise<PackageRow> {
    const [found] = await this.#packageRows({ version, arch });
    if (found === undefined) {
      throw invalid(field, `there is no package ${version} for ${archName(arch)}; list it under packages`);
    }
    return found;
  }

  /** The ids of the channels that the file blacklists; undefined: it says nothing of them. */
  async #blacklist({ channels_blacklist: names, arch }: PackageInFile): Promise<string[] | undefined> {
    if (names === undefined) return undefined;
    const ids: string[] = [];
    for (const [index, name] of names.entries()) {
      const channel = await this.#channel({ name, arch });
      if (channel === undefined)
        throw invalid(`channels_blacklist.${index}`, `there is no channel "${name}" for ${arch}`);
      ids.push(channel.id);
    }
    return ids;
  }

  #rows<T extends keyof Rows>(table: T): Promise<Rows[T][]> {
    return this.#tx
      .selectFrom<keyof Rows>(table)
      .selectAll()
      .where("application_no", "=", this.#application.no)
      .orderBy("no")
      .execute() as unknown as Promise<Rows[T][]>; // all columns of the table that was named
  }

  #packageRows(only: { readonly version: string; readonly arch: number } | null) {
    const all = this.#tx.selectFrom("packages").selectAll().where("application_no", "=", this.#application.no);
    return (
      only === null ? all.orderBy("no") : all.where("version", "=", only.version).where("arch", "=", only.arch)
    ).execute();
  }

  /** By `nameOf`; all of them, or at most this one. */
  async #packages(only: PackageInFile | null = null): Promise<ReadonlyMap<string, PackageHere>> {
    const rows = await this.#packageRows(only && { version: only.version, arch: archNumber(only.arch) });
    const objects = await toPackages(this.#tx, rows);
    const here = new Map<string, PackageHere>();
    for (const [index, row] of rows.entries()) {
      const object = objects[index];
      if (object !== undefined) here.set(nameOf({ version: row.version, arch: archName(row.arch) }), { row, object });
    }
    return here;
  }
}

function nameOf({ version, arch }: Pick<PackageInFile, "version" | "arch">): string {
  return `${version} ${arch}`;
}

/** Whether it is what the file speaks of: by its id, if the file says it. */
function isMeant(
  { id, name }: { readonly id?: string | undefined; readonly name: string },
  row: { readonly id: string; readonly name: string },
): boolean {
  return id === undefined ? name === row.name : id.toLowerCase() === row.id;
}

/** An id in the file is that of the object, or of none. */
function sameId(id: string | undefined, present: { readonly id: string }): void {
  if (id === undefined || id.toLowerCase() === present.id) return;
  throw invalid("id", `what has this name has the id ${present.id}; leave the id out, or take another name`, 409);
}

async function each<T>(
  list: string,
  items: readonly T[] | undefined,
  apply: (item: T) => Promise<void>,
): Promise<void> {
  for (const [index, item] of (items ?? []).entries()) await at(`${list}.${index}`, () => apply(item));
}

/** What goes wrong inside is told with its place in the document. */
async function at(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const errors = error.errors.map((one) => ({ ...one, path: `${path}.${one.path}` }));
    throw new Problem(error.status, `${path}.${error.message}`, { errors, headers: error.headers });
  }
}
