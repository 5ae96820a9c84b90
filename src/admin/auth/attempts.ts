/** Failed logins by address: who guesses has to wait. */
import { Problem } from "../problem.ts";

const WINDOW_MS = 60_000;
const MAX_FAILURES = 30;
/** Beyond that many addresses the oldest are forgotten: a flood must not fill the memory. */
const MAX_ADDRESSES = 10_000;

export class Attempts {
  readonly #failures = new Map<string, { since: number; count: number }>();

  /** How long the address has to wait, in milliseconds; 0: it may try. */
  waitMs(address: string, now: number): number {
    const failures = this.#failures.get(address);
    if (failures === undefined || failures.count < MAX_FAILURES) return 0;
    return Math.max(0, failures.since + WINDOW_MS - now);
  }

  /** @throws Problem 429 while the address has to wait. */
  check(address: string, now: number): void {
    const waitMs = this.waitMs(address, now);
    if (waitMs === 0) return;
    throw new Problem(429, "too many failed logins from this address; try again later", {
      headers: { "Retry-After": String(Math.ceil(waitMs / 1000)) },
    });
  }

  failed(address: string, now: number): void {
    const failures = this.#failures.get(address);
    if (failures !== undefined && now < failures.since + WINDOW_MS) {
      failures.count += 1;
      return;
    }
    this.#failures.delete(address);
    const [oldest] = this.#failures.keys();
    if (oldest !== undefined && this.#failures.size >= MAX_ADDRESSES) this.#failures.delete(oldest);
    this.#failures.set(address, { since: now, count: 1 });
  }
}
