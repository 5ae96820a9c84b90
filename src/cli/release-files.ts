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
export const EXTRA = /(^|-)(oem|flatcar)-[\w.-]+\.gz$/;
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

/**
 * @param look sees every byte of it
 * @throws ApiError when a `.sha256` or a `.DIGESTS` beside it says otherwise
 */
export async function hashed(
  file: ReleaseFile,
  onRead: (bytes: number) => void,
  look: (chunk: Buffer) => void = () => {},
): Promise<HashedFile> {
  const said = digestsBeside(file);
  const kinds = new Set<Digest>(["sha1", "sha256", ...said.map(({ kind }) => kind)]);
  const hashes = new Map([...kinds].map((kind) => [kind, createHash(kind)]));
  for await (const chunk of createReadStream(file.path, { highWaterMark: 1 << 20 })) {
    look(chunk);
    for (const hash of hashes.values()) hash.update(chunk);
    onRead(chunk.length);
  }
  const found = new Map([...hashes].map(([kind, hash]) => [kind, hash.digest("hex")]));
  for (const { kind, digest, by } of said) {
    if (digest === found.get(kind)) continue;
    throw new ApiError(`${file.path} has the ${SHOWN[kind]} ${found.get(kind)}; ${by} says ${digest}`);
  }
  const sha1 = Buffer.from(found.get("sha1") ?? "", "hex").toString("base64");
  return { ...file, sha1, sha256: found.get("sha256") ?? "" };
}

type Digest = "sha1" | "sha256" | "sha512";
const SHOWN: Readonly<Record<Digest, string>> = { sha1: "SHA-1", sha256: "SHA-256", sha512: "SHA-512" };
/** By their hexadecimal digits. */
const KINDS: Readonly<Record<number, Digest>> = { 40: "sha1", 64: "sha256", 128: "sha512" };

/** What Flatcar's server has beside a file; weaker digests than these are not looked at. Source: CLIENTS.md §6. */
function digestsBeside({ path, name }: ReleaseFile) {
  return ["sha256", "DIGESTS"].flatMap((ending) => {
    const by = `${name}.${ending}`;
    if (!existsSync(`${path}.${ending}`)) return [];
    const lines = readFileSync(`${path}.${ending}`, "utf8").matchAll(/^([\da-f]{32,128})(?:[ \t]+\*?(\S+))?[ \t]*$/gim);
    return [...lines].flatMap(([, digest = "", of]) => {
      const kind = KINDS[digest.length];
      const isOurs = ending === "sha256" || of === name;
      return kind === undefined || !isOurs ? [] : [{ kind, digest: digest.toLowerCase(), by }];
    });
  });
}
