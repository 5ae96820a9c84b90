/**
 * Flatcar's own layout, which nobody signs: `amd64-usr/4230.2.1/` with the payload, what belongs to it, `version.txt`, and
 * digests beside the files. What its texts say; reading them is others' business. Source: CLIENTS.md §6.
 */
import { type Arch, isFileName } from "./manifest.ts";

export const PAYLOAD = "flatcar_production_update.gz";
export const VERSION_FILE = "version.txt";
/** As `sha256sum *.gz` writes it. Where it is, it also says which files there must be. */
export const SUMS_FILE = "SHA256SUMS";

/** What is not the image itself: OEM images, system extensions. Source: CLIENTS.md §3. */
export const EXTRA = /(^|-)(oem|flatcar)-[\w.-]+\.gz$/;
const BOARD = /^(amd64|arm64)-usr$/;

/** Where Flatcar itself has the files of its releases. */
export function publicFolder(arch: string, version: string): string {
  return `https://update.release.flatcar-linux.net/${arch}-usr/${version}/`;
}

export function archOf(board: string): Arch | null {
  // The pattern knows no others.
  return (BOARD.exec(board)?.[1] as Arch | undefined) ?? null;
}

/** What a `version.txt` says; null: nothing. */
export interface Said {
  readonly version: string | null;
  /** e.g. amd64-usr */
  readonly board: string | null;
}

export function readVersionFile(text: string): Said {
  const lines = [...text.matchAll(/^([A-Z_]+)="?([^"\n]*?)"?\s*$/gm)];
  const values = new Map(lines.map(([, name = "", value = ""]) => [name, value]));
  return { version: values.get("FLATCAR_VERSION") ?? null, board: values.get("FLATCAR_BOARD") ?? null };
}

/** Where it contradicts the folders that it is in, as the end of a sentence; null: nowhere. */
export function contradictionOf(said: Said, folders: Said): string | null {
  const differs = (a: string | null, b: string | null) => a !== null && b !== null && a !== b;
  if (differs(said.version, folders.version)) return `${VERSION_FILE} says that it is ${said.version}`;
  return differs(said.board, folders.board) ? `${VERSION_FILE} says that it is of ${said.board}` : null;
}

export type DigestKind = "sha1" | "sha256" | "sha512";
export const DIGEST_NAMES: Readonly<Record<DigestKind, string>> = {
  sha1: "SHA-1",
  sha256: "SHA-256",
  sha512: "SHA-512",
};
/** By their hexadecimal digits; null: there are such (MD5, SHA-224, SHA-384), and they are not looked at. */
const KINDS: Readonly<Record<number, DigestKind | null>> = {
  32: null,
  40: "sha1",
  56: null,
  64: "sha256",
  96: null,
  128: "sha512",
};

export interface Digest {
  readonly kind: DigestKind;
  /** In hexadecimal, lower case. */
  readonly digest: string;
  /** The file that says so. */
  readonly by: string;
}

interface Line {
  readonly digest: string;
  /** As `sha256sum` was told; "": it doesn't say. */
  readonly name: string;
}

/** As `gpg --clearsign` puts it around a text. Nobody looks at the signature here. */
const CLEARSIGNED =
  /^-----BEGIN PGP SIGNED MESSAGE-----\r?\n[\s\S]*?\r?\n\r?\n([\s\S]*?)^-----BEGIN PGP SIGNATURE-----/m;

/** What a file of digests has, but for empty lines and comments; null: a line that can't be read. */
function linesIn(text: string): readonly (Line | null)[] {
  const lines = (CLEARSIGNED.exec(text)?.[1] ?? text).split(/\r?\n/).filter((line) => !/^\s*(#|$)/.test(line));
  return lines.map((line) => {
    const [, digest = "", name = ""] = /^([\da-f]+)(?:[ \t]+\*?(\S.*?))?[ \t]*$/i.exec(line) ?? [];
    return Object.hasOwn(KINDS, digest.length) ? { digest: digest.toLowerCase(), name: withoutDot(name) } : null;
  });
}

/** Where a file's digests may be, in its own folder. */
export function digestFilesOf(name: string): readonly string[] {
  return [`${name}.sha256`, `${name}.DIGESTS`, SUMS_FILE];
}

/** What one of its digest files says of a file. In NAME.sha256 every line is about NAME, whatever it calls it. */
export function digestsIn(text: string, by: string, name: string): readonly Digest[] {
  return linesIn(text).flatMap((line) => {
    const kind = line === null || !isAbout(line, by, name) ? null : (KINDS[line.digest.length] ?? null);
    return line === null || kind === null ? [] : [{ kind, digest: line.digest, by }];
  });
}

function isAbout({ name: said }: Line, by: string, name: string): boolean {
  return by === `${name}.sha256` || said === name;
}

/** Why a digest file is not what it should be: damaged, cut off, something else. Null: it is. It would count as none. */
export function digestFault(text: string, by: string, name: string): string | null {
  const lines = linesIn(text);
  if (lines.includes(null))
    return `${by} has lines that are no digests ("HEXADECIMAL  NAME"); write it anew, or remove it`;
  const isSilent = by === SUMS_FILE ? lines.length === 0 : lines.every((line) => line && !isAbout(line, by, name));
  return isSilent ? `${by} is there, and says nothing of ${name}; write it anew, or remove it` : null;
}

/** Two that can't both be true; null: there are none such. */
export function contradictingDigests(digests: readonly Digest[]): readonly [Digest, Digest] | null {
  for (const one of digests) {
    const other = digests.find(({ kind, digest }) => kind === one.kind && digest !== one.digest);
    if (other !== undefined) return [one, other];
  }
  return null;
}

/**
 * The names in a `SHA256SUMS`, of whatever files.
 * @returns as `stray` one that leads to another folder, though it is called like a file of a release; null: there is none
 */
export function namesInSums(text: string): { readonly names: readonly string[]; readonly stray: string | null } {
  const names = linesIn(text).flatMap((line) => (line === null || line.name === "" ? [] : [line.name]));
  const isOfRelease = (name: string) => name === PAYLOAD || EXTRA.test(name);
  const stray = names.find((name) => /[/\\]/.test(name) && isOfRelease(name.split(/[/\\]/).at(-1) ?? ""));
  return { names, stray: stray ?? null };
}

/**
 * Which files belong to a payload, by the names in its folder, sorted. One of which only the digests are there belongs to it,
 * too: it is missing.
 */
export function extrasAmong(names: Iterable<string>): readonly string[] {
  const extras = new Set<string>();
  for (const name of names) {
    const file = name.replace(/\.(sha256|DIGESTS)$/, "");
    if (isFileName(file) && EXTRA.test(file)) extras.add(file);
  }
  return [...extras].sort();
}

function withoutDot(name: string): string {
  return name.replace(/^\.\//, "");
}
