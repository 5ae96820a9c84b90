/** Which rollouts a configuration asks for: made by themselves as channels and groups move. */
import type { Group, Package, Retry, Rollout, Stage } from "./model.ts";
import { compareVersions } from "./version.ts";

export const DEFAULT_STAGES: readonly Stage[] = [{ percent: 100 }];
export const DEFAULT_RETRY: Retry = { afterMs: 3_600_000, max: 5 };

export interface RolloutPlan {
  readonly create: readonly { readonly groupNo: number; readonly packageNo: number }[];
  /** Numbers of rollouts that are no longer wanted. */
  readonly supersede: readonly number[];
}

/**
 * A group wants a rollout of its channel's package, and of each floor at or below it.
 * @param live rollouts that are neither superseded nor aborted.
 */
export function planRollouts(groups: readonly Group[], live: readonly Rollout[]): RolloutPlan {
  const wanted = new Map<string, { groupNo: number; packageNo: number }>();
  for (const group of groups) {
    for (const { no } of wantedPackages(group)) wanted.set(`${group.no} ${no}`, { groupNo: group.no, packageNo: no });
  }
  const supersede: number[] = [];
  for (const rollout of live) {
    // Deleting it from what is wanted also settles that a second one of the same kind is one too many.
    if (!wanted.delete(`${rollout.groupNo} ${rollout.package.no}`)) supersede.push(rollout.no);
  }
  return { create: [...wanted.values()], supersede };
}

function wantedPackages({ channel }: Group): Package[] {
  const target = channel?.package;
  if (!channel || !target) return [];
  const floors = channel.floors
    .map((floor) => floor.package)
    .filter((floor) => floor.no !== target.no && compareVersions(floor.version, target.version) <= 0);
  return [...floors, target];
}
