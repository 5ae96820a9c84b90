/** What a node has to pass next: the lowest floor above its version, else the channel's package. */
import type { Channel, Floor, Group, Package } from "./model/configuration.ts";
import type { Manifest, Offer } from "./model/outcome.ts";
import type { Rollout } from "./model/rollout.ts";
import { compareVersions } from "./version.ts";

export interface Target {
  readonly channel: Channel;
  readonly package: Package;
  /** The channel's package: what the floors lead to. */
  readonly last: Package;
}

/** Null when the group's channel points to nothing that could be installed, now or when it is complete. */
export function targetOf(group: Group, version: string): Target | null {
  const channel = group.channel;
  const last = channel?.package;
  if (!channel || !last || (last.files.length === 0 && last.missing.length === 0)) return null;
  return { channel, package: pendingFloors(channel, last, version)[0]?.package ?? last, last };
}

/** The way back: the rollback's package, whatever the channel points to. */
export function targetBack({ channel }: Group, { package: wanted }: Rollout): Target | null {
  return channel === null ? null : { channel, package: wanted, last: wanted };
}

/** Floors above `version` and below the channel's package, ascending; the package itself may be one, then it is the target. */
function pendingFloors(channel: Channel, last: Package, version: string): readonly Floor[] {
  if (channel.floors.length === 0) return channel.floors;
  return channel.floors.filter(
    (floor) =>
      floor.package.no !== last.no &&
      compareVersions(floor.package.version, version, last.versionOrder) > 0 &&
      compareVersions(floor.package.version, last.version, last.versionOrder) <= 0,
  );
}

export function offerOf(target: Package): Offer {
  const manifest: Manifest = { package: target, isFloor: false, floorReason: null, isTarget: false };
  return { urls: target.urls, manifests: [manifest], marked: false };
}

const DEFAULT_FLOOR_REASON = "Required intermediate version";

/** Everything that a mirror of ours still has to fetch: every floor, then the target. Null: nothing. */
export function mirrorOffer({ channel, last }: Target, version: string): Offer | null {
  if (compareVersions(version, last.version, last.versionOrder) >= 0) return null;
  const reasonOf = (floor: Floor): string => floor.reason || DEFAULT_FLOOR_REASON;
  const lastAsFloor = channel.floors.find((floor) => floor.package.no === last.no);
  const manifests: Manifest[] = pendingFloors(channel, last, version).map((floor) => ({
    package: floor.package,
    isFloor: true,
    floorReason: reasonOf(floor),
    isTarget: false,
  }));
  manifests.push({
    package: last,
    isFloor: lastAsFloor !== undefined,
    floorReason: lastAsFloor === undefined ? null : reasonOf(lastAsFloor),
    isTarget: true,
  });
  return { urls: last.urls, manifests, marked: true };
}
