/**
 * Files as they come into a directory: gone on with where they broke off, also the day after, and with their name only when
 * they are whole and on disk.
 */
import { type FileHandle, mkdir, open, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { contentOf } from "./directory.ts";
import { MirrorError } from "./keys.ts";

/** The file's bytes from an offset on; what comes may end early. */
export type Source = (from: number) => Promise<AsyncIterable<Buffer>>;

export interface Wanted {
  /** In the order in which they are tried. */
  readonly sources: readonly Source[];
  /** Where it goes. */
  readonly path: string;
  readonly size: number;
  /** In hexadecimal; null: nobody says. At least one of them is there. */
  readonly sha1: string | null;
  readonly sha256: string | null;
}

export interface Content {
  readonly size: number;
  readonly sha1: string;
  readonly sha256: string;
}

/** In a row, without a byte that was not there before. */
const TRIES = 4;
/** What stays free for whatever else lives there. */
const RESERVE = 2 ** 20;

/** Nothing more can be written here: another source won't help. */
class DiskFailed extends Error {}

/**
 * @param wait between two tries, in milliseconds
 * @param onBytes how many more of it are here; fewer when it has to begin again
 * @returns what is there, and whether it came only now
 * @throws MirrorError with all that was tried
 */
export async function fetchFile(
  wanted: Wanted,
  wait: (ms: number) => Promise<unknown>,
  onBytes: (bytes: number) => void,
): Promise<Content & { readonly fresh: boolean }> {
  const { path, size, sources } = wanted;
  try {
    // What can't be read is as good as damaged.
    const here = (await sizeOf(path)) === size ? await contentOf(path, () => {}).catch(() => null) : null;
    if (here !== null && differenceOf(here, wanted) === null) {
      onBytes(size);
      return { ...here, fresh: false };
    }
    const part = partOf(wanted);
    await onDisk(() => provideFolder(dirname(path)));
    const begun = (await sizeOf(part)) ?? 0;
    await checkRoom(dirname(path), size - begun);
    onBytes(begun);
    const reasons: string[] = [];
    const tries = [...sources];
    for (let source = tries.shift(); source !== undefined; source = tries.shift()) {
      const before = (await sizeOf(part)) ?? 0;
      const reason = await insist(source, part, size, wait, onBytes);
      const content = reason === null ? await contentOf(part, () => {}) : null;
      const difference = content === null ? reason : differenceOf(content, wanted);
      if (content !== null && difference === null) {
        await onDisk(() => rename(part, path));
        await onDisk(() => syncFolder(dirname(path)));
        return { ...content, fresh: true };
      }
      if (content !== null) {
        await rm(part, { force: true });
        onBytes(-size);
        // What was here already may have been what is wrong, and not this source's.
        if (before > 0) tries.unshift(source);
      }
      reasons.push(difference ?? "");
    }
    throw new MirrorError(`${path} can't be had: ${reasons.join("; ") || "nobody says where it is"}`);
  } catch (error) {
    if (error instanceof DiskFailed) throw new MirrorError(`${path} can't be written: ${error.message}`);
    throw error;
  }
}

/** Until all of it is here. @returns null, or why it is not */
async function insist(
  source: Source,
  part: string,
  size: number,
  wait: (ms: number) => Promise<unknown>,
  onBytes: (bytes: number) => void,
): Promise<string | null> {
  let most = (await sizeOf(part)) ?? 0;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await goOn(source, part, size, onBytes);
      return null;
    } catch (error) {
      if (error instanceof DiskFailed) throw error;
      const here = (await sizeOf(part)) ?? 0;
      if (here > most) attempt = 0;
      else if (attempt >= TRIES) return error instanceof Error ? error.message : String(error);
      most = Math.max(most, here);
      await wait(500 * 2 ** attempt);
    }
  }
}

/** Appends what is missing. */
async function goOn(source: Source, part: string, size: number, onBytes: (bytes: number) => void): Promise<void> {
  const file = await onDisk(() => open(part, "a", 0o644));
  try {
    let at = (await file.stat()).size;
    if (at > size) {
      await onDisk(() => file.truncate(0));
      onBytes(-at);
      at = 0;
    }
    if (at < size) {
      for await (const chunk of await source(at)) {
        if (at + chunk.length > size) throw new Error(`more than its ${size} bytes came`);
        await onDisk(() => writeAll(file, chunk));
        at += chunk.length;
        onBytes(chunk.length);
      }
    }
    await onDisk(() => file.sync());
    if (at < size) throw new Error(`it broke off after ${at} of ${size} bytes`);
  } finally {
    await file.close();
  }
}

/** Another file of this name begins anew. */
function partOf({ path, sha1, sha256, size }: Wanted): string {
  return join(dirname(path), `.${basename(path)}.${(sha256 ?? sha1 ?? "").slice(0, 16)}-${size}.part`);
}

function differenceOf(content: Content, { size, sha1, sha256 }: Wanted): string | null {
  if (content.size !== size) return `it has ${content.size} bytes, not ${size}`;
  if (sha256 !== null && content.sha256 !== sha256) return `it has the SHA-256 ${content.sha256}, not ${sha256}`;
  return sha1 !== null && content.sha1 !== sha1 ? `it has the SHA-1 ${content.sha1}, not ${sha1}` : null;
}

async function checkRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const room = Math.max(0, bavail * bsize - RESERVE);
  if (bytes > room) throw new DiskFailed(`there is room for ${room} bytes, and ${bytes} would come`);
}

async function provideFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  const top = resolve(first);
  for (let at = resolve(folder); at.length >= top.length; at = dirname(at)) await syncFolder(dirname(at));
}

/** What was renamed in it, or made, is on disk when it resolves. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function sizeOf(path: string): Promise<number | null> {
  const here = await stat(path).catch(() => null);
  return here?.isFile() ? here.size : null;
}

async function writeAll(file: FileHandle, chunk: Buffer): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    written += (await file.write(chunk, written, chunk.length - written)).bytesWritten;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full; make room and run it again, it goes on where it was",
  EDQUOT: "the quota is used up; make room and run it again, it goes on where it was",
  EFBIG: "the file system, or a limit of this process, takes no files that large",
};

async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    throw new DiskFailed(REASONS[code] ?? (error instanceof Error ? error.message : String(error)));
  }
}

/** Writes a small file anew: it is as it was, or as it shall be. @throws MirrorError */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.part`);
  try {
    await onDisk(async () => {
      await writeFile(temporary, text, { flush: true });
      await rename(temporary, path);
      await syncFolder(dirname(path));
    });
  } catch (error) {
    if (error instanceof DiskFailed) throw new MirrorError(`${path} can't be written: ${error.message}`);
    throw error;
  }
}
