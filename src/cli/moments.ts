/** Moments as people write them: a length of time from now, into the future or the past, or a date. */
import { InvalidArgumentError } from "commander";
import { parseInterval } from "../rollout/interval.ts";

/** @returns a reader that answers RFC 3339. @throws InvalidArgumentError */
export function moment(direction: "from now" | "ago"): (text: string) => string {
  return (text) => {
    const ms = parseInterval(text);
    const at = new Date(ms === null ? Date.parse(text) : Date.now() + (direction === "ago" ? -ms : ms));
    if (!Number.isNaN(at.getTime())) return at.toISOString();
    throw new InvalidArgumentError(`Write a time ${direction}, e.g. 90d, or a moment, e.g. 2027-03-04T12:00:00Z.`);
  };
}
