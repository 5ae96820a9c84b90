/** What a test leaves behind is put away when it is over, the last thing first. */
import { onTestFinished } from "vitest";

/** Within a test, or before each. */
export function afterwards(step: () => unknown): void {
  onTestFinished(async () => {
    await step();
  });
}
