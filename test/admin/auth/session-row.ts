/** A session that nobody has logged in for: what the API lists and revokes. */
import { randomUUID } from "node:crypto";
import type { Store } from "../../../src/store/store.ts";

/** Answers its id. */
export async function aSession(store: Store, now: number): Promise<string> {
  const id = randomUUID();
  const session = {
    id,
    hash: id,
    issuer: "https://id.example.org",
    subject: "u-1",
    name: "ada",
    role: "viewer",
    id_token: "",
    address: "192.0.2.1",
    created_at: now,
    used_at: now,
    idle_until: now + 60_000,
    expires_at: now + 120_000,
  };
  await store.write((tx) => tx.insertInto("sessions").values(session).execute());
  return id;
}
