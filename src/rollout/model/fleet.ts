/** The configuration as a check-in sees it. */
import type { Application, Group } from "./configuration.ts";
import type { Completion, Rollout } from "./rollout.ts";

/** The whole configuration at one revision, with the look-ups that a check-in needs. Immutable. */
export interface Fleet {
  readonly revision: number;
  readonly applications: readonly Application[];
  readonly groups: readonly Group[];
  /** All but the superseded ones, and of the aborted ones the last of each group and package. */
  readonly rollouts: readonly Rollout[];
  /** Of the packages of scheduled rollouts, which may wait for one of these. */
  readonly completions: readonly Completion[];
  /** By lower-case UUID without braces, and by lower-case product id. */
  readonly applicationByName: ReadonlyMap<string, Application>;
  readonly groupByNo: ReadonlyMap<number, Group>;
  /** Key: `groupByTrackKey(applicationNo, track, arch)`. */
  readonly groupByTrack: ReadonlyMap<string, Group>;
  /** Key: `rolloutKey(groupNo, packageNo)`. */
  readonly rolloutByTarget: ReadonlyMap<string, Rollout>;
  /** Key: `rollbackKey(groupNo, version)`: the rollouts that take a version back. */
  readonly rollbackByVersion: ReadonlyMap<string, Rollout>;
  readonly rolloutByNo: ReadonlyMap<number, Rollout>;
  /** Numbers of packages that nodes fetch from this server, and of their rollouts. */
  readonly hostedPackages: ReadonlySet<number>;
  readonly hostedRollouts: ReadonlySet<number>;
  /** By group: its rollouts under way whose nodes are missed when they fall silent. */
  readonly watchedForSilence: ReadonlyMap<number, readonly number[]>;
}
