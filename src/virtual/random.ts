/** Randomness that repeats: what a fleet does depends on its seed alone. */
import { createHash } from "node:crypto";

/** Uniform in [0, 1). */
export type Random = () => number;

/** Mulberry32: small, fast, and good enough to spread machines over time. */
export function seededRandom(seed: string): Random {
  let state = createHash("sha256").update(seed).digest().readUInt32LE(0);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Where a text stands in [0, 1): always the same for the same text. */
export function share(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32LE(0) / 2 ** 32;
}

/** 32 hexadecimal digits, as in /etc/machine-id. */
export function machineId(seed: string, index: number): string {
  return createHash("sha256").update(`machine\n${seed}\n${index}`).digest("hex").slice(0, 32);
}
