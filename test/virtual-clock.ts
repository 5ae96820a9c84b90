import type { Clock } from "../src/clock.ts";

/** A clock that stands still until it is moved. Starts on a Wednesday at noon UTC. */
export class VirtualClock implements Clock {
  #now: number;

  constructor(now: number = Date.UTC(2026, 2, 4, 12)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  /** Also back: `by` may be negative. */
  move(by: { days?: number; hours?: number; minutes?: number; seconds?: number }): void {
    this.#now += (((by.days ?? 0) * 24 + (by.hours ?? 0)) * 60 + (by.minutes ?? 0)) * 60_000 + (by.seconds ?? 0) * 1000;
  }
}
