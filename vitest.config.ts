// Unit tests, in Node: everything that needs no browser. Browser tests are in e2e/, run by Playwright.
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { mutantPlugin } from "./e2e/mutants/mutant.ts";

export default defineConfig({
  plugins: [mutantPlugin(import.meta.dirname)],
  resolve: { alias: { selvedge: fileURLToPath(new URL("lib/index.ts", import.meta.url)) } },
  test: {
    include: ["lib", "demo", "models", "e2e"].map((folder) => `${folder}/**/*.test.ts`),
    environment: "node",
    setupFiles: ["lib/test-support/equal-bytes.ts"],
    // One worker a core: by default one core stays free, which on two cores is half of them.
    maxWorkers: availableParallelism(),
    // Models are loaded and run on whatever else this machine does; a test that hangs is still told from one that works.
    testTimeout: 60_000,
  },
});
