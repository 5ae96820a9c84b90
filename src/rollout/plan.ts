/** Which rollouts a configuration asks for: made by themselves as channels and groups move. */
import type { Group, Package } from "./model/configuration.ts";
import type { Rollout } from "./model/rollout.ts";
import { compareVersions } from "./version.ts";

export interface RolloutPlan {
  readonly create: readonly { readonly groupNo: number; readonly packageNo: number }[];
  /** Numbers of rollouts that are no longer wanted. */
  readonly retire: readonly number[];
}

/**
 * A group wants a rollout of its channel's package, and of each floor at or below it, once they lack nothing. An aborted one stands for its package
 * until the channel has moved, or it would be made again at once.
 * @param present rollouts that stand for their group and package, the newest last.
 */
export function planRollouts(groups: readonly Group[], present: readonly Rollout[]): RolloutPlan {
  const wanted = new Map<string, { groupNo: number; packageNo: number }>();
  for (const group of groups) {
    for (const { no } of wantedPackages(group)) wanted.set(`${group.no} ${no}`, { groupNo: group.no, packageNo: no });
  }
  const retire: number[] = [];
  for (const rollout of present.toReversed()) {
    const kept =
      rollout.undoes === null
        ? // Deleting it from what is wanted also settles that a second one of the same kind is one too many.
          wanted.delete(`${rollout.groupNo} ${rollout.package.no}`)
        : stillUndoes(rollout, groups, present);
    if (!kept) retire.push(rollout.no);
  }
  return { create: [...wanted.values()], retire };
}

/**
 * Going back is over when the group has somewhere better to go; that is also the version that was taken back, once it is rolled
 * out again. Nodes would go to and fro between the two for ever.
 */
function stillUndoes({ groupNo, undoes }: Rollout, groups: readonly Group[], present: readonly Rollout[]): boolean {
  const target = groups.find(({ no }) => no === groupNo)?.channel?.package;
  if (target == null || undoes === null) return false;
  const distance = compareVersions(target.version, undoes, target.versionOrder);
  if (distance !== 0) return distance < 0;
  const again = present.findLast(
    (other) => other.groupNo === groupNo && other.undoes === null && other.package.no === target.no,
  );
  return again?.state === "aborted";
}

function wantedPackages({ channel }: Group): Package[] {
  const target = channel?.package;
  if (!channel || !target) return [];
  const floors = channel.floors
    .map((floor) => floor.package)
    .filter(
      (floor) => floor.no !== target.no && compareVersions(floor.version, target.version, target.versionOrder) <= 0,
    );
  return [...floors, target].filter(({ missing }) => missing.length === 0);
}
