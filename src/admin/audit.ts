/** The audit log: who changed what, from what, to what. */
import type { Selectable } from "kysely";
import { z } from "zod";
import { verifyAudit } from "../store/audit.ts";
import type { Tables } from "../store/tables.ts";
import { timestamp } from "./context.ts";
import { countOf } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { listOf, pageQuery, rangeOf, wholeNumber } from "./paging.ts";

const TAG = "audit";

const time = z.iso
  .datetime({ offset: true, error: "must be a time such as 2026-03-04T12:00:00Z" })
  .transform((text) => Date.parse(text));

const state = z.record(z.string(), z.unknown()).nullable();
const auditObject = z
  .object({
    no: z.int(),
    created_ts: z.iso.datetime(),
    actor: z.string(),
    actor_kind: z.enum(["token", "user", "anonymous", "system"]),
    actor_id: z.string().nullable(),
    address: z.string(),
    request_id: z.string(),
    /** The operation, e.g. `updateGroup`. */
    action: z.string(),
    subject: z.string(),
    subject_id: z.string(),
    application_id: z.uuid().nullable(),
    group_id: z.uuid().nullable(),
    /** Null: there was nothing before. */
    before: state,
    /** Null: there is nothing any more. */
    after: state,
    /** SHA-256, in hexadecimal, over this line and the hash of the line before. */
    hash: z.string(),
  })
  .meta({ id: "AuditEntry" });

const listAudit = operation({
  id: "listAudit",
  method: "get",
  path: "/audit",
  tag: TAG,
  summary: "Who changed what, the newest first; from a number on with after, the oldest first",
  role: "admin",
  confined: "everywhere",
  query: z.object({
    ...pageQuery,
    after: wholeNumber(0, 999_999_999).optional(),
    start: time.optional(),
    end: time.optional(),
    actor: z.string().max(256).optional(),
    action: z.string().max(64).optional(),
    subject: z.string().max(64).optional(),
    subjectID: z.string().max(256).optional(),
    appID: z.string().max(64).optional(),
    groupID: z.string().max(64).optional(),
  }),
  answer: listOf("entries", auditObject),
  async handle({ read, query }) {
    let lines = read.selectFrom("audit");
    if (query.start !== undefined) lines = lines.where("at", ">=", query.start);
    if (query.end !== undefined) lines = lines.where("at", "<=", query.end);
    if (query.actor) lines = lines.where("actor", "=", query.actor);
    if (query.action) lines = lines.where("action", "=", query.action);
    if (query.subject) lines = lines.where("subject", "=", query.subject);
    if (query.subjectID) lines = lines.where("subject_id", "=", query.subjectID);
    if (query.appID) lines = lines.where("application_id", "=", query.appID.toLowerCase());
    if (query.groupID) lines = lines.where("group_id", "=", query.groupID.toLowerCase());
    const totalCount = await countOf(lines.select((eb) => eb.fn.countAll().as("count")));
    const { limit, offset } = rangeOf(query);
    const rows =
      query.after === undefined
        ? await lines.selectAll().orderBy("no", "desc").limit(limit).offset(offset).execute()
        : await lines.selectAll().where("no", ">", query.after).orderBy("no").limit(limit).execute();
    return { totalCount, count: rows.length, entries: rows.map(toEntry) };
  },
});

const checkAudit = operation({
  id: "verifyAudit",
  method: "get",
  path: "/audit/verify",
  tag: TAG,
  summary: "Whether any line was altered or taken away",
  description: "Keep `head` elsewhere: with it, even a log that was rewritten as a whole is found out.",
  role: "admin",
  confined: "everywhere",
  answer: z.object({
    lines: z.int(),
    head: z.string(),
    broken: z.object({ no: z.int(), why: z.string() }).nullable(),
  }),
  handle: ({ store }) => store.snapshot(verifyAudit),
});

export const auditOperations: readonly Operation[] = [listAudit, checkAudit];

function toEntry(row: Selectable<Tables["audit"]>): z.input<typeof auditObject> {
  return {
    no: row.no,
    created_ts: timestamp(row.at),
    actor: row.actor,
    actor_kind: row.actor_kind as z.input<typeof auditObject>["actor_kind"], // written from a principal's
    actor_id: row.actor_id,
    address: row.address,
    request_id: row.request_id,
    action: row.action,
    subject: row.subject,
    subject_id: row.subject_id,
    application_id: row.application_id,
    group_id: row.group_id,
    before: JSON.parse(row.before ?? "null"),
    after: JSON.parse(row.after ?? "null"),
    hash: row.hash,
  };
}
