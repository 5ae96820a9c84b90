/** What people do to one node: label it, hold it, put it into another group, delete it. */
import { z } from "zod";
import { labelsSchema } from "../fleet/labels.ts";
import { deleteNodes, holdNodes, labelNodes, letNodesGo, moveNodes } from "../store/node-care.ts";
import { type NodeRow, withSeen } from "../store/node-list.ts";
import type { Principal } from "./auth/principal.ts";
import { careOf, setByPeople } from "./care-objects.ts";
import type { Db, Tx } from "./context.ts";
import { findNode, instanceObject, toInstance } from "./instance-objects.ts";
import { type ApplicationRow, findApplication, findGroup, type GroupRow } from "./lookups.ts";
import { type Call, type Operation, operation } from "./operation.ts";
import { invalid, Problem } from "./problem.ts";

const PATH = "/apps/:app/groups/:group/instances/:instance";
const TAG = "instances";
interface Params {
  readonly app: string;
  readonly group: string;
  readonly instance: string;
}

export const reasonField = z.string().min(1).max(1_000).default("by hand");
/** Null: by its track again. */
export const targetField = z.string().max(64).nullable();

const putLabels = operation({
  id: "setInstanceLabels",
  method: "put",
  path: `${PATH}/labels`,
  tag: TAG,
  summary: "Give a node these labels, in place of those it has",
  role: "operator",
  body: z.strictObject({ labels: labelsSchema }),
  answer: instanceObject,
  handle: (call) => changing(call, (tx, { node }) => labelNodes(tx, [node], call.body.labels)),
});

const holdNode = operation({
  id: "holdInstance",
  method: "post",
  path: `${PATH}/hold`,
  tag: TAG,
  summary: "Hold a node: it gets no update until it is released; what it has begun goes on",
  role: "operator",
  body: z.strictObject({ reason: reasonField }),
  bodyOptional: true,
  answer: instanceObject,
  handle: (call) =>
    changing(call, (tx, { node }, now) => holdNodes(tx, [node], { at: now, by: call.who.name, why: call.body.reason })),
});

const releaseNode = operation({
  id: "releaseInstance",
  method: "post",
  path: `${PATH}/release`,
  tag: TAG,
  summary: "Release a node that is held",
  role: "operator",
  answer: instanceObject,
  handle: (call) => changing(call, (tx, { node }) => holdNodes(tx, [node], null)),
});

const moveNode = operation({
  id: "moveInstance",
  method: "post",
  path: `${PATH}/move`,
  tag: TAG,
  summary: "Put a node into a group, whatever its track, or let it go by its track again",
  description: "With `group_id: null` it stays where it is until its next check-in.",
  role: "operator",
  body: z.strictObject({ group_id: targetField }),
  answer: instanceObject,
  handle: (call) =>
    changing(call, async (tx, { application, node }) => {
      const target = await targetGroup(tx, application, call.body.group_id, call.who);
      await (target === null ? letNodesGo(tx, [node]) : moveNodes(tx, [node], target));
    }),
});

const deleteNode = operation({
  id: "deleteInstance",
  method: "delete",
  path: PATH,
  tag: TAG,
  summary: "Delete a node with its history; should it check in again, it is a new one",
  description: "What became of it stays counted in its rollouts.",
  role: "operator",
  answer: null,
  handle: (call) =>
    call.change(async (tx, now, audit) => {
      const { application, group, node } = await found(tx, call);
      await deleteNodes(tx, [node], now);
      const { version, status: state } = node;
      const before = { ...stateOf(node, group), alias: node.alias || node.machine_alias, version, state };
      await audit({ ...subject(application, group, node), before, after: null });
    }),
});

export const nodeCareOperations: readonly Operation[] = [putLabels, holdNode, releaseNode, moveNode, deleteNode];

interface Found {
  readonly application: ApplicationRow;
  readonly group: GroupRow;
  readonly node: NodeRow;
}

/** The node that the path names, if it is as the caller has seen it. */
async function found(tx: Tx, call: Call<Params, unknown, unknown>): Promise<Found> {
  const application = await findApplication(tx, call.params.app);
  const group = await findGroup(tx, application, call.params.group);
  const node = await findNode(tx, application, group, call.params.instance);
  call.expect(setByPeople(node));
  return { application, group, node };
}

/** Does something to a node, says so in the audit log, and answers what has become of it. */
function changing(
  call: Call<Params, unknown, unknown>,
  work: (tx: Tx, present: Found, now: number) => Promise<void>,
): Promise<z.input<typeof instanceObject>> {
  return call.change(async (tx, now, audit) => {
    const present = await found(tx, call);
    await work(tx, present, now);
    const node = await withSeen(tx)
      .selectAll("nodes")
      .select("seen.at")
      .where("nodes.no", "=", present.node.no)
      .executeTakeFirstOrThrow();
    const group = await tx.selectFrom("groups").selectAll().where("no", "=", node.group_no).executeTakeFirstOrThrow();
    const [before, after] = [stateOf(present.node, present.group), stateOf(node, group)];
    await audit({ ...subject(present.application, present.group, node), before, after });
    call.tag(setByPeople(node));
    return toInstance(node, present.application, group, now);
  });
}

/**
 * The group that nodes are to be moved to; null: wherever their track leads.
 * @throws Problem 403 when it is not one of those that the caller may change.
 */
export async function targetGroup(
  db: Db,
  application: ApplicationRow,
  id: string | null,
  { kind, name, scope: { groups } }: Principal,
): Promise<GroupRow | null> {
  if (id === null) {
    if (groups === null) return null;
    throw new Problem(
      403,
      `${kind} "${name}" has no right to anything but its groups: where a track leads may be none`,
    );
  }
  const group = await groupIn(db, application, id, "group_id");
  if (groups?.includes(group.id) === false) {
    throw new Problem(403, `${kind} "${name}" has no right to the group "${group.name}"`);
  }
  return group;
}

/** @throws Problem 400 that names the field. */
export async function groupIn(db: Db, application: ApplicationRow, id: string, field: string): Promise<GroupRow> {
  const group = await db
    .selectFrom("groups")
    .selectAll()
    .where("id", "=", id.toLowerCase())
    .where("application_no", "=", application.no)
    .executeTakeFirst();
  if (group === undefined) throw invalid(field, "there is no such group in this application");
  return group;
}

function stateOf(node: NodeRow, group: GroupRow) {
  return { group_id: group.id, ...careOf(node) };
}

function subject(application: ApplicationRow, group: GroupRow, { id }: NodeRow) {
  return { subject: "instance", id, applicationId: application.id, groupId: group.id };
}
