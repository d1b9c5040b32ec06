// Tests in Node: unit tests, and integration tests. Browser tests are in e2e/, run by Playwright.
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import type { TestProjectInlineConfiguration } from "vitest/config";
import { mutantPlugin } from "./e2e/mutants/mutant.ts";

/**
 * Integration tests: whole commands, servers, builds and simulated worlds, the toolchain from a model to its bundle. All
 * others are unit tests, which `npm run verify` runs.
 */
const INTEGRATION = [
  ...[
    "lib/build/*",
    "lib/cli/*",
    "lib/doctor/*",
    "lib/remote/client-*",
    "lib/serve/*",
    "lib/test-support/simulate/*",
    "models/*",
    "e2e/*/*",
  ],
  ...["*", "bundle/replace-bundle", "check/*", "onnx/disk-full", "run/model-process", "run/wav", "search/*"].map(
    (x) => `lib/compress/${x}`,
  ),
  ...["forms/forms", "prune/prune-units", "quantize/quantize-weights", "quantize/to-float16"].map(
    (x) => `lib/compress/${x}`,
  ),
  ...["cut-selection", "kernel-faults", "name-dims", "ort-optimize"].map((x) => `lib/compress/simplify/${x}`),
  ...["lib/cache/model-based", "lib/test-support/compress/testdata", "lib/worker/backend/rewrite-model"],
  "models/spam/short",
].map((x) => `${x}.test.ts`);

/** Tests that download what takes a minute: for the soak. */
const SOAK = process.env["SELVEDGE_SOAK"] === "1" ? [] : ["e2e/doctor/hosts.test.ts"];

/**
 * Tests that have a worker's modules to themselves: they replace a module (`vi.mock`), a global or a method of one, or
 * read what a process has as a whole. All others share a worker and its modules, which keep no state: that saves a process
 * and its imports for each file. Vitest runs projects in the order of their names, so these come first: those that wait
 * for timers for half a minute would else be the last, with the other workers idle.
 */
const ALONE = {
  unit: [
    ...["bindings/react*", "cache/bare-model", "cache/brotli", "cache/expand*", "cache/network-evidence*"],
    ...["compress/onnx/at-exit", "effects/*", "engine/delete-site-data", "engine/result-cache", "engine/result-store"],
    ...["cache/serve", "cache/stores/{cache-api,indexed-db,opfs}", "offline/*", "pool/*", "rpc/worker-end"],
    ...["worker/backend/{ort,threads}", "worker/processing/{pixels,resize-map,text}"],
  ].map((x) => `lib/${x}.test.ts`),
  integration: [
    ...["cli/*", "compress/bundle/replace-bundle", "compress/run/model-process", "compress/trial-files"],
    ...["serve/executor", "test-support/simulate/kept", "test-support/simulate/observe", "test-support/simulate/trace"],
  ].map((x) => `lib/${x}.test.ts`),
};
const ALL = ["lib", "demo", "models", "e2e"].map((folder) => `${folder}/**/*.test.ts`);

export default defineConfig({
  plugins: [mutantPlugin(import.meta.dirname)],
  resolve: { alias: { selvedge: fileURLToPath(new URL("lib/index.ts", import.meta.url)) } },
  test: {
    projects: [
      project("unit, alone", ALONE.unit, [], true),
      project("unit, shared", ALL, [...INTEGRATION, ...ALONE.unit], false),
      project("integration, alone", ALONE.integration, [], true),
      project("integration, shared", INTEGRATION, ALONE.integration, false),
    ],
    environment: "node",
    setupFiles: ["lib/test-support/equal-bytes.ts", "lib/test-support/property-seed.ts"],
    // One worker more than cores, since some tests wait for timers and processes for most of their time. By default one
    // core stays free, which on two cores is half of them.
    maxWorkers: availableParallelism() + 1,
    // V8 compiles a WebAssembly function again, optimized, after a tenth of this work by default: for ONNX Runtime that
    // takes longer than the tests' small models run.
    execArgv: ["--wasm-tiering-budget=20000000"],
    // Models are loaded and run on whatever else this machine does; a test that hangs is still told from one that works.
    testTimeout: 60_000,
    // The same holds for what a test waits for, as a thread's start: 1 s by default.
    expect: { poll: { timeout: 15_000 } },
  },
});

function project(name: string, include: string[], exclude: string[], isolate: boolean): TestProjectInlineConfiguration {
  return { extends: true, test: { name, include, exclude: [...configDefaults.exclude, ...SOAK, ...exclude], isolate } };
}
