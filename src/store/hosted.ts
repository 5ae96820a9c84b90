/** Which files of packages are kept here. What is kept is known by its content; a package's own words may have moved since. */
import type { Kysely } from "kysely";
import type { PackageFile } from "../rollout/model/configuration.ts";
import type { Tables } from "./tables.ts";

export interface HostedFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** Hexadecimal, both. */
  readonly sha1: string;
  readonly sha256: string;
}

/** With why nodes are not to get it, from anywhere; null: they are. */
export interface JudgedFile extends HostedFile {
  readonly refused: string | null;
}

/** By package and name; what is corrupt is not among them. */
export async function loadHosted(db: Kysely<Tables>): Promise<Map<number, Map<string, JudgedFile>>> {
  const hosted = new Map<number, Map<string, JudgedFile>>();
  for (const { package_no: no, ...file } of await hostedFiles(db).where("payloads.state", "=", "stored").execute()) {
    const files = hosted.get(no) ?? new Map<string, JudgedFile>();
    hosted.set(no, files.set(file.name, file));
  }
  return hosted;
}

export function hostedFiles(db: Kysely<Tables>) {
  return db
    .selectFrom("hosted_files")
    .innerJoin("payloads", "payloads.no", "hosted_files.payload_no")
    .select(["hosted_files.package_no", "hosted_files.name", "hosted_files.refused"])
    .select(["payloads.size as sizeBytes", "payloads.sha1", "payloads.sha256"]);
}

/** Whether a content is what the package says of the file, as far as it says anything. */
export function fits({ sizeBytes, sha1, sha256 }: Omit<HostedFile, "name">, said: Omit<PackageFile, "name">): boolean {
  return (
    (said.sizeBytes === 0 || said.sizeBytes === sizeBytes) &&
    (said.sha1 === null || !isSha1(said.sha1) || Buffer.from(said.sha1, "base64").toString("hex") === sha1) &&
    (said.sha256 === null || said.sha256.toLowerCase() === sha256)
  );
}

/** Other kinds of packages may have a hash of any kind: what it is of is for their own clients to know. */
function isSha1(hash: string): boolean {
  return Buffer.from(hash, "base64").length === 20 && /^[\w+/]{27}=$/.test(hash);
}
