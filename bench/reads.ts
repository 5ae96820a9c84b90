/** What an operator's tools wait for, in a big fleet with a month of history. */
import { fillHistory, readings } from "./history.ts";
import { aTurnout } from "./processes.ts";
import type { Figure, Plan } from "./scenarios.ts";

const WANTED_MS = 300;

/** One request after another, each kind many times. */
export async function adminReads(plan: Plan): Promise<Figure[]> {
  fillHistory(plan.many, plan.manyNodes);
  const server = await aTurnout(plan.many);
  const times = new Map<string, number[]>();
  for (let turn = 0; turn < plan.rounds * 10; turn += 1) {
    for (const [name, path] of Object.entries(readings(turn))) {
      const startedAt = performance.now();
      const response = await fetch(`${server.url}${path}`);
      await response.text();
      if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
      times.set(name, [...(times.get(name) ?? []), performance.now() - startedAt]);
    }
  }
  await server.stop();
  const p95s = [...times].map(([name, taken]) => ({ name, p95Ms: p95(taken) })).sort((a, b) => b.p95Ms - a.p95Ms);
  const [slowest, second] = p95s;
  const value = slowest?.p95Ms ?? 0;
  return [
    {
      name: `p95 of every list, statistic and timeline with ${plan.manyNodes} nodes and 30 days of history`,
      target: `< ${WANTED_MS} ms`,
      value: `${value} ms at most (${slowest?.name}; then ${second?.p95Ms} ms, ${second?.name}; ${p95s.length} kinds)`,
      met: value < WANTED_MS,
      samples: p95s,
    },
  ];
}

function p95(times: readonly number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  return Math.round(sorted[Math.ceil(sorted.length * 0.95) - 1] ?? 0);
}
