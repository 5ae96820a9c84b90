import { createHash } from "node:crypto";

/**
 * Where a node stands in a rollout, in [0, 1). Sticky: depends on seed and node alone, so a rising share never drops a node.
 * Source: ROLLOUTS.md, "Stages": the first 53 bits of SHA-256(`seed\nid`) / 2^53, id in lower case without braces and dashes.
 */
export function percentile(seed: string, nodeId: string): number {
  const id = nodeId.toLowerCase().replace(/[{}-]/g, "");
  const bits = createHash("sha256").update(`${seed}\n${id}`).digest().readBigUInt64BE(0) >> 11n;
  return Number(bits) / 2 ** 53;
}
