/**
 * Which state of each mirror was imported last. Whoever can hand over an old mirror, with its old and true signature, could keep
 * a site on old releases; so an older one is not taken.
 */
import type { Kysely, Selectable } from "kysely";
import type { Tables } from "../store/tables.ts";

export type MirrorRow = Selectable<Tables["mirror_imports"]>;

export interface MirrorState {
  /** UUID, of its manifest. */
  readonly mirror: string;
  /** When the manifest was written. */
  readonly createdAt: number;
  /** Of the manifest, in hexadecimal. */
  readonly sha256: string;
  /** The key's fingerprint, in hexadecimal. */
  readonly signedBy: string;
}

export class OlderMirror extends Error {
  override readonly name = "OlderMirror";
}

/**
 * To be asked before anything of it is used.
 * @throws OlderMirror
 */
export async function beginImport(
  tx: Kysely<Tables>,
  applicationNo: number,
  { mirror, createdAt, sha256, signedBy }: MirrorState,
  { allowOlder, now }: { readonly allowOlder: boolean; readonly now: number },
): Promise<{ readonly before: MirrorRow | null; readonly after: MirrorRow }> {
  const found = await tx
    .selectFrom("mirror_imports")
    .selectAll()
    .where("application_no", "=", applicationNo)
    .where("mirror", "=", mirror)
    .executeTakeFirst();
  const before = found ?? null;
  if (before?.sha256 === sha256) return { before, after: before };
  if (before !== null && !allowOlder) refuseOlder(before, createdAt);
  const set = { created_at: createdAt, sha256, signed_by: signedBy, imported_at: now };
  const after = { application_no: applicationNo, mirror, ...set };
  await tx
    .insertInto("mirror_imports")
    .values(after)
    .onConflict((conflict) => conflict.columns(["application_no", "mirror"]).doUpdateSet(set))
    .execute();
  return { before, after };
}

function refuseOlder(last: MirrorRow, createdAt: number): void {
  if (createdAt > last.created_at) return;
  const time = (ms: number) => new Date(ms).toISOString();
  throw new OlderMirror(
    createdAt === last.created_at
      ? `two different manifests of this mirror say that they are of ${time(createdAt)}`
      : `this mirror is of ${time(createdAt)}; it was imported already as it was at ${time(last.created_at)}`,
  );
}
