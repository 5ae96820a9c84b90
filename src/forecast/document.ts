/**
 * A forecast as people ask for it (the API's JSON, the command line) and as they get it. Durations are texts such as `45m`,
 * shares of nodes rules such as `20%:10,oem=azure`.
 */
import { z } from "zod";
import { duration, strategySchema } from "../fleet/strategy.ts";
import { parseDuration } from "../rollout/interval.ts";
import { type Policy, UNLIMITED_UPDATES, type VersionOrder } from "../rollout/model/configuration.ts";
import { ROLLOUT_STATES } from "../rollout/model/rollout.ts";
import { readStrategy, type StrategyDocument } from "../rollout/strategy.ts";
import { compareVersions, countAsSame, isVersion, lowestVersion } from "../rollout/version.ts";
import { type BadEnd, parseRule, type Rule } from "../virtual/behaviour.ts";
import type { MadeUpNodes } from "./nodes.ts";
import { FORECAST_ENDS, type Forecast, type Plan } from "./scenario.ts";

/** So many nodes take ten seconds or so, and half a gigabyte. */
export const MAX_NODES = 200_000;
const MINUTE = 60_000;
const DAY = 86_400_000;
const LONGEST = 366 * DAY;

const version = z
  .string()
  .max(255)
  // Of which kind it has to be, its application says.
  .refine((text) => isVersion(text, "semver") || isVersion(text, "four-part"), {
    error: ({ input }) => `"${input}" is not a version, e.g. 4230.2.1`,
  });

function lasting(shortest: number, longest: number) {
  return duration.transform((text, context) => {
    const value = parseDuration(text) ?? 0; // checked just before
    if (value < shortest || value > longest) {
      const bound = (milliseconds: number) =>
        milliseconds >= DAY ? `${milliseconds / DAY}d` : `${milliseconds / 1000}s`;
      context.addIssue({ code: "custom", message: `must be from ${bound(shortest)} to ${bound(longest)}` });
    }
    return value;
  });
}

function rules(kind: BadEnd) {
  return z
    .array(
      z
        .string()
        .max(500)
        .transform((text, context): Rule => {
          try {
            return parseRule(text, kind);
          } catch (error) {
            context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
            return z.NEVER;
          }
        }),
    )
    .max(100);
}

export const forecastSchema = z
  .strictObject({
    /** What is rolled out. */
    version: version.optional(),
    strategy: strategySchema.optional(),
    /** Made-up nodes. */
    nodes: z.number().int().min(1).max(MAX_NODES).optional(),
    oems: z.array(z.string().max(64)).min(1).max(50).optional(),
    from_version: version.optional(),
    poll_interval: lasting(MINUTE, DAY).optional(),
    download: lasting(0, DAY).optional(),
    install: lasting(0, DAY).optional(),
    reboot: lasting(0, 30 * DAY).optional(),
    fail: rules("fails").optional(),
    die: rules("dies").optional(),
    fall_back: rules("falls-back").optional(),
    die_later: rules("dies-later").optional(),
    fall_back_later: rules("falls-back-later").optional(),
    /** How long after they came up with it. */
    later: lasting(0, 30 * DAY).optional(),
    start_at: z.iso
      .datetime({ offset: true, error: "must be a time such as 2026-03-04T22:00:00Z" })
      .transform((text) => Date.parse(text))
      .optional(),
    for: lasting(MINUTE, LONGEST).optional(),
    /** How long a person takes to open a stage that waits for one; null: nobody does. */
    approve_after: lasting(0, LONGEST).nullish(),
    seed: z.string().max(256).optional(),
  })
  .superRefine((request, context) => {
    const complain = (field: string, message: string) => context.addIssue({ code: "custom", path: [field], message });
    if (request.nodes === undefined && request.oems !== undefined)
      complain("oems", "goes with nodes: is of made-up ones");
    if (request.from_version === undefined) return;
    if (request.nodes === undefined) complain("from_version", "goes with nodes: is of made-up ones");
    if (request.version !== undefined && !isBelow(request.from_version, request.version)) {
      complain("from_version", `is not below ${request.version}: there is nothing to update`);
    }
  });

function isBelow(from: string, version: string): boolean {
  return compareVersions(from, version, orderFitting(from, version)) < 0;
}

/** Where no application says it: what they look like. Versions that only their builds tell apart are told apart by these. */
function orderFitting(from: string | undefined, version: string): VersionOrder {
  if (isVersion(version, "four-part")) return "four-part";
  return from !== undefined && countAsSame(from, version, "semver") ? "semver-build" : "semver";
}

/** As it was checked. */
export type ForecastRequest = z.output<typeof forecastSchema>;
/** As it is written. */
export type ForecastDocument = z.input<typeof forecastSchema>;

export interface Defaults {
  readonly version: string;
  /** The application's; absent: what the versions look like. */
  readonly order?: VersionOrder;
  readonly strategy: StrategyDocument;
  readonly policy: Policy;
  /** Left out or null: no limit. */
  readonly mostDownloads?: number | null;
  readonly now: number;
}

/** What a group is that limits nothing. */
export const NO_LIMITS: Policy = {
  updatesEnabled: true,
  safeMode: false,
  officeHours: false,
  timezone: "UTC",
  windows: [],
  freezes: [],
  periodMs: 60 * MINUTE,
  maxUpdatesPerPeriod: UNLIMITED_UPDATES,
  updateTimeoutMs: 60 * MINUTE,
};

export function planOf(request: ForecastRequest, defaults: Defaults): Plan {
  const version = request.version ?? defaults.version;
  return {
    version,
    versionOrder: defaults.order ?? orderFitting(request.from_version, version),
    strategy: readStrategy(request.strategy ?? defaults.strategy),
    policy: defaults.policy,
    mostDownloads: defaults.mostDownloads ?? null,
    behaviour: {
      pollMs: request.poll_interval ?? 45 * MINUTE,
      downloadMs: request.download ?? 4 * MINUTE,
      installMs: request.install ?? MINUTE,
      rebootMs: request.reboot ?? 2 * MINUTE,
      laterMs: request.later ?? 60 * MINUTE,
      rules: [
        ...(request.fail ?? []),
        ...(request.die ?? []),
        ...(request.fall_back ?? []),
        ...(request.die_later ?? []),
        ...(request.fall_back_later ?? []),
      ],
    },
    startsAt: request.start_at ?? defaults.now,
    durationMs: request.for ?? 30 * DAY,
    approveAfterMs: request.approve_after === undefined ? 60 * MINUTE : request.approve_after,
    seed: request.seed ?? "forecast",
  };
}

const MADE_UP = { nodes: 10_000, oems: ["azure"], version: "4081.2.0" } as const;

/** The nodes that the request makes up, as they are before they get what is rolled out. */
export function madeUpNodes(
  request: ForecastRequest,
  { version: target, versionOrder: order }: Pick<Plan, "version" | "versionOrder">,
): MadeUpNodes {
  const isOlder = isVersion(MADE_UP.version, order) && compareVersions(MADE_UP.version, target, order) < 0;
  const first = request.from_version ?? (isOlder ? MADE_UP.version : lowestVersion(order));
  return { count: request.nodes ?? MADE_UP.nodes, oems: request.oems ?? MADE_UP.oems, version: first };
}

const time = z.iso.datetime();
const nodes = z.int().nonnegative();

/** A forecast as JSON: names and times as everywhere in the API. */
export const forecastObject = z
  .object({
    nodes,
    version: z.string(),
    /** Nodes that the server serves the files to at a time; null: they are elsewhere, or it has no limit. */
    most_downloads: nodes.nullable(),
    starts_at: time,
    ends_at: time,
    end: z.enum(FORECAST_ENDS),
    reached: nodes,
    complete: nodes,
    broken: nodes,
    /** Null: the gate did not close. */
    broken_at_halt: nodes.nullable(),
    lost: nodes,
    /** Had completed, and died later. */
    silent: nodes,
    peak_in_flight: nodes,
    stages: z.array(
      z.object({
        number: z.int(),
        percent: z.number(),
        matched: z.boolean(),
        opened_at: time.nullable(),
        finished_at: time.nullable(),
        eligible: nodes,
        granted: nodes,
        complete: nodes,
        bad: nodes,
      }),
    ),
    history: z.array(z.object({ at: time, state: z.enum(ROLLOUT_STATES), stage: z.int(), reason: z.string() })),
    curve: z.array(z.object({ at: time, granted: nodes, in_flight: nodes, complete: nodes, bad: nodes })),
  })
  .meta({ id: "Forecast" });
export type ForecastView = z.input<typeof forecastObject>;

export function toForecastView(forecast: Forecast): ForecastView {
  const time = (at: number): string => new Date(at).toISOString();
  const timeOrNull = (at: number | null): string | null => (at === null ? null : time(at));
  return {
    nodes: forecast.nodes,
    version: forecast.version,
    most_downloads: forecast.mostDownloads,
    starts_at: time(forecast.startsAt),
    ends_at: time(forecast.endsAt),
    end: forecast.end,
    reached: forecast.reached,
    complete: forecast.complete,
    broken: forecast.broken,
    broken_at_halt: forecast.brokenAtHalt,
    lost: forecast.lost,
    silent: forecast.silent,
    peak_in_flight: forecast.peakInFlight,
    stages: forecast.stages.map(({ openedAt, finishedAt, ...stage }) => ({
      ...stage,
      opened_at: timeOrNull(openedAt),
      finished_at: timeOrNull(finishedAt),
    })),
    history: forecast.history.map(({ at, ...line }) => ({ at: time(at), ...line })),
    curve: forecast.curve.map(({ at, inFlight, ...point }) => ({ at: time(at), in_flight: inFlight, ...point })),
  };
}
