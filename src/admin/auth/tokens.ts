/** Bearer tokens: 32 random bytes, shown once, kept as a hash. */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import type { Request } from "express";
import type { Selectable } from "kysely";
import type { Clock } from "../../clock.ts";
import { appendAudit } from "../../store/audit.ts";
import { SYSTEM } from "../../store/rollouts.ts";
import type { Store } from "../../store/store.ts";
import type { Tables } from "../../store/tables.ts";
import type { Tx } from "../context.ts";
import { EVERYWHERE, type Principal, type Scope, type TokenRole } from "./principal.ts";

export type TokenRow = Selectable<Tables["tokens"]>;

/** Who makes a request; null: nobody we know. */
export type Authenticate = (request: Request) => Promise<Principal | null>;

/** "Last use" is kept to the minute: not every request is a write. */
const USE_MS = 60_000;

export interface NewToken {
  readonly name: string;
  readonly role: TokenRole;
  readonly scope: Scope;
  /** Not null when its role is `site`. */
  readonly site: string | null;
  readonly createdBy: string;
  readonly expiresAt: number | null;
}
const FIRST: NewToken = {
  name: "admin",
  role: "admin",
  scope: EVERYWHERE,
  site: null,
  createdBy: "system",
  expiresAt: null,
};

/** Makes a token and answers it: there is no way to see it again. */
export async function issueToken(tx: Tx, wanted: NewToken, now: number): Promise<{ token: string; row: TokenRow }> {
  const token = `turnout_${randomBytes(32).toString("base64url")}`;
  return { token, row: await keepToken(tx, wanted, token, now) };
}

/** The first administrator's token; null: there are tokens already. */
export async function firstToken(store: Store, now: number): Promise<string | null> {
  const existing = await store.read.selectFrom("tokens").select("no").limit(1).executeTakeFirst();
  if (existing !== undefined) return null;
  return store.write(async (tx) => {
    const { token, row } = await issueToken(tx, FIRST, now);
    await auditMaster(tx, "firstToken", row, now);
    return token;
  });
}

/** Takes an administrator's token that somebody else made up, e.g. from the settings. Taking it twice changes nothing. */
export async function rememberToken(store: Store, token: string, now: number): Promise<void> {
  const known = await store.read.selectFrom("tokens").select("no").where("hash", "=", hashOf(token)).executeTakeFirst();
  if (known !== undefined) return;
  await store.write(async (tx) => {
    const rows = await tx.selectFrom("tokens").selectAll().execute();
    const taken = new Set(rows.filter((row) => isActive(row, now)).map(({ name }) => name));
    let { name } = FIRST;
    // Whoever puts another one into the settings still has the one before, until it is revoked.
    for (let number = 2; taken.has(name); number += 1) name = `${FIRST.name}-${number}`;
    await auditMaster(tx, "tokenFromSettings", await keepToken(tx, { ...FIRST, name }, token, now), now);
  });
}

/** Whoever can start the server can make one: that, too, is a change of who may do what. */
async function auditMaster(tx: Tx, action: string, { id, name, role }: TokenRow, now: number): Promise<void> {
  await appendAudit(tx, {
    at: now,
    actorKind: "system",
    actor: SYSTEM.name,
    actorId: null,
    address: "",
    requestId: "",
    action,
    subject: "token",
    subjectId: id,
    applicationId: null,
    groupId: null,
    before: null,
    after: JSON.stringify({ name, role, ...EVERYWHERE }),
  });
}

function keepToken(tx: Tx, { name, role, scope, site, createdBy, expiresAt }: NewToken, token: string, now: number) {
  return tx
    .insertInto("tokens")
    .values({
      id: randomUUID(),
      name,
      hash: hashOf(token),
      role,
      applications: scope.applications === null ? null : JSON.stringify(scope.applications),
      groups: scope.groups === null ? null : JSON.stringify(scope.groups),
      site,
      created_by: createdBy,
      expires_at: expiresAt,
      created_at: now,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

export function bearerAuthentication(store: Store, clock: Clock): Authenticate {
  return async (request) => {
    const token = bearerOf(request);
    if (token === null) return null;
    const given = Buffer.from(hashOf(token));
    // All of them are compared, each in constant time: how long it takes tells nothing.
    let found: TokenRow | null = null;
    for (const row of await store.read.selectFrom("tokens").selectAll().execute()) {
      if (timingSafeEqual(given, Buffer.from(row.hash))) found = row;
    }
    const now = clock.now();
    if (found === null || !isActive(found, now)) return null;
    if ((found.used_at ?? 0) < now - USE_MS) noteUse(store, found.no, now);
    const { name, id, site } = found;
    return { kind: "token", name, id, role: roleOf(found), scope: scopeOf(found), ...(site !== null && { site }) };
  };
}

export function bearerOf(request: Request): string | null {
  return /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1] ?? null;
}

export function isActive({ revoked_at, expires_at }: TokenRow, now: number): boolean {
  return revoked_at === null && (expires_at === null || expires_at > now);
}

export function roleOf({ role }: TokenRow): TokenRole {
  return role as TokenRole; // the store has no other
}

export function scopeOf({ applications, groups }: Pick<TokenRow, "applications" | "groups">): Scope {
  return { applications: JSON.parse(applications ?? "null"), groups: JSON.parse(groups ?? "null") };
}

/** Nobody waits for it, and if it can't be written the next use is. */
function noteUse(store: Store, no: number, now: number): void {
  store
    .write((tx) => tx.updateTable("tokens").set({ used_at: now }).where("no", "=", no).execute())
    .catch(() => undefined);
}

function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
