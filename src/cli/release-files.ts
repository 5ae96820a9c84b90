/** What files say of themselves: their version and architecture, what they are, their hashes. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import {
  archOf,
  DIGEST_NAMES,
  type Digest,
  type DigestKind,
  digestFault,
  digestFilesOf,
  digestsIn,
  EXTRA,
  readVersionFile,
  type Said,
  VERSION_FILE,
} from "../mirror/layout.ts";
import { ApiError } from "./api.ts";

export interface ReleaseFile {
  readonly path: string;
  readonly name: string;
  readonly sizeBytes: number;
}

export interface HashedFile extends ReleaseFile {
  /** base64 */
  readonly sha1: string;
  /** hexadecimal */
  readonly sha256: string;
}

/** @throws ApiError */
export function releaseFile(path: string): ReleaseFile {
  if (!existsSync(path) || !statSync(path).isFile()) throw new ApiError(`there is no file ${path}`);
  return { path, name: basename(path), sizeBytes: statSync(path).size };
}

/** The payload itself, and what belongs to it. @throws ApiError when that can't be told */
export function sorted<F extends ReleaseFile>(files: readonly F[]): { main: F | null; extra: readonly F[] } {
  const mains = files.filter(({ name }) => !EXTRA.test(name));
  if (mains.length > 1) {
    throw new ApiError(`one package has one payload; these are ${mains.map(({ name }) => name).join(", ")}`);
  }
  return { main: mains[0] ?? null, extra: files.filter(({ name }) => EXTRA.test(name)) };
}

/**
 * From `version.txt` beside the file, else from the folders that it is in: `…/amd64-usr/4230.2.1/FILE`. Null: nothing says so.
 * Source: CLIENTS.md §6.
 */
export function placeOf(path: string): { version: string | null; arch: string | null } {
  const folder = dirname(resolve(path));
  const folders = folder.split("/");
  const at = folders.findLastIndex((name) => archOf(name) !== null);
  const named = folders[at + 1];
  const said = saidIn(folder);
  const version = at !== -1 && named !== undefined && /^\d+\./.test(named) ? named : null;
  return { version: said.version ?? version, arch: archOf(said.board ?? folders[at] ?? "") };
}

/** By the `version.txt` of a folder. */
export function saidIn(folder: string): Said {
  const path = join(folder, VERSION_FILE);
  return readVersionFile(existsSync(path) ? readFileSync(path, "utf8") : "");
}

/**
 * @param look sees every byte of it
 * @throws ApiError when a `.sha256`, a `.DIGESTS` or a `SHA256SUMS` beside it says otherwise
 */
export async function hashed(
  file: ReleaseFile,
  onRead: (bytes: number) => void,
  look: (chunk: Buffer) => void = () => {},
): Promise<HashedFile> {
  const said = digestsBeside(file);
  const kinds = new Set<DigestKind>(["sha1", "sha256", ...said.map(({ kind }) => kind)]);
  const hashes = new Map([...kinds].map((kind) => [kind, createHash(kind)]));
  for await (const chunk of piecesOf(file)) {
    look(chunk);
    for (const hash of hashes.values()) hash.update(chunk);
    onRead(chunk.length);
  }
  const found = new Map([...hashes].map(([kind, hash]) => [kind, hash.digest("hex")]));
  for (const { kind, digest, by } of said) {
    if (digest === found.get(kind)) continue;
    throw new ApiError(`${file.path} has the ${DIGEST_NAMES[kind]} ${found.get(kind)}; ${by} says ${digest}`);
  }
  const sha1 = Buffer.from(found.get("sha1") ?? "", "hex").toString("base64");
  return { ...file, sha1, sha256: found.get("sha256") ?? "" };
}

/** @throws ApiError when a disk or medium does not give it */
async function* piecesOf({ path }: ReleaseFile): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(path, { highWaterMark: 1 << 20 });
  } catch (error) {
    throw new ApiError(`${path} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** @throws ApiError when one of them can't be read */
function digestsBeside({ path, name }: ReleaseFile): readonly Digest[] {
  return digestFilesOf(name).flatMap((by) => {
    const beside = join(dirname(path), by);
    if (!existsSync(beside)) return [];
    const text = readFileSync(beside, "utf8");
    const fault = digestFault(text, by, name);
    if (fault !== null) throw new ApiError(`${dirname(path)}: ${fault}`);
    return digestsIn(text, by, name);
  });
}
