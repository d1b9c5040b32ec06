// The lists of mutants follow the code: what each replaces is there once, and so is the test that must notice it, by its
// title. Whether it does is shown by `npm run mutants`.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/prepare.ts";
import { mutate } from "./mutant.ts";
import { readMutants } from "./read-mutants.ts";

test("every mutant's text is in the code once, and its test is there", async () => {
  const texts = new Map<string, string>();
  const read = (file: string): string => {
    const text = texts.get(file) ?? readFileSync(join(ROOT, file), "utf8");
    texts.set(file, text);
    return text;
  };
  const stale: string[] = [];
  const mutants = await readMutants();
  for (const mutant of mutants) {
    try {
      expect(mutate(mutant, read(mutant.file))).not.toBe(read(mutant.file));
      // Titles of worlds.test are made of the worlds' own.
      if (!mutant.test.endsWith("/worlds.test.ts")) expect(read(mutant.test)).toContain(mutant.title ?? "");
    } catch (error) {
      stale.push(String(error));
    }
  }
  expect(stale).toEqual([]);
  expect(mutants.length).toBeGreaterThan(400);
});
