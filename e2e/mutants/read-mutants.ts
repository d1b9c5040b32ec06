// Reads the lists of mutants beside this file.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Mutant } from "./mutant.ts";

/** Files beside the lists. */
const OWN = new Set([
  ...[
    "areas.ts",
    "auto.ts",
    "equivalent.ts",
    "kept-messages.ts",
    "kept-tests.ts",
    "test-runner.ts",
    "vitest.config.ts",
  ],
  ...["mutant.ts", "read-mutants.ts", "run.ts"],
]);

/** Returns all mutants, in the order of their lists. */
export async function readMutants(): Promise<Mutant[]> {
  const folder = import.meta.dirname;
  const lists = readdirSync(folder).filter((x) => x.endsWith(".ts") && !x.endsWith(".test.ts") && !OWN.has(x));
  const all: Mutant[] = [];
  for (const list of lists.sort()) {
    const { MUTANTS } = (await import(pathToFileURL(join(folder, list)).href)) as { MUTANTS: readonly Mutant[] };
    all.push(...MUTANTS);
  }
  return all;
}
