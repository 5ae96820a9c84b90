/**
 * Bringing a release in: its package, complete and with the hashes that the upstream says, then its files, checked as every
 * upload is. No channel moves here: see `offer.ts`. All of it may be done again at any time, and by two at once.
 */
import type { Payloads } from "../payloads/payloads.ts";
import { filesOfPackage } from "../payloads/records.ts";
import { UploadRefused } from "../payloads/uploads.ts";
import { recordWanted, wantedFile } from "../payloads/wanted.ts";
import type { PackageFile } from "../rollout/model/configuration.ts";
import { declaredFiles } from "../store/fleet.ts";
import { fits } from "../store/hosted.ts";
import type { Store } from "../store/store.ts";
import { type ApplicationRow, type Editor, NotTaken, type PackageRow, type Tx } from "./editor.ts";
import { receive } from "./receive.ts";
import { type Bytes, filesOf, type Release, type Source, SourceFailed } from "./release.ts";

export interface BringInContext {
  readonly store: Store;
  readonly payloads: Payloads;
  readonly editor: Editor;
}

export interface BringIn {
  readonly applicationNo: number;
  readonly release: Release;
  /** Null: its files stay where they are, and nodes get them there. */
  readonly bytes: Bytes | null;
  /** Breaks the download off; what has come stays. */
  readonly signal: AbortSignal;
  /** What is here of a file, as it comes. */
  readonly onBytes?: (file: string, received: number, total: number) => void;
}

export type BroughtIn =
  /** The package is here, and so are its files if they were to be. */
  | { readonly kind: "here"; readonly packageNo: number; readonly packageId: string; readonly made: boolean }
  /** There is a package of this version already, and it says otherwise: for a person to look at. Nothing was changed. */
  | { readonly kind: "conflict"; readonly why: string }
  /** It can't be what it says, or a rule is against it. Nothing of it is offered. */
  | { readonly kind: "refused"; readonly why: string }
  /** For now: no room, no answer, broken off, somebody else is at it. What has come stays. */
  | { readonly kind: "unfinished"; readonly why: string };

export async function bringIn(context: BringInContext, wanted: BringIn): Promise<BroughtIn> {
  try {
    const { row, made, conflict } = await providePackage(context, wanted);
    if (conflict !== null) return { kind: "conflict", why: conflict };
    if (wanted.bytes !== null) await fetchFiles(context, wanted, wanted.bytes, row);
    return { kind: "here", packageNo: row.no, packageId: row.id, made };
  } catch (error) {
    if (error instanceof NotTaken) return { kind: "refused", why: error.message };
    if (error instanceof SourceFailed) return { kind: "unfinished", why: error.message };
    // 422 and 413 are wrong files; the others may go better the next time.
    if (error instanceof UploadRefused) {
      const isWrong = error.status === 422 || error.status === 413;
      return { kind: isWrong ? "refused" : "unfinished", why: error.message };
    }
    throw error;
  }
}

interface Provided {
  readonly row: PackageRow;
  readonly made: boolean;
  readonly conflict: string | null;
}

/** Looks and makes in one transaction: whoever comes second finds what the first has made. */
function providePackage({ editor }: BringInContext, { applicationNo, release }: BringIn): Promise<Provided> {
  return editor.change("bringIn", async (desk) => {
    const { tx } = desk;
    const application = await applicationOf(tx, applicationNo);
    const before = await findPackage(tx, applicationNo, release);
    if (before === undefined) {
      await desk.createPackage(application, release);
      const row = await findPackage(tx, applicationNo, release);
      if (row === undefined) throw new Error(`package ${release.version} was made, and is not there`);
      return { row, made: true, conflict: null };
    }
    const conflict = differenceOf(await declaredFiles(tx, before), before, release);
    if (conflict === null) await desk.completePackage(application, before, release);
    return { row: before, made: false, conflict };
  });
}

function applicationOf(tx: Tx, no: number): Promise<ApplicationRow> {
  return tx.selectFrom("applications").selectAll().where("no", "=", no).executeTakeFirstOrThrow();
}

function findPackage(tx: Tx, applicationNo: number, { version, arch }: Release): Promise<PackageRow | undefined> {
  return tx
    .selectFrom("packages")
    .selectAll()
    .where("application_no", "=", applicationNo)
    .where("version", "=", version)
    .where("arch", "=", arch)
    .executeTakeFirst();
}

/** Where a package says something else than the release; null: nowhere. What one of them doesn't say is no difference. */
function differenceOf(ours: readonly PackageFile[], row: PackageRow, release: Release): string | null {
  const here = `package ${row.version} is here already`;
  if (row.type !== release.type) return `${here}, of type ${row.type}; upstream says ${release.type}`;
  for (const theirs of filesOf(release)) {
    const isPayload = theirs === release.payload;
    // The payload is the first file of a package that has one, whatever its name.
    const mine = isPayload && row.filename ? ours[0] : ours.find(({ name }) => name === theirs.name);
    if (mine === undefined) continue;
    const what = isPayload ? "its payload" : `its file ${theirs.name}`;
    const differs = (name: string, a: string | number | null, b: string | number | null) =>
      a && b && a !== b ? `${here}, and ${what} has the ${name} ${a}; upstream says ${b}` : null;
    const difference =
      differs("size", mine.sizeBytes, theirs.sizeBytes) ??
      differs("SHA-256", mine.sha256?.toLowerCase() ?? null, theirs.sha256) ??
      differs("SHA-1", mine.sha1, theirs.sha1);
    if (difference !== null) return difference;
  }
  return null;
}

async function fetchFiles(context: BringInContext, wanted: BringIn, bytes: Bytes, row: PackageRow): Promise<void> {
  const { read } = context.store;
  const { release, applicationNo } = wanted;
  const { payload_key: key } = await read
    .selectFrom("applications")
    .select("payload_key")
    .where("no", "=", applicationNo)
    .executeTakeFirstOrThrow();
  const present = await read.selectFrom("packages").selectAll().where("no", "=", row.no).executeTakeFirst();
  if (present === undefined) throw new SourceFailed(`package ${row.version} was deleted meanwhile`);
  const declared = await declaredFiles(read, present);
  for (const theirs of filesOf(release)) {
    const isPayload = theirs === release.payload;
    const file = isPayload ? declared[0] : declared.find(({ name }) => name === theirs.name);
    if (file === undefined) throw new SourceFailed(`package ${row.version} no longer names ${theirs.name}`);
    if (await isHosted(context, row.no, file)) continue;
    await fetchFile(context, wanted, {
      row: present,
      key,
      file,
      sha512: theirs.sha512 ?? null,
      sources: bytes.sourcesOf(theirs),
    });
  }
}

/** @throws UploadRefused 422 when it is, and is not signed as it should be: bringing it again would change nothing */
async function isHosted({ store }: BringInContext, packageNo: number, file: PackageFile): Promise<boolean> {
  const here = (await filesOfPackage(store.read, packageNo)).find(({ name }) => name === file.name);
  if (here === undefined || here.state !== "stored" || !fits(here, file)) return false;
  if (here.refused !== null) throw new UploadRefused(422, `${file.name} was refused: ${here.refused}`);
  return true;
}

interface Fetched {
  readonly row: PackageRow;
  readonly key: string | null;
  readonly file: PackageFile;
  readonly sha512: string | null;
  readonly sources: readonly Source[];
}

async function fetchFile(context: BringInContext, wanted: BringIn, fetched: Fetched): Promise<void> {
  const { payloads, editor } = context;
  const { row, key, file, sha512, sources } = fetched;
  const target = { ...wantedFile(key, row, file), sha512 };
  await payloads.uploads.alone(target, async () => {
    // Whoever had it until now may have finished it.
    if (await isHosted(context, row.no, file)) return;
    const refused = payloads.uploads.whyRefused(target);
    if (refused !== null) throw new UploadRefused(422, refused);
    const onBytes = (received: number) => wanted.onBytes?.(file.name, received, file.sizeBytes);
    const arrived = await receive({ payloads, file: target, sources, signal: wanted.signal, onBytes });
    await payloads.publish(arrived, () =>
      editor.change("keepFile", async (desk) => {
        const present = await desk.tx.selectFrom("packages").selectAll().where("no", "=", row.no).executeTakeFirst();
        if (present === undefined) throw new SourceFailed(`package ${row.version} was deleted meanwhile`);
        const { id: applicationId } = await applicationOf(desk.tx, present.application_no);
        const change = await recordWanted(desk.tx, present, target, arrived.content, desk.now);
        await desk.audit({ subject: "file", id: row.id, applicationId, ...change });
      }),
    );
  });
}
