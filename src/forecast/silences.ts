/** Who falls silent in a forecast after it had completed, and what the server sees of it. All others are heard for ever. */
import { readCell } from "../rollout/cell.ts";
import type { Arch } from "../rollout/model/arch.ts";
import type { RolloutCounters } from "../rollout/model/counters.ts";
import { missedAfterMs, type Silence, type SilenceCell } from "../rollout/silence.ts";

/** As the server looks. */
const EVERY_MS = 5 * 60_000;

interface Kind {
  readonly oem: string;
  readonly arch: Arch;
}

export class Silences {
  readonly #pollMs: number;
  readonly #laterMs: number;
  /** When they die, and when they are missed. */
  readonly #doomed: { readonly kind: Kind; readonly diesAt: number; readonly missedAt: number }[] = [];
  /** Nodes that the release is for and that have not been offered it, by OEM and architecture. */
  readonly #others = new Map<string, number>();
  #lookedAt = Number.NEGATIVE_INFINITY;
  #last: Silence = { cells: [], weekBefore: null };

  constructor({ pollMs, laterMs }: { readonly pollMs: number; readonly laterMs: number }) {
    this.#pollMs = pollMs;
    this.#laterMs = laterMs;
  }

  /** One more node that has not been offered the release, or one less. */
  other(kind: Kind, by: 1 | -1): void {
    const key = keyOf(kind);
    this.#others.set(key, (this.#others.get(key) ?? 0) + by);
  }

  /** It has come up at `at`, and goes on asking until it dies. */
  dooms(kind: Kind, at: number): void {
    const seenAt = at + Math.floor(this.#laterMs / this.#pollMs) * this.#pollMs;
    this.#doomed.push({ kind, diesAt: at + this.#laterMs, missedAt: seenAt + missedAfterMs(this.#pollMs) });
  }

  /** How many have died. */
  dead(at: number): number {
    return this.#doomed.filter(({ diesAt }) => diesAt <= at).length;
  }

  /** What is seen of it, looked at every five minutes. Whoever has completed and is not silent is heard. */
  at(now: number, counters: RolloutCounters): Silence {
    if (now - this.#lookedAt < EVERY_MS) return this.#last;
    const silent = new Map<string, number>();
    for (const { kind, missedAt } of this.#doomed) {
      if (missedAt < now) silent.set(keyOf(kind), (silent.get(keyOf(kind)) ?? 0) + 1);
    }
    const cells = new Map<string, SilenceCell>();
    for (const [name, { complete: nodes }] of counters.cells) {
      const cell = readCell(name);
      const key = keyOf(cell);
      const complete = { nodes: (cells.get(key)?.complete.nodes ?? 0) + nodes, silent: silent.get(key) ?? 0 };
      const others = { nodes: this.#others.get(key) ?? 0, silent: 0 };
      cells.set(key, { cell, complete, today: complete, others, steady: others });
    }
    this.#lookedAt = now;
    this.#last = { cells: [...cells.values()], weekBefore: null };
    return this.#last;
  }
}

function keyOf({ oem, arch }: Kind): string {
  return `${arch} ${oem}`;
}
