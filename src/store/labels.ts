/** Labels of nodes, as they are looked for. */
import { type RawBuilder, sql } from "kysely";
import { fold } from "../rollout/fold.ts";
import { LABELS } from "./folded.ts";

/**
 * Whether a node has a label of this very name, with this value in any case. In the text that labels are kept as, a quoted name with a colon behind it can only be a label's
 * name, since quotes within a value are escaped; and `replace` looks at upper and lower case in every engine, as LIKE does not.
 * @param value null: whether it has no label of this name.
 */
export function hasLabel(name: string, value: string | null): RawBuilder<boolean> {
  const labels = sql<string>`coalesce(${LABELS}, '')`;
  if (value === null) return sql<boolean>`replace(${labels}, ${`${JSON.stringify(name)}:`}, '') = ${labels}`;
  return sql<boolean>`replace(${labels}, ${`${JSON.stringify(name)}:${JSON.stringify(fold(value))}`}, '') <> ${labels}`;
}
