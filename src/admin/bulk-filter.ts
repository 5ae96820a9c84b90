/** Which nodes somebody means: a filter as it comes in, and what it comes to for whoever asks. */
import { z } from "zod";
import { labelsOrNone } from "../fleet/labels.ts";
import { duration, matchFields } from "../fleet/strategy.ts";
import { parseDuration } from "../rollout/interval.ts";
import { ARCH } from "../rollout/model/arch.ts";
import type { VersionOrder } from "../rollout/model/configuration.ts";
import { NODE_STATUSES } from "../rollout/model/node.ts";
import { isInRange, isRange, rangeRule } from "../rollout/version-range.ts";
import type { NodeSelection } from "../store/node-selection.ts";
import { versionOrderOf } from "../store/version-order.ts";
import type { Principal } from "./auth/principal.ts";
import type { Db } from "./context.ts";
import type { ApplicationRow } from "./lookups.ts";
import { groupIn } from "./node-care.ts";
import { invalid, Problem } from "./problem.ts";

const MAX_VERSIONS = 10_000;

/** All that is named must hold. */
export const filterBody = z
  .strictObject({
    group_id: z.string().max(64).optional(),
    state: z.array(z.enum(NODE_STATUSES)).min(1).optional(),
    ...matchFields,
    arch: z.int().min(ARCH.all).max(ARCH.x86).optional(),
    /** Null: without this label. */
    labels: labelsOrNone.optional(),
    held: z.boolean().optional(),
    not_seen_for: duration.optional(),
  })
  .refine((names) => Object.values(names).some((one) => one !== undefined), "name something: it would be all nodes")
  .meta({ id: "NodeFilter" });
type FilterBody = z.output<typeof filterBody>;

/** @throws Problem 403 for what is outside the caller's scope; without a group it is all that is within. */
export async function readSelection(
  db: Db,
  application: ApplicationRow,
  { group_id: groupId, state, version, oem, id, alias, arch, labels, held, not_seen_for: notSeenFor }: FilterBody,
  { kind, name, scope }: Principal,
  now: number,
): Promise<NodeSelection> {
  const outside = (what: string) => new Problem(403, `${kind} "${name}" has no right to ${what}`);
  if (scope.applications?.includes(application.id) === false) throw outside("this application");
  const group = groupId === undefined ? null : await groupIn(db, application, groupId, "filter.group_id");
  if (group !== null && scope.groups?.includes(group.id) === false) throw outside("this group");
  return {
    groupNos: group !== null ? [group.no] : scope.groups === null ? undefined : await groupNosOf(db, scope.groups),
    statuses: state,
    versions: version === undefined ? undefined : await versionsIn(db, version, versionOrderOf(application)),
    oems: oem,
    ids: id,
    alias,
    arch,
    labels,
    held,
    seenBefore: notSeenFor === undefined ? undefined : now - (parseDuration(notSeenFor) ?? 0), // checked when it came in
  };
}

async function groupNosOf(db: Db, ids: readonly string[]): Promise<number[]> {
  const rows = await db.selectFrom("groups").select("no").where("id", "in", ids).execute();
  return [...rows.map(({ no }) => no), NO_GROUP];
}

/** For a list that must have something in it. */
const NO_GROUP = -1;

/** The versions that nodes have, as far as they are in the range. */
async function versionsIn(db: Db, range: string, order: VersionOrder): Promise<string[]> {
  if (!isRange(range, order)) throw invalid("filter.version", rangeRule(range, order));
  const rows = await db.selectFrom("node_counts").select("version").distinct().execute();
  const versions = rows.map(({ version }) => version).filter((version) => isInRange(version, range, order));
  if (versions.length > MAX_VERSIONS)
    throw invalid("filter.version", `is more than ${MAX_VERSIONS} versions that nodes have`);
  return versions.length === 0 ? [range] : versions;
}
