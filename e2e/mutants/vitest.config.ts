// The unit tests that automatic mutants are tried on (auto.ts), set up as in the root's configuration, in one worker that
// serves (kept-tests.ts); a mutant that none of them notices survives.
import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import root from "../../vitest.config.ts";
import { SLOW, testsOf } from "./areas.ts";

const test = { ...root.test };
delete test.projects;
export default defineConfig({
  ...root,
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: {
    ...test,
    include: (process.env["SELVEDGE_MUTATED"] ?? "").split(" ").flatMap(testsOf),
    exclude: [...configDefaults.exclude, ...SLOW.files],
    runner: "./e2e/mutants/kept-tests.ts",
    pool: "threads", // their messages reach the process that Stryker started
    execArgv: [], // threads take no options of V8
    isolate: false,
    maxWorkers: 1,
    maxConcurrency: 1,
    expect: { poll: { timeout: 1000 } },
  },
});
