/** How a rollout is to go: its stages, its gate, its limits. Plain data. Source: ROLLOUTS.md. */
import type { Labels } from "./node.ts";

/** The nodes that a stage names. What is null does not matter. */
export interface Match {
  readonly oems: readonly string[] | null;
  /** A range of the version that the node runs. */
  readonly versions: string | null;
  /** Bare machine ids: lower case, no braces or dashes. */
  readonly ids: readonly string[] | null;
  /** Of the alias, in any case, with `*` for any characters and `?` for one. */
  readonly alias: string | null;
  /** All of these names, with these values, folded. */
  readonly labels: Labels | null;
}

/** One step of a rollout. Its nodes are all that any stage so far includes. */
export interface Stage {
  /** Of the group's nodes, or of those that `match` names; 0 to 100. */
  readonly percent: number;
  readonly match: Match | null;
  /** The share rises linearly from that of the stage before, for this long; 0: it is open at once. */
  readonly overMs: number;
  /** How long to wait and see after its nodes have finished. */
  readonly bakeMs: number;
  /** The next stage waits for a person. */
  readonly approval: boolean;
  /** It ends after this time even if nodes have not finished; null: it waits for them. */
  readonly maxDurationMs: number | null;
}

export type OnBreach = "halt" | "pause" | "ask" | "watch";
export type SliceBy = "oem" | "arch";

/** The health gate. */
export interface Health {
  readonly maxFailurePercent: number;
  /** Fewer finished nodes say nothing. */
  readonly minFinished: number;
  /** More lost nodes than this are a breach at once; null: they count as failures only. */
  readonly maxLost: number | null;
  readonly onBreach: OnBreach;
  readonly slices: readonly SliceBy[];
  /** What is borne of nodes that fall silent after they have completed; null: nobody looks. */
  readonly silence: { readonly maxPercent: number } | null;
}

/**
 * Slow start, as TCP has it: nodes at work on the release or broken by it are `start` + `grow` × completed at most. So each
 * success lets `grow` more in, and silence lets nobody in.
 */
export interface Ramp {
  readonly start: RampStart;
  readonly grow: number;
}

/** How many go first: so many nodes, or a share of the group's nodes (1 node at least). */
export type RampStart = { readonly nodes: number } | { readonly percent: number };

/** A node that failed is granted again after `afterMs`, doubling with each try, `max` tries in all. */
export interface Retry {
  readonly afterMs: number;
  readonly max: number;
}

/** A rollout starts by itself `bakeMs` after that group's rollout of the same package has completed. */
export interface After {
  /** Id, name or track. */
  readonly group: string;
  readonly bakeMs: number;
}

export interface Strategy {
  /** At least one. */
  readonly stages: readonly Stage[];
  readonly health: Health | null;
  /** Null: none. */
  readonly ramp: Ramp | null;
  readonly maxInFlight: number | null;
  readonly retry: Retry;
  /** A person at the node may go ahead of the stages. */
  readonly onDemandSkipsStages: boolean;
  readonly after: readonly After[];
  /** Null: the rollout's id, so that other nodes go first every time. */
  readonly seed: string | null;
  /** A stage waits only for nodes that were seen within this time. */
  readonly activeWithinMs: number;
  /** For so long after a node has completed, it counts as a failure of the release if it falls back. */
  readonly watchAfterMs: number;
}
