/**
 * "Last seen" marks that wait for the disk. A heartbeat that changes nothing else need not be durable at once, so marks
 * are gathered and written in the order of the table: many a page, instead of a page for each heartbeat.
 */
export class PendingSeen {
  #gathering = new Map<number, number>();
  /** A sorted sheet that is being written, from `#next` on. */
  #sheet: (readonly [number, number])[] = [];
  #next = 0;

  add(nodeNo: number, at: number): void {
    this.#gathering.set(nodeNo, at);
  }

  /** Marks that were taken and could not be written; what came meanwhile is newer. */
  putBack(marks: readonly (readonly [nodeNo: number, at: number])[]): void {
    for (const [no, at] of marks) if (!this.#gathering.has(no)) this.#gathering.set(no, at);
  }

  /** The newest mark that is not on disk yet. */
  at(nodeNo: number): number | undefined {
    return this.#gathering.get(nodeNo) ?? this.#inSheet(nodeNo);
  }

  /** By halves: housekeeping asks for hundreds of nodes while check-ins wait. */
  #inSheet(nodeNo: number): number | undefined {
    let [from, to] = [this.#next, this.#sheet.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((this.#sheet[middle]?.[0] ?? 0) < nodeNo) from = middle + 1;
      else to = middle;
    }
    const [no, at] = this.#sheet[from] ?? [];
    return no === nodeNo ? at : undefined;
  }

  /** The next marks to write, ascending by node. A new sheet begins only when the last one is through. */
  take(limit: number): readonly (readonly [nodeNo: number, at: number])[] {
    if (this.#next >= this.#sheet.length) {
      this.#sheet = [...this.#gathering].sort((a, b) => a[0] - b[0]);
      this.#gathering = new Map();
      this.#next = 0;
    }
    const chunk = this.#sheet.slice(this.#next, this.#next + limit);
    this.#next += chunk.length;
    return chunk;
  }

  /** Whether the present sheet has marks left. */
  get hasMore(): boolean {
    return this.#next < this.#sheet.length;
  }

  get isEmpty(): boolean {
    return !this.hasMore && this.#gathering.size === 0;
  }
}
