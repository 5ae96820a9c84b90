/**
 * "Last seen" marks that wait for the disk. A heartbeat that changes nothing else need not be durable at once, so marks
 * are gathered and written in the order of the table: many a page, instead of a page for each heartbeat.
 */
import type { SeenMark } from "../store/store.ts";

export class PendingSeen {
  #gathering = new Map<number, number>();
  /** Few nodes are told to stay away longer than usual: when these are due. */
  #dueAt = new Map<number, number>();
  /** A sorted sheet that is being written, from `#next` on. */
  #sheet: SeenMark[] = [];
  #next = 0;

  /** @param dueAt by when it is back at the latest; null: as usual. */
  add(nodeNo: number, at: number, dueAt: number | null): void {
    this.#gathering.set(nodeNo, at);
    if (dueAt !== null) this.#dueAt.set(nodeNo, dueAt);
    else if (this.#dueAt.size > 0) this.#dueAt.delete(nodeNo);
  }

  /** Marks that were taken and could not be written; what came meanwhile is newer. */
  putBack(marks: readonly SeenMark[]): void {
    for (const [no, at, dueAt] of marks) if (!this.#gathering.has(no)) this.add(no, at, dueAt);
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
  take(limit: number): readonly SeenMark[] {
    if (this.#next >= this.#sheet.length) {
      this.#sheet = Array.from(this.#gathering, ([no, at]): SeenMark => [no, at, this.#dueAt.get(no) ?? null]);
      this.#sheet.sort((a, b) => a[0] - b[0]);
      this.#gathering = new Map();
      this.#dueAt = new Map();
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
