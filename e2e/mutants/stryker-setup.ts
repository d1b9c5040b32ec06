// Setup of the tests of automatic mutants: leaves out those that take too long to be run for each mutant (areas.ts), and
// has a property-based test that fails end at once, without the search for a small input that nobody would read.
import fc from "fast-check";
import { beforeEach } from "vitest";
import { SLOW } from "./areas.ts";

fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });

beforeEach(({ task, skip }) => {
  if (SLOW.titles.some((x) => task.name.startsWith(x))) skip("too slow for each mutant");
});
