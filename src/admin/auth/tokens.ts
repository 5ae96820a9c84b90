/** Bearer tokens: 32 random bytes, shown once, kept as a hash. */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import type { Request } from "express";
import type { Selectable } from "kysely";
import type { Clock } from "../../clock.ts";
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
  return (await store.write((tx) => issueToken(tx, FIRST, now))).token;
}

/** Takes an administrator's token that somebody else made up, e.g. from the settings. Taking it twice changes nothing. */
export async function rememberToken(store: Store, token: string, now: number): Promise<void> {
  const known = await store.read.selectFrom("tokens").select("no").where("hash", "=", hashOf(token)).executeTakeFirst();
  if (known === undefined) await store.write((tx) => keepToken(tx, FIRST, token, now));
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

export function scopeOf({ applications, groups }: TokenRow): Scope {
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
