/** The figures of rollouts: how far a bad release gets, how often the gate cries wolf, how long a forecast takes. */
import { type ForecastDocument, forecastSchema, madeUpNodes, NO_LIMITS, planOf } from "../src/forecast/document.ts";
import { makeUp } from "../src/forecast/nodes.ts";
import type { Forecast } from "../src/forecast/scenario.ts";
import { simulate } from "../src/forecast/simulation.ts";
import { gateFigure } from "../test/rollout/gate-figures.ts";
import { type SilenceScenario, silenceFigure } from "../test/rollout/silence-figures.ts";
import type { Figure } from "./scenarios.ts";

const RUNS = 400;

/** Releases that fail on so many percent of the nodes, and how many may break (median) before the gate closes. */
const BAD = [
  { percent: 100, wanted: 5 },
  { percent: 50, wanted: 5 },
  { percent: 20, wanted: 5 },
  { percent: 10, wanted: 20 },
] as const;
const GOOD = [
  { percent: 2, wanted: 0.008 },
  { percent: 1, wanted: 0.008 },
] as const;

export async function gate(): Promise<Figure[]> {
  const broken = BAD.map(({ percent, wanted }) => {
    const samples = gateFigure(percent / 100, RUNS);
    return {
      name: `nodes broken when the gate closes, ${percent} % failing, median of ${RUNS} runs`,
      target: `≤ ${wanted}`,
      value: `${samples.medianBroken} (at most ${samples.mostBroken}; closed in ${samples.halted * 100} % of the runs)`,
      met: samples.medianBroken <= wanted && samples.halted === 1,
      samples,
    };
  });
  const falseHalts = GOOD.map(({ percent, wanted }) => {
    const samples = gateFigure(percent / 100, RUNS);
    return {
      name: `runs halted wrongly, ${percent} % failing where 5 % are allowed`,
      target: `≤ ${wanted * 100} %`,
      value: `${samples.halted * 100} % of ${RUNS}`,
      met: samples.halted <= wanted,
      samples,
    };
  });
  return [...broken, ...falseHalts];
}

const STAGES = [{ percent: 1, bake: "2h" }, { percent: 10, bake: "2h" }, { percent: 50, bake: "2h" }, { percent: 100 }];

const SILENCE_RUNS = 250;

/** What the gate makes of nodes that fall silent: those that are switched off each night, and those that a release has killed. */
export async function silence(): Promise<Figure[]> {
  const good: SilenceScenario = {
    nodes: 1_000,
    switchedOff: 0,
    knownDays: 30,
    strategy: { stages: [{ percent: 10, bake: "1d" }, { percent: 50, bake: "1d" }, { percent: 100 }], health: {} },
    die: 0,
  };
  const quiet = [0, 0.05, 0.1, 0.2].flatMap((switchedOff) =>
    [false, true].map((labFirst) => {
      const figure = silenceFigure({ ...good, switchedOff, labFirst }, SILENCE_RUNS);
      const first = labFirst ? ", these first" : "";
      return {
        name: `good releases halted for silence, ${switchedOff * 100} % of the nodes off each night${first}`,
        target: "≤ 0.8 %",
        value: `${figure.halted * 100} % of ${SILENCE_RUNS}`,
        met: figure.halted <= 0.008,
        samples: figure,
      };
    }),
  );
  const deadly = [1, 0.3].map((die) => {
    const figure = silenceFigure({ ...good, switchedOff: 0.1, die }, 50);
    return {
      name: `releases that kill ${die * 100} % of their nodes an hour after they came up, halted`,
      target: "100 %",
      value: `${figure.halted * 100} % (median ${figure.medianLost} of 1,000 lost, ${figure.mostLost} at most, after ${figure.medianHours.toFixed(1)} h)`,
      met: figure.halted === 1,
      samples: figure,
    };
  });
  return [...quiet, ...deadly];
}

/** A quarter of an hour for each update, reboot and all. */
const SLOW = { download: "10m", install: "3m", reboot: "2m" } as const;

function forecast(document: ForecastDocument): Forecast {
  const request = forecastSchema.parse({ oems: ["azure", "gce", "qemu", "vmware"], ...document });
  const defaults = { version: "4230.2.1", strategy: {}, policy: NO_LIMITS, now: Date.UTC(2026, 2, 4, 12) };
  const plan = planOf(request, defaults);
  return simulate({ ...plan, nodes: makeUp(madeUpNodes(request, plan), plan.seed) });
}

export async function forecasts(): Promise<Figure[]> {
  const killers = [
    { what: "no node comes back from", document: { die: ["100%"] } },
    { what: "fails on 20 % of the nodes", document: { fail: ["20%:9"] } },
    { what: "falls back everywhere", document: { fall_back: ["100%"] } },
    { what: "no node of one OEM in four comes back from", document: { die: ["100%,oem=vmware"] } },
  ].map(({ what, document }) => {
    const { end, broken, lost, nodes, brokenAtHalt } = forecast({ nodes: 10_000, strategy: { stages: STAGES, health: {} }, ...document }); // biome-ignore format: one line
    return {
      name: `nodes broken by a release that ${what}, of 10,000 in stages of 1, 10, 50, 100 %`,
      target: "≤ 100",
      value: `${broken} (${brokenAtHalt} when the gate closed; ${lost} lost; ${end})`,
      met: broken <= 100,
      samples: { end, broken, lost, nodes, brokenAtHalt },
    };
  });
  const guarded = [1_000, 100_000].map((size) => {
    const { end, broken, reached } = forecast({ nodes: size, strategy: { preset: "guarded" }, die: ["100%"], ...SLOW });
    return {
      name: `nodes lost by ${size} whose group has no strategy to a release that none comes back from`,
      target: "≤ 10",
      value: `${broken} (${reached} were offered it; ${end})`,
      met: broken <= 10,
      samples: { end, broken, reached },
    };
  });
  const good = [1_000, 3_000, 100_000].map((size) => {
    const asked = { nodes: size, strategy: { preset: "guarded" as const }, fail: ["1%:9"], ...SLOW };
    const { end, startsAt, endsAt, complete } = forecast(asked);
    const hours = (endsAt - startsAt) / 3_600_000;
    return {
      name: `hours until ${size} nodes whose group has no strategy have a release that fails on 1 %`,
      target: "< 6",
      value: `${hours.toFixed(1)} (${complete} have it; ${end})`,
      met: hours < 6 && end === "completed",
      samples: { end, hours, complete },
    };
  });
  const speeds = [
    { what: "rising over the whole time", document: { strategy: { stages: [{ percent: 100, over: "30d" }] } } },
    { what: "50 in flight at most", document: { strategy: { stages: STAGES, health: {}, max_in_flight: 50 } } },
    { what: 'preset "careful"', document: { strategy: { preset: "careful" as const } } },
  ].map(({ what, document }) => {
    const from = performance.now();
    const { startsAt, endsAt } = forecast({ nodes: 100_000, for: "30d", ...document } as ForecastDocument);
    const seconds = (performance.now() - from) / 1000;
    const days = (endsAt - startsAt) / 86_400_000;
    return {
      name: `forecast of 100,000 nodes over 30 days, ${what}`,
      target: "< 60 s",
      value: `${seconds.toFixed(1)} s (${days.toFixed(1)} days until its end)`,
      met: seconds < 60,
      samples: { seconds, days },
    };
  });
  return [...killers, ...guarded, ...good, ...speeds];
}
