/**
 * Downloads that are under way: bounded in all, and for each address. Nodes that were offered what they fetch are let in beyond
 * that; how many of these there are is bounded by the offers.
 */

/** A node may come again before its last connection is known to be dead, and more than once. */
const BEYOND_PER_NODE = 4;

export class OpenDownloads {
  readonly #most: number;
  readonly #mostPerAddress: number;
  readonly #byAddress = new Map<string, number>();
  readonly #beyond = new Map<string, number>();
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
    return this.#counted(this.#byAddress, address);
  }

  /** The same for an address where so many nodes were offered what they fetch, whatever the limits. */
  enterBeyond(address: string, nodes: number): (() => void) | null {
    if ((this.#beyond.get(address) ?? 0) >= nodes * BEYOND_PER_NODE) return null;
    return this.#counted(this.#beyond, address);
  }

  #counted(counts: Map<string, number>, address: string): () => void {
    this.#open += 1;
    counts.set(address, (counts.get(address) ?? 0) + 1);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#open -= 1;
      const others = (counts.get(address) ?? 1) - 1;
      if (others === 0) counts.delete(address);
      else counts.set(address, others);
    };
  }
}

function isFull(count: number, most: number): boolean {
  return most > 0 && count >= most;
}
