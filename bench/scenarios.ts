/** Each figure of the design's table that concerns check-ins, measured. */

import { fill, RELEASE } from "./fill.ts";
import { readings } from "./history.ts";
import type { LoadResult } from "./load.ts";
import { aFolder, aReference, aTurnout, load, type Server, slowDiskLibrary } from "./processes.ts";

export interface Figure {
  readonly name: string;
  readonly target: string;
  readonly value: string;
  readonly met: boolean | null;
  /** What it was made from. */
  readonly samples: unknown;
}

export interface Plan {
  readonly seconds: number;
  readonly rounds: number;
  readonly manyNodes: number;
  /** Where the filled databases are. */
  readonly few: string;
  readonly many: string;
}

const FEW_NODES = 1_000;

export function planFor(quick: boolean): Plan {
  return {
    seconds: quick ? 3 : 8,
    rounds: quick ? 2 : 4,
    manyNodes: quick ? 100_000 : 1_000_000,
    few: aFolder(),
    many: aFolder(),
  };
}

export async function fillDatabases({ few, many, manyNodes }: Plan): Promise<void> {
  await fill(few, FEW_NODES);
  await fill(many, manyNodes);
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 0;
const perSecond = (results: readonly LoadResult[]): number => median(results.map((result) => result.perSecond));
const round = (value: number): number => Math.round(value * 1000) / 1000;

/** Turn by turn, so that a slow moment of the machine hits both. */
async function alternate(
  plan: Plan,
  a: () => Promise<LoadResult>,
  b: () => Promise<LoadResult>,
): Promise<[LoadResult[], LoadResult[]]> {
  const results: [LoadResult[], LoadResult[]] = [[], []];
  for (let turn = 0; turn < plan.rounds; turn += 1) {
    results[0].push(await a());
    results[1].push(await b());
  }
  return results;
}

const drive = (plan: Plan, server: Server, nodes: number, mix: "steady" | "durable" = "steady", connections = 64) =>
  load({ url: server.url, connections, seconds: plan.seconds, nodes, version: RELEASE, mix, rate: null });

function ratio(name: string, target: number, ours: readonly LoadResult[], theirs: readonly LoadResult[]): Figure {
  const value = perSecond(ours) / perSecond(theirs);
  return {
    name,
    target: `≥ ${target}`,
    value: `${round(value)} (${perSecond(ours)}/s against ${perSecond(theirs)}/s)`,
    met: value >= target,
    samples: { ours, theirs },
  };
}

export async function againstExpress(plan: Plan): Promise<Figure[]> {
  const server = await aTurnout(plan.few, { pinned: true });
  const reference = await aReference();
  const referenceLoad = () => drive(plan, reference, FEW_NODES);
  const [steady, base] = await alternate(plan, () => drive(plan, server, FEW_NODES), referenceLoad);
  const [durable, durableBase] = await alternate(
    plan,
    () => drive(plan, server, FEW_NODES, "durable", 256),
    () => drive(plan, reference, FEW_NODES, "steady", 256),
  );
  await server.stop();
  await reference.stop();
  return [
    ratio("checks/s, heartbeats, against the Express handler on the same core", 0.8, steady, base),
    ratio(
      "checks/s, each an event that must be on disk (256 connections both), against the same",
      0.8,
      durable,
      durableBase,
    ),
  ];
}

export async function manyAgainstFew(plan: Plan): Promise<Figure[]> {
  const many = await aTurnout(plan.many, { pinned: true });
  const few = await aTurnout(plan.few, { pinned: true });
  const [ours, theirs] = await alternate(
    plan,
    () => drive(plan, many, plan.manyNodes),
    () => drive(plan, few, FEW_NODES),
  );
  const memory = many.memoryMb();
  await many.stop();
  await few.stop();
  return [
    ratio(`checks/s with ${plan.manyNodes} nodes against ${FEW_NODES}`, 0.9, ours, theirs),
    {
      name: `resident memory with ${plan.manyNodes} nodes, after that load`,
      target: "< 300 MB",
      value: `${memory} MB`,
      met: memory < 300,
      samples: memory,
    },
  ];
}

export async function startUp(plan: Plan): Promise<Figure[]> {
  const times: number[] = [];
  for (let turn = 0; turn < 5; turn += 1) {
    const server = await aTurnout(plan.many);
    times.push(Math.round(server.startMs));
    await server.stop();
  }
  const value = median(times);
  return [
    {
      name: `start to ready with ${plan.manyNodes} nodes`,
      target: "< 1.5 s",
      value: `${value / 1000} s`,
      met: value < 1500,
      samples: times,
    },
  ];
}

export async function whileReading(plan: Plan): Promise<Figure[]> {
  const server = await aTurnout(plan.many, { pinned: true });
  const full = await drive(plan, server, plan.manyNodes);
  const rate = Math.round(full.perSecond / 2);
  let reading = true;
  const times: number[] = [];
  const read = async () => {
    for (let turn = 0; reading; turn += 1) {
      for (const path of Object.values(readings(turn))) {
        if (!reading) return;
        const startedAt = performance.now();
        await (await fetch(`${server.url}${path}`)).text();
        times.push(Math.round(performance.now() - startedAt));
      }
    }
  };
  const reader = read();
  const results: LoadResult[] = [];
  for (let turn = 0; turn < plan.rounds; turn += 1) {
    results.push(
      await load({
        url: server.url,
        connections: 64,
        seconds: plan.seconds,
        nodes: plan.manyNodes,
        version: RELEASE,
        mix: "steady",
        rate,
      }),
    );
  }
  reading = false;
  await reader;
  const memory = server.memoryMb();
  await server.stop();
  const value = median(results.map((result) => result.p99Ms));
  return [
    {
      name: `p99 of a check at ${rate}/s (half of full load on that core) while statistics of ${plan.manyNodes} nodes are read`,
      target: "< 25 ms",
      value: `${value} ms (${times.length} reads meanwhile, ${median(times)} ms each; ${memory} MB resident)`,
      met: value < 25,
      samples: { full, results, readsMs: times, memoryMb: memory },
    },
  ];
}

export async function slowDisk(plan: Plan): Promise<Figure[]> {
  const library = slowDiskLibrary();
  if (library === null) {
    return [{ name: "slow disk", target: "≥ 0.5", value: "skipped: there is no C compiler", met: null, samples: null }];
  }
  // Databases of their own: one has one writer.
  const [fastDisk, slowDiskFolder] = [aFolder(), aFolder()];
  await fill(fastDisk, FEW_NODES);
  await fill(slowDiskFolder, FEW_NODES);
  const fast = await aTurnout(fastDisk);
  const slow = await aTurnout(slowDiskFolder, { environment: { LD_PRELOAD: library } }).catch(async (error) => {
    await fast.stop();
    throw error;
  });
  const health: number[] = [];
  const watched = async (mix: "steady" | "durable") => {
    let watching = true;
    const watch = (async () => {
      while (watching) {
        const startedAt = performance.now();
        await (await fetch(`${slow.url}/health`)).text();
        health.push(performance.now() - startedAt);
        await new Promise((turn) => setTimeout(turn, 5));
      }
    })();
    const result = await drive(plan, slow, FEW_NODES, mix, 256);
    watching = false;
    await watch;
    return result;
  };
  const figures: Figure[] = [];
  for (const mix of ["steady", "durable"] as const) {
    const [ours, theirs] = await alternate(
      plan,
      () => watched(mix),
      () => drive(plan, fast, FEW_NODES, mix, 256),
    );
    figures.push(ratio(`checks/s on a disk whose fsync takes 10 ms against this one, ${mix}`, 0.5, ours, theirs));
  }
  await slow.stop();
  await fast.stop();
  const sorted = health.sort((a, b) => a - b);
  const p99 = round(sorted[Math.floor(sorted.length * 0.99)] ?? 0);
  figures.push({
    name: "p99 of /health during that load",
    target: "< 30 ms",
    value: `${p99} ms`,
    met: p99 < 30,
    samples: sorted.length,
  });
  return figures;
}
