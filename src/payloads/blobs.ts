/**
 * Files on disk, named by their content: `ab/ab12…` (SHA-256). What is there is whole: a file gets its name only when all of it
 * is on disk. Beside them `uploads/`, what has come so far, and `quarantine/`, what was found corrupt.
 */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs, utimes } from "node:fs/promises";
import { join } from "node:path";

export interface FileOnDisk {
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
  readonly changedAt: number;
}

const SHA256 = /^[\da-f]{64}$/;
const FAN_OUT = /^[\da-f]{2}$/;

export class Blobs {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<Blobs> {
    for (const name of ["uploads", "quarantine"]) await mkdir(join(folder, name), { recursive: true, mode: 0o700 });
    return new Blobs(folder);
  }

  /** @throws ENOENT */
  read(sha256: string): Promise<FileHandle> {
    return open(this.#pathOf(sha256), "r");
  }

  async has(sha256: string): Promise<boolean> {
    return (await sizeOf(this.#pathOf(sha256))) !== null;
  }

  /** Where a package's file is gathered until it is whole. Nothing in the path is a name from outside. */
  uploadOf(packageId: string, name: string): string {
    const hash = createHash("sha256").update(`${packageId}\n${name}`).digest("hex");
    return join(this.#folder, "uploads", `${packageId}.${hash.slice(0, 16)}`);
  }

  /** How much of it has come; null: nothing was begun. */
  receivedOf(packageId: string, name: string): Promise<number | null> {
    return sizeOf(this.uploadOf(packageId, name));
  }

  async dropUpload(packageId: string, name: string): Promise<void> {
    await rm(this.uploadOf(packageId, name), { force: true });
  }

  /** Gives a whole file, already synced, its place. On disk when it resolves. */
  async place(path: string, sha256: string): Promise<void> {
    const folder = join(this.#folder, sha256.slice(0, 2));
    if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined) await syncFolder(this.#folder);
    await rename(path, this.#pathOf(sha256));
    await syncFolder(folder);
    await syncFolder(join(this.#folder, "uploads"));
  }

  /** Takes it back where it came from. */
  async unplace(sha256: string, path: string): Promise<void> {
    await rename(this.#pathOf(sha256), path);
  }

  async remove(sha256: string): Promise<void> {
    await rm(this.#pathOf(sha256), { force: true });
  }

  /** Out of the way, but there to be looked at. @param now from when on it counts as found */
  async quarantine(sha256: string, now: number): Promise<void> {
    if (!(await this.has(sha256))) return;
    // Else it would be as old as its content.
    await utimes(this.#pathOf(sha256), now / 1000, now / 1000);
    await rename(this.#pathOf(sha256), join(this.#folder, "quarantine", sha256));
  }

  async list(): Promise<FileOnDisk[]> {
    const found: FileOnDisk[] = [];
    for (const folder of await readdir(this.#folder)) {
      if (FAN_OUT.test(folder)) found.push(...(await this.#filesIn(folder)));
    }
    return found.filter(({ name }) => SHA256.test(name));
  }

  /** Their names begin with their package's UUID. */
  uploads(): Promise<FileOnDisk[]> {
    return this.#filesIn("uploads");
  }

  quarantined(): Promise<FileOnDisk[]> {
    return this.#filesIn("quarantine");
  }

  /** Bytes that may still be written. */
  async free(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#folder);
    return bavail * bsize;
  }

  async #filesIn(folder: string): Promise<FileOnDisk[]> {
    const found: FileOnDisk[] = [];
    for (const name of await readdir(join(this.#folder, folder))) {
      const path = join(this.#folder, folder, name);
      const here = await stat(path).catch(() => null); // it may have gone meanwhile
      if (here?.isFile()) found.push({ path, name, bytes: here.size, changedAt: here.mtimeMs });
    }
    return found;
  }

  #pathOf(sha256: string): string {
    if (!SHA256.test(sha256)) throw new Error(`${sha256} is no SHA-256`);
    return join(this.#folder, sha256.slice(0, 2), sha256);
  }
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
