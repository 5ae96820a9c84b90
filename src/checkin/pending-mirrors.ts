/** Mirrors that have asked, until it is written down. Nobody waits for that: they are no nodes, and nothing is decided by it. */
import type { MirrorAsked } from "../store/mirroring.ts";

/** So many are written at a time; what else comes before that is not kept: addresses can be invented. */
const MOST = 500;
/** Of texts that a mirror may choose. */
const LONGEST = 100;

export class PendingMirrors {
  #gathering = new Map<string, MirrorAsked>();

  /** @param asked once, with texts of any length */
  add(asked: MirrorAsked): void {
    const key = `${asked.address} ${asked.groupId ?? ""} ${asked.arch}`;
    const before = this.#gathering.get(key);
    if (before === undefined && this.#gathering.size >= MOST) return;
    this.#gathering.set(key, {
      ...asked,
      application: asked.application.slice(0, LONGEST),
      track: asked.track.slice(0, LONGEST),
      version: asked.version.slice(0, LONGEST),
      firstAt: before?.firstAt ?? asked.firstAt,
      asked: asked.asked + (before?.asked ?? 0),
    });
  }

  take(): readonly MirrorAsked[] {
    const taken = [...this.#gathering.values()];
    this.#gathering = new Map();
    return taken;
  }

  /** What was taken and could not be written; what came meanwhile is newer. */
  putBack(taken: readonly MirrorAsked[]): void {
    const newer = this.take();
    for (const asked of [...taken, ...newer]) this.add(asked);
  }

  get isEmpty(): boolean {
    return this.#gathering.size === 0;
  }
}
