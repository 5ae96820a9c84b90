/** What nothing refers to any more: contents without a package, uploads that nobody goes on with, what was found corrupt. */

import { rm } from "node:fs/promises";
import type { Kysely, Transaction } from "kysely";
import type { Tables } from "../store/tables.ts";
import type { Payloads } from "./payloads.ts";
import { wantedContents } from "./records.ts";

export const GARBAGE_KINDS = ["unreferenced", "unknown", "upload", "quarantined"] as const;

export interface Garbage {
  /** `unreferenced`: of no package, or no longer named by it. `unknown`: left over from a crash. `upload`: abandoned. `quarantined`: corrupt, and seen. */
  readonly kind: (typeof GARBAGE_KINDS)[number];
  /** The SHA-256; an upload's begins with its package's UUID. */
  readonly name: string;
  readonly bytes: number;
}

/** Uploads that nobody goes on with, and corrupt files that nobody looks at. */
const ABANDONED_MS = 7 * 86_400_000;

/** To be called within `exclusive`. */
export async function findGarbage({ blobs, uploads }: Payloads, db: Kysely<Tables>, now: number): Promise<Garbage[]> {
  const rows = await db.selectFrom("payloads").select(["no", "sha256", "size"]).execute();
  const wanted = await wantedContents(db);
  const known = new Set(rows.map((row) => row.sha256));
  const packages = await db.selectFrom("packages").select("id").execute();
  const ids = new Set(packages.map((row) => row.id));
  const unknown = (await blobs.list()).filter(({ name }) => !known.has(name));
  const abandoned = (await blobs.uploads()).filter(
    ({ name, path, changedAt }) =>
      !uploads.isBusy(path) && (!ids.has(name.slice(0, 36)) || changedAt < now - ABANDONED_MS),
  );
  const seen = (await blobs.quarantined()).filter(({ changedAt }) => changedAt < now - ABANDONED_MS);
  return [
    ...rows
      .filter((row) => !wanted.has(row.no))
      .map((row) => ({ kind: "unreferenced" as const, name: row.sha256, bytes: row.size })),
    ...unknown.map(({ name, bytes }) => ({ kind: "unknown" as const, name, bytes })),
    ...abandoned.map(({ name, bytes }) => ({ kind: "upload" as const, name, bytes })),
    ...seen.map(({ name, bytes }) => ({ kind: "quarantined" as const, name, bytes })),
  ];
}

/** The rows first: a crash in between leaves files that nobody knows, never rows without a file. */
export async function forgetGarbage(tx: Transaction<Tables>, garbage: readonly Garbage[]): Promise<void> {
  for (const { kind, name } of garbage) {
    if (kind !== "unreferenced") continue;
    const content = tx.selectFrom("payloads").select("no").where("sha256", "=", name);
    await tx.deleteFrom("hosted_files").where("payload_no", "in", content).execute();
    await tx.deleteFrom("payloads").where("sha256", "=", name).execute();
  }
}

export async function removeGarbage({ blobs }: Payloads, garbage: readonly Garbage[]): Promise<void> {
  const paths = new Map(
    [...(await blobs.uploads()), ...(await blobs.quarantined())].map((file) => [file.name, file.path]),
  );
  for (const { kind, name } of garbage) {
    if (kind === "unreferenced" || kind === "unknown") await blobs.remove(name);
    else await rm(paths.get(name) ?? "", { force: true });
  }
}
