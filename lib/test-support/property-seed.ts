// Setup of the unit tests: property-based tests draw new inputs in each run, which finds faults, unless SELVEDGE_SEED names
// their seed: `.ci/run` does, so that its result depends on the change alone.
import fc from "fast-check";

const seed = process.env["SELVEDGE_SEED"];
if (seed !== undefined) {
  if (!/^-?\d+$/.test(seed)) throw new Error(`SELVEDGE_SEED is "${seed}": write a whole number`);
  fc.configureGlobal({ seed: Number(seed) });
}
