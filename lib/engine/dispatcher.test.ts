// Requests and lanes that fail them, in a simulated world: which failures count as an attempt of the request, and which
// only delay it.
import { expect, test } from "vitest";
import { bundleJson } from "../core/bundle-json.ts";
import { parseBundle } from "../core/bundle-schema.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { doubled, endOf, openScene } from "../test-support/simulate/fixtures.ts";
import type { EngineScene, SceneOptions } from "../test-support/simulate/fixtures.ts";
import { TOY_CHUNK, toyBundle } from "../test-support/simulate/toy-backend.ts";
import type { Model } from "./model.ts";

const refuse = (code: ErrorCode) => (): Promise<never> => Promise.reject(new SelvedgeError(code, "simulated"));

/** Loads a model on one lane and has it measured; from then on other workers fail as `change` says. */
async function besideBroken(
  options: Omit<SceneOptions, "change"> & { readonly name?: string },
  change: NonNullable<SceneOptions["change"]>,
): Promise<EngineScene & { readonly model: Model }> {
  let isBroken = false;
  const { name = "m", ...rest } = options;
  const scene = await openScene({
    ...rest,
    change: (toy, worker, world) => (isBroken ? change(toy, worker, world) : toy),
  });
  const model = await scene.load(name, { batching: false });
  for (let i = 0; i < 3; i += 1) expect(await scene.ask(model, 1)).toEqual([0]);
  isBroken = true;
  return { ...scene, model };
}

test.each<[string, ErrorCode, "start" | "load"]>([
  ["no other worker can start", "no-backend", "start"],
  ["no other worker's script is there", "worker-crashed", "start"],
  ["the browser has lost the model's bytes", "download-failed", "load"],
  ["other workers refuse the model", "model-invalid", "load"],
  ["other workers fail in the load", "internal", "load"],
])("the lane that holds the model answers all requests where %s (core-A5)", async (_, code, call) => {
  const { engine, model, ask } = await besideBroken({ cores: 3 }, (toy) => ({ ...toy, [call]: refuse(code) }));
  expect(await ask(model, 200)).toEqual(doubled(200));
  expect(await ask(model, 200)).toEqual(doubled(200));
  const [good, ...others] = engine.stats().lanes;
  expect(good).toMatchObject({ starts: 1, crashes: 0, runs: 403 });
  // In some eight seconds: a failing lane is retried less and less often, each time with its staged work.
  for (const { starts } of others) expect(starts).toBeLessThanOrEqual(10);
});

test("where memory is for one copy only, the worker that holds it stays, and all is answered (core-A5)", async () => {
  const scene = await besideBroken({ cores: 2 }, (toy, worker, world) => ({
    ...toy,
    load: (modelId, files) => {
      const isHeld = [...world.alive].some((other) => other !== worker && other.models.size > 0);
      return isHeld ? refuse("out-of-memory")() : toy.load(modelId, files);
    },
  }));
  const { engine, model, ask } = scene;
  for (let round = 0; round < 8; round += 1) expect(await ask(model, 50)).toEqual(doubled(50));
  const [good, other] = engine.stats().lanes;
  expect(good?.starts).toBe(1);
  expect(other?.starts).toBeLessThanOrEqual(8);
});

test("a load that runs out of memory leaves the idle worker that holds the model (core-A5 memory)", async () => {
  const { engine, model, ask, pass } = await besideBroken({ cores: 2 }, (toy, _, world) => ({
    ...toy,
    // Long enough that the other lane has answered all else meanwhile.
    load: () => new Promise((__, reject) => world.at(5_000, () => reject(new SelvedgeError("out-of-memory", "full")))),
  }));
  expect(await ask(model, 50)).toEqual(doubled(50));
  await pass(10_000);
  const [good, other] = engine.stats().lanes;
  expect([good?.starts, good?.crashes, good?.state]).toEqual([1, 0, "idle"]);
  expect(other?.starts).toBeGreaterThan(0);
});

test("a model on the GPU stays there where wasm, which would help, can't load it (core-A5)", async () => {
  const scene = await besideBroken({ gpu: true, name: "slow" }, (toy) => ({ ...toy, load: refuse("model-invalid") }));
  const { engine, model, ask } = scene;
  expect(model.backend).toBe("webgpu");
  expect(await ask(model, 60)).toEqual(doubled(60));
  expect(engine.stats().lanes.some(({ backend, starts, runs }) => backend === "wasm" && starts > 0 && runs === 0)).toBe(
    true,
  );
});

test.each([40, 90])(
  "%i requests for a model on the GPU are answered there though its worker is off and wasm can't load it (core-A5)",
  async (count) => {
    const scene = await besideBroken({ gpu: true, name: "slow", idleMs: 5_000 }, (toy) => {
      let isWasm = true;
      return {
        ...toy,
        start: (options) => {
          isWasm = options.backend === "wasm";
          return toy.start(options);
        },
        load: (...args) => (isWasm ? refuse("model-invalid")() : toy.load(...args)),
      };
    });
    const { engine, model, ask, pass } = scene;
    await pass(20_000);
    expect(engine.stats().lanes.every(({ state }) => state === "off")).toBe(true);
    expect(await ask(model, count)).toEqual(doubled(count));
  },
);

test.each([1, 2, 3])("where all workers are off and load %i fails, other lanes answer (core-A5)", async (at) => {
  for (const code of ["model-invalid", "download-failed", "internal"] as const)
    for (const call of ["start", "load"] as const) {
      let calls = 0;
      const scene = await besideBroken({ cores: 4, idleMs: 5_000 }, (toy) => ({
        ...toy,
        // Its arguments are those of the named call.
        [call]: (...args: never[]) =>
          ++calls === at ? refuse(code)() : (toy[call] as (...args: never[]) => unknown)(...args),
      }));
      await scene.pass(20_000);
      expect(await scene.ask(scene.model, 90)).toEqual(doubled(90));
      expect(calls).toBeGreaterThan(at);
    }
});

test("a request whose model no lane can load is still rejected, with the load's error", async () => {
  const { model, ask, pass } = await besideBroken({ idleMs: 1_000 }, (toy) => ({
    ...toy,
    load: refuse("model-invalid"),
  }));
  await pass(5_000);
  expect(await ask(model, 10)).toEqual(Array(10).fill("model-invalid"));
});

test.each([
  [1, 5],
  [2, 30],
  [8, 30],
])(
  "a request whose run ends its worker ends four at most, on %i cores after %i others (core-A5)",
  async (cores, at) => {
    const { world, engine, load, run, ask } = await openScene({
      cores,
      change: (toy, worker) => ({
        ...toy,
        run: (...args) => {
          if ((args[1]["x"] as { data: Float32Array }).data.includes(666)) worker.crash();
          return toy.run(...args);
        },
      }),
    });
    const model = await load("m", { batching: false });
    for (let i = 0; i < 3; i += 1) await ask(model, 1);
    const values = Array.from({ length: 60 }, (_, i) => i);
    values.splice(at, 0, 666);
    const results = await world.finish(Promise.all(values.map((value) => endOf(run(model, value)))));
    expect(results.splice(at, 1)).toEqual(["worker-crashed"]);
    expect(results).toEqual(doubled(60));
    expect(engine.stats().lanes.reduce((total, { crashes }) => total + crashes, 0)).toBeLessThanOrEqual(4);
  },
);

/** A backend that runs out of memory in its n-th run. */
const outOfMemoryAt =
  (value: number, seen: number[] = []): NonNullable<SceneOptions["change"]> =>
  (toy) => ({
    ...toy,
    async run(...args) {
      const x = args[1]["x"] as { data: Float32Array };
      const answer = await toy.run(...args);
      seen.push(x.data.length / 2);
      if (x.data.includes(value)) throw new SelvedgeError("out-of-memory", "simulated");
      return answer;
    },
  });

test("a batch staged behind a run that is out of memory is queued again unchanged (core-B4)", async () => {
  const batches: number[] = [];
  const scene = await openScene({ workers: 1, change: outOfMemoryAt(666, batches) });
  const { world, load, run, ask, pass } = scene;
  const hungry = await load("m");
  const model = await load("together", { batching: { maxBatchSize: 16 } });
  await ask(hungry, 1);
  for (let i = 0; i < 20; i += 1) await ask(model, 16); // learns the cost of batches
  batches.length = 0;
  const failing = endOf(run(hungry, 666));
  await pass(1);
  const staged = Promise.all(Array.from({ length: 16 }, (_, i) => run(model, i)));
  expect(await world.finish(failing)).toBe("out-of-memory");
  const answers = await world.finish(staged);
  expect(answers.map(({ outputs }) => outputs["y"]?.data[0])).toEqual(doubled(16));
  expect(answers.map(({ info }) => info.attempts)).toEqual(Array(16).fill(1));
  // Only the request that ran out of memory ran alone, twice; the next sixteen run together too.
  expect(batches.filter((rows) => rows === 1)).toHaveLength(2);
  batches.length = 0;
  expect(await ask(model, 16, { deadlineMs: 60_000 })).toEqual(doubled(16));
  expect(Math.max(...batches)).toBeGreaterThanOrEqual(8);
});

test("a load that runs out of memory does not limit the batch size (core-B4)", async () => {
  let isFull = false;
  const batches: number[] = [];
  const scene = await openScene({
    workers: 1,
    idleMs: 1_000,
    change: (toy, worker, world) => ({
      ...outOfMemoryAt(666, batches)(toy, worker, world),
      load: (modelId, files) => (isFull ? refuse("out-of-memory")() : toy.load(modelId, files)),
    }),
  });
  const { load, ask, pass } = scene;
  const model = await load("together");
  for (let i = 0; i < 20; i += 1) await ask(model, 16);
  const usual = Math.max(...batches);
  await pass(5_000);
  isFull = true;
  expect(new Set(await ask(model, 16))).toEqual(new Set(["out-of-memory"]));
  isFull = false;
  batches.length = 0;
  expect(await ask(model, 16)).toEqual(doubled(16));
  expect(Math.max(...batches)).toBe(usual);
  expect(usual).toBeGreaterThanOrEqual(8);
});

test.each([
  [true, false, 1],
  [undefined, true, 1],
  [undefined, false, 16],
  [false, true, 16],
])("requests of a variant that mixes rows are not batched: bundle %s, graph %s", async (declared, read, largest) => {
  const bundle = parseBundle(JSON.parse(toyBundle("m", 2, "together")));
  const variants = bundle.variants.map((x) => ({ ...x, mixesRows: declared }));
  const scene = await openScene({
    workers: 1,
    change: (toy) => ({ ...toy, load: async (...model) => ({ ...(await toy.load(...model)), mixesRows: read }) }),
    bundles: { mixing: JSON.stringify(bundleJson({ ...bundle, variants })) },
    files: { [`${TOY_CHUNK.path}.bin`]: new TextEncoder().encode(TOY_CHUNK.content) },
  });
  const model = await scene.load("mixing", { batching: { maxBatchSize: 16 } });
  for (let i = 0; i < 20; i += 1) await scene.ask(model, 16);
  const answers = await scene.world.finish(Promise.all(Array.from({ length: 33 }, (_, i) => scene.run(model, i))));
  expect(Math.max(...answers.map(({ info }) => info.batchSize))).toBe(largest);
});
