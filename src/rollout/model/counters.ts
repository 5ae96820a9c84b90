/** How many nodes stand where. */
import type { NodeStatus } from "./node.ts";

export type CountedStatus = Exclude<NodeStatus, "unknown" | "on-hold"> | "withdrawn";

/**
 * How many nodes stand where: a histogram of statuses. `withdrawn`: granted, but replaced or taken back before any end.
 * `retrying`: of those in flight, the ones that have failed before. `relapsed`: of those that came to a bad end, the ones that
 * had completed before.
 */
export type Tally = Record<CountedStatus | "retrying" | "relapsed", number>;

/** Law: it equals a count over the nodes whose grant belongs to the rollout plus its past grants. Moved in place. */
export interface RolloutCounters {
  readonly total: Tally;
  /** By `cellOf(stage, arch, oem)`: sums up to `total`. */
  readonly cells: Map<string, Tally>;
  /** Nodes whose last end here was `failed`, by error code. */
  readonly causes: Map<number, number>;
}

/** Grants of a group in slices of its period, oldest first. */
export interface GrantSlice {
  readonly startsAt: number;
  readonly count: number;
}

export interface GroupCounters {
  /** Over all of the group's rollouts, superseded ones too: granted, downloading, downloaded or installed. */
  readonly inFlight: number;
  readonly slices: readonly GrantSlice[];
}

/** Nodes that were offered files which are kept here, and have not fetched them yet. */
export interface DownloadCounters {
  /** Of packages that are kept here, by their numbers. */
  readonly rollouts: ReadonlySet<number>;
  /** Law: `granted` and `downloading` of these rollouts. Moved in place. */
  fetching: number;
}

/** The counters a decision may look at, moved along by `applyTransition` as decisions are made. */
export interface Counters {
  readonly rollouts: Map<number, RolloutCounters>;
  readonly groups: Map<number, GroupCounters>;
  readonly downloads: DownloadCounters;
}
