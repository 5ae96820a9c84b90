/** What a schema has against a value, in plain words. */
import type { z } from "zod";

const TYPES: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
};

const UNITS: Readonly<Record<string, string>> = { string: "characters", array: "entries" };

/** A bound of a number, or of how much there may be of something. */
const bounded = (bound: string, value: number | bigint, unit: string | undefined) =>
  unit === undefined ? `must be ${bound} ${value}` : `must have ${bound} ${value} ${unit}`;

/** For `safeParse`: what it says where a schema itself says nothing better. */
export function sayWhatWouldBeRight(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type": {
      const type = TYPES[issue.expected];
      return type && `${issue.input === undefined ? "is missing; it " : ""}must be ${type}`;
    }
    case "too_small": {
      const unit = UNITS[issue.origin];
      if (unit !== undefined && issue.minimum === 1) return "must not be empty";
      return bounded(issue.inclusive === false ? "more than" : "at least", issue.minimum, unit);
    }
    case "too_big":
      return bounded(issue.inclusive === false ? "less than" : "at most", issue.maximum, UNITS[issue.origin]);
    case "invalid_format":
      return issue.format === "uuid" ? "must be a UUID" : undefined;
    case "invalid_value":
      return `must be ${issue.values.map((value) => JSON.stringify(value)).join(" or ")}`;
    default:
      return undefined;
  }
}
