/**
 * A strategy as people write it (the API's JSON, a file's YAML) and as the engine reads it. Source: ROLLOUTS.md, "Stages".
 * What is written is kept as written; its shape is checked where it comes in.
 */
import { fold } from "./fold.ts";
import { notADuration, parseDuration } from "./interval.ts";
import type { Labels } from "./model/node.ts";
import type { Health, Match, OnBreach, SliceBy, Stage, Strategy } from "./model/strategy.ts";
import { bareId } from "./percentile.ts";

export interface StageDocument {
  readonly percent?: number | undefined;
  readonly match?: MatchDocument | undefined;
  readonly over?: string | undefined;
  readonly bake?: string | undefined;
  readonly approval?: "manual" | "auto" | undefined;
  readonly max_duration?: string | undefined;
}

export interface MatchDocument {
  readonly oem?: readonly string[] | undefined;
  readonly version?: string | undefined;
  readonly id?: readonly string[] | undefined;
  readonly alias?: string | undefined;
  readonly labels?: Labels | undefined;
}

export interface HealthDocument {
  readonly max_failure_percent?: number | undefined;
  readonly min_finished?: number | undefined;
  readonly max_lost?: number | null | undefined;
  readonly on_breach?: OnBreach | undefined;
  readonly slices?: readonly SliceBy[] | undefined;
}

export interface StrategyDocument {
  readonly stages?: readonly StageDocument[] | undefined;
  readonly health?: HealthDocument | null | undefined;
  readonly max_in_flight?: number | null | undefined;
  readonly retry?: { readonly after?: string | undefined; readonly max?: number | undefined } | undefined;
  readonly on_demand?: "skip-stages" | "no" | undefined;
  readonly after?: readonly { readonly group: string; readonly bake?: string | undefined }[] | undefined;
  readonly seed?: string | null | undefined;
  readonly active_within?: string | undefined;
}

export type Preset = "careful" | "normal" | "fast" | "hotfix";

const GATE: HealthDocument = {
  max_failure_percent: 5,
  min_finished: 5,
  max_lost: 2,
  on_breach: "halt",
  slices: ["oem", "arch"],
};

/** Written-out strategies that a name stands for. */
export const PRESETS: Readonly<Record<Preset, StrategyDocument>> = {
  // Six days: a day's bake after each of the first five shares, and the rest within the sixth.
  careful: {
    stages: [
      { percent: 1, bake: "1d" },
      { percent: 5, bake: "1d" },
      { percent: 15, bake: "1d" },
      { percent: 40, bake: "1d" },
      { percent: 60, bake: "1d" },
      { percent: 100, over: "1d" },
    ],
    health: GATE,
  },
  normal: {
    stages: [
      { percent: 5, bake: "6h" },
      { percent: 25, bake: "12h" },
      { percent: 100, over: "6h" },
    ],
    health: GATE,
  },
  fast: { stages: [{ percent: 10, bake: "1h" }, { percent: 100 }], health: GATE },
  hotfix: { stages: [{ percent: 100 }], health: GATE },
};

const DEFAULT_RETRY_AFTER = "1h";
const DEFAULT_RETRY_MAX = 5;
const DEFAULT_ACTIVE_WITHIN = "24h";

/** A plain group: one stage of 100 %, no gate. */
export const PLAIN: Strategy = readStrategy({});

/** @throws Error on a duration that is none: documents are checked where they come in. */
export function readStrategy(document: StrategyDocument): Strategy {
  const { stages = [{ percent: 100 }], retry = {}, after = [] } = document;
  return {
    stages: stages.map(readStage),
    health: document.health == null ? null : readHealth(document.health),
    maxInFlight: document.max_in_flight ?? null,
    retry: { afterMs: milliseconds(retry.after ?? DEFAULT_RETRY_AFTER), max: retry.max ?? DEFAULT_RETRY_MAX },
    onDemandSkipsStages: document.on_demand === "skip-stages",
    after: after.map(({ group, bake }) => ({ group, bakeMs: bake === undefined ? 0 : milliseconds(bake) })),
    seed: document.seed ?? null,
    activeWithinMs: milliseconds(document.active_within ?? DEFAULT_ACTIVE_WITHIN),
  };
}

function readStage({ percent = 100, match, over, bake, approval, max_duration: maxDuration }: StageDocument): Stage {
  return {
    percent,
    match: match === undefined ? null : readMatch(match),
    overMs: over === undefined ? 0 : milliseconds(over),
    bakeMs: bake === undefined ? 0 : milliseconds(bake),
    approval: approval === "manual",
    maxDurationMs: maxDuration === undefined ? null : milliseconds(maxDuration),
  };
}

function readMatch({ oem, version, id, alias, labels }: MatchDocument): Match {
  return {
    oems: oem ?? null,
    versions: version ?? null,
    ids: id?.map(bareId) ?? null,
    alias: alias ?? null,
    labels: labels === undefined ? null : foldedValues(labels),
  };
}

function foldedValues(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, fold(value)]));
}

function readHealth(document: HealthDocument): Health {
  return {
    maxFailurePercent: document.max_failure_percent ?? 5,
    minFinished: document.min_finished ?? 5,
    maxLost: document.max_lost === undefined ? 2 : document.max_lost,
    onBreach: document.on_breach ?? "halt",
    slices: document.slices ?? ["oem", "arch"],
  };
}

function milliseconds(text: string): number {
  const value = parseDuration(text);
  if (value === null) throw new Error(notADuration(text));
  return value;
}
