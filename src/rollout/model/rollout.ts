/** One package going out to one group, and where that stands. Plain data; times are milliseconds since the epoch. */
import type { Package } from "./configuration.ts";
import type { SliceBy, Strategy } from "./strategy.ts";

export const ROLLOUT_STATES = [
  "scheduled",
  "running",
  "paused",
  "halted",
  "completed",
  "superseded",
  "aborted",
] as const;
export type RolloutState = (typeof ROLLOUT_STATES)[number];

/** Nodes of one OEM or architecture. */
export interface Slice {
  readonly by: SliceBy;
  readonly value: string;
}

/** A slice that the gate has found unhealthy: its nodes get nothing until a person resumes (`watch`: only said once). */
export interface ClosedSlice {
  readonly slice: Slice;
  readonly at: number;
  readonly why: string;
  readonly watched: boolean;
}

/** Where a rollout stands. Moved by time, by the gate and by people; every change is one line of its history. */
export interface Run {
  readonly state: RolloutState;
  readonly stateAt: number;
  /** It stays `scheduled` until then; null: nothing but `after` holds it. */
  readonly startAt: number | null;
  /** The present stage, from 0. */
  readonly stage: number;
  readonly stageOpenedAt: number;
  /** No node is in the stages that are open: none of their time runs, until the first one comes. */
  readonly awaitsNodes: boolean;
  /** Its nodes have finished: since when it bakes; null: they have not. */
  readonly bakingSince: number | null;
  /** Baked, and waiting for a person. */
  readonly awaitsApproval: boolean;
  /** The gate paused it with `pause`: it goes on by itself when the breach is over. */
  readonly pausedByGate: boolean;
  readonly closed: readonly ClosedSlice[];
  /** What had finished when a person last resumed: the gate looks only at what came after. By cell. */
  readonly baseline: Readonly<Record<string, Finished>>;
}

/** Nodes that are through with a rollout, well or not. `bad` includes `lost`, and those that fell back after they had completed. */
export interface Finished {
  readonly finished: number;
  readonly bad: number;
  readonly lost: number;
  readonly relapsed: number;
}

/** One package going out to one group. */
export interface Rollout extends Run {
  readonly no: number;
  readonly id: string;
  readonly groupNo: number;
  readonly package: Package;
  readonly strategy: Strategy;
  readonly seed: string;
  /** The version that it takes back: only nodes that run it get the package. Null: an update. */
  readonly undoes: string | null;
  /** How many nodes its group had when they were last counted: what a share of the group is a share of. */
  readonly groupNodes: number;
  /** Counts its changes: whoever writes one says which it has seen. */
  readonly revision: number;
}

/** A rollout that had completed before another one took its place in its group. */
export interface Completion {
  readonly groupNo: number;
  readonly packageNo: number;
  readonly version: string;
  readonly at: number;
}
