// The sources with automatic mutants, and the unit tests that they are tried on. The simulation's own mutations are
// left out of them: they change the source themselves.

/** The whole engine over simulated effects, in which a mutant of any area may show. */
const WHOLE = "lib/test-support/simulate/engine.test.ts";

const TESTS: Readonly<Record<string, readonly string[]>> = {
  "lib/schedule": ["lib/schedule/*.test.ts"],
  "lib/pool": ["lib/pool/*.test.ts", WHOLE],
  "lib/cache": [
    "lib/cache/*.test.ts",
    "lib/{core/{bundle-schema,bundle-hostile,signature},engine/result-cache,cache/stores/*}.test.ts",
  ],
};

/**
 * Slow tests (test-runner.ts) that are not even run once, since instrumented code makes them several times slower: files,
 * and beginnings of titles.
 */
export const SLOW: { readonly files: readonly string[]; readonly titles: readonly string[] } = {
  files: [
    ...["mix", "slow-while", "coarse-clocks", "groups", "servers"].map((x) => `lib/schedule/${x}.test.ts`),
    "lib/cache/model-based.test.ts",
  ],
  titles: [
    "take together no more than an eighth of a lane",
    "do not keep a model that has become fast from its own",
    "count where the requests are cancelled once they are late",
    "where deadlines can't be met, trials take no more than an eighth",
    "a first run of ",
    "several slow runs cause rejections",
    "a device of unknown cost is tried, and keeps the work",
    "a device that was slow for a while gets work again",
    "a device that stays slow is tried rarely",
    "a device that a server beats is tried rarely",
    "and gets the work back once it is faster",
    "a lane is tried again once its time is over",
    "the same events decide the same",
    "the same events give the same decisions",
    "sums and differences of times that are rounded differently",
    "the state per model is bounded",
    "a scheduler restored midway decides like the saved one",
    "copies are at most a tenth of the requests",
  ],
};

/** Folders whose files have automatic mutants. */
export const AREAS: readonly string[] = Object.keys(TESTS);

/** Returns the area of a file; empty for a file in none. */
export const areaOf = (file: string): string => AREAS.find((x) => file.startsWith(`${x}/`)) ?? "";

/**
 * Returns the tests that the mutants of a file are tried on, as patterns.
 * @throws TypeError for a file in no area
 */
export function testsOf(file: string): readonly string[] {
  const tests = TESTS[areaOf(file)];
  if (tests === undefined) throw new TypeError(`"${file}" is in none of ${AREAS.join(", ")}`);
  return tests;
}
