/** Nodes to forecast with that nobody has. */
import { NO_LABELS } from "../rollout/node.ts";
import { machineId } from "../virtual/random.ts";
import type { ForecastNode } from "./scenario.ts";

export interface MadeUpNodes {
  readonly count: number;
  /** Spread evenly over the nodes. */
  readonly oems: readonly string[];
  /** What they run at first. */
  readonly version: string;
}

/** The same seed makes the same machines. */
export function makeUp({ count, oems, version }: MadeUpNodes, seed: string): ForecastNode[] {
  return Array.from({ length: count }, (_, index) => ({
    id: machineId(seed, index),
    oem: oems[index % oems.length] ?? "",
    arch: 1,
    version,
    alias: `virtual-${index + 1}`,
    labels: NO_LABELS,
  }));
}
