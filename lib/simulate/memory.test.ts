// What an engine does about memory, in the simulated world: a wasm memory that grows with each model and never shrinks.
import { expect, test } from "vitest";
import type { Backend } from "../backend/backend.ts";
import { createEngine } from "../engine.ts";
import type { Engine } from "../engine.ts";
import type { Model } from "../model.ts";
import type { EngineOptions } from "../options.ts";
import { Random } from "./random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy.ts";
import { World } from "./world.ts";
import type { SimulatedWorker } from "./world.ts";

const MB = 2 ** 20;
/** What a model's file holds; loaded it takes about as much. */
const FILE = new Blob([TOY_CHUNK.content]).size;
const MODELS = [2, 3, 4, 5, 6, 7, 8, 9];

/** A toy whose worker holds 10 MB, and grows by what `growth` says for each load and run; what is freed is used again. */
function heavy(growth: { load: number; run: number }): (world: World, worker: SimulatedWorker) => Backend {
  return (world, worker) => {
    const toy = createToyBackend(world, worker);
    let [used, peak] = [10 * MB, 10 * MB];
    const grow = (bytes: number): void => {
      used += bytes;
      peak = Math.max(peak, used);
    };
    return {
      onLost: null,
      onLog: null,
      start: (options) => toy.start(options),
      forget: (stateId) => toy.forget(stateId),
      async load(...args: Parameters<Backend["load"]>) {
        const facts = await toy.load(...args);
        grow(growth.load);
        return facts;
      },
      async run(...args: Parameters<Backend["run"]>) {
        grow(growth.run);
        return toy.run(...args);
      },
      async unload(modelId: number) {
        if (worker.models.has(modelId)) used -= growth.load;
        await toy.unload(modelId);
      },
      get memoryBytes() {
        return peak;
      },
    };
  };
}

async function start(
  growth: { load: number; run: number },
  options: EngineOptions,
): Promise<{ world: World; engine: Engine; models: Model[] }> {
  const bundles = MODELS.map((factor) => [`https://app.test/${factor}.json`, toyBundle(`m${factor}`, factor)] as const);
  const files = new Map([...bundles, [`https://app.test/${TOY_CHUNK.path}`, TOY_CHUNK.content]]);
  const world = new World({
    random: new Random(1),
    gpu: null,
    cores: 1,
    files,
    createBackend: heavy(growth),
    drawFault: () => null,
    log: null,
  });
  const engine = await createEngine({ effects: world.effects, workers: 1, ...options });
  const models: Model[] = [];
  for (const [url] of bundles) {
    const pinned = url.endsWith("/2.json");
    models.push(await world.finish(engine.load(url, { pinned })));
  }
  return { world, engine, models };
}

/** Runs a model, and gives whether its answer is right. */
async function isRight(world: World, model: Model, factor: number): Promise<boolean> {
  const x = { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 2) } as const;
  const { outputs } = await world.finish(model.run({ x }));
  return outputs["y"]?.data[0] === factor;
}

test("models used least recently leave the memory that is theirs, and come back with their next run", async () => {
  const { world, engine, models } = await start({ load: FILE, run: 0 }, { memoryBudgetBytes: 2 * FILE });
  for (let round = 0; round < 3; round += 1)
    for (const [i, model] of models.entries()) expect(await isRight(world, model, MODELS[i] as number)).toBe(true);
  expect(engine.stats().lanes[0]?.memoryBytes).toBe(10 * MB + 3 * FILE); // one more is there while another leaves
  const [worker] = [...world.alive].filter((x) => x.computes);
  expect(worker?.models.size).toBeLessThanOrEqual(3); // the last may still be leaving
  expect(worker?.models.has(1)).toBe(true); // the pinned one
});

test("without a budget every model stays", async () => {
  const { world, models } = await start({ load: FILE, run: 0 }, {});
  for (const [i, model] of models.entries()) expect(await isRight(world, model, MODELS[i] as number)).toBe(true);
  const [worker] = [...world.alive].filter((x) => x.computes);
  expect(worker?.models.size).toBe(MODELS.length);
});

test("a worker that has grown past what its models need is exchanged between two runs, and no answer is lost", async () => {
  const { world, engine, models } = await start({ load: MB, run: 100 * MB }, {});
  for (let round = 0; round < 6; round += 1)
    for (const [i, model] of models.entries()) expect(await isRight(world, model, MODELS[i] as number)).toBe(true);
  const [lane] = engine.stats().lanes;
  expect(lane?.starts).toBeGreaterThan(1);
  expect(lane?.crashes).toBe(0);
  expect(lane?.memoryBytes).toBeLessThan(2_200 * MB);
});

test("one that needs so much for each run is exchanged ever less often", async () => {
  const { world, engine, models } = await start({ load: MB, run: 1_500 * MB }, {});
  for (let round = 0; round < 5; round += 1)
    for (const [i, model] of models.entries()) expect(await isRight(world, model, MODELS[i] as number)).toBe(true);
  expect(engine.stats().lanes[0]?.starts).toBeLessThan(10);
});
