/** Instances: the nodes of a group, how they stand and how they came there. */
import { z } from "zod";
import { sharedAfter } from "../rollout/shared-id.ts";
import { censusOf, nodesIn, type WITHIN, type Within } from "../store/census.ts";
import { keptFold } from "../store/folded.ts";
import { listNodes, type NodeOrder, type NodeSearch, withSeen } from "../store/node-list.ts";
import type { Scope } from "./auth/principal.ts";
import { setByPeople } from "./care-objects.ts";
import { type Db, readOnly, timestamp } from "./context.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { findNode, instanceObject, toInstance } from "./instance-objects.ts";
import { type ApplicationRow, findApplication, findGroup, type GroupRow } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { countUpTo, orNull, pageQuery, rangeOf } from "./paging.ts";
import { notFound, Problem } from "./problem.ts";
import { statusesOf, statusNumber } from "./statuses.ts";

const TAG = "instances";

/** How lately a node must have been seen to be counted. */
export const duration = z.enum(["1h", "1d", "7d", "30d"] satisfies (keyof typeof WITHIN)[], {
  error: "must be 1h, 1d, 7d or 30d",
});

/** Numbers of the older API: an order that it does not know is as if none were said, and a status that it does not know has no node. */
const listQuery = z.object({
  ...pageQuery,
  after: z.string().max(1_000).optional(),
  status: z
    .string()
    .regex(/^-?\d{1,9}$/, "must be a whole number")
    .transform(Number)
    .meta({ wholeNumber: {} })
    .default(0),
  duration: duration.default("1d"),
  version: z.string().max(255).optional(),
  sortFilter: z.string().default("0"),
  sortOrder: z.string().default("1"),
  searchFilter: z.string().max(20).optional(),
  searchValue: z.string().max(255).optional(),
  held: z.enum(["true", "false"]).optional(),
  shared_machine_id: z.literal("true").optional(),
  label: z
    .string()
    .max(400)
    .regex(/^[^=]+=/, 'must be a name and a value, e.g. "rack=7"')
    .optional(),
});
type ListQuery = z.output<typeof listQuery>;

const listInstances = operation({
  id: "listInstances",
  method: "get",
  path: "/apps/:app/groups/:group/instances",
  tag: TAG,
  summary: "A group's nodes: filtered, searched, sorted",
  description:
    "`status` 0 is any. `sortFilter`: 0 alias or else id, 1 ip, 2 last check; `sortOrder`: 0 ascending, 1, or nothing, descending. " +
    "`searchFilter`: `All`, `id`, `alias` or `ip`, of which some part is `searchValue`, in any case. " +
    "`after` takes the `next` of the page before, and then `page` does not matter. " +
    "`label` takes NAME=VALUE, the value in any case; `shared_machine_id=true` lists ids that two machines or more report with. " +
    "In big groups `total` is up to 15 minutes old, and of a search, or by `held`, `label` or `shared_machine_id`, it is 10,000 at most.",
  role: "viewer",
  query: listQuery,
  answer: z.object({ total: z.int(), instances: z.array(instanceObject).nullable(), next: z.string().nullable() }),
  async handle({ read, params, query, now }) {
    const { application, group } = await groupOf(read, params);
    const { limit, offset } = rangeOf(query);
    const { total, rows, next } = await listNodes(
      read,
      {
        groupNo: group.no,
        within: query.duration,
        statuses: query.status === 0 ? null : statusesOf(query.status),
        version: query.version || null,
        search: searchOf(query),
        held: query.held === undefined ? null : query.held === "true",
        label: labelOf(query),
        sharedAfter: query.shared_machine_id === undefined ? null : sharedAfter(now),
      },
      orderOf(query),
      { limit, start: query.after === undefined ? offset : decodeCursor(query.after) },
      now,
    );
    const instances = rows.map((row) => toListed(row, application, group, now));
    return { total, instances: orNull(instances), next: next && encodeCursor(next) };
  },
});

const countInstances = operation({
  id: "countInstances",
  method: "get",
  path: "/apps/:app/groups/:group/instancescount",
  tag: TAG,
  summary: "How many of a group's nodes were seen lately",
  role: "viewer",
  query: z.object({ duration }),
  answer: z.object({ count: z.int() }),
  async handle({ read, params, query, now }) {
    const { group } = await groupOf(read, params);
    return { count: await seenIn(read, [group.no], query.duration, now) };
  },
});

const getInstance = operation({
  id: "getInstance",
  method: "get",
  path: "/apps/:app/groups/:group/instances/:instance",
  tag: TAG,
  summary: "One node",
  role: "viewer",
  answer: instanceObject,
  async handle(call) {
    const { application, group } = await groupOf(call.read, call.params);
    const row = await findNode(call.read, application, group, call.params.instance);
    call.tag(setByPeople(row));
    return toInstance(row, application, group, call.now);
  },
});

const USUAL_HISTORY = 20;

const getHistory = operation({
  id: "listStatusHistory",
  method: "get",
  path: "/apps/:app/groups/:group/instances/:instance/status_history",
  tag: TAG,
  summary: "How a node came to stand where it does, the newest first",
  role: "viewer",
  description: "Null: nothing has happened to it yet. `limit` 0 is as many as without it.",
  query: z.object({ limit: countUpTo(1_000, 0).default(USUAL_HISTORY) }),
  answer: z
    .array(
      z.object({
        status: z.int().min(1).max(8),
        state: z.string(),
        version: z.string(),
        created_ts: z.iso.datetime(),
        error_code: z.string().nullable(),
      }),
    )
    .nullable(),
  async handle({ read, params, query }) {
    const { application, group } = await groupOf(read, params);
    const { no } = await findNode(read, application, group, params.instance);
    const rows = await read
      .selectFrom("status_history")
      .selectAll()
      .where("node_no", "=", no)
      .orderBy("no", "desc")
      .limit(query.limit || USUAL_HISTORY)
      .execute();
    const entries = rows.map((row) => ({
      status: statusNumber(row.status),
      state: row.status,
      version: row.version,
      created_ts: timestamp(row.at),
      error_code: row.error_code === null ? null : String(row.error_code),
    }));
    return orNull(entries);
  },
});

const putInstance = operation({
  id: "updateInstance",
  method: "put",
  path: "/instances/:instance",
  tag: TAG,
  summary: "Give a node an alias, in all applications that it has; an empty one leaves it what it calls itself",
  role: "operator",
  confined: "filters",
  body: z.strictObject({
    alias: z.string().max(256),
    ...readOnly("id", "ip", "oem", "aleph_version", "created_ts", "labels", "held", "own_group_id"),
    ...readOnly("shared_machine_id", "application"),
  }),
  answer: instanceObject,
  handle: (call) =>
    call.change(async (tx, now, audit) => {
      const { instance: id } = call.params;
      const { alias } = call.body;
      const rows = await withSeen(tx).selectAll("nodes").select("seen.at").where("nodes.id", "=", id).execute();
      const [first] = rows;
      if (first === undefined) throw notFound("instance", id);
      // It was read in one of its applications.
      call.expect(...rows.map(setByPeople));
      for (const row of rows) {
        const { application, group } = await ownersOf(tx, row);
        if (!mayChange(call.who.scope, application, group)) {
          throw new Problem(403, `${call.who.kind} "${call.who.name}" has no right to change this node everywhere`);
        }
        await tx
          .updateTable("nodes")
          .set({ alias, folded_alias: keptFold(alias) })
          .where("no", "=", row.no)
          .execute();
        const about = { subject: "instance", id, applicationId: application.id, groupId: group?.id ?? null };
        await audit({ ...about, before: { alias: row.alias }, after: { alias } });
      }
      const { application, group } = await ownersOf(tx, first);
      return toInstance({ ...first, alias }, application, group, now);
    }),
});

export const instanceOperations: readonly Operation[] = [
  listInstances,
  countInstances,
  getInstance,
  getHistory,
  putInstance,
];

export async function groupOf(
  db: Db,
  params: { readonly app: string; readonly group: string },
): Promise<{ application: ApplicationRow; group: GroupRow }> {
  const application = await findApplication(db, params.app);
  return { application, group: await findGroup(db, application, params.group) };
}

/** In lists, a node without any alias is called by its id. */
function toListed(...[row, ...rest]: Parameters<typeof toInstance>): ReturnType<typeof toInstance> {
  const instance = toInstance(row, ...rest);
  return { ...instance, alias: instance.alias || row.id };
}

/** How many nodes of these groups were seen lately. */
export async function seenIn(db: Db, groupNos: readonly number[], within: Within, now: number): Promise<number> {
  const census = await censusOf(db, groupNos, within, now);
  return [...census.values()].reduce((sum, counted) => sum + nodesIn(counted), 0);
}

async function ownersOf(db: Db, row: { readonly application_no: number; readonly group_no: number }) {
  const application = await db
    .selectFrom("applications")
    .selectAll()
    .where("no", "=", row.application_no)
    .executeTakeFirstOrThrow();
  // Nodes of a group that was deleted are in none until their next check-in.
  const group = await db.selectFrom("groups").selectAll().where("no", "=", row.group_no).executeTakeFirst();
  return { application, group: group ?? null };
}

function mayChange(scope: Scope, application: ApplicationRow, group: GroupRow | null): boolean {
  if (scope.applications !== null && !scope.applications.includes(application.id)) return false;
  return scope.groups === null || (group !== null && scope.groups.includes(group.id));
}

const SEARCHED: Readonly<Record<string, NodeSearch["where"]>> = { id: "id", alias: "alias", ip: "ip" };

function searchOf({ searchFilter = "All", searchValue }: ListQuery): NodeSearch | null {
  if (!searchValue) return null;
  return { where: SEARCHED[searchFilter.toLowerCase()] ?? "anywhere", text: searchValue };
}

function labelOf({ label }: ListQuery): { name: string; value: string } | null {
  if (label === undefined) return null;
  const end = label.indexOf("=");
  return { name: label.slice(0, end), value: label.slice(end + 1) };
}

const SORTED: ReadonlyMap<string, NodeOrder["by"]> = new Map([
  ["0", "name"],
  ["1", "ip"],
  ["2", "seen"],
]);

function orderOf({ sortFilter, sortOrder }: ListQuery): NodeOrder {
  return { by: SORTED.get(sortFilter) ?? "name", descending: !/^0+$/.test(sortOrder) };
}
