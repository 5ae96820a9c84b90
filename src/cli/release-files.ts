/** What files say of themselves: their version and architecture, what they are, their hashes. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
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

/** What is not the image itself. Source: CLIENTS.md §3. */
const EXTRA = /(^|-)(oem|flatcar)-[\w.-]+\.gz$/;
const BOARD = /^(amd64|arm64)-usr$/;

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
  const at = folders.findLastIndex((name) => BOARD.test(name));
  const named = folders[at + 1];
  const said = versionFile(join(folder, "version.txt"));
  const version = at !== -1 && named !== undefined && /^\d+\./.test(named) ? named : null;
  return {
    version: said.FLATCAR_VERSION ?? version,
    arch: BOARD.exec(said.FLATCAR_BOARD ?? folders[at] ?? "")?.[1] ?? null,
  };
}

function versionFile(path: string): Readonly<Record<string, string>> {
  if (!existsSync(path)) return {};
  const lines = [...readFileSync(path, "utf8").matchAll(/^([A-Z_]+)="?([^"\n]*?)"?\s*$/gm)];
  return Object.fromEntries(lines.map(([, name = "", value = ""]) => [name, value]));
}

/** @throws ApiError when a `.sha256` beside it says otherwise */
export async function hashed(file: ReleaseFile, onRead: (bytes: number) => void): Promise<HashedFile> {
  const [sha1, sha256] = [createHash("sha1"), createHash("sha256")];
  for await (const chunk of createReadStream(file.path, { highWaterMark: 1 << 20 })) {
    sha1.update(chunk);
    sha256.update(chunk);
    onRead(chunk.length);
  }
  const found = sha256.digest("hex");
  const beside = `${file.path}.sha256`;
  const said = existsSync(beside) ? /^[\da-f]{64}/i.exec(readFileSync(beside, "utf8").trim())?.[0] : undefined;
  if (said !== undefined && said.toLowerCase() !== found) {
    throw new ApiError(`${file.path} has the SHA-256 ${found}; ${basename(beside)} says ${said}`);
  }
  return { ...file, sha1: sha1.digest("base64"), sha256: found };
}
