/** What people have set of a node, as the API shows it. */
import { z } from "zod";
import { labelsSchema } from "../fleet/labels.ts";
import { holdOf, labelsOf } from "../store/care.ts";
import type { NodeColumns } from "../store/nodes.ts";
import { timestamp } from "./context.ts";

const holdObject = z.object({ since: z.iso.datetime(), by: z.string(), reason: z.string() });

export const careFields = {
  labels: labelsSchema,
  /** Null: it is not held. */
  held: holdObject.nullable(),
  /** The group that it was put into, whatever its track; null: it goes by its track. */
  own_group_id: z.uuid().nullable(),
};

export function careOf(row: NodeColumns) {
  const hold = holdOf(row.held);
  return {
    labels: { ...labelsOf(row.labels) },
    held: hold === null ? null : { since: timestamp(hold.at), by: hold.by, reason: hold.why },
    own_group_id: row.own_group,
  };
}

/** All that an `If-Match` is held against. */
export function setByPeople(row: NodeColumns) {
  return { alias: row.alias, ...careOf(row) };
}
