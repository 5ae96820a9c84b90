/** Downloads that are under way: bounded in all, and for each address. */
export class OpenDownloads {
  readonly #most: number;
  readonly #mostPerAddress: number;
  readonly #byAddress = new Map<string, number>();
  #open = 0;

  /** 0: no limit. */
  constructor(most: number, mostPerAddress: number) {
    this.#most = most;
    this.#mostPerAddress = mostPerAddress;
  }

  get count(): number {
    return this.#open;
  }

  /** What to call when it is over; null: there are too many. */
  enter(address: string): (() => void) | null {
    const here = this.#byAddress.get(address) ?? 0;
    if (isFull(this.#open, this.#most) || isFull(here, this.#mostPerAddress)) return null;
    this.#open += 1;
    this.#byAddress.set(address, here + 1);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#open -= 1;
      const others = (this.#byAddress.get(address) ?? 1) - 1;
      if (others === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, others);
    };
  }
}

function isFull(count: number, most: number): boolean {
  return most > 0 && count >= most;
}
