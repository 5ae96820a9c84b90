/** A package's files, kept by this server: brought in piece by piece, visible only when they are whole. */
import { z } from "zod";
import { filesOfPackage, forgetFile } from "../payloads/records.ts";
import type { Piece } from "../payloads/uploads.ts";
import { recordWanted, wantedFile } from "../payloads/wanted.ts";
import type { PackageFile } from "../rollout/model/configuration.ts";
import { declaredFiles } from "../store/fleet.ts";
import { fits } from "../store/hosted.ts";
import { type Db, timestamp } from "./context.ts";
import { type ApplicationRow, findApplication, findPackage, type PackageRow } from "./lookups.ts";
import { type Call, type Operation, operation } from "./operation.ts";
import { notFound, Problem } from "./problem.ts";

const TAG = "payloads";

const fileObject = z
  .object({
    name: z.string(),
    /** Bytes, as the package says, or as they are here. */
    size: z.string().nullable(),
    /** SHA-1, base64. */
    hash: z.string().nullable(),
    /** SHA-256, hexadecimal. */
    hash256: z.string().nullable(),
    /**
     * `hosted`: here. `uploading`: begun. `missing`: not here. `corrupt`: damaged on the disk. `different`: what is here is
     * not what the package says by now. `refused`: here, and not signed with the application's payload key.
     */
    state: z.enum(["hosted", "uploading", "missing", "corrupt", "different", "refused"]),
    /** Why it is refused. */
    problem: z.string().nullable(),
    /** Bytes of an upload that has begun. */
    received: z.int().nullable(),
    hosted_ts: z.iso.datetime().nullable(),
    checked_ts: z.iso.datetime().nullable(),
  })
  .meta({ id: "File" });
type FileObject = z.input<typeof fileObject>;

const listFiles = operation({
  id: "listFiles",
  method: "get",
  path: "/apps/:app/packages/:package/files",
  tag: TAG,
  summary: "The files of a package, and which of them are here",
  description: "Nodes are sent here when all of them are `hosted`.",
  role: "viewer",
  answer: z.object({ hosted: z.boolean(), hosting: z.enum(["first", "only"]), files: z.array(fileObject) }),
  async handle(call) {
    const { row } = await found(call.read, call.params);
    const files = await shown(call, row);
    const hosted = files.length > 0 && files.every(({ state }) => state === "hosted");
    return { hosted, hosting: row.hosting === "only" ? ("only" as const) : ("first" as const), files };
  },
});

const uploadFile = operation({
  id: "uploadFile",
  method: "put",
  path: "/apps/:app/packages/:package/files/:name",
  tag: TAG,
  summary: "Bring a file, or go on with one",
  description:
    "The package must name it. Its size and hashes are checked on the way, a payload's format and signature too. What breaks " +
    "off stays: ask how much is here (`…/upload`), and send the rest with `Content-Range`.",
  role: "admin",
  streamed: true,
  headers: { "Content-Range": "`bytes FROM-TO/TOTAL`: this part of the file; without it, all of it" },
  answer: fileObject,
  async handle(call) {
    const { application, row, file } = await foundFile(call.read, call.params);
    const wanted = wantedFile(application.payload_key, row, file);
    const piece = pieceOf(call.given("Content-Range"), call.given("Content-Length"));
    const { uploads } = call.payloads;
    await uploads.alone(wanted, async () => {
      const arrived = await uploads.receive(wanted, piece, call.stream);
      if (!arrived.whole) return;
      await call.payloads.publish(arrived, () =>
        call.configure(async (tx, now, audit) => {
          const present = await foundFile(tx, call.params);
          const change = await recordWanted(tx, present.row, wanted, arrived.content, now);
          await audit({ subject: "file", id: row.id, applicationId: application.id, ...change });
        }),
      );
    });
    return theFile(call, row, file.name);
  },
});

const showUpload = operation({
  id: "showUpload",
  method: "get",
  path: "/apps/:app/packages/:package/files/:name/upload",
  tag: TAG,
  summary: "How much of a file has come",
  role: "admin",
  answer: z.object({ received: z.int(), size: z.string().nullable() }),
  async handle(call) {
    const { row, file } = await foundFile(call.read, call.params);
    const received = (await call.payloads.blobs.receivedOf(row.id, file.name)) ?? 0;
    call.header("Upload-Offset", String(received));
    return { received, size: sizeText(file.sizeBytes) };
  },
});

const removeFile = operation({
  id: "deleteFile",
  method: "delete",
  path: "/apps/:app/packages/:package/files/:name",
  tag: TAG,
  summary: "Take a file away from a package, or what has come of it",
  description: "Nodes are sent to the package's URL again. Its bytes stay on the disk until they are collected.",
  role: "admin",
  answer: null,
  async handle(call) {
    const { application, row } = await found(call.read, call.params);
    const { name } = call.params;
    const { blobs, uploads } = call.payloads;
    await uploads.alone({ packageId: row.id, name }, async () => {
      const begun = (await blobs.receivedOf(row.id, name)) !== null;
      await call.configure(async (tx, _now, audit) => {
        const here = (await filesOfPackage(tx, row.no)).find((one) => one.name === name);
        if (here === undefined && !begun) throw notFound("file", name);
        if (here === undefined) return;
        await forgetFile(tx, row.no, name);
        const before = { name, size: here.sizeBytes, hash256: here.sha256 };
        await audit({ subject: "file", id: row.id, applicationId: application.id, before, after: null });
      });
      await blobs.dropUpload(row.id, name);
    });
  },
});

export const fileOperations: readonly Operation[] = [listFiles, uploadFile, showUpload, removeFile];

interface Params {
  readonly app: string;
  readonly package: string;
}

async function found(db: Db, params: Params): Promise<{ application: ApplicationRow; row: PackageRow }> {
  const application = await findApplication(db, params.app);
  return { application, row: await findPackage(db, application, params.package) };
}

/** What a package says of its file. @throws Problem 404 that names the files there are */
async function foundFile(db: Db, params: Params & { readonly name: string }) {
  const { application, row } = await found(db, params);
  const files = await declaredFiles(db, row);
  const file = files.find(({ name }) => name === params.name);
  if (file === undefined) {
    const names = files.map(({ name }) => name).join(", ") || "none";
    throw new Problem(404, `file not found: package ${row.version} names no ${params.name}; it names ${names}`);
  }
  return { application, row, file };
}

/** @throws Problem 400 that says what the header must look like */
function pieceOf(contentRange: string | undefined, contentLength: string | undefined): Piece {
  const length = contentLength === undefined ? null : Number(contentLength);
  if (contentRange === undefined) return { from: 0, total: length };
  const [, from, to, total] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(contentRange.trim()) ?? [];
  const [first, last, all] = [Number(from), Number(to), Number(total)];
  if (total === undefined || last < first || last >= all || (length !== null && length !== last - first + 1)) {
    const example = 'write e.g. "bytes 1000-4999/5000" with a body of 4000 bytes';
    throw new Problem(400, `Content-Range: "${contentRange}" is not the range of this body; ${example}`);
  }
  return { from: first, total: all };
}

async function theFile(call: Call<Params, unknown, unknown>, row: PackageRow, name: string): Promise<FileObject> {
  const file = (await shown(call, row)).find((one) => one.name === name);
  if (file === undefined) throw notFound("file", name);
  return file;
}

async function shown({ read, payloads }: Call<Params, unknown, unknown>, row: PackageRow): Promise<FileObject[]> {
  const kept = new Map((await filesOfPackage(read, row.no)).map((file) => [file.name, file]));
  const files: FileObject[] = [];
  for (const file of await declaredFiles(read, row)) {
    const here = kept.get(file.name);
    const received = await payloads.blobs.receivedOf(row.id, file.name);
    const state = stateOf(here, file, received !== null);
    const known = state === "hosted" || state === "refused" ? here : undefined;
    files.push({
      name: file.name,
      size: sizeText(known?.sizeBytes ?? file.sizeBytes),
      hash: known === undefined ? file.sha1 : Buffer.from(known.sha1, "hex").toString("base64"),
      hash256: known?.sha256 ?? file.sha256,
      state,
      problem: state === "refused" ? (known?.refused ?? null) : null,
      received,
      hosted_ts: known === undefined ? null : timestamp(known.created_at),
      checked_ts: known === undefined ? null : timestamp(known.checked_at),
    });
  }
  return files;
}

type Kept = Awaited<ReturnType<typeof filesOfPackage>>[number];

function stateOf(here: Kept | undefined, wanted: PackageFile, isUploading: boolean): FileObject["state"] {
  const fitting = here !== undefined && here.state === "stored" && fits(here, wanted);
  if (fitting && here.refused === null) return "hosted";
  if (isUploading) return "uploading";
  if (fitting) return "refused";
  if (here === undefined) return "missing";
  return here.state === "corrupt" ? "corrupt" : "different";
}

function sizeText(bytes: number): string | null {
  return bytes === 0 ? null : String(bytes);
}
