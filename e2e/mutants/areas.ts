// The sources with automatic mutants, and the unit tests that they are tried on. The simulation's own mutations are
// left out of them: they change the source themselves.

/** The whole engine over simulated effects, in which a mutant of any area may show. */
const WHOLE = "lib/test-support/simulate/engine.test.ts";

const TESTS: Readonly<Record<string, readonly string[]>> = {
  "lib/schedule": ["lib/schedule/*.test.ts"],
  "lib/pool": ["lib/pool/*.test.ts", "lib/{rpc,worker}/**/*.test.ts", WHOLE],
  "lib/cache": [
    "lib/cache/*.test.ts",
    "lib/{core/{bundle-schema,bundle-hostile,signature},engine/result-cache,cache/stores/*}.test.ts",
  ],
};

/** Folders whose files have automatic mutants. */
export const AREAS: readonly string[] = Object.keys(TESTS);

/**
 * Returns the tests of an area, as patterns.
 * @throws TypeError for a folder that is no area
 */
export function testsOf(area: string): readonly string[] {
  const tests = TESTS[area];
  if (tests === undefined) throw new TypeError(`"${area}" is none of ${AREAS.join(", ")}`);
  return tests;
}
