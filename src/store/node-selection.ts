/** Which nodes somebody means. */
import { type Kysely, type RawBuilder, sql } from "kysely";
import { type Notation, translatePattern } from "../rollout/fold.ts";
import { ALIAS, MACHINE_ALIAS } from "./folded.ts";
import { hasLabel } from "./labels.ts";
import { withSeen } from "./node-list.ts";
import type { Tables } from "./tables.ts";

/** All that is named must hold; what is undefined does not matter. */
export interface NodeSelection {
  readonly groupNos?: readonly number[] | undefined;
  /** As the nodes send them. */
  readonly ids?: readonly string[] | undefined;
  readonly statuses?: readonly string[] | undefined;
  readonly versions?: readonly string[] | undefined;
  readonly oems?: readonly string[] | undefined;
  readonly arch?: number | undefined;
  /** Of the alias that is shown, in any case: `*` for any characters, `?` for one. */
  readonly alias?: string | undefined;
  /** Null: without a label of this name. */
  readonly labels?: Readonly<Record<string, string | null>> | undefined;
  readonly held?: boolean | undefined;
  /** Last seen then, or before. */
  readonly seenBefore?: number | undefined;
}

export function selectedNodes(db: Kysely<Tables>, applicationNo: number, selection: NodeSelection) {
  const { groupNos, ids, statuses, versions, oems, arch, alias, labels = {}, held, seenBefore } = selection;
  let nodes = withSeen(db).where("nodes.application_no", "=", applicationNo);
  if (groupNos !== undefined) nodes = nodes.where("nodes.group_no", "in", groupNos);
  if (ids !== undefined) nodes = nodes.where("nodes.id", "in", ids);
  if (statuses !== undefined) nodes = nodes.where("nodes.status", "in", statuses);
  if (versions !== undefined) nodes = nodes.where("nodes.version", "in", versions);
  if (oems !== undefined) nodes = nodes.where("nodes.oem", "in", oems);
  if (arch !== undefined) nodes = nodes.where("nodes.arch", "=", arch);
  if (alias !== undefined) nodes = nodes.where(hasAlias(alias));
  for (const [name, value] of Object.entries(labels)) nodes = nodes.where(hasLabel(name, value));
  if (held !== undefined) nodes = nodes.where("nodes.held", held ? "is not" : "is", null);
  if (seenBefore !== undefined)
    nodes = nodes.where((eb) => eb(eb.fn.coalesce("seen.at", "nodes.created_at"), "<=", seenBefore));
  return nodes;
}

function hasAlias(pattern: string): RawBuilder<boolean> {
  return sql<boolean>`coalesce(nullif(${ALIAS}, ''), ${MACHINE_ALIAS}) LIKE ${translatePattern(pattern, LIKE)} ESCAPE '\\'`;
}

const LIKE: Notation = { any: "%", one: "_", literal: (text) => text.replace(/[\\%_]/g, "\\$&") };
