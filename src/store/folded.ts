/**
 * Names as they are searched: folded as `src/rollout/fold.ts` says, and kept so beside what nodes and people write, since SQL
 * itself knows no letters but those of ASCII. Where these are all there are, as in most names, nothing is kept: `lower` is enough.
 */
import { sql } from "kysely";
import { fold, isPlain } from "../rollout/fold.ts";
import type { Labels } from "../rollout/model/node.ts";
import { labelsOf, textOfLabels } from "./care.ts";

/** What is kept beside a name; null: nothing. */
export function keptFold(name: string): string | null {
  return isPlain(name) ? null : fold(name);
}

/** The same beside labels: their values are folded, their names stay what they are. */
export function keptFoldOfLabels(labels: Labels): string | null {
  const folded = Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, fold(value)]));
  const text = textOfLabels(folded);
  return text === textOfLabels(labels) ? null : text;
}

/** For migrations: of labels as they are stored. */
export function keptFoldOfStoredLabels(text: string): string | null {
  return keptFoldOfLabels(labelsOf(text));
}

/** As the indexes have them, word by word. */
export const ID = sql<string>`coalesce(nodes.folded_id, lower(nodes.id))`;
export const ALIAS = sql<string>`coalesce(nodes.folded_alias, lower(nodes.alias))`;
export const MACHINE_ALIAS = sql<string>`coalesce(nodes.folded_machine_alias, lower(nodes.machine_alias))`;
export const LABELS = sql<string>`coalesce(nodes.folded_labels, nodes.labels)`;
