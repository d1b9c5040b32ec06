// Unit tests, in Node: everything that needs no browser. Browser tests are in e2e/, run by Playwright.
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import type { TestProjectInlineConfiguration } from "vitest/config";
import { mutantPlugin } from "./e2e/mutants/mutant.ts";

/**
 * Tests that share modules within a worker, which saves a sixth of the processor time in `core` and `schedule` and a
 * third in `compress` and `engine`: what they test keeps no state in modules.
 */
const SHARED = ["compress", "core", "engine", "schedule"].map((folder) => `lib/${folder}/**/*.test.ts`);
/** Tests of those folders that replace a module (`vi.mock`) or a global. */
const ALONE = [
  ...["compress/bundle/replace-bundle", "compress/run/model-process", "compress/trial-files"],
  ...["engine/delete-site-data", "engine/result-cache", "engine/result-store"],
].map((x) => `lib/${x}.test.ts`);

export default defineConfig({
  plugins: [mutantPlugin(import.meta.dirname)],
  resolve: { alias: { selvedge: fileURLToPath(new URL("lib/index.ts", import.meta.url)) } },
  test: {
    projects: [
      project("shared", SHARED, ALONE, false),
      project("alone", ALONE, []),
      project(
        "others",
        ["lib", "demo", "models", "e2e"].map((folder) => `${folder}/**/*.test.ts`),
        SHARED,
      ),
    ],
    environment: "node",
    setupFiles: ["lib/test-support/equal-bytes.ts"],
    // One worker a core: by default one core stays free, which on two cores is half of them.
    maxWorkers: availableParallelism(),
    // Models are loaded and run on whatever else this machine does; a test that hangs is still told from one that works.
    testTimeout: 60_000,
    // The same holds for what a test waits for, as a thread's start: 1 s by default.
    expect: { poll: { timeout: 15_000 } },
  },
});

function project(name: string, include: string[], exclude: string[], isolate = true): TestProjectInlineConfiguration {
  return { extends: true, test: { name, include, exclude: [...configDefaults.exclude, ...exclude], isolate } };
}
