/**
 * Writes a mirror: what the upstream offers, file by file, and the manifest last. A directory that is broken off anywhere is
 * either as it was or has a manifest that is true; writing it again goes on.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { isVersion } from "../rollout/version.ts";
import { codeOf, hasManifest, openMirror } from "./directory.ts";
import { fetchFile, replaceFile, type Source } from "./download.ts";
import { MirrorError, type PrivateKey, signatureOf } from "./keys.ts";
import { alone, LOCK_FILE } from "./lock.ts";
import {
  ARCHES,
  type Arch,
  folderOf,
  keyOf,
  MANIFEST_FILE,
  MIRRORED,
  type MirrorFile,
  type MirrorManifest,
  type MirrorRelease,
  parseManifest,
  pathOf,
  SIGNATURE_FILE,
  textOf,
} from "./manifest.ts";
import { type OfferedFile, planMirror, type WantedRelease, type Wishes } from "./plan.ts";

export interface WriteOptions extends Wishes {
  readonly folder: string;
  readonly application: string;
  readonly key: PrivateKey;
  readonly tool: string;
  readonly now: () => number;
  /** Where files are that the upstream does not offer, or not where it says. */
  readonly elsewhere: (arch: Arch, version: string, file: OfferedFile, from: number) => ReturnType<Source>;
  readonly wait: (ms: number) => Promise<unknown>;
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
  const plan = await planMirror(options, before);
  const { releases, fetched } = await fetchAll(options, plan.releases);
  const manifest: MirrorManifest = {
    format: 1,
    mirror: before?.mirror ?? randomUUID(),
    created: createdAfter(before, options.now()),
    tool: options.tool,
    application,
    releases,
    channels: [...plan.channels],
  };
  const changed = before === null || !isSame(before, manifest);
  if (changed) await publish(folder, manifest, options.key);
  const removed = before === null ? [] : await sweep(folder, releases);
  return { changed, manifest: changed ? manifest : before, fetched, removed, notes: plan.notes };
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
  const names = await readdir(folder).catch((error: unknown) => {
    throw new MirrorError(`${folder} can't be read (${codeOf(error)})`);
  });
  // The lock is what we begin with: without it, the rest is somebody else's, whatever its names.
  const ours = names.includes(LOCK_FILE)
    ? [MANIFEST_FILE, SIGNATURE_FILE, LOCK_FILE, ...ARCHES.map((arch) => `${arch}-usr`)]
    : [];
  const other = names.find((name) => !ours.includes(name) && !name.startsWith(`.${MANIFEST_FILE}`));
  if (other === undefined || (await hasManifest(folder))) return;
  throw new MirrorError(`${folder} is no mirror, and not empty (${other}): use a directory of its own`);
}

async function fetchAll({ folder, elsewhere, wait, onPlan, onBytes }: WriteOptions, wanted: readonly WantedRelease[]) {
  onPlan(wanted.flatMap(({ arch, version, files }) => files.map(({ name, size }) => ({ path: pathOf(arch, version, name), size })))); // biome-ignore format: one line
  const fetched: string[] = [];
  const releases: MirrorRelease[] = [];
  for (const { arch, version, channels, files, sourcesOf } of wanted) {
    const whole: MirrorFile[] = [];
    for (const file of files) {
      const { name } = file;
      const path = pathOf(arch, version, name);
      const sources: Source[] = [...(sourcesOf?.(file) ?? []), (from) => elsewhere(arch, version, file, from)];
      const target = { ...file, path: join(folder, path), sources };
      const content = await fetchFile(target, wait, (bytes) => onBytes(path, bytes));
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
  await replaceFile(file, signature + before);
  await replaceFile(join(folder, MANIFEST_FILE), text);
  await replaceFile(file, signature);
}

async function provide(path: string, text: string): Promise<void> {
  const present = await readFile(path, "utf8").catch(() => null);
  if (present !== text) await replaceFile(path, text);
}

const REMAINS = /^\..+\.part$/;

/** Removes releases, and remains of files, that the manifest does not have. */
async function sweep(folder: string, releases: readonly MirrorRelease[]): Promise<string[]> {
  const removed: string[] = [];
  for (const arch of ARCHES) {
    const board = join(folder, `${arch}-usr`);
    for (const version of await readdir(board).catch(() => [])) {
      if (!isVersion(version, MIRRORED)) continue;
      const release = releases.find((one) => one.arch === arch && one.version === version);
      const path = join(board, version);
      for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
        const isOurs = entry.isFile() && (release === undefined || REMAINS.test(entry.name));
        if (isOurs) await remove(join(path, entry.name));
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

async function remove(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: unknown) => {
    throw new MirrorError(`the mirror is written, but ${path} can't be removed (${codeOf(error)})`);
  });
}
