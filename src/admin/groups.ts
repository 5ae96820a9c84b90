/** Groups: the nodes that share a policy. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { NotPossible } from "../rollout/run.ts";
import { nextNumber } from "../store/numbers.ts";
import type { Tx } from "./context.ts";
import { columnsOf, type GroupBody, groupBody } from "./group-bodies.ts";
import { type GroupObject, groupObject, stateOf, toGroup, toGroups } from "./group-objects.ts";
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
    call.tag(stateOf(group, row));
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
      call.expect(stateOf(await toGroup(tx, before), before));
      const row = await updateGroup(tx, application, before, call.body, audit);
      const after = await toGroup(tx, row);
      call.tag(stateOf(after, row));
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
      call.expect(stateOf(await toGroup(tx, row), row));
      await deleteGroup(tx, row, audit);
    }),
});

const resumeUpdates = operation({
  id: "resumeUpdates",
  method: "post",
  path: "/apps/:app/groups/:group/resume-updates",
  tag: TAG,
  summary: "Let a group's updates go on that safe mode has stopped: one node first, again",
  description:
    "Nothing else does, `policy_updates_enabled: true` neither. If a person has turned updates off besides, they stay off.",
  role: "operator",
  body: z.strictObject({ reason: z.string().min(1).max(1_000).default("by hand") }),
  bodyOptional: true,
  answer: groupObject,
  handle: (call) =>
    call.configure(async (tx, _now, audit) => {
      const application = await findApplication(tx, call.params.app);
      const before = await findGroup(tx, application, call.params.group);
      const group = await toGroup(tx, before);
      call.expect(stateOf(group, before));
      if (group.updates_stopped_by === null) {
        throw new NotPossible(
          `safe mode has not stopped the updates of group "${group.name}": there is nothing to resume`,
        );
      }
      const row = await tx
        .updateTable("groups")
        .set({ updates_stopped: null })
        .where("no", "=", before.no)
        .returningAll()
        .executeTakeFirstOrThrow();
      const after = await toGroup(tx, row);
      const { reason } = call.body;
      await audit({ ...subject(group), before: stateOf(group, before), after: { ...stateOf(after, row), reason } });
      call.tag(stateOf(after, row));
      return after;
    }),
});

export const groupOperations: readonly Operation[] = [
  listGroups,
  postGroup,
  getGroup,
  putGroup,
  removeGroup,
  resumeUpdates,
];

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
  await audit({ ...subject(group), before: null, after: stateOf(group, row) });
  return group;
}

export async function updateGroup(
  tx: Tx,
  application: ApplicationRow,
  row: GroupRow,
  body: GroupBody,
  audit: Audit,
): Promise<GroupRow> {
  const before = await toGroup(tx, row);
  const columns = await columnsOf(tx, application, body, row.id, row);
  const changed = await tx
    .updateTable("groups")
    .set(columns)
    .where("no", "=", row.no)
    .returningAll()
    .executeTakeFirstOrThrow();
  const group = await toGroup(tx, changed);
  await audit({ ...subject(group), before: stateOf(before, row), after: stateOf(group, changed) });
  return changed;
}

export async function deleteGroup(tx: Tx, row: GroupRow, audit: Audit): Promise<void> {
  const group = await toGroup(tx, row);
  await tx.deleteFrom("groups").where("no", "=", row.no).execute();
  await audit({ ...subject(group), before: stateOf(group, row), after: null });
}

function subject({ id, application_id: applicationId }: GroupObject) {
  return { subject: "group", id, applicationId, groupId: id };
}
