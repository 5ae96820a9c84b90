/** Releases of known quality, against the real gate: how many nodes break before it closes, and how often it cries wolf. */
import { count } from "../../src/rollout/counters.ts";
import type { Counters } from "../../src/rollout/model/counters.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { gated } from "../../src/rollout/run.ts";
import { aStagedFleet, NOON, noCounters } from "./builders.ts";

export interface GateFigure {
  /** Of the nodes that fail, 0 to 1. */
  readonly share: number;
  /** Of the runs in which the gate closed: nodes broken by then. */
  readonly medianBroken: number;
  readonly mostBroken: number;
  /** Of all runs, 0 to 1. */
  readonly halted: number;
}

/** One release after another goes to `nodes` nodes, which finish one by one. */
export function gateFigure(
  share: number,
  runs: number,
  nodes = 10_000,
  oems: readonly string[] = ["azure"],
): GateFigure {
  const random = generator(Math.round(share * 1_000) + 1);
  const broken: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const atHalt = brokenAtHalt(share, nodes, oems, random);
    if (atHalt !== null) broken.push(atHalt);
  }
  broken.sort((a, b) => a - b);
  return {
    share,
    medianBroken: broken[Math.floor(broken.length / 2)] ?? 0,
    mostBroken: broken.at(-1) ?? 0,
    halted: broken.length / runs,
  };
}

function brokenAtHalt(share: number, nodes: number, oems: readonly string[], random: () => number): number | null {
  const [first] = aStagedFleet({ health: { max_failure_percent: 5, max_lost: null } }).rollouts;
  if (first === undefined) throw new Error("no rollout");
  let rollout: Rollout = first;
  const counters: Counters = noCounters();
  let broken = 0;
  for (let node = 0; node < nodes; node += 1) {
    const fails = random() < share;
    const oem = oems[Math.floor(random() * oems.length)] ?? "";
    const standing = { rolloutNo: rollout.no, groupNo: 1, cell: `0 1 ${oem}`, errorCode: null, relapsed: false };
    if (rollout.closed.some(({ slice }) => slice.value === oem)) continue;
    count(counters, { ...standing, status: fails ? "failed" : "complete", failure: fails ? "failed" : null }, 1);
    if (!fails) continue;
    broken += 1;
    const standingNow = counters.rollouts.get(rollout.no);
    const change = standingNow === undefined ? null : gated(rollout, standingNow, NOON);
    if (change === null) continue;
    rollout = { ...rollout, ...change.next };
    if (rollout.state === "halted") return broken;
  }
  return null;
}

/** Mulberry32: small, and good enough to throw dice. 0 to 1. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
