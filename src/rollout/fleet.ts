/** The configuration's snapshot, and the look-ups that every check-in begins with. */
import { isHosted } from "./downloads.ts";
import type { Arch } from "./model/arch.ts";
import { ARCH } from "./model/arch.ts";
import type { CheckIn } from "./model/check-in.ts";
import type { Application, Group, Package } from "./model/configuration.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Node } from "./model/node.ts";
import type { Completion, Rollout } from "./model/rollout.ts";

export interface FleetParts {
  readonly applications: readonly Application[];
  readonly groups: readonly Group[];
  readonly rollouts: readonly Rollout[];
  readonly completions?: readonly Completion[];
  /** All that there are; left out: those of the rollouts. */
  readonly packages?: Iterable<Package>;
}

export function buildFleet(revision: number, parts: FleetParts): Fleet {
  const { applications, groups, rollouts, completions = [] } = parts;
  const packages = parts.packages ?? rollouts.map((rollout) => rollout.package);
  const applicationByName = new Map<string, Application>();
  for (const application of applications) {
    applicationByName.set(application.id.toLowerCase(), application);
    if (application.productId !== null) applicationByName.set(application.productId.toLowerCase(), application);
  }
  const groupByTrack = new Map<string, Group>();
  const oldestFirst = [...groups].sort((a, b) => a.no - b.no);
  // A group that lost its channel must not hide one that has something to offer.
  const withChannelFirst = [...oldestFirst].sort((a, b) => Number(a.channel === null) - Number(b.channel === null));
  for (const group of withChannelFirst) {
    const key = groupByTrackKey(group.applicationNo, group.track, group.channel?.arch ?? ARCH.all);
    if (!groupByTrack.has(key)) groupByTrack.set(key, group);
  }
  // By id, whatever the arch; after all tracks, which have precedence.
  for (const group of oldestFirst) {
    const key = groupByIdKey(group.applicationNo, group.id.toLowerCase());
    if (!groupByTrack.has(key)) groupByTrack.set(key, group);
  }
  return {
    revision,
    applications,
    groups,
    rollouts,
    completions,
    applicationByName,
    groupByNo: new Map(groups.map((group) => [group.no, group])),
    groupByTrack,
    rolloutByTarget: new Map(
      rollouts.flatMap((rollout) =>
        rollout.undoes === null ? [[rolloutKey(rollout.groupNo, rollout.package.no), rollout]] : [],
      ),
    ),
    rollbackByVersion: new Map(
      rollouts.flatMap((rollout) =>
        rollout.undoes === null ? [] : [[rollbackKey(rollout.groupNo, rollout.undoes), rollout]],
      ),
    ),
    rolloutByNo: new Map(rollouts.map((rollout) => [rollout.no, rollout])),
    hostedPackages: new Set([...packages].flatMap((one) => (isHosted(one) ? one.no : []))),
    hostedRollouts: new Set(rollouts.flatMap((rollout) => (isHosted(rollout.package) ? rollout.no : []))),
  };
}

export function groupByTrackKey(applicationNo: number, track: string, arch: Arch): string {
  return `${applicationNo} ${arch} ${track}`;
}

function groupByIdKey(applicationNo: number, id: string): string {
  return `${applicationNo} id ${id}`;
}

export function rolloutKey(groupNo: number, packageNo: number): string {
  return `${groupNo} ${packageNo}`;
}

export function rollbackKey(groupNo: number, version: string): string {
  return `${groupNo} back from ${version}`;
}

/** Braces, spaces around it and letter case are ignored; a product id is as good as the UUID. */
export function findApplication(fleet: Fleet, appId: string): Application | undefined {
  return fleet.applicationByName.get(bare(appId));
}

/**
 * The group that a check-in goes by: the one that a person has put the node into, for as long as there is that group;
 * else its track's. A mirror is no node, whatever its id: it goes by its track.
 * @param node as it is known; null: it is new.
 */
export function findGroup(
  fleet: Fleet,
  applicationNo: number,
  node: Pick<Node, "ownGroup"> | null,
  { track, arch, syncer }: Pick<CheckIn, "track" | "arch" | "syncer">,
): Group | undefined {
  const own = node === null || syncer ? null : node.ownGroup;
  return (
    (own === null ? undefined : fleet.groupByTrack.get(groupByIdKey(applicationNo, own))) ??
    groupOfTrack(fleet, applicationNo, track, arch)
  );
}

/**
 * The group with this track and architecture; else one for all architectures; else the one whose id the track is,
 * whatever the architecture (old nodes send such).
 */
function groupOfTrack(fleet: Fleet, applicationNo: number, track: string, arch: Arch): Group | undefined {
  return (
    fleet.groupByTrack.get(groupByTrackKey(applicationNo, track, arch)) ??
    fleet.groupByTrack.get(groupByTrackKey(applicationNo, track, ARCH.all)) ??
    fleet.groupByTrack.get(groupByIdKey(applicationNo, bare(track)))
  );
}

/** The few spellings that a fleet sends, made bare once. */
let bareTexts = new Map<string, string>();

function bare(text: string): string {
  const known = bareTexts.get(text);
  if (known !== undefined) return known;
  if (bareTexts.size >= 1_000) bareTexts = new Map();
  const made = text
    .trim()
    .replace(/^\{|\}$/g, "")
    .toLowerCase();
  bareTexts.set(text, made);
  return made;
}
