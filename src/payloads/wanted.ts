/** What a package wants of a file, and that a file which has come is still what it wants: for whoever brings files. */
import type { Selectable, Transaction } from "kysely";
import { PACKAGE_TYPE, type PackageFile } from "../rollout/model/configuration.ts";
import { declaredFiles } from "../store/fleet.ts";
import { fits } from "../store/hosted.ts";
import type { Tables } from "../store/tables.ts";
import { readPayloadKey } from "./format.ts";
import { filesOfPackage, recordFile } from "./records.ts";
import { type Content, UploadRefused, type WantedFile } from "./uploads.ts";

type Tx = Transaction<Tables>;
type PackageRow = Selectable<Tables["packages"]>;

/** What clients find behind a codebase: names that stand in an address as they are. */
const PLAIN_NAME = /^(?!\.{1,2}$)[\w.~+=@,-]+$/;
/** Names that ue-rs looks for: these are payloads, too. Source: CLIENTS.md §3. */
const PAYLOAD_NAME = /(^|-)(oem|flatcar)-[\w.-]+\.gz$/;

/** @throws UploadRefused 409 when a file of that name can't be kept here */
export function wantedFile(payloadKey: string | null, row: PackageRow, file: PackageFile): WantedFile {
  if (!PLAIN_NAME.test(file.name)) {
    throw new UploadRefused(
      409,
      `${file.name} can't be kept here: nodes put a file's name into an address as it is, so it may have letters, digits and . _ ~ + = @ , - only`,
    );
  }
  const key = payloadKey === null ? null : readPayloadKey(payloadKey);
  return { ...file, packageId: row.id, isPayload: isPayload(row, file.name), key, payloadKey };
}

/** Whether update_engine, or ue-rs, takes the file apart. */
export function isPayload({ type, filename }: Pick<PackageRow, "type" | "filename">, name: string): boolean {
  return type === PACKAGE_TYPE.flatcar && (name === filename || PAYLOAD_NAME.test(name));
}

/** What the audit log says of a file. */
interface FileState {
  readonly name: string;
  readonly size: number;
  readonly hash256: string;
}

/**
 * From now on the content is the package's file of that name; answers what was and what is.
 * @throws UploadRefused 409 when the package has changed since the file began to come
 */
export async function recordWanted(
  tx: Tx,
  row: PackageRow,
  { name, payloadKey }: WantedFile,
  content: Content,
  now: number,
): Promise<{ before: FileState | null; after: FileState }> {
  const wanted = (await declaredFiles(tx, row)).find((one) => one.name === name);
  if (wanted === undefined || !fits(content, wanted)) {
    throw new UploadRefused(409, `the package has changed meanwhile: it wants another ${name} by now`);
  }
  const had = (await filesOfPackage(tx, row.no)).find((one) => one.name === name);
  // The key may have been set since the file began to come.
  const { payload_key: present } = await tx
    .selectFrom("applications")
    .select("payload_key")
    .where("no", "=", row.application_no)
    .executeTakeFirstOrThrow();
  await recordFile(tx, row.no, name, content, { now, lookAgain: present !== null && present !== payloadKey });
  return {
    before: had === undefined ? null : { name, size: had.sizeBytes, hash256: had.sha256 },
    after: { name, size: content.sizeBytes, hash256: content.sha256 },
  };
}
