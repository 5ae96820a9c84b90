/** Tests that live through hours of a fleet, or through whole pages of examples: `npm run test:slow`. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["test/**/*.slow.test.ts"], testTimeout: 120_000, hookTimeout: 60_000, maxWorkers: 2 },
});
