/**
 * Writes a mirror: what the upstream offers, file by file, and the manifest last. A directory that is broken off anywhere is
 * either as it was or has a manifest that is true; writing it again goes on.
 */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { compareVersions, isVersion } from "../rollout/version.ts";
import { hasManifest, openMirror } from "./directory.ts";
import { type Downloads, syncFolder } from "./download.ts";
import { MirrorError, type PrivateKey, signatureOf } from "./keys.ts";
import { alone, LOCK_FILE } from "./lock.ts";
import {
  ARCHES,
  type Arch,
  folderOf,
  isFileName,
  keyOf,
  MANIFEST_FILE,
  type MirrorChannel,
  type MirrorFile,
  type MirrorManifest,
  type MirrorRelease,
  nameOf,
  parseManifest,
  pathOf,
  SIGNATURE_FILE,
  textOf,
} from "./manifest.ts";

/** What an upstream says of a file. */
export interface OfferedFile {
  readonly name: string;
  readonly size: number;
  /** In hexadecimal; null: it doesn't say. */
  readonly sha1: string | null;
  readonly sha256: string | null;
}

export interface OfferedRelease {
  readonly version: string;
  /** The payload itself first. */
  readonly files: readonly OfferedFile[];
  /** Where the files may be; each ends with a slash. */
  readonly codebases: readonly string[];
}

/** What a channel holds: its own release, and the floors on the way there. */
export interface Offered {
  readonly version: string;
  readonly floors: readonly { readonly version: string; readonly reason: string | null }[];
  readonly releases: readonly OfferedRelease[];
}

export interface WriteOptions {
  readonly folder: string;
  readonly application: string;
  readonly channels: readonly string[];
  readonly arches: readonly Arch[];
  /** Of each channel's releases that it no longer points to. */
  readonly keep: number;
  readonly key: PrivateKey;
  readonly tool: string;
  readonly now: () => number;
  /** Null: nothing. @throws MirrorError */
  readonly ask: (channel: string, arch: Arch) => Promise<Offered | null>;
  /** Where else the files of a release may be: after what the upstream says. Each ends with a slash. */
  readonly elsewhere: (arch: Arch, version: string) => readonly string[];
  readonly downloads: Downloads;
  /** Before the first download: all that belongs to the mirror. */
  readonly onPlan: (files: readonly { readonly path: string; readonly size: number }[]) => void;
  readonly onBytes: (path: string, bytes: number) => void;
}

export interface Written {
  /** False: there was nothing new, and the manifest is as it was. */
  readonly changed: boolean;
  readonly manifest: MirrorManifest;
  /** Files that were downloaded now. */
  readonly fetched: readonly string[];
  /** Releases that are gone. */
  readonly removed: readonly string[];
  /** What a person should know. */
  readonly notes: readonly string[];
}

export async function writeMirror(options: WriteOptions): Promise<Written> {
  const { folder } = options;
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw new MirrorError(`${folder} can't be made: ${error instanceof Error ? error.message : String(error)}`);
  });
  await refuseOthersDirectory(folder);
  return alone(folder, () => write(options));
}

async function write(options: WriteOptions): Promise<Written> {
  const { folder, application } = options;
  const before = (await hasManifest(folder)) ? await ownManifest(folder, options.key) : null;
  if (before !== null && before.application !== application) {
    throw new MirrorError(`${folder} is a mirror of the application ${before.application}; use another directory`);
  }
  const notes: string[] = [];
  const wanted = await gather(options, before, notes);
  if (wanted.channels.length === 0) throw new MirrorError(`there is nothing to mirror: ${notes.join("; ")}`);
  const { releases, fetched } = await fetchAll(options, keptOf(wanted, options.keep));
  const manifest: MirrorManifest = {
    format: 1,
    mirror: before?.mirror ?? randomUUID(),
    created: createdAfter(before, options.now()),
    tool: options.tool,
    application,
    releases,
    channels: [...wanted.channels],
  };
  const changed = before === null || !isSame(before, manifest);
  if (changed) await publish(folder, manifest, options.key);
  const removed = before === null ? [] : await sweep(folder, releases);
  return { changed, manifest: changed ? manifest : before, fetched, removed, notes };
}

/** @throws MirrorError when another key has signed it: it would not be ours to sign again */
async function ownManifest(folder: string, key: PrivateKey): Promise<MirrorManifest> {
  try {
    return (await openMirror(folder, [key])).manifest;
  } catch (error) {
    if (!(error instanceof MirrorError)) throw error;
    throw new MirrorError(`${folder} can't be gone on with, only with the key that began it: ${error.message}`);
  }
}

/** What is not ours is not written into, and never removed. */
async function refuseOthersDirectory(folder: string): Promise<void> {
  const ours = [MANIFEST_FILE, SIGNATURE_FILE, LOCK_FILE, ...ARCHES.map((arch) => `${arch}-usr`)];
  const names = await readdir(folder);
  const other = names.find((name) => !ours.includes(name) && !name.startsWith(`.${MANIFEST_FILE}`));
  if (other === undefined || (await hasManifest(folder))) return;
  throw new MirrorError(`${folder} is no mirror, and not empty (${other}): use a directory of its own`);
}

interface WantedRelease {
  readonly arch: Arch;
  readonly version: string;
  readonly channels: readonly string[];
  readonly files: readonly OfferedFile[];
  readonly codebases: readonly string[];
}

interface Gathered {
  readonly releases: readonly WantedRelease[];
  readonly channels: readonly MirrorChannel[];
}

/** All that the mirror is to hold: what is offered now, beside what it has. */
async function gather(options: WriteOptions, before: MirrorManifest | null, notes: string[]): Promise<Gathered> {
  const releases = new Map<string, WantedRelease>();
  for (const release of before?.releases ?? []) releases.set(keyOf(release), asWanted(release));
  const channels = new Map((before?.channels ?? []).map((channel) => [`${channel.name} (${channel.arch})`, channel]));
  for (const name of options.channels) {
    for (const arch of options.arches) {
      const key = `${name} (${arch})`;
      const offered = await options.ask(name, arch);
      const present = channels.get(key);
      if (offered === null) {
        notes.push(`${key}: the upstream offers nothing`);
        continue;
      }
      if (present !== undefined && compareVersions(offered.version, present.version) < 0) {
        notes.push(`${key}: the upstream has gone back to ${offered.version}; the mirror stays at ${present.version}`);
        continue;
      }
      channels.set(key, channelOf(name, arch, offered));
      for (const release of offered.releases) {
        const wanted = combined(releases.get(keyOf({ arch, version: release.version })), release, name, arch);
        releases.set(keyOf(wanted), wanted);
      }
    }
  }
  return { releases: [...releases.values()], channels: [...channels.values()] };
}

/** What channels need, and of each channel's others the newest. */
function keptOf({ releases, channels }: Gathered, keep: number): readonly WantedRelease[] {
  const needed = new Set(
    channels.flatMap(({ arch, version, floors }) =>
      [version, ...floors.map((floor) => floor.version)].map((one) => keyOf({ arch, version: one })),
    ),
  );
  for (const { name, arch } of channels) {
    const others = releases
      .filter((release) => release.arch === arch && release.channels.includes(name) && !needed.has(keyOf(release)))
      .sort((a, b) => compareVersions(b.version, a.version));
    for (const release of others.slice(0, keep)) needed.add(keyOf(release));
  }
  return releases.filter((release) => needed.has(keyOf(release)));
}

function channelOf(name: string, arch: Arch, { version, floors }: Offered): MirrorChannel {
  const sorted = [...floors].sort((a, b) => compareVersions(a.version, b.version));
  return { name, arch, version, floors: sorted.map((floor) => ({ version: floor.version, reason: floor.reason })) };
}

function asWanted({ arch, version, channels, files }: MirrorRelease): WantedRelease {
  const offered = files.map((file) => ({ ...file, name: nameOf(file) }));
  return { arch, version, channels, files: offered, codebases: [] };
}

/** @throws MirrorError when a release is not what it was, or has names that no file can have here */
function combined(
  before: WantedRelease | undefined,
  { version, files, codebases }: OfferedRelease,
  channel: string,
  arch: Arch,
): WantedRelease {
  if (!isVersion(version))
    throw new MirrorError(`the upstream offers a version that is none: ${JSON.stringify(version)}`);
  const release = keyOf({ arch, version });
  for (const [index, file] of files.entries()) {
    if (!isFileName(file.name) || files.findIndex(({ name }) => name === file.name) !== index) {
      throw new MirrorError(`${release}: the upstream names a file ${JSON.stringify(file.name)}, which is not taken`);
    }
    if (file.sha1 === null && file.sha256 === null) {
      throw new MirrorError(`${release}: the upstream has no hash for ${file.name}`);
    }
    const known = before?.files.find(({ name }) => name === file.name);
    const differs = (a: string | null, b: string | null) => a !== null && b !== null && a !== b;
    if (known && (known.size !== file.size || differs(known.sha1, file.sha1) || differs(known.sha256, file.sha256))) {
      throw new MirrorError(
        `${release}: the upstream has another ${file.name} by now than the mirror; nothing was changed`,
      );
    }
  }
  const more = (before?.files ?? []).filter(({ name }) => !files.some((file) => file.name === name));
  const channels = [...new Set([...(before?.channels ?? []), channel])].sort();
  return { arch, version, channels, files: [...files, ...more], codebases };
}

async function fetchAll(
  { folder, downloads, elsewhere, onPlan, onBytes }: WriteOptions,
  wanted: readonly WantedRelease[],
) {
  onPlan(wanted.flatMap(({ arch, version, files }) => files.map(({ name, size }) => ({ path: pathOf(arch, version, name), size })))); // biome-ignore format: one line
  const fetched: string[] = [];
  const releases: MirrorRelease[] = [];
  for (const { arch, version, channels, files, codebases } of wanted) {
    const whole: MirrorFile[] = [];
    for (const { name, size, sha1, sha256 } of files) {
      const path = pathOf(arch, version, name);
      const urls = [...new Set([...codebases, ...elsewhere(arch, version)])].map(
        (at) => `${at}${encodeURIComponent(name)}`,
      );
      const target = { path: join(folder, path), urls, size, sha1, sha256 };
      const content = await downloads.fetch(target, (bytes) => onBytes(path, bytes));
      if (content.fresh) fetched.push(path);
      await provide(join(folder, `${path}.sha256`), `${content.sha256}  ${name}\n`);
      whole.push({ path, size: content.size, sha1: content.sha1, sha256: content.sha256 });
    }
    await provide(join(folder, folderOf(arch, version), "version.txt"), versionText(arch, version));
    releases.push({ arch, version, channels: [...channels], files: whole });
  }
  return { releases, fetched };
}

/** As Flatcar's own, as far as it can be known. Source: CLIENTS.md §6. */
function versionText(arch: Arch, version: string): string {
  const [build, branch, patch] = version.split(/[.+-]/);
  return [
    `FLATCAR_BUILD=${build}`,
    `FLATCAR_BRANCH=${branch}`,
    `FLATCAR_PATCH=${patch}`,
    `FLATCAR_VERSION=${version}`,
    `FLATCAR_VERSION_ID=${version}`,
    `FLATCAR_BOARD=${arch}-usr`,
    "",
  ].join("\n");
}

/** Never the same or before, also when the clock was set back. */
function createdAfter(before: MirrorManifest | null, now: number): string {
  return new Date(before === null ? now : Math.max(now, Date.parse(before.created) + 1)).toISOString();
}

function isSame(a: MirrorManifest, b: MirrorManifest): boolean {
  return textOf(a) === textOf({ ...b, created: a.created, tool: a.tool });
}

/** At every moment the signature file has a signature of the manifest that is there. */
async function publish(folder: string, manifest: MirrorManifest, key: PrivateKey): Promise<void> {
  const text = textOf(manifest);
  parseManifest(text);
  const signature = `${signatureOf(Buffer.from(text), key)}\n`;
  const file = join(folder, SIGNATURE_FILE);
  const before = await readFile(file, "utf8").catch(() => "");
  await replace(file, signature + before);
  await replace(join(folder, MANIFEST_FILE), text);
  await replace(file, signature);
}

async function provide(path: string, text: string): Promise<void> {
  const present = await readFile(path, "utf8").catch(() => null);
  if (present !== text) await replace(path, text);
}

async function replace(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${path.slice(dirname(path).length + 1)}.part`);
  await writeFile(temporary, text);
  const handle = await open(temporary, "r+");
  await handle.sync();
  await handle.close();
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

const REMAINS = /^\..+\.part$/;

/** Removes releases, and remains of files, that the manifest does not have. */
async function sweep(folder: string, releases: readonly MirrorRelease[]): Promise<string[]> {
  const removed: string[] = [];
  for (const arch of ARCHES) {
    const board = join(folder, `${arch}-usr`);
    for (const version of await readdir(board).catch(() => [])) {
      if (!isVersion(version)) continue;
      const release = releases.find((one) => one.arch === arch && one.version === version);
      const path = join(board, version);
      for (const entry of await readdir(path, { withFileTypes: true })) {
        const isOurs = entry.isFile() && (release === undefined || REMAINS.test(entry.name));
        if (isOurs) await rm(join(path, entry.name), { force: true });
      }
      if (release !== undefined) continue;
      await rmdir(path).then(
        () => removed.push(keyOf({ arch, version })),
        () => {}, // somebody has put a folder there
      );
    }
  }
  return removed;
}
