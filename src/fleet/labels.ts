/** Labels as they come in: on nodes, and in what picks nodes out. */
import { z } from "zod";

export const MAX_LABELS = 64;
const NAME = "^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,62}$";

const value = z.string().max(255);

export const labelsSchema = named(value, 0);

export const someLabels = named(value, 1);

/** Of each name its value, or null: none. */
export const labelsOrNone = named(value.nullable(), 1);

function named<V extends z.ZodType>(values: V, atLeast: number) {
  return z
    .record(z.string(), values)
    .superRefine((labels, context) => {
      const names = Object.keys(labels);
      if (names.length < atLeast) context.addIssue("name at least one label");
      if (names.length > MAX_LABELS) context.addIssue(`${names.length} are too many; there may be ${MAX_LABELS}`);
      for (const name of names) {
        if (new RegExp(NAME).test(name)) continue;
        const rule = "letters, digits and ._/- after a letter or digit, 63 characters at most";
        context.addIssue(`"${name}" is not a label's name: ${rule}`);
      }
    })
    .meta({ minProperties: atLeast, maxProperties: MAX_LABELS, propertyNames: { type: "string", pattern: NAME } });
}
