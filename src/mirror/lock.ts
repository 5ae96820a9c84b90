/** One process at a time writes into a mirror. */
import { open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { MirrorError } from "./keys.ts";

export const LOCK_FILE = ".turnout-mirror.lock";

/** @throws MirrorError when another process is at it. What a process has left that was killed is taken over. */
export async function alone<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const path = join(folder, LOCK_FILE);
  if (!(await take(path))) {
    const owner = Number((await readFile(path, "utf8").catch(() => "")).trim());
    if (lives(owner)) {
      throw new MirrorError(
        `another turnout mirror (process ${owner}) is writing into ${folder}; if none is, remove ${path}`,
      );
    }
    await rm(path, { force: true });
    if (!(await take(path))) throw new MirrorError(`another turnout mirror has begun to write into ${folder}`);
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function take(path: string): Promise<boolean> {
  try {
    const file = await open(path, "wx");
    await file.writeFile(`${process.pid}\n`);
    await file.close();
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw new MirrorError(`nothing can be written there: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function lives(pid: number): boolean {
  // In a container, whoever was killed may have had our own number.
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
