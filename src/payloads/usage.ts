/** What the files take on the disk. */
import type { Kysely } from "kysely";
import type { Tables } from "../store/tables.ts";
import type { Payloads } from "./payloads.ts";
import { wantedContents } from "./records.ts";

export interface PackageUsage {
  readonly applicationId: string;
  readonly packageId: string;
  readonly version: string;
  readonly arch: number;
  readonly files: number;
  /** A content that several packages have is counted for each. */
  readonly bytes: number;
}

export interface Usage {
  readonly packages: readonly PackageUsage[];
  readonly files: number;
  readonly bytes: number;
  /** Of these, what no package has: `gc` would remove it. */
  readonly unreferencedBytes: number;
  readonly corruptFiles: number;
  /** Of packages: not signed with their application's payload key. */
  readonly refusedFiles: number;
  /** Of packages: still to be looked at, since that key has changed. */
  readonly filesToCheck: number;
  readonly uploads: number;
  readonly uploadBytes: number;
  readonly freeBytes: number;
}

export async function usageOf({ blobs }: Payloads, db: Kysely<Tables>): Promise<Usage> {
  const packages = await db
    .selectFrom("hosted_files")
    .innerJoin("payloads", "payloads.no", "hosted_files.payload_no")
    .innerJoin("packages", "packages.no", "hosted_files.package_no")
    .innerJoin("applications", "applications.no", "packages.application_no")
    .select(["applications.id as applicationId", "packages.id as packageId", "packages.version", "packages.arch"])
    .select((eb) => [eb.fn.countAll().as("files"), eb.fn.sum("payloads.size").as("bytes")])
    .where("payloads.state", "=", "stored")
    .groupBy(["packages.no", "applications.id", "packages.id", "packages.version", "packages.arch"])
    .orderBy("packages.no")
    .execute();
  const contents = await db.selectFrom("payloads").select(["no", "size", "state"]).execute();
  const judged = await db.selectFrom("hosted_files").select(["refused", "look_again"]).execute();
  const wanted = await wantedContents(db);
  const uploads = await blobs.uploads();
  const stored = contents.filter(({ state }) => state === "stored");
  return {
    packages: packages.map((row) => ({ ...row, files: Number(row.files), bytes: Number(row.bytes) })),
    files: stored.length,
    bytes: sum(stored.map(({ size }) => size)),
    unreferencedBytes: sum(stored.filter(({ no }) => !wanted.has(no)).map(({ size }) => size)),
    corruptFiles: contents.length - stored.length,
    refusedFiles: judged.filter(({ refused }) => refused !== null).length,
    filesToCheck: judged.filter(({ look_again }) => look_again === 1).length,
    uploads: uploads.length,
    uploadBytes: sum(uploads.map(({ bytes }) => bytes)),
    freeBytes: await blobs.free(),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
