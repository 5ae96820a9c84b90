/** Forecasts for tests: ten thousand nodes on four OEMs, unless told otherwise. */
import { forecastSchema, madeUpNodes, NO_LIMITS, planOf } from "../../src/forecast/document.ts";
import { makeUp } from "../../src/forecast/nodes.ts";
import type { Forecast, Scenario } from "../../src/forecast/scenario.ts";
import { simulate } from "../../src/forecast/simulation.ts";
import type { Policy } from "../../src/rollout/model/configuration.ts";
import type { StrategyDocument } from "../../src/rollout/strategy.ts";

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
/** A Wednesday. */
export const START = Date.UTC(2026, 2, 4, 12);

export const STAGES: StrategyDocument = {
  stages: [{ percent: 1, bake: "2h" }, { percent: 10, bake: "2h" }, { percent: 50, bake: "2h" }, { percent: 100 }],
  health: {},
};

export interface Asked {
  readonly strategy?: StrategyDocument;
  readonly policy?: Partial<Policy>;
  readonly mostDownloads?: number | null;
  readonly [field: string]: unknown;
}

export function scenario({ policy = {}, mostDownloads = null, ...document }: Asked = {}): Scenario {
  const request = forecastSchema.parse({
    nodes: 10_000,
    oems: ["azure", "qemu", "gce", "vmware"],
    strategy: STAGES,
    ...document,
  });
  const limits = { policy: { ...NO_LIMITS, ...policy }, mostDownloads };
  const defaults = { version: "4230.2.1", strategy: {}, now: START, ...limits };
  const plan = planOf(request, defaults);
  return { ...plan, nodes: makeUp(madeUpNodes(request, plan), plan.seed) };
}

export function forecast(asked: Asked = {}): Forecast {
  return simulate(scenario(asked));
}
