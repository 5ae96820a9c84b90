/** Tests that live through hours of a fleet, kill servers, or start several for each: `npm run test:slow`. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.slow.test.ts"],
    // A busy machine may take several times as long as a quiet one.
    testTimeout: 300_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 60_000 } },
    maxWorkers: 2,
    isolate: false,
  },
});
