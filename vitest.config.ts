import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/interop/**", "test/**/*.slow.test.ts", "node_modules/**"],
    // A busy machine may take several times as long as a quiet one.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 60_000 } },
    maxWorkers: 3,
    // A process of its own for each file loads the same modules again: a tenth to a quarter of the time. So what a test
    // replaces is handed in: vi.mock comes too late for a module that another file has loaded.
    isolate: false,
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      reporter: ["text-summary", "text"],
    },
  },
});
