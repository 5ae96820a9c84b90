/** What is due when: a binary heap, so that a fleet of a million costs no more than it must. */
export class DueQueue {
  readonly #times: number[] = [];
  readonly #items: number[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** When the first is due; infinity when there is none. */
  get firstAt(): number {
    return this.#times[0] ?? Number.POSITIVE_INFINITY;
  }

  push(at: number, item: number): void {
    let place = this.#times.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (this.#at(parent) <= at) break;
      this.#set(place, this.#at(parent), this.#items[parent] ?? 0);
      place = parent;
    }
    this.#set(place, at, item);
  }

  /** Takes the first; undefined when there is none. */
  pop(): number | undefined {
    const first = this.#items[0];
    const at = this.#times.pop();
    const item = this.#items.pop();
    if (at === undefined || item === undefined || this.#items.length === 0) return first;
    const { length } = this.#items;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= length) break;
      if (child + 1 < length && this.#at(child + 1) < this.#at(child)) child += 1;
      if (this.#at(child) >= at) break;
      this.#set(place, this.#at(child), this.#items[child] ?? 0);
      place = child;
    }
    this.#set(place, at, item);
    return first;
  }

  #at(place: number): number {
    return this.#times[place] ?? Number.POSITIVE_INFINITY;
  }

  #set(place: number, at: number, item: number): void {
    this.#times[place] = at;
    this.#items[place] = item;
  }
}
