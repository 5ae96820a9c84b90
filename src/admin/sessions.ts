/** Sessions of people who have logged in: listed, revoked. */
import { z } from "zod";
import { ROLES, type Role } from "./auth/principal.ts";
import { type SessionRow, stateOf } from "./auth/sessions.ts";
import { timestamp } from "./context.ts";
import { countOf } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { listOf, pageQuery, placeOf } from "./paging.ts";
import { notFound } from "./problem.ts";

const TAG = "access";

const sessionObject = z
  .object({
    id: z.uuid(),
    name: z.string(),
    /** Who it is, as the issuer calls them. */
    subject: z.string(),
    issuer: z.string(),
    role: z.enum(ROLES),
    /** Where the login came from. */
    address: z.string(),
    created_ts: z.iso.datetime(),
    /** To the minute. */
    last_used_ts: z.iso.datetime(),
    /** It is over then, or earlier if it is not used. */
    expires_ts: z.iso.datetime(),
  })
  .meta({ id: "Session" });

const listSessions = operation({
  id: "listSessions",
  method: "get",
  path: "/sessions",
  tag: TAG,
  summary: "Who is logged in, the newest login first",
  role: "admin",
  confined: "everywhere",
  query: z.object(pageQuery),
  answer: listOf("sessions", sessionObject),
  async handle({ read, query, now }) {
    const open = read.selectFrom("sessions").where("idle_until", ">", now);
    const newest = open.orderBy("no", "desc");
    const { limit, offset } = await placeOf(query, () => newest.select("id").execute());
    const rows = await newest.selectAll().limit(limit).offset(offset).execute();
    const totalCount = await countOf(open.select((eb) => eb.fn.countAll().as("count")));
    return { totalCount, count: rows.length, sessions: rows.map(toSession) };
  },
});

const deleteSession = operation({
  id: "revokeSession",
  method: "delete",
  path: "/sessions/:session",
  tag: TAG,
  summary: "Log somebody out; they may log in again as long as the identity provider lets them",
  role: "admin",
  confined: "everywhere",
  answer: null,
  handle: (call) =>
    call.change(async (tx, now, audit) => {
      const row = await tx
        .deleteFrom("sessions")
        .where("id", "=", call.params.session.toLowerCase())
        .where("idle_until", ">", now)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) throw notFound("session", call.params.session);
      await audit({ subject: "session", id: row.id, before: stateOf(row), after: null });
    }),
});

export const sessionOperations: readonly Operation[] = [listSessions, deleteSession];

function toSession(row: SessionRow): z.input<typeof sessionObject> {
  return {
    id: row.id,
    name: row.name,
    subject: row.subject,
    issuer: row.issuer,
    role: row.role as Role, // the store has no other
    address: row.address,
    created_ts: timestamp(row.created_at),
    last_used_ts: timestamp(row.used_at),
    expires_ts: timestamp(row.expires_at),
  };
}
