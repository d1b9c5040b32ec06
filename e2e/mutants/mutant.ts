// A mutant: one edit that brings a known fault back, and the test that must notice it. The lists are beside this file,
// one per area of the code; run.ts runs them. The edit is made in memory by the Vite plugin below, so no file changes
// and several mutants can run at once.
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** One edit that brings a fault back. */
export interface Mutant {
  /** Short name of the fault, an area and a number: `core-A1`. The title of its test ends with it, in parentheses. */
  readonly fault: string;
  /** One sentence: the behaviour that is lost. */
  readonly breaks: string;
  /** File that is edited, relative to the repository. */
  readonly file: string;
  /** Text that is replaced; it must occur in the file exactly once. */
  readonly from: string;
  /** Text that takes its place. */
  readonly to: string;
  /** Test file that must fail, relative to the repository. */
  readonly test: string;
  /** Part of the title of the test that must fail; the other tests of the file are not run. Default: all run. */
  readonly title?: string;
}

/**
 * Returns a mutant's file with the edit applied.
 * @throws Error where the text to replace does not occur exactly once: the list is out of date.
 */
export function mutate({ fault, file, from, to }: Mutant, source: string): string {
  const parts = source.split(from);
  if (parts.length !== 2)
    throw new Error(`${fault}: ${JSON.stringify(from)} occurs ${parts.length - 1} times in ${file}`);
  return parts.join(to);
}

/** Name of the environment variable that holds the mutant, as JSON, for the Vite plugin. */
export const MUTANT_VARIABLE = "SELVEDGE_MUTANT";

/** Vite plugin that applies the edit in the environment variable; does nothing without one. */
export function mutantPlugin(root: string): {
  name: string;
  enforce: "pre";
  load(id: string): string | undefined;
} {
  const json = process.env[MUTANT_VARIABLE];
  if (json === undefined) return { name: "selvedge-mutant", enforce: "pre", load: () => undefined };
  const mutant = JSON.parse(json) as Mutant;
  const path = join(root, mutant.file);
  return {
    name: "selvedge-mutant",
    enforce: "pre",
    load: (id) => (id.split("?")[0] === path ? mutate(mutant, readFileSync(path, "utf8")) : undefined),
  };
}
