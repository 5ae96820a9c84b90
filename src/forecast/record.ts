/** What a forecast tells in the end: gathered while it runs. */
import { readCell } from "../rollout/cell.ts";
import { emptyTally, grantedTotal, inFlight, TALLY_KEYS } from "../rollout/counters.ts";
import { finishedOf } from "../rollout/health.ts";
import type { RolloutCounters, Tally } from "../rollout/model/counters.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { stageOf } from "../rollout/stages.ts";
import { compareVersions } from "../rollout/version.ts";
import type { Forecast, ForecastEnd, ForecastPoint, ForecastStage, Scenario } from "./scenario.ts";

const POINTS = 200;

type HistoryLine = Forecast["history"][number];

export class Recorder {
  readonly #scenario: Scenario;
  readonly #eligible: number[];
  readonly #openedAt: (number | null)[];
  readonly #finishedAt: (number | null)[];
  readonly #history: HistoryLine[] = [];
  readonly #reached = new Set<number>();
  #points: ForecastPoint[] = [];
  /** Only every so many samples is kept, so that there are never more than twice `POINTS`. */
  #every = 1;
  #samples = 0;
  #peakInFlight = 0;
  #brokenAtHalt: number | null = null;

  constructor(scenario: Scenario, rollout: Rollout) {
    this.#scenario = scenario;
    const { stages } = scenario.strategy;
    this.#eligible = stages.map(() => 0);
    for (const node of scenario.nodes) {
      if (compareVersions(node.version, scenario.version, scenario.versionOrder) >= 0) continue;
      const stage = stageOf(rollout, { ...node, machineAlias: node.alias });
      if (stage !== null) this.#eligible[stage] = (this.#eligible[stage] ?? 0) + 1;
    }
    this.#openedAt = stages.map((_, index) => (index === 0 ? scenario.startsAt : null));
    this.#finishedAt = stages.map(() => null);
    this.note(scenario.startsAt, rollout, "the rollout starts");
  }

  note(at: number, { state, stage }: Rollout, reason: string): void {
    this.#history.push({ at, state, stage: stage + 1, reason });
  }

  /** @param silent nodes that have died after they had completed. */
  change(at: number, before: Rollout, now: Rollout, reason: string, counters: RolloutCounters, silent: number): void {
    this.note(at, now, reason);
    if (now.stage !== before.stage) {
      this.#finishedAt[before.stage] ??= at;
      this.#openedAt[now.stage] = at;
    }
    if (now.bakingSince !== null || now.state === "completed") this.#finishedAt[now.stage] ??= now.bakingSince ?? at;
    const gateCloses = now.state === "halted" || now.state === "paused" || closedIn(now) > closedIn(before);
    if (gateCloses) this.#brokenAtHalt ??= finishedOf(counters.total).bad + silent;
  }

  grants(node: number, { total }: RolloutCounters): void {
    this.#reached.add(node);
    this.#peakInFlight = Math.max(this.#peakInFlight, inFlight(total));
  }

  sample(at: number, counters: RolloutCounters): void {
    this.#samples += 1;
    if ((this.#samples - 1) % this.#every !== 0) return;
    this.#points.push(this.#point(at, counters.total));
    if (this.#points.length < 2 * POINTS) return;
    this.#points = this.#points.filter((_, index) => index % 2 === 0);
    this.#every *= 2;
  }

  #point(at: number, total: Tally): ForecastPoint {
    return {
      at,
      granted: this.#reached.size,
      inFlight: inFlight(total),
      complete: total.complete,
      bad: finishedOf(total).bad,
    };
  }

  finish(at: number, end: ForecastEnd, counters: RolloutCounters, silent: number): Forecast {
    const { nodes, version, mostDownloads, startsAt } = this.#scenario;
    const last = this.#points.at(-1);
    if (last?.at !== at) this.#points.push(this.#point(at, counters.total));
    return {
      nodes: nodes.length,
      version,
      mostDownloads,
      startsAt,
      endsAt: at,
      end,
      stages: this.#stages(counters),
      history: this.#history,
      curve: this.#points,
      reached: this.#reached.size,
      complete: counters.total.complete,
      broken: finishedOf(counters.total).bad,
      brokenAtHalt: this.#brokenAtHalt,
      lost: counters.total.lost,
      silent,
      peakInFlight: this.#peakInFlight,
    };
  }

  #stages(counters: RolloutCounters): ForecastStage[] {
    const { stages } = this.#scenario.strategy;
    const tallies = stages.map(() => emptyTally());
    for (const [cell, tally] of counters.cells) {
      const own = tallies[readCell(cell).stage];
      if (own !== undefined) for (const key of TALLY_KEYS) own[key] += tally[key];
    }
    return stages.map(({ percent, match }, index) => {
      const tally = tallies[index] ?? emptyTally();
      return {
        number: index + 1,
        percent,
        matched: match !== null,
        openedAt: this.#openedAt[index] ?? null,
        finishedAt: this.#finishedAt[index] ?? null,
        eligible: this.#eligible[index] ?? 0,
        granted: grantedTotal(tally),
        complete: tally.complete,
        bad: finishedOf(tally).bad,
      };
    });
  }
}

/** Slices that are held back, not only watched. */
function closedIn({ closed }: Rollout): number {
  return closed.filter(({ watched }) => !watched).length;
}
