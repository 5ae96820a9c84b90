/** Whoever waits for bytes waits only so long for the next. */
export class Stall {
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #ms: number;

  constructor(ms: number) {
    this.#ms = ms;
    this.#timer = setTimeout(() => this.#abort.abort(), ms);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Null: it did not wait too long. */
  get reason(): string | null {
    return this.signal.aborted ? `nothing came for ${this.#ms / 1000} seconds` : null;
  }

  /** Something has come. */
  refresh(): void {
    this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
