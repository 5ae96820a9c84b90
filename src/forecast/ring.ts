/**
 * Nodes that ask in vain because a limit is reached, in the order in which they ask: each at its own moment of the poll
 * interval, round and round. Nobody of them need be asked before a slot may be free; then it is whoever asks next.
 */
export class Ring {
  readonly #intervalMs: number;
  readonly #slots: (number[] | undefined)[];
  readonly #phases: Float64Array;
  #size = 0;

  /** @param phases of all nodes: when in the interval they ask, in milliseconds. */
  constructor(intervalMs: number, phases: Float64Array) {
    this.#intervalMs = intervalMs;
    this.#phases = phases;
    this.#slots = new Array(Math.ceil(intervalMs / SLOT_MS));
  }

  add(node: number): void {
    const slot = this.#slotOf(this.#phases[node] ?? 0);
    const nodes = this.#slots[slot];
    if (nodes === undefined) this.#slots[slot] = [node];
    else nodes.push(node);
    this.#size += 1;
  }

  remove(node: number): void {
    const nodes = this.#slots[this.#slotOf(this.#phases[node] ?? 0)];
    const index = nodes?.indexOf(node) ?? -1;
    if (nodes === undefined || index === -1) return;
    nodes.splice(index, 1);
    this.#size -= 1;
  }

  /** Who asks next, at or after this moment, and when; null: nobody waits. */
  next(at: number): { readonly node: number; readonly at: number } | null {
    if (this.#size === 0) return null;
    const phase = at % this.#intervalMs;
    const start = at - phase;
    const first = this.#slotOf(phase);
    for (let step = 0; step <= this.#slots.length; step += 1) {
      const slot = (first + step) % this.#slots.length;
      const round = first + step >= this.#slots.length ? this.#intervalMs : 0;
      const found = this.#earliest(slot, step === 0 ? phase : 0);
      if (found !== null) return { node: found, at: start + round + (this.#phases[found] ?? 0) };
    }
    return null;
  }

  #earliest(slot: number, notBefore: number): number | null {
    let best: number | null = null;
    let bestPhase = Number.POSITIVE_INFINITY;
    for (const node of this.#slots[slot] ?? []) {
      const phase = this.#phases[node] ?? 0;
      if (phase < notBefore || phase >= bestPhase) continue;
      best = node;
      bestPhase = phase;
    }
    return best;
  }

  #slotOf(phase: number): number {
    return Math.min(this.#slots.length - 1, Math.floor(phase / SLOT_MS));
  }
}

const SLOT_MS = 1_000;
