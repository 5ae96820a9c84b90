/**
 * Files in a directory of this machine. Only below directories that the operator named, and by what is really there: no name
 * and no link leads out, also not one that is exchanged meanwhile.
 */
import { type FileHandle, opendir, realpath } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { codeOf, inside, isBelow, openInside } from "../mirror/directory.ts";
import { MirrorError } from "../mirror/keys.ts";
import type { FileTree } from "./file-tree.ts";
import { SourceFailed } from "./release.ts";

const READ_BYTES = 2 ** 20;
const MOST_NAMES = 10_000;

/** What is wrong with a file:// URL, as far as it can be told without looking; null: nothing. */
export function directoryRefusal(url: string, allowed: readonly string[]): string | null {
  const folder = pathOf(url);
  if (folder === null) return "must be a directory of the server, with its whole path, e.g. file:///srv/flatcar";
  if (allowed.some((top) => isBelow(folder, top))) return null;
  const which = allowed.length === 0 ? "which names none" : `which names ${allowed.join(", ")}`;
  return `must be in a directory that the server's TURNOUT_SYNC_DIRS names, ${which}`;
}

export function directoryTree(url: string, allowed: readonly string[]): FileTree {
  const place = (path: string) => resolve(pathOf(url) ?? "/", path);

  /** Where it really is; asked every time, since it may have become another one. */
  async function root(): Promise<string> {
    const refusal = directoryRefusal(url, allowed);
    if (refusal !== null) throw new SourceFailed(`the directory ${refusal}`);
    const real = await realpath(place("")).catch((error: unknown) => {
      throw new SourceFailed(`there is no directory ${place("")} (${codeOf(error)})`);
    });
    const tops = await Promise.all(allowed.map((top) => realpath(top).catch(() => null)));
    if (tops.some((top) => top !== null && isBelow(real, top))) return real;
    throw new SourceFailed(`${place("")} leads out of the directories that TURNOUT_SYNC_DIRS names`);
  }

  /** Null: it is not there. */
  async function using<T>(path: string, work: (file: FileHandle) => Promise<T>): Promise<T | null> {
    const file = await asking(path, async () => openInside(await root(), path));
    if (file === null) return null;
    try {
      return await asking(path, () => work(file));
    } finally {
      await file.close();
    }
  }

  async function* pieces(path: string, from: number, sizeBytes: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const file = await asking(path, async () => openInside(await root(), path));
    if (file === null) throw new SourceFailed(`${place(path)} is missing`);
    try {
      const { size } = await file.stat();
      if (size !== sizeBytes) throw new SourceFailed(`${place(path)} has ${size} bytes; ${sizeBytes} are expected`);
      for (let at = from; ; ) {
        if (signal.aborted) throw new SourceFailed(`${place(path)}: broken off`);
        // Not used again: whoever gets it may keep it.
        const buffer = Buffer.allocUnsafe(READ_BYTES);
        const { bytesRead } = await asking(path, () => file.read(buffer, 0, buffer.length, at));
        if (bytesRead === 0) return;
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  async function asking<T>(path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof SourceFailed) throw error;
      if (error instanceof MirrorError) throw new SourceFailed(`${place(path)} ${error.message}`);
      throw new SourceFailed(`${place(path)} can't be read (${codeOf(error)})`, { cause: error });
    }
  }

  return {
    place,
    text: (path, maxBytes) =>
      using(path, async (file) => {
        // One more shows that there is more, whatever `stat` would say.
        const buffer = Buffer.alloc(Math.min((await file.stat()).size, maxBytes) + 1);
        const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
        if (bytesRead > maxBytes) throw new SourceFailed(`${place(path)} has more than ${maxBytes} bytes`);
        return buffer.toString("utf8", 0, bytesRead);
      }),
    names: (folder) =>
      asking(folder, async () => {
        const real = await inside(await root(), folder, "directory");
        if (real === null) return null;
        const names: string[] = [];
        for await (const { name } of await opendir(real)) {
          if (names.push(name) > MOST_NAMES)
            throw new SourceFailed(`${place(folder)} has more than ${MOST_NAMES} files`);
        }
        return names;
      }),
    sizeOf: (path) => using(path, async (file) => (await file.stat()).size),
    // Nothing is opened before somebody reads it.
    open: async (path, from, sizeBytes, signal) => pieces(path, from, sizeBytes, signal),
    urlOf: () => null,
  };
}

/** Null: it is none of this machine. */
function pathOf(url: string): string | null {
  try {
    const path = fileURLToPath(url);
    return path.includes("\0") ? null : resolve(path);
  } catch {
    return null; // with a host, or with a slash in a name
  }
}
