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
  const groupByTrack = groupsByTrack(applications, groups);
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
    watchedForSilence: watchedForSilence(rollouts),
  };
}

function groupsByTrack(applications: readonly Application[], groups: readonly Group[]): Map<string, Group> {
  const found = new Map<string, Group>();
  const note = (key: string, group: Group | undefined) => {
    if (group !== undefined && !found.has(key)) found.set(key, group);
  };
  const oldestFirst = [...groups].sort((a, b) => a.no - b.no);
  // A group that lost its channel must not hide one that has something to offer.
  const withChannelFirst = [...oldestFirst].sort((a, b) => Number(a.channel === null) - Number(b.channel === null));
  for (const group of withChannelFirst) {
    note(groupByTrackKey(group.applicationNo, group.track, group.channel?.arch ?? ARCH.all), group);
  }
  const named = (applicationNo: number, track: string, arch: Arch) =>
    found.get(groupByTrackKey(applicationNo, track, arch)) ??
    found.get(groupByTrackKey(applicationNo, track, ARCH.all));
  for (const group of oldestFirst) {
    const { applicationNo, track, channel } = group;
    const id = group.id.toLowerCase();
    note(groupByIdKey(applicationNo, id), group);
    for (const arch of ARCHES) {
      const isFor = channel === null || channel.arch === arch || channel.arch === ARCH.all;
      const other = isFor ? undefined : named(applicationNo, track, arch);
      note(idAsTrackKey(applicationNo, id, arch), other?.channel ? other : group);
    }
  }
  for (const { no } of applications) {
    for (const [id, track] of FIRST_GROUPS) {
      for (const arch of ARCHES) note(idAsTrackKey(no, id, arch), named(no, track, arch));
    }
  }
  return found;
}

const ARCHES = Object.values(ARCH);

/**
 * The field's first groups: nodes of old have their ids for a track, also where such a group was deleted or made anew.
 * Source: NEBRASKA.md, 1.5.
 */
const FIRST_GROUPS = [
  ["9a2deb70-37be-4026-853f-bfdd6b347bbe", "stable"],
  ["11a585f6-9418-4df0-8863-78b2fd3240f8", "stable"],
  ["3fe10490-dd73-4b49-b72a-28ac19acfcdc", "beta"],
  ["d112ec01-ba34-4a9e-9d4b-9814a685f266", "beta"],
  ["5b810680-e36a-4879-b98a-4f989e80b899", "alpha"],
  ["e641708d-fb48-4260-8bdf-ba2074a1147a", "alpha"],
  ["72834a2b-ad86-4d6d-b498-e08a19ebe54e", "edge"],
  ["b4b2fa22-c1ea-498c-a8ac-c1dc0b1d7c17", "edge"],
] as const;

function watchedForSilence(rollouts: readonly Rollout[]): Map<number, number[]> {
  const watched = new Map<number, number[]>();
  for (const { no, groupNo, state, strategy } of rollouts) {
    const isUnderWay = state === "running" || state === "paused";
    if (!isUnderWay || strategy.health?.silence == null) continue;
    watched.set(groupNo, [...(watched.get(groupNo) ?? []), no]);
  }
  return watched;
}

export function groupByTrackKey(applicationNo: number, track: string, arch: Arch): string {
  return `${applicationNo} ${arch} ${track}`;
}

function groupByIdKey(applicationNo: number, id: string): string {
  return `${applicationNo} id ${id}`;
}

function idAsTrackKey(applicationNo: number, id: string, arch: Arch): string {
  return `${applicationNo} id ${id} ${arch}`;
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
 * The group with this track and architecture; else one for all architectures; else the one whose id the track is (old nodes send
 * such), or where that is for another architecture, the one with the same track that is for the node's, if there is one.
 */
function groupOfTrack(fleet: Fleet, applicationNo: number, track: string, arch: Arch): Group | undefined {
  return (
    fleet.groupByTrack.get(groupByTrackKey(applicationNo, track, arch)) ??
    fleet.groupByTrack.get(groupByTrackKey(applicationNo, track, ARCH.all)) ??
    fleet.groupByTrack.get(idAsTrackKey(applicationNo, bare(track), arch))
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
