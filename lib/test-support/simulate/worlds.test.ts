// Each enabled world on a few seeds, so that the mutants of e2e/mutants/worlds.ts are noticed; many seeds are played by
// `npm run simulate`.
import { describe, expect, test } from "vitest";
import type { Scene } from "./scene.ts";
import { playWorld, WORLDS } from "./worlds.ts";

const SEEDS = [1, 2, 3];

// Not `$name`, which Vitest quotes and cuts: mutants select a world by its whole name.
describe.each(WORLDS.map((plan) => [plan.name, plan] as const))("world: %s", (_, plan) => {
  test(`holds its properties (${plan.about})`, async () => {
    for (const seed of SEEDS) {
      const { broken } = await playWorld(plan, seed);
      expect(broken, `seed ${seed}`).toEqual([]);
    }
  }, 60_000);
});

test("a world in which no request was possible is void", async () => {
  const play = async (scene: Scene): Promise<void> => void (await scene.open());
  const { broken } = await playWorld({ name: "idle", about: "", device: () => ({}), play }, 1);
  expect(broken).toEqual(["void: 0 of 0 answered"]);
});

test("every world has a name of its own", () => {
  expect(new Set(WORLDS.map(({ name }) => name)).size).toBe(WORLDS.length);
});
