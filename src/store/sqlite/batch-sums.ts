/** What a batch does to rows that many nodes share, summed up so that each is written once. */
import type { Node } from "../../rollout/model/node.ts";
import type { Changes } from "../../rollout/model/outcome.ts";
import { SLOT_MS } from "../census.ts";

/** Of `node_counts`. */
export class NodeCounts {
  readonly #deltas = new Map<string, { groupNo: number; version: string; status: string; delta: number }>();

  add({ groupNo, version, status }: Node, delta: number): void {
    const key = `${groupNo} ${status} ${version}`;
    const entry = this.#deltas.get(key);
    if (entry === undefined) this.#deltas.set(key, { groupNo, version, status, delta });
    else entry.delta += delta;
  }

  flush(write: (groupNo: number, version: string, status: string, delta: number) => void): void {
    for (const { groupNo, version, status, delta } of this.#deltas.values()) {
      if (delta !== 0) write(groupNo, version, status, delta);
    }
    this.#deltas.clear();
  }

  clear(): void {
    this.#deltas.clear();
  }
}

/** How many nodes came to which status: of `status_slots`. */
export class StatusSlots {
  readonly #entries = new Map<string, { slot: readonly [number, number, string, string]; entries: number }>();

  add({ groupNo, at, to, version }: Changes["transitions"][number]): void {
    const slot = [groupNo, Math.floor(at / SLOT_MS), to, version] as const;
    const key = slot.join(" ");
    const entry = this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, { slot, entries: 1 });
    else entry.entries += 1;
  }

  flush(write: (row: readonly [number, number, string, string, number]) => void): void {
    for (const { slot, entries } of this.#entries.values()) write([...slot, entries]);
    this.#entries.clear();
  }

  clear(): void {
    this.#entries.clear();
  }
}
