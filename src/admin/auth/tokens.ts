/** Bearer tokens: 32 random bytes, shown once, kept as a hash. */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import type { Request } from "express";
import type { Actor } from "../../store/rollouts.ts";
import type { Store } from "../../store/store.ts";

/** Who makes a request; null: nobody we know. */
export type Authenticate = (request: Request) => Promise<Actor | null>;

/** Makes a token and answers it: there is no way to see it again. */
export async function issueToken(store: Store, name: string, now: number): Promise<string> {
  const token = `turnout_${randomBytes(32).toString("base64url")}`;
  await rememberToken(store, name, token, now);
  return token;
}

/** Takes a token that somebody else made up, e.g. from the settings. Taking it twice changes nothing. */
export async function rememberToken(store: Store, name: string, token: string, now: number): Promise<void> {
  const hash = hashOf(token);
  const known = await store.read.selectFrom("tokens").select("no").where("hash", "=", hash).executeTakeFirst();
  if (known !== undefined) return;
  await store.write(async (tx) => {
    await tx.insertInto("tokens").values({ id: randomUUID(), name, hash, created_at: now }).execute();
  });
}

export function bearerAuthentication(store: Store): Authenticate {
  return async (request) => {
    const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (token === undefined) return null;
    const given = Buffer.from(hashOf(token));
    // All of them are compared, each in constant time: how long it takes tells nothing.
    let actor: Actor | null = null;
    for (const { name, hash } of await store.read.selectFrom("tokens").select(["name", "hash"]).execute()) {
      if (timingSafeEqual(given, Buffer.from(hash))) actor = { name };
    }
    return actor;
  };
}

/** `TURNOUT_AUTH=none`: whoever can reach the port. */
export function noAuthentication(): Authenticate {
  return async () => ({ name: "anonymous" });
}

function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
