// Unit tests, in Node: everything that needs no browser. Browser tests are in e2e/, run by Playwright.
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import type { TestProjectInlineConfiguration } from "vitest/config";
import { mutantPlugin } from "./e2e/mutants/mutant.ts";

/**
 * Tests that have a worker's modules to themselves: they replace a module (`vi.mock`), a global or a method of one, or
 * read what a process has as a whole. All others share a worker and its modules, which keep no state: that saves a process
 * and its imports for each file.
 */
const ALONE = [
  ...["bindings/react", "cache/bare-model", "cache/brotli", "cache/expand", "cache/network-evidence", "cli/*"],
  ...[
    "compress/bundle/replace-bundle",
    "compress/onnx/at-exit",
    "compress/run/model-process",
    "compress/trial-files",
    "effects/*",
  ],
  ...["engine/delete-site-data", "engine/result-cache", "engine/result-store", "offline/*", "pool/*", "rpc/worker-end"],
  ...["serve/executor", "test-support/simulate/kept", "test-support/simulate/observe", "test-support/simulate/trace"],
  ...["worker/backend/ort", "worker/backend/threads", "worker/processing/pixels", "worker/processing/resize-map"],
].map((x) => `lib/${x}.test.ts`);

export default defineConfig({
  plugins: [mutantPlugin(import.meta.dirname)],
  resolve: { alias: { selvedge: fileURLToPath(new URL("lib/index.ts", import.meta.url)) } },
  test: {
    projects: [
      project(
        "shared",
        ["lib", "demo", "models", "e2e"].map((folder) => `${folder}/**/*.test.ts`),
        ALONE,
        false,
      ),
      project("alone", ALONE, []),
    ],
    environment: "node",
    setupFiles: ["lib/test-support/equal-bytes.ts"],
    // One worker a core: by default one core stays free, which on two cores is half of them.
    maxWorkers: availableParallelism(),
    // V8 compiles a WebAssembly function again, optimized, after a tenth of this work by default: for ONNX Runtime that
    // takes longer than the tests' small models run.
    execArgv: ["--wasm-tiering-budget=20000000"],
    // Models are loaded and run on whatever else this machine does; a test that hangs is still told from one that works.
    testTimeout: 60_000,
    // The same holds for what a test waits for, as a thread's start: 1 s by default.
    expect: { poll: { timeout: 15_000 } },
  },
});

function project(name: string, include: string[], exclude: string[], isolate = true): TestProjectInlineConfiguration {
  return { extends: true, test: { name, include, exclude: [...configDefaults.exclude, ...exclude], isolate } };
}
