// The lists of mutants follow the code: what each replaces is there once, and so is the test that must notice it, by its
// title. Whether it does is shown by `npm run mutants`.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/prepare.ts";
import { SLOW } from "./areas.ts";
import { EQUIVALENT } from "./equivalent.ts";
import { mutate } from "./mutant.ts";
import { readMutants } from "./read-mutants.ts";
import { WORLDS } from "../../lib/test-support/simulate/worlds.ts";

/** Titles in worlds.test.ts, which are made of the worlds' names. */
const titles = new Set<string | undefined>(WORLDS.map(({ name }) => `world: ${name}`));

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
      if (!titles.has(mutant.title)) expect(read(mutant.test)).toContain(mutant.title ?? "");
    } catch (error) {
      stale.push(String(error));
    }
  }
  expect(stale).toEqual([]);
  expect(mutants.length).toBeGreaterThan(400);
});

test("the files and titles that the automatic mutants name are there", () => {
  const files = [...SLOW.files, ...Object.keys(EQUIVALENT)];
  expect(files.filter((x) => !existsSync(join(ROOT, x)))).toEqual([]);
  const folder = join(ROOT, "lib/schedule");
  const tests = readdirSync(folder).filter((x) => x.endsWith(".test.ts"));
  const texts = tests.map((x) => readFileSync(join(folder, x), "utf8"));
  expect(SLOW.titles.filter((title) => !texts.some((text) => text.includes(title)))).toEqual([]);
});

test("every world has a mutant that selects its test alone", async () => {
  const chosen = (await readMutants()).map(({ title }) => title);
  for (const title of titles) expect(chosen).toContain(title);
  for (const title of titles) expect([...titles].filter((x) => x?.includes(title ?? ""))).toEqual([title]);
});
