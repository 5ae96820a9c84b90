import { hash } from "node:crypto";

/**
 * Where a node stands in a rollout, in [0, 1). Sticky: depends on seed and node alone, so a rising share never drops a node.
 * Source: ROLLOUTS.md, "Stages": the first 53 bits of SHA-256(`seed\nid`) / 2^53, id in lower case without braces and dashes.
 */
export function percentile(seed: string, nodeId: string): number {
  const digest = hash("sha256", `${seed}\n${bareId(nodeId)}`, "buffer");
  return (digest.readUInt32BE(0) * 2 ** 21 + (digest.readUInt32BE(4) >>> 11)) / 2 ** 53;
}

/** A machine id in lower case, without braces and dashes. */
export function bareId(id: string): string {
  return id.toLowerCase().replace(/[{}-]/g, "");
}
