/** A mirror's directory, as whoever does not trust it reads it: the signature first, and no file before all are as it says. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
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
    const { size } = await stat(path);
    if (size !== file.size) return `has ${size} bytes, not ${file.size}`;
    const found = await contentOf(path, onRead);
    if (found.sha256 !== file.sha256) return `has the SHA-256 ${found.sha256}, not ${file.sha256}`;
    return found.sha1 === file.sha1 ? null : `has the SHA-1 ${found.sha1}, not ${file.sha1}`;
  } catch (error) {
    if (error instanceof MirrorError) return error.message;
    throw error;
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

/** Where a file really is. @throws MirrorError when that is outside of the mirror, or it is no file. */
async function inside(root: string, path: string): Promise<string> {
  let real: string;
  try {
    real = await realpath(join(root, path));
  } catch {
    throw new MirrorError("is missing");
  }
  if (!real.startsWith(root.endsWith(sep) ? root : root + sep))
    throw new MirrorError(`leads out of the directory, to ${real}`);
  if (!(await stat(real)).isFile()) throw new MirrorError("is no file");
  return real;
}

async function readBounded(root: string, name: string, most: number): Promise<Buffer> {
  try {
    const path = await inside(root, name);
    if ((await stat(path)).size > most) throw new MirrorError(`has more than ${most} bytes`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof MirrorError) throw new MirrorError(`${join(root, name)} ${error.message}`);
    throw error;
  }
}
