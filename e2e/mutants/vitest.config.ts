// The unit tests that automatic mutants are tried on (auto.ts), set up as in the root's configuration; a mutant
// that none of them notices survives.
import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import { BaseSequencer } from "vitest/node";
import type { TestSpecification } from "vitest/node";
import root from "../../vitest.config.ts";
import { areaOf, SLOW, testsOf } from "./areas.ts";

/** The mutated files, of one area. */
const mutated = (process.env["SELVEDGE_MUTATED"] ?? "").split(" ");
const own = mutated.map((x) => x.replace(/\.ts$/, ".test.ts"));

/** The tests beside a file come first, then small ones: the first that fails ends the run. */
class SmallFirst extends BaseSequencer {
  override sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const cost = ({ moduleId }: TestSpecification): number =>
      own.some((x) => moduleId.endsWith(x)) ? 0 : statSync(moduleId).size;
    return Promise.resolve([...files].sort((a, b) => cost(a) - cost(b)));
  }
}

const { setupFiles, ...test } = root.test ?? {};
delete test.projects;
export default defineConfig({
  ...root,
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: {
    ...test,
    execArgv: [], // Stryker runs tests in threads, which take no options of V8
    setupFiles: [...[setupFiles ?? []].flat(), "e2e/mutants/stryker-setup.ts"],
    include: mutated.flatMap(testsOf),
    exclude: [...configDefaults.exclude, ...SLOW.files],
    sequence: { sequencer: SmallFirst },
    // A worker for all files of a run, as for most unit tests: each mutant would wait for ten of them.
    isolate: areaOf(mutated[0] ?? "") !== "lib/schedule",
  },
});
