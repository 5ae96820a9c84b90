/** What is forecast, and what comes out. Plain data: it goes to a thread and back. Times are milliseconds since the epoch. */
import type { Arch } from "../rollout/model/arch.ts";
import type { Policy, VersionOrder } from "../rollout/model/configuration.ts";
import type { Labels } from "../rollout/model/node.ts";
import type { RolloutState } from "../rollout/model/rollout.ts";
import type { Strategy } from "../rollout/model/strategy.ts";
import type { Rule } from "../virtual/behaviour.ts";

export interface ForecastNode {
  readonly id: string;
  readonly oem: string;
  readonly arch: Arch;
  readonly version: string;
  readonly alias: string;
  readonly labels: Labels;
}

/** How nodes take to the release, and how long things take them. */
export interface Behaviour {
  readonly pollMs: number;
  readonly downloadMs: number;
  readonly installMs: number;
  /** From being installed until the node is back and has asked for the first time. */
  readonly rebootMs: number;
  /** From being back with the release until it is too much for those that die or fall back later. */
  readonly laterMs: number;
  /** Which of them fail, die or fall back. */
  readonly rules: readonly Rule[];
}

/** All but the nodes. */
export interface Plan {
  readonly version: string;
  readonly versionOrder: VersionOrder;
  readonly strategy: Strategy;
  readonly policy: Policy;
  /** Of how many nodes the server can serve the files at a time; null: they are elsewhere, or there is no limit. */
  readonly mostDownloads: number | null;
  readonly behaviour: Behaviour;
  readonly startsAt: number;
  readonly durationMs: number;
  /** How long a person takes to open the next stage; null: nobody ever does. */
  readonly approveAfterMs: number | null;
  /** The same seed has the same nodes go first, and the same ones fail. */
  readonly seed: string;
}

export interface Scenario extends Plan {
  readonly nodes: readonly ForecastNode[];
}

export interface ForecastStage {
  readonly number: number;
  readonly percent: number;
  /** Whether it is for some nodes only, whatever their percentile. */
  readonly matched: boolean;
  /** Null: it never opened. */
  readonly openedAt: number | null;
  /** When its nodes had finished and it began to bake; null: not. */
  readonly finishedAt: number | null;
  readonly eligible: number;
  readonly granted: number;
  readonly complete: number;
  readonly bad: number;
}

export interface ForecastPoint {
  readonly at: number;
  readonly granted: number;
  readonly inFlight: number;
  readonly complete: number;
  readonly bad: number;
}

export const FORECAST_ENDS = [
  "completed",
  "halted",
  "paused",
  "waiting for approval",
  "waiting for nodes",
  "updates turned off",
  "time over",
] as const;
export type ForecastEnd = (typeof FORECAST_ENDS)[number];

export interface Forecast {
  readonly nodes: number;
  readonly version: string;
  /** As in the plan. */
  readonly mostDownloads: number | null;
  readonly startsAt: number;
  readonly endsAt: number;
  readonly end: ForecastEnd;
  readonly stages: readonly ForecastStage[];
  /** What the rollout's history would say. */
  readonly history: readonly {
    readonly at: number;
    readonly state: RolloutState;
    readonly stage: number;
    readonly reason: string;
  }[];
  /** A few hundred points at most. */
  readonly curve: readonly ForecastPoint[];
  /** Nodes that were ever offered the release. */
  readonly reached: number;
  readonly complete: number;
  /** Nodes that came to a bad end on it, and have not recovered. */
  readonly broken: number;
  /** The same when the gate closed, with those that had died by then; null: it did not. */
  readonly brokenAtHalt: number | null;
  readonly lost: number;
  /** Nodes that had completed, and died later. */
  readonly silent: number;
  readonly peakInFlight: number;
}
