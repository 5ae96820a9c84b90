/** Tokens: made, listed, revoked. */
import { z } from "zod";
import { EVERYWHERE, type Scope, TOKEN_ROLES } from "./auth/principal.ts";
import { isActive, issueToken, roleOf, scopeOf, type TokenRow } from "./auth/tokens.ts";
import { type Db, type Tx, timestamp } from "./context.ts";
import { countOf, findApplication } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { listOf, pageQuery, placeOf } from "./paging.ts";
import { invalid, notFound, Problem } from "./problem.ts";

const TAG = "access";

export const siteName = z
  .string()
  .regex(/^\w[\w.-]{0,62}$/, "must be 1 to 63 letters, digits and . _ -, the first of them no . or -");

const tokenBody = z.strictObject({
  name: z.string().min(1).max(100),
  role: z.enum(TOKEN_ROLES),
  /** Whose it is, when its role is `site`. */
  site: siteName.nullish(),
  applications: z.array(z.string().max(155)).min(1).max(1_000).nullish(),
  groups: z.array(z.uuid()).min(1).max(1_000).nullish(),
  expires_ts: z.iso
    .datetime({ offset: true, error: "must be a time such as 2027-03-04T12:00:00Z" })
    .transform((text) => Date.parse(text))
    .nullish(),
});

const tokenFields = {
  id: z.uuid(),
  name: z.string(),
  role: z.enum(TOKEN_ROLES),
  site: z.string().nullable(),
  /** Null: all. */
  applications: z.array(z.uuid()).nullable(),
  /** Only these may be changed; null: all of the applications'. */
  groups: z.array(z.uuid()).nullable(),
  state: z.enum(["active", "expired", "revoked"]),
  created_ts: z.iso.datetime(),
  created_by: z.string(),
  expires_ts: z.iso.datetime().nullable(),
  /** To the minute. */
  last_used_ts: z.iso.datetime().nullable(),
  revoked_ts: z.iso.datetime().nullable(),
};
const tokenObject = z.object(tokenFields).meta({ id: "Token" });

const listTokens = operation({
  id: "listTokens",
  method: "get",
  path: "/tokens",
  tag: TAG,
  summary: "The tokens, the newest first; what they are themselves is not known any more",
  role: "admin",
  confined: "everywhere",
  query: z.object(pageQuery),
  answer: listOf("tokens", tokenObject),
  async handle({ read, query, now }) {
    const newest = read.selectFrom("tokens").orderBy("no", "desc");
    const { limit, offset } = await placeOf(query, () => newest.select("id").execute());
    const rows = await newest.selectAll().limit(limit).offset(offset).execute();
    const totalCount = await countOf(read.selectFrom("tokens").select((eb) => eb.fn.countAll().as("count")));
    return { totalCount, count: rows.length, tokens: rows.map((row) => toToken(row, now)) };
  },
});

const postToken = operation({
  id: "createToken",
  method: "post",
  path: "/tokens",
  tag: TAG,
  summary: "Make a token; it is in this answer, and never again",
  role: "admin",
  confined: "everywhere",
  body: tokenBody,
  status: 201,
  answer: z.object({ ...tokenFields, token: z.string() }).meta({ id: "NewToken" }),
  handle: (call) =>
    call.change(async (tx, now, audit) => {
      const { name, role, site = null, groups, expires_ts: expiresAt = null } = call.body;
      if (expiresAt !== null && expiresAt <= now) throw invalid("expires_ts", "must be in the future");
      if (role === "site" && site === null) throw invalid("site", "must be the site's name");
      if (role !== "site" && site !== null) throw invalid("site", `is for the role site; this one is ${role}`);
      if (role === "site" && groups) throw invalid("groups", "a site gets its applications with all of their groups");
      await checkName(tx, name, now);
      const scope = await readScope(tx, call.body, EVERYWHERE);
      const { token, row } = await issueToken(
        tx,
        { name, role, scope, site, createdBy: call.who.name, expiresAt },
        now,
      );
      await audit({ subject: "token", id: row.id, before: null, after: stateOf(row, now) });
      return { ...toToken(row, now), token };
    }),
});

const getToken = operation({
  id: "getToken",
  method: "get",
  path: "/tokens/:token",
  tag: TAG,
  summary: "One token",
  role: "admin",
  confined: "everywhere",
  answer: tokenObject,
  handle: async ({ read, params, now }) => toToken(await findToken(read, params.token, now), now),
});

const deleteToken = operation({
  id: "revokeToken",
  method: "delete",
  path: "/tokens/:token",
  tag: TAG,
  summary: "Revoke a token: from now on it is nobody's",
  role: "admin",
  confined: "everywhere",
  answer: null,
  handle: (call) =>
    call.change(async (tx, now, audit) => {
      const row = await findToken(tx, call.params.token, now);
      if (row.revoked_at !== null) return;
      await checkNotLast(tx, row, now);
      await tx.updateTable("tokens").set({ revoked_at: now }).where("no", "=", row.no).execute();
      const after = { ...row, revoked_at: now };
      await audit({ subject: "token", id: row.id, before: stateOf(row, now), after: stateOf(after, now) });
    }),
});

const whoAmI = operation({
  id: "whoAmI",
  method: "get",
  path: "/whoami",
  tag: TAG,
  summary: "Who asks, and what they may do",
  role: "viewer",
  confined: "filters",
  answer: z
    .object({
      kind: z.enum(["token", "user", "anonymous"]),
      name: z.string(),
      id: z.string().nullable(),
      role: z.enum(TOKEN_ROLES),
      applications: z.array(z.uuid()).nullable(),
      groups: z.array(z.uuid()).nullable(),
    })
    .meta({ id: "Principal" }),
  async handle({ who: { kind, name, id, role, scope } }) {
    return { kind, name, id, role, ...copied(scope) };
  },
});

export const tokenOperations: readonly Operation[] = [listTokens, postToken, getToken, deleteToken, whoAmI];

/** @param name the id, or the name of one that is in use, or else of the last that expired. */
async function findToken(db: Db, name: string, now: number): Promise<TokenRow> {
  const rows = await db
    .selectFrom("tokens")
    .selectAll()
    .where((eb) => eb.or([eb("id", "=", name.toLowerCase()), eb("name", "=", name)]))
    .orderBy("no", "desc")
    .execute();
  const found =
    rows.find(({ id }) => id === name.toLowerCase()) ??
    rows.find((row) => isActive(row, now)) ??
    rows.find((row) => row.revoked_at === null);
  if (found === undefined) throw notFound("token", name);
  return found;
}

/** The audit log shows names: two that are in use must not be alike. */
async function checkName(tx: Tx, name: string, now: number): Promise<void> {
  const twins = await tx.selectFrom("tokens").selectAll().where("name", "=", name).execute();
  if (twins.some((row) => isActive(row, now))) {
    throw invalid("name", `there is a token "${name}" already; revoke it first, or take another name`, 409);
  }
}

/**
 * Applications by id or product id; groups are in them, and name theirs when no application is named.
 * @param before what it was kept to: of that some may be deleted by now, and can be sent back.
 */
export async function readScope(
  tx: Tx,
  body: Pick<z.output<typeof tokenBody>, "applications" | "groups">,
  before: Scope,
): Promise<Scope> {
  const applications: string[] | null = body.applications ? [] : null;
  for (const [index, name] of (body.applications ?? []).entries()) {
    const row = await findApplication(tx, name).catch(() => null);
    if (row === null && before.applications?.includes(name.toLowerCase())) {
      applications?.push(name.toLowerCase());
      continue;
    }
    if (row === null) throw invalid(`applications.${index}`, `there is no application "${name}"`);
    applications?.push(row.id);
  }
  if (!body.groups) return { applications, groups: null };
  const named = new Set<string>();
  const groups: string[] = [];
  for (const [index, id] of body.groups.entries()) {
    const row = await tx
      .selectFrom("groups")
      .innerJoin("applications", "applications.no", "groups.application_no")
      .select(["groups.id", "applications.id as application"])
      .where("groups.id", "=", id.toLowerCase())
      .executeTakeFirst();
    if (row === undefined && before.groups?.includes(id.toLowerCase())) {
      groups.push(id.toLowerCase());
      continue;
    }
    if (row === undefined) throw invalid(`groups.${index}`, `there is no group "${id}"`);
    if (applications !== null && !applications.includes(row.application)) {
      throw invalid(`groups.${index}`, "the group is in none of the applications");
    }
    named.add(row.application);
    groups.push(row.id);
  }
  return { applications: applications ?? (named.size > 0 ? [...named] : before.applications), groups };
}

/** Who revokes the last token that may do everything has locked the door and thrown away the key. */
async function checkNotLast(tx: Tx, row: TokenRow, now: number): Promise<void> {
  const rows = await tx.selectFrom("tokens").selectAll().where("no", "!=", row.no).execute();
  const isMaster = (one: TokenRow) =>
    isActive(one, now) && one.role === "admin" && one.applications === null && one.groups === null;
  if (isMaster(row) && !rows.some(isMaster)) {
    throw new Problem(409, `"${row.name}" is the last token that may do everything: make another one first`);
  }
}

function toToken(row: TokenRow, now: number): z.input<typeof tokenObject> {
  const time = (at: number | null) => (at === null ? null : timestamp(at));
  return {
    id: row.id,
    name: row.name,
    role: roleOf(row),
    site: row.site,
    ...copied(scopeOf(row)),
    state: row.revoked_at !== null ? "revoked" : isActive(row, now) ? "active" : "expired",
    created_ts: timestamp(row.created_at),
    created_by: row.created_by,
    expires_ts: time(row.expires_at),
    last_used_ts: time(row.used_at),
    revoked_ts: time(row.revoked_at),
  };
}

function copied({ applications, groups }: Scope): { applications: string[] | null; groups: string[] | null } {
  return { applications: applications && [...applications], groups: groups && [...groups] };
}

function stateOf(row: TokenRow, now: number): object {
  const { id: _, created_ts: __, created_by: ___, last_used_ts: ____, ...state } = toToken(row, now);
  return state;
}
