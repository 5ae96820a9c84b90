/** A mirror's directory, as whoever does not trust it reads it: the signature first, and no file before all are as it says. */
import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { type FileHandle, open, readFile, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { MirrorError, type PublicKey } from "./keys.ts";
import { MANIFEST_FILE, type MirrorFile, SIGNATURE_FILE } from "./manifest.ts";
import { MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES, readSigned, type Signed } from "./signed.ts";

const READ_BYTES = 2 ** 20;

export interface SignedMirror extends Signed {
  readonly folder: string;
}

/** @throws MirrorError unless one of the keys has signed it, and all of it can be read */
export async function openMirror(folder: string, trusted: readonly PublicKey[]): Promise<SignedMirror> {
  const root = await realpath(folder).catch(() => {
    throw new MirrorError(`there is no directory ${folder}`);
  });
  const content = await readBounded(root, MANIFEST_FILE, MAX_MANIFEST_BYTES);
  const signatures = await readBounded(root, SIGNATURE_FILE, MAX_SIGNATURE_BYTES);
  return { folder: root, ...readSigned(content, signatures.toString("latin1"), trusted) };
}

export async function hasManifest(folder: string): Promise<boolean> {
  return stat(join(folder, MANIFEST_FILE)).then(
    () => true,
    () => false,
  );
}

/** What is wrong with the mirror's files, each with its reason; nothing: all are whole. */
export async function faultsOf(
  { folder, manifest }: SignedMirror,
  onRead: (file: MirrorFile, bytes: number) => void,
): Promise<readonly string[]> {
  const faults: string[] = [];
  for (const file of manifest.releases.flatMap(({ files }) => files)) {
    const fault = await faultOf(folder, file, (bytes) => onRead(file, bytes));
    if (fault !== null) faults.push(`${file.path}: ${fault}`);
  }
  return faults;
}

async function faultOf(root: string, file: MirrorFile, onRead: (bytes: number) => void): Promise<string | null> {
  try {
    const path = await inside(root, file.path);
    if (path === null) return "is missing";
    const { size } = await stat(path);
    if (size !== file.size) return `has ${size} bytes, not ${file.size}`;
    const found = await contentOf(path, onRead);
    if (found.sha256 !== file.sha256) return `has the SHA-256 ${found.sha256}, not ${file.sha256}`;
    return found.sha1 === file.sha1 ? null : `has the SHA-1 ${found.sha1}, not ${file.sha1}`;
  } catch (error) {
    return reasonOf(error);
  }
}

/** Both in hexadecimal. */
export async function contentOf(
  path: string,
  onRead: (bytes: number) => void,
): Promise<{ readonly size: number; readonly sha1: string; readonly sha256: string }> {
  const [sha1, sha256] = [createHash("sha1"), createHash("sha256")];
  let size = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES })) {
    sha1.update(chunk);
    sha256.update(chunk);
    size += chunk.length;
    onRead(chunk.length);
  }
  return { size, sha1: sha1.digest("hex"), sha256: sha256.digest("hex") };
}

/**
 * Where a file or directory really is; null: nowhere.
 * @throws MirrorError when that is outside of the root, or it is something else
 */
export async function inside(root: string, path: string, kind: "file" | "directory" = "file"): Promise<string | null> {
  const real = await realpath(join(root, path)).catch(orAbsent);
  if (real === null) return null;
  if (!isBelow(real, root)) throw new MirrorError(`leads out of the directory, to ${real}`);
  const found = await stat(real);
  if (!(kind === "file" ? found.isFile() : found.isDirectory())) throw new MirrorError(`is no ${kind}`);
  return real;
}

/**
 * A file to be read; null: it is not there. What was opened is what is inside, also when somebody exchanges links meanwhile.
 * @throws MirrorError
 */
export async function openInside(root: string, path: string): Promise<FileHandle | null> {
  const real = await inside(root, path);
  if (real === null) return null;
  // A pipe that has taken the file's place would be waited for.
  const file = await open(real, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const [opened, now] = [await file.stat(), await inside(root, path)];
    const there = now === null ? null : await stat(now);
    if (opened.ino === there?.ino && opened.dev === there.dev) return file;
    throw new MirrorError("was exchanged while it was opened");
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readBounded(root: string, name: string, most: number): Promise<Buffer> {
  try {
    const path = await inside(root, name);
    if (path === null) throw new MirrorError("is missing");
    if ((await stat(path)).size > most) throw new MirrorError(`has more than ${most} bytes`);
    return await readFile(path);
  } catch (error) {
    throw new MirrorError(`${join(root, name)} ${reasonOf(error)}`);
  }
}

/** Or is the very directory. Both are real paths. */
export function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** What the system calls it, e.g. ENOENT. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}

/** Why a file can't be had, as the end of a sentence. */
function reasonOf(error: unknown): string {
  return error instanceof MirrorError ? error.message : `can't be read (${codeOf(error)})`;
}

function orAbsent(error: unknown): null {
  const code = codeOf(error);
  if (code === "ENOENT" || code === "ENOTDIR") return null;
  throw new MirrorError(reasonOf(error));
}
