/** A disk of a few MiB, to be filled. Needs root, and a machine that lets us mount. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statfsSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SmallDisk {
  /** For a server's data. */
  readonly dataDir: string;
  /** Takes all of it, but for so many bytes. */
  fill(butFor?: number): void;
  /** Gives back what `fill` has taken. */
  empty(): void;
  remove(): void;
}

/** Says so on stderr where not. */
export const canHaveSmallDisks = (() => {
  try {
    smallDisk(1).remove();
    return true;
  } catch {
    process.stderr.write("full disk: skipped, this machine does not let us mount a small one\n");
    return false;
  }
})();

export function smallDisk(mebibytes: number): SmallDisk {
  const folder = mkdtempSync(join(tmpdir(), "turnout-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", folder], { stdio: "ignore" });
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
  const dataDir = join(folder, "data");
  mkdirSync(dataDir);
  const ballast = join(folder, "ballast");
  return {
    dataDir,
    fill(butFor = 0) {
      const { bavail, bsize } = statfsSync(folder);
      writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - butFor)), { flag: "a" });
    },
    empty: () => unlinkSync(ballast),
    remove() {
      execFileSync("umount", ["-l", folder]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
