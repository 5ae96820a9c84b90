/** How many unknown machine ids an address may bring: a flood of invented nodes must not fill the database. */
const WINDOW_MS = 60_000;

export class NewcomerLimit {
  readonly #perMinute: number;
  #counts = new Map<string, number>();
  #windowStart = 0;

  /** @param perMinute new nodes an address and minute; 0 = no limit. */
  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  admits(ip: string, now: number): boolean {
    if (this.#perMinute === 0) return true;
    this.#turn(now);
    return (this.#counts.get(ip) ?? 0) < this.#perMinute;
  }

  count(ip: string, now: number): void {
    if (this.#perMinute === 0) return;
    this.#turn(now);
    this.#counts.set(ip, (this.#counts.get(ip) ?? 0) + 1);
  }

  /** A new minute begins with an empty sheet, also when the clock was set back. */
  #turn(now: number): void {
    if (now >= this.#windowStart && now < this.#windowStart + WINDOW_MS) return;
    this.#windowStart = now;
    this.#counts = new Map();
  }
}
