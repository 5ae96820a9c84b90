/** Sessions: a random secret in a cookie, its hash in the database. So they survive restarts, and can be revoked. */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import type { Selectable } from "kysely";
import type { Clock } from "../../clock.ts";
import { appendAudit } from "../../store/audit.ts";
import type { Store } from "../../store/store.ts";
import type { Tables } from "../../store/tables.ts";
import { type Tx, timestamp } from "../context.ts";
import { EVERYWHERE, type Principal, type Role } from "./principal.ts";
import { seal, unseal } from "./sealed.ts";

export type SessionRow = Selectable<Tables["sessions"]>;

/** "Last use" is kept to the minute: not every request is a write. */
const USE_MS = 60_000;

export interface SessionRules {
  /** Sessions of another provider's users are none. */
  readonly issuer: string;
  /** A session ends so long after the login. */
  readonly lifetimeMs: number;
  /** And when it has not been used for so long. */
  readonly idleMs: number;
}

/** From where somebody logs in or out. */
export interface Origin {
  readonly address: string;
  readonly requestId: string;
}

export class Sessions {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #rules: SessionRules;

  constructor(store: Store, clock: Clock, rules: SessionRules) {
    this.#store = store;
    this.#clock = clock;
    this.#rules = rules;
  }

  /** Answers what the cookie is to say, and how long it is good for. */
  async open(who: Principal, idToken: string, from: Origin): Promise<{ secret: string; lifetimeMs: number }> {
    const { issuer, lifetimeMs, idleMs } = this.#rules;
    const now = this.#clock.now();
    const secret = randomBytes(32).toString("base64url");
    await this.#store.write(async (tx) => {
      await tx.deleteFrom("sessions").where("idle_until", "<=", now).execute();
      const row = await tx
        .insertInto("sessions")
        .values({
          id: randomUUID(),
          hash: hashOf(secret),
          issuer,
          subject: who.id ?? who.name,
          name: who.name,
          role: who.role,
          id_token: seal(idToken, secret),
          address: from.address,
          created_at: now,
          used_at: now,
          idle_until: now + Math.min(idleMs, lifetimeMs),
          expires_at: now + lifetimeMs,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      await auditSession(tx, "login", row, from, now);
    });
    return { secret, lifetimeMs };
  }

  /** Whose session it is; null: nobody's, or it is over. */
  async find(secret: string): Promise<Principal | null> {
    const row = await this.#rowOf(secret);
    if (row === null) return null;
    const now = this.#clock.now();
    if (row.used_at < now - USE_MS) this.#noteUse(row, now);
    return principalOf(row);
  }

  /** Ends it. Answers the ID token that it began with; null: there was no such session. */
  async close(secret: string, from: Origin): Promise<string | null> {
    const row = await this.#rowOf(secret);
    if (row === null) return null;
    await this.#store.write(async (tx) => {
      const gone = await tx.deleteFrom("sessions").where("no", "=", row.no).executeTakeFirst();
      if (gone.numDeletedRows > 0n) await auditSession(tx, "logout", row, from, this.#clock.now());
    });
    return unseal(row.id_token, secret);
  }

  async #rowOf(secret: string): Promise<SessionRow | null> {
    const row = await this.#store.read
      .selectFrom("sessions")
      .selectAll()
      .where("hash", "=", hashOf(secret))
      .where("issuer", "=", this.#rules.issuer)
      .where("idle_until", ">", this.#clock.now())
      .executeTakeFirst();
    return row ?? null;
  }

  /** Nobody waits for it, and if it can't be written the next use is. */
  #noteUse(row: SessionRow, now: number): void {
    const idleUntil = Math.min(now + this.#rules.idleMs, row.expires_at);
    this.#store
      .write((tx) =>
        tx.updateTable("sessions").set({ used_at: now, idle_until: idleUntil }).where("no", "=", row.no).execute(),
      )
      .catch(() => undefined);
  }
}

function principalOf({ name, subject, role }: SessionRow): Principal {
  return { kind: "user", name, id: subject, role: role as Role, scope: EVERYWHERE }; // the store has no other roles
}

/** What the audit log says of a session. */
export function stateOf({ subject, name, role, issuer, expires_at }: SessionRow): object {
  return { subject, name, role, issuer, expires_ts: timestamp(expires_at) };
}

async function auditSession(
  tx: Tx,
  action: "login" | "logout",
  row: SessionRow,
  { address, requestId }: Origin,
  now: number,
): Promise<void> {
  const state = JSON.stringify(stateOf(row));
  await appendAudit(tx, {
    at: now,
    actorKind: "user",
    actor: row.name,
    actorId: row.subject,
    address,
    requestId,
    action,
    subject: "session",
    subjectId: row.id,
    applicationId: null,
    groupId: null,
    before: action === "logout" ? state : null,
    after: action === "login" ? state : null,
  });
}

function hashOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
