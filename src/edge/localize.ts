/**
 * From the central server's configuration to what of it holds here now: a channel moves when the files are here that its
 * release needs, what the site has turned off stays so, and a key of its own is kept. Pure.
 */
import type { HeldChannel } from "../admin/central.ts";
import type { SiteDocument } from "../admin/site-document.ts";
import {
  type ApplicationInFile,
  type ChannelInFile,
  type FleetDocument,
  type PackageInFile,
  typeNumber,
} from "../fleet/document.ts";
import { missingOf } from "../rollout/missing.ts";

type Exported = SiteDocument["fleet"]["applications"][number];

export interface Here {
  /** The same applications as they are here now. */
  readonly fleet: SiteDocument["fleet"];
  /** What was applied last; null: nothing yet. */
  readonly previous: SiteDocument["fleet"] | null;
  /** Ids of groups whose updates were off by the site's own doing when that was applied. */
  readonly switchedOff: ReadonlySet<string>;
  /** `nameOf` the packages whose files are all here. */
  readonly complete: ReadonlySet<string>;
  /** `nameOf` those that are to be brought in from the central server. */
  readonly wanted: ReadonlySet<string>;
}

export interface Local {
  readonly fleet: FleetDocument;
  readonly held: HeldChannel[];
  /** Ids of groups whose updates are off by the site's own doing. */
  readonly switchedOff: string[];
}

export function nameOf(applicationId: string, { version, arch }: { version: string; arch: string }): string {
  return `${applicationId} ${arch} ${version}`;
}

export function namesOf(packages: SiteDocument["hosted"]): ReadonlySet<string> {
  return new Set(packages.map((one) => nameOf(one.application, one)));
}

export function localize(fleet: FleetDocument, here: Here): Local {
  const held: HeldChannel[] = [];
  const switchedOff = switchedOffHere(here);
  const applications = fleet.applications.map((application) => {
    const present = here.fleet.applications.find(({ id }) => id === application.id);
    const previous = here.previous?.applications.find(({ id }) => id === application.id);
    return withKey(withSwitches(withHeld(application, present, here, held), switchedOff), present, previous);
  });
  return { fleet: { applications }, held, switchedOff: [...switchedOff] };
}

/** Channels that must wait stay as they are here, and so do the packages that they point to. */
function withHeld(
  application: ApplicationInFile,
  present: Exported | undefined,
  { complete, wanted }: Here,
  held: HeldChannel[],
): ApplicationInFile {
  const { id = "", packages = [] } = application;
  const kept = new Map<string, PackageInFile>(packages.map((one) => [nameOf(id, one), one]));
  const waits = (version: string, { arch }: ChannelInFile) => {
    const name = nameOf(id, { version, arch });
    const one = kept.get(name);
    // Nodes would get nothing from a package that lacks something there: here, they keep what they have.
    if (one !== undefined && isIncomplete(one)) return true;
    return (one?.hosting === "only" || wanted.has(name)) && !complete.has(name);
  };
  const channels = (application.channels ?? []).map((channel) => {
    const { name, arch, package: target, floors = [] } = channel;
    if (target == null) return channel;
    const missing = [target, ...floors.map(({ version }) => version)].find((version) => waits(version, channel));
    if (missing === undefined) return channel;
    const now = present?.channels?.find((one) => one.id === channel.id);
    const stays = now?.package ?? null;
    held.push({ application: id, channel: name, arch, version: target, stays, waits_for: missing });
    const floorsNow = now?.floors ?? [];
    for (const version of [stays, ...floorsNow.map((floor) => floor.version)]) {
      if (version !== null) keep(kept, id, present, version, channel);
    }
    return { ...channel, package: stays, floors: floorsNow };
  });
  return { ...application, channels, packages: [...kept.values()] };
}

function isIncomplete({ type, filename, size, flatcar_action: action }: PackageInFile): boolean {
  const described = { filename: filename ?? null, size: size == null ? null : String(size) };
  return missingOf({ ...described, type: typeNumber(type ?? "flatcar"), sha256: action?.sha256 ?? null }).length > 0;
}

/** Whether the central server has it any more or not, and whatever it says by now of the channel that stays with it. */
function keep(
  kept: Map<string, PackageInFile>,
  applicationId: string,
  present: Exported | undefined,
  version: string,
  { name: channel, arch }: ChannelInFile,
): void {
  const name = nameOf(applicationId, { version, arch });
  const theirs = kept.get(name);
  if (theirs !== undefined) {
    const { channels_blacklist: blacklist } = theirs;
    if (blacklist?.includes(channel)) {
      kept.set(name, { ...theirs, channels_blacklist: blacklist.filter((one) => one !== channel) });
    }
    return;
  }
  const ours = present?.packages?.find((one) => one.version === version && one.arch === arch);
  if (ours === undefined) return;
  // Its blacklist may name channels that are gone.
  const { channels_blacklist: _, ...rest } = ours;
  kept.set(name, rest);
}

/** By a person or by safe mode; and also while, or after, the central server has them turned off too. */
function switchedOffHere({ fleet, previous, switchedOff }: Here): ReadonlySet<string> {
  const before = idsOfOff(previous);
  return new Set([...idsOfOff(fleet)].filter((id) => switchedOff.has(id) || !before.has(id)));
}

function idsOfOff(fleet: SiteDocument["fleet"] | null): ReadonlySet<string> {
  const groups = fleet?.applications.flatMap((application) => application.groups ?? []) ?? [];
  return new Set(groups.filter(({ policy }) => policy?.updates_enabled === false).flatMap(({ id }) => id ?? []));
}

/** A group whose updates were turned off here is not turned on from elsewhere. */
function withSwitches(application: ApplicationInFile, switchedOff: ReadonlySet<string>): ApplicationInFile {
  const groups = (application.groups ?? []).map((group) =>
    switchedOff.has(group.id ?? "") ? { ...group, policy: { ...group.policy, updates_enabled: false } } : group,
  );
  return { ...application, groups };
}

/** A key that was set here is kept; without one, it is the central server's. */
function withKey(
  application: ApplicationInFile,
  present: Exported | undefined,
  previous: Exported | undefined,
): ApplicationInFile {
  const key = present?.payload_key ?? null;
  return key === null || key === previous?.payload_key ? application : { ...application, payload_key: key };
}
