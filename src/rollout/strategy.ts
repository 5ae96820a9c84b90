/**
 * A strategy as people write it (the API's JSON, a file's YAML) and as the engine reads it. Source: ROLLOUTS.md, "Stages".
 * What is written is kept as written; its shape is checked where it comes in.
 */
import { fold } from "./fold.ts";
import { notADuration, parseDuration } from "./interval.ts";
import type { Labels } from "./model/node.ts";
import type { Health, Match, OnBreach, Ramp, RampStart, SliceBy, Stage, Strategy } from "./model/strategy.ts";
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
  readonly silence?: { readonly max_percent?: number | undefined } | "off" | undefined;
}

export interface RampDocument {
  /** So many nodes, or a share of the group such as "1%". */
  readonly start?: number | string | undefined;
  readonly grow?: number | undefined;
}

export interface StrategyDocument {
  readonly stages?: readonly StageDocument[] | undefined;
  readonly ramp?: RampDocument | null | undefined;
  readonly health?: HealthDocument | null | undefined;
  readonly max_in_flight?: number | null | undefined;
  readonly retry?: { readonly after?: string | undefined; readonly max?: number | undefined } | undefined;
  readonly on_demand?: "skip-stages" | "no" | undefined;
  readonly after?: readonly { readonly group: string; readonly bake?: string | undefined }[] | undefined;
  readonly seed?: string | null | undefined;
  readonly active_within?: string | undefined;
  readonly watch_after?: string | undefined;
}

export const PRESET_NAMES = ["guarded", "careful", "normal", "fast", "hotfix"] as const;
export type Preset = (typeof PRESET_NAMES)[number];

const GATE = {
  max_failure_percent: 5,
  min_finished: 5,
  max_lost: 2,
  on_breach: "halt",
  slices: ["oem", "arch"],
  silence: { max_percent: 5 },
} as const satisfies HealthDocument;

/** Written-out strategies that a name stands for. */
export const PRESETS: Readonly<Record<Preset, StrategyDocument>> = {
  // The default of groups that have no strategy of their own.
  guarded: { stages: [{ percent: 100 }], ramp: { start: 10, grow: 1 }, health: GATE },
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

/** How groups without a strategy of their own are rolled out: a preset, or `none`, to all at once and without a gate. */
export const DEFAULT_STRATEGIES = [...PRESET_NAMES, "none"] as const;
export type DefaultStrategy = (typeof DEFAULT_STRATEGIES)[number];

export function defaultStrategy(name: DefaultStrategy): StrategyDocument {
  return name === "none" ? {} : PRESETS[name];
}

const EVERYBODY: readonly StageDocument[] = [{ percent: 100 }];
const DEFAULT_RAMP = { start: 10, grow: 1 } as const;
const DEFAULT_RETRY = { after: "1h", max: 5 } as const;
const DEFAULT_ACTIVE_WITHIN = "24h";
const DEFAULT_WATCH_AFTER = "7d";

/** One stage of 100 %, no ramp, no gate. */
export const PLAIN: Strategy = readStrategy({});

/** With everything that applies where the document says nothing. It reads as the same strategy. */
export function strategyInFull({ health, ramp, retry, ...document }: StrategyDocument): StrategyDocument {
  return {
    stages: EVERYBODY,
    max_in_flight: null,
    on_demand: "no",
    after: [],
    seed: null,
    active_within: DEFAULT_ACTIVE_WITHIN,
    watch_after: DEFAULT_WATCH_AFTER,
    ...document,
    health: health == null ? null : { ...GATE, ...health },
    ramp: ramp == null ? null : { ...DEFAULT_RAMP, ...ramp },
    retry: { ...DEFAULT_RETRY, ...retry },
  };
}

/** @throws Error on a duration that is none: documents are checked where they come in. */
export function readStrategy(document: StrategyDocument): Strategy {
  const { stages = EVERYBODY, retry = {}, after = [] } = document;
  return {
    stages: stages.map(readStage),
    health: document.health == null ? null : readHealth(document.health),
    ramp: document.ramp == null ? null : readRamp(document.ramp),
    maxInFlight: document.max_in_flight ?? null,
    retry: { afterMs: milliseconds(retry.after ?? DEFAULT_RETRY.after), max: retry.max ?? DEFAULT_RETRY.max },
    onDemandSkipsStages: document.on_demand === "skip-stages",
    after: after.map(({ group, bake }) => ({ group, bakeMs: bake === undefined ? 0 : milliseconds(bake) })),
    seed: document.seed ?? null,
    activeWithinMs: milliseconds(document.active_within ?? DEFAULT_ACTIVE_WITHIN),
    watchAfterMs: milliseconds(document.watch_after ?? DEFAULT_WATCH_AFTER),
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
    maxFailurePercent: document.max_failure_percent ?? GATE.max_failure_percent,
    minFinished: document.min_finished ?? GATE.min_finished,
    maxLost: document.max_lost === undefined ? GATE.max_lost : document.max_lost,
    onBreach: document.on_breach ?? GATE.on_breach,
    slices: document.slices ?? GATE.slices,
    silence:
      document.silence === "off" ? null : { maxPercent: document.silence?.max_percent ?? GATE.silence.max_percent },
  };
}

function readRamp({ start = DEFAULT_RAMP.start, grow = DEFAULT_RAMP.grow }: RampDocument): Ramp {
  return { start: readRampStart(start), grow };
}

/** @throws Error on a text that is no share: documents are checked where they come in. */
export function readRampStart(start: number | string): RampStart {
  if (typeof start === "number") return { nodes: start };
  const [, percent] = /^(\d{1,3}(?:\.\d{1,6})?) ?%$/.exec(start) ?? [];
  if (percent === undefined || Number(percent) > 100) throw new Error(notARampStart(start));
  return { percent: Number(percent) };
}

function notARampStart(text: string): string {
  return `"${text}" is not a share of the group; write e.g. "1%", or a number of nodes such as 10`;
}

function milliseconds(text: string): number {
  const value = parseDuration(text);
  if (value === null) throw new Error(notADuration(text));
  return value;
}
