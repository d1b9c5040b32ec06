import { expect, test } from "vitest";
import type { Effects } from "../effects/effects.ts";
import { LazyResults } from "./lazy-results.ts";

const effects = (secure: boolean): Effects =>
  ({ now: () => 0, wallClock: () => 0, facts: { secure } }) as unknown as Effects;

test("a page that is not secure caches no results, and says so once", async () => {
  const log: string[] = [];
  const results = new LazyResults(effects(false), {}, (line) => log.push(line));
  expect([await results.open(), await results.open()]).toEqual([null, null]);
  expect(results.counts).toBeNull();
  expect(log).toEqual(["selvedge: not https or localhost: results are not cached"]);
});

test("a secure page has the result cache, and no line about it", async () => {
  const log: string[] = [];
  const results = new LazyResults(effects(true), {}, (line) => log.push(line));
  expect(await results.open()).toBe(await results.open());
  expect(results.counts).toMatchObject({ hits: 0, misses: 0 });
  expect(log).toEqual([]);
});
