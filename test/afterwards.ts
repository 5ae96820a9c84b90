/** What a test leaves behind is put away when it is over, the last thing first. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Within a test, or before each. */
export function afterwards(step: () => unknown): void {
  onTestFinished(async () => {
    await step();
  });
}

/** Empty, and gone afterwards with all that is in it. */
export function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "turnout-"));
  afterwards(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
