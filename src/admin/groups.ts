/** Groups: the nodes that share a policy. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { nextNumber } from "../store/numbers.ts";
import type { Tx } from "./context.ts";
import { columnsOf, type GroupBody, groupBody } from "./group-bodies.ts";
import { type GroupObject, groupObject, toGroup, toGroups } from "./group-objects.ts";
import { type ApplicationRow, countOf, findApplication, findGroup, type GroupRow } from "./lookups.ts";
import { type Audit, type Operation, operation } from "./operation.ts";
import { listOrNullOf, orNull, pageQuery, placeOf } from "./paging.ts";

const TAG = "groups";

const listGroups = operation({
  id: "listGroups",
  method: "get",
  path: "/apps/:app/groups",
  tag: TAG,
  summary: "The application's groups, the newest first",
  role: "viewer",
  query: z.object(pageQuery),
  answer: listOrNullOf("groups", groupObject),
  async handle({ read, params, query }) {
    const application = await findApplication(read, params.app);
    const groups = read.selectFrom("groups").where("application_no", "=", application.no);
    const newest = groups.orderBy("created_at", "desc").orderBy("no", "desc");
    const { limit, offset } = await placeOf(query, () => newest.select("id").execute());
    const rows = await newest.selectAll().limit(limit).offset(offset).execute();
    const totalCount = await countOf(groups.select((eb) => eb.fn.countAll().as("count")));
    return { totalCount, count: rows.length, groups: orNull(await toGroups(read, rows)) };
  },
});

const postGroup = operation({
  id: "createGroup",
  method: "post",
  path: "/apps/:app/groups",
  tag: TAG,
  summary: "Make a group",
  role: "admin",
  body: groupBody,
  answer: groupObject,
  handle: (call) =>
    call.configure(async (tx, now, audit) => {
      const application = await findApplication(tx, call.params.app);
      return createGroup(tx, application, call.body, now, audit);
    }),
});

const getGroup = operation({
  id: "getGroup",
  method: "get",
  path: "/apps/:app/groups/:group",
  tag: TAG,
  summary: "One group, with its channel",
  role: "viewer",
  answer: groupObject,
  async handle(call) {
    const application = await findApplication(call.read, call.params.app);
    const row = await findGroup(call.read, application, call.params.group);
    const group = await toGroup(call.read, row);
    call.tag(stateOf(group));
    return group;
  },
});

const putGroup = operation({
  id: "updateGroup",
  method: "put",
  path: "/apps/:app/groups/:group",
  tag: TAG,
  summary: "Change a group: what the body leaves out is cleared, but for its switches, strategy, windows and freezes",
  role: "admin",
  body: groupBody,
  answer: groupObject,
  handle: (call) =>
    call.configure(async (tx, _now, audit) => {
      const application = await findApplication(tx, call.params.app);
      const before = await findGroup(tx, application, call.params.group);
      call.expect(stateOf(await toGroup(tx, before)));
      const after = await updateGroup(tx, application, before, call.body, audit);
      call.tag(stateOf(after));
      return after;
    }),
});

const removeGroup = operation({
  id: "deleteGroup",
  method: "delete",
  path: "/apps/:app/groups/:group",
  tag: TAG,
  summary: "Delete a group; its nodes stay, and move to another group with their next check-in",
  role: "admin",
  answer: null,
  handle: (call) =>
    call.configure(async (tx, _now, audit) => {
      const application = await findApplication(tx, call.params.app);
      const row = await findGroup(tx, application, call.params.group);
      call.expect(stateOf(await toGroup(tx, row)));
      await deleteGroup(tx, row, audit);
    }),
});

export const groupOperations: readonly Operation[] = [listGroups, postGroup, getGroup, putGroup, removeGroup];

export async function createGroup(
  tx: Tx,
  application: ApplicationRow,
  body: GroupBody,
  now: number,
  audit: Audit,
  id: string = randomUUID(),
): Promise<GroupObject> {
  const columns = await columnsOf(tx, application, body, id, null);
  const row = await tx
    .insertInto("groups")
    .values({ no: await nextNumber(tx, "groups"), id, application_no: application.no, created_at: now, ...columns })
    .returningAll()
    .executeTakeFirstOrThrow();
  const group = await toGroup(tx, row);
  await audit({ ...subject(group), before: null, after: stateOf(group) });
  return group;
}

export async function updateGroup(
  tx: Tx,
  application: ApplicationRow,
  row: GroupRow,
  body: GroupBody,
  audit: Audit,
): Promise<GroupObject> {
  const before = await toGroup(tx, row);
  const columns = await columnsOf(tx, application, body, row.id, row);
  const changed = await tx
    .updateTable("groups")
    .set(columns)
    .where("no", "=", row.no)
    .returningAll()
    .executeTakeFirstOrThrow();
  const group = await toGroup(tx, changed);
  await audit({ ...subject(group), before: stateOf(before), after: stateOf(group) });
  return group;
}

export async function deleteGroup(tx: Tx, row: GroupRow, audit: Audit): Promise<void> {
  const group = await toGroup(tx, row);
  await tx.deleteFrom("groups").where("no", "=", row.no).execute();
  await audit({ ...subject(group), before: stateOf(group), after: null });
}

function subject({ id, application_id: applicationId }: GroupObject) {
  return { subject: "group", id, applicationId, groupId: id };
}

/** What a person has set of it: for the audit log, and to tell whether it has changed. */
function stateOf({ id, created_ts: _, rollout_in_progress: __, channel: ___, track, ...state }: GroupObject): object {
  return { ...state, track: track === id ? null : track };
}
