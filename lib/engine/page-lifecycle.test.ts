import { expect, test } from "vitest";
import { createEngine } from "../create-engine.ts";
import type { Engine } from "./engine.ts";
import { HIDDEN_MS } from "./page-lifecycle.ts";
import type { Model } from "./model.ts";
import { Random } from "../test-support/random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "../test-support/simulate/toy-backend.ts";
import { World } from "../test-support/simulate/world.ts";
import type { SimulatedWorker } from "../test-support/simulate/world.ts";

const URL_OF_BUNDLE = "https://app.test/m.json";
const HOUR_MS = 3_600_000;

interface Scene {
  readonly world: World;
  readonly engine: Engine;
  readonly model: Model;
  /** Compute workers that have not ended. */
  readonly up: () => SimulatedWorker[];
  /** Sends as many requests at once, and returns the answers. */
  readonly ask: (count: number) => Promise<number[]>;
}

async function scene(): Promise<Scene> {
  const world = new World({
    random: new Random(7),
    gpu: null,
    cores: 3,
    files: new Map([
      ["https://app.test/" + TOY_CHUNK.path, TOY_CHUNK.content],
      [URL_OF_BUNDLE, toyBundle("m", 2)],
    ]),
    createBackend: createToyBackend,
    drawFault: () => null,
    log: null,
  });
  const engine = await createEngine({ effects: world.effects, idleMs: 24 * HOUR_MS });
  const model = await world.finish(engine.load(URL_OF_BUNDLE, { batching: false }));
  const ask = async (count: number): Promise<number[]> => {
    const answers = Array.from({ length: count }, (_, i) =>
      model
        .run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(i, i) } })
        .then(({ outputs }) => Number(outputs["y"]?.data[0])),
    );
    return world.finish(Promise.all(answers));
  };
  return { world, engine, model, ask, up: () => [...world.alive].filter((worker) => worker.computes) };
}

test("a page that is hidden for long keeps one worker, and the next requests start the others again", async () => {
  const { world, up, ask } = await scene();
  await ask(9);
  expect(up()).toHaveLength(3);
  const began = world.now;
  world.live("hidden");
  await world.run(() => false, began + HIDDEN_MS - 1);
  expect(up()).toHaveLength(3);
  await world.run(() => false, began + HIDDEN_MS);
  expect(up()).toHaveLength(1);
  expect(await ask(60)).toEqual(Array.from({ length: 60 }, (_, i) => 2 * i));
  expect(up()).toHaveLength(3);
});

test("a page that is shown again in time keeps all its workers", async () => {
  const { world, up, ask } = await scene();
  await ask(9);
  world.live("hidden");
  await world.run(() => false, world.now + HIDDEN_MS - 1_000);
  world.live("visible");
  await world.run(() => false, world.now + HOUR_MS);
  expect(up()).toHaveLength(3);
});

test("after a freeze healthy workers stay, and one that died meanwhile is replaced before a request waits for it", async () => {
  const { world, engine, up, ask } = await scene();
  await ask(9);
  const [dead] = up();
  dead?.silence();
  world.freeze(HOUR_MS);
  await world.run(() => false, world.now + 10_000);
  expect(up()).toHaveLength(2);
  const began = world.now;
  expect(await ask(9)).toHaveLength(9);
  expect(world.now - began).toBeLessThan(2_000);
  expect(
    engine
      .stats()
      .lanes.map(({ crashes }) => crashes)
      .sort(),
  ).toEqual([0, 0, 0, 1]);
});

test("a closed engine no longer listens to the page", async () => {
  const { world, engine } = await scene();
  await engine.close();
  expect(() => {
    world.live("back");
    world.live("left");
  }).not.toThrow();
  expect(world.alive.size).toBe(0);
});
