// Each enabled world on a few seeds, so that the mutants of e2e/mutants/worlds.ts are noticed; many seeds are played by
// `npm run simulate`.
import { describe, expect, test } from "vitest";
import { ANSWERED_MIN, playWorld, WORLDS } from "./worlds.ts";

const SEEDS = [1, 2, 3];

describe.each(WORLDS)("world: $name", (plan) => {
  test(`holds its properties (${plan.about})`, async () => {
    for (const seed of SEEDS) {
      const { broken, possible, answered } = await playWorld(plan, seed);
      expect(broken, `seed ${seed}`).toEqual([]);
      expect(answered).toBeGreaterThanOrEqual(ANSWERED_MIN * possible);
    }
  }, 60_000);
});

test("every world has a name of its own", () => {
  expect(new Set(WORLDS.map(({ name }) => name)).size).toBe(WORLDS.length);
});
