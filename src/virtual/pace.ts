/** How virtual time passes. */
export interface Pace {
  /** Virtual milliseconds since the start. */
  now(): number;
  /** The virtual time of an answer to what was sent at `sentAt`. */
  answeredAt(sentAt: number): number;
  /**
   * Real milliseconds until this is due: 0 is now, infinity is not before an answer came.
   * @param oldestSentAt of the requests that are not answered yet; infinity when there is none
   */
  until(at: number, oldestSentAt: number): number;
}

/** `speed` virtual seconds for each real one. */
export function realTime(speed: number, clock: () => number): Pace {
  const start = clock();
  const now = () => (clock() - start) * speed;
  return { now, answeredAt: now, until: (at) => Math.max(0, (at - now()) / speed) };
}

/** As far as the fleet may run ahead of an answer that it still waits for. */
const AHEAD_MS = 60_000;

/** As fast as answers come: time jumps to what is due next, and answers take no virtual time. */
export function noIdleTime(): Pace {
  let reached = 0;
  return {
    now: () => reached,
    answeredAt: (sentAt) => sentAt,
    until(at, oldestSentAt) {
      if (at > oldestSentAt + AHEAD_MS) return Number.POSITIVE_INFINITY;
      if (Number.isFinite(at)) reached = Math.max(reached, at);
      return 0;
    },
  };
}
