/** Everybody has a turn within it: update_engine gives up what stands still for 90 seconds. */
const ROUND_SECONDS = 10;
const SMALLEST_PART = 1024;

/** How fast bytes may go, all of them together. Who comes first goes first. */
export class Rate {
  readonly #bytesPerSecond: number;
  readonly #takers: () => number;
  #freeAt = 0;

  /** @param takers how many share it now */
  constructor(bytesPerSecond: number, takers: () => number = () => 1) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#takers = takers;
  }

  /** How many bytes to take at a time, so that nobody waits long for a turn. */
  get part(): number {
    return Math.max(SMALLEST_PART, Math.floor((this.#bytesPerSecond * ROUND_SECONDS) / Math.max(1, this.#takers())));
  }

  /** Takes a turn for so many bytes; answers how many milliseconds there are until it comes. */
  reserve(bytes: number, now: number): number {
    const at = Math.max(now, this.#freeAt);
    this.#freeAt = at + (bytes / this.#bytesPerSecond) * 1000;
    return at - now;
  }
}

/** Waits for its turn. */
export async function paced(rate: Rate, bytes: number): Promise<void> {
  const delayMs = rate.reserve(bytes, performance.now());
  if (delayMs >= 1) await new Promise((resolve) => setTimeout(resolve, delayMs));
}
