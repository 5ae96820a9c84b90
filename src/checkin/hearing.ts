/** Since when nodes have been heard without a break. What was not heard while nobody was is no node's silence. */
export class Hearing {
  readonly #quietMs: number;
  #lastAt: number | null = null;
  #since = 0;

  /** @param quietMs a break is when nobody at all was heard for longer than this. */
  constructor(quietMs: number) {
    this.#quietMs = quietMs;
  }

  /** There was a break, up to then. */
  resumed(at: number): void {
    this.#since = at;
    this.#lastAt = at;
  }

  /** @param at when any node was heard. */
  heard(at: number): void {
    if (this.#lastAt !== null && at - this.#lastAt > this.#quietMs) this.resumed(at);
    this.#lastAt = Math.max(at, this.#lastAt ?? 0);
  }

  /** 0: as far back as is known. */
  get since(): number {
    return this.#since;
  }
}
