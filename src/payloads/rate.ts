/** How fast bytes may go, all of them together. Who comes first goes first. */
export class Rate {
  readonly #bytesPerSecond: number;
  #freeAt = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
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
