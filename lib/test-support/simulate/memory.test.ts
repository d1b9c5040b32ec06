// Out of memory, in the simulated world.
import { expect, test } from "vitest";
import { createEngine } from "../../create-engine.ts";
import type { Model } from "../../engine/model.ts";
import { Random } from "../random.ts";
import { SelvedgeError } from "../../core/errors.ts";
import { openScene } from "./fixtures.ts";
import { createToyBackend, FACTOR_ENTRY, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";
import type { WorkerFault } from "./world.ts";

const BASE = "https://app.test/";

test("where a worker runs out of memory its work is run again, and idle workers give theirs back", async () => {
  const faults: WorkerFault[] = [];
  const world = new World({
    random: new Random(1),
    gpu: null,
    cores: 2,
    files: new Map([
      [`${BASE}${TOY_CHUNK.path}`, TOY_CHUNK.content],
      [`${BASE}double.json`, toyBundle("double", 2)],
    ]),
    createBackend: createToyBackend,
    drawFault: () => faults.shift() ?? null,
    log: null,
  });
  const engine = await createEngine({ effects: world.effects, workers: 2 });
  const model = await world.finish(engine.load(`${BASE}double.json`, { batching: false }));
  const run = (value: number) =>
    model.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, value) } });
  const up = (): number => engine.stats().lanes.filter(({ state }) => state !== "off").length;
  await world.finish(Promise.all([run(1), run(2), run(3), run(4)]));
  expect(up()).toBe(2);
  world.faults = true;
  faults.push("out-of-memory");
  const { outputs, info } = await world.finish(run(5));
  expect(outputs["y"]?.data[0]).toBe(10);
  expect(info.attempts).toBe(2);
  expect(up()).toBe(1);
  await engine.close();
});

/** A bundle with a second, smaller and slower variant, whose factor is 3. */
function twoVariants(onWasm: "apart" | "slow" = "apart"): string {
  const bundle = JSON.parse(toyBundle("two", 2, "apart", onWasm)) as { variants: { files: { path: string }[] }[] };
  const small = (JSON.parse(toyBundle("two", 3, "apart", onWasm)) as typeof bundle).variants.map((x) => ({
    ...x,
    ...{ id: "small", speed: { wasm: 2, webgpu: 2 } },
  }));
  const large = bundle.variants.map((x) => ({
    ...x,
    files: [...x.files, ...x.files.map((file) => ({ ...file, path: "m.onnx.data" }))],
  }));
  return JSON.stringify({ ...bundle, variants: [...large, ...small] });
}

test("a load that runs out of memory ends its worker, and a smaller variant is loaded in a new one", async () => {
  const tried: (readonly [worker: number, factor: string | undefined])[] = [];
  const { world, engine, load, ask } = await openScene({
    workers: 1,
    bundles: { two: twoVariants() },
    change: (toy, worker) => ({
      ...toy,
      load: (id, model) => {
        const factor = model.session[FACTOR_ENTRY];
        tried.push([worker.id, factor]);
        if (factor === "2") return Promise.reject(new SelvedgeError("out-of-memory", "simulated"));
        return toy.load(id, model);
      },
    }),
  });
  const model = await load("two");
  expect(model.variant).toBe("small");
  expect(await ask(model, 2)).toEqual([0, 3]);
  const [first, second] = tried;
  expect(tried.map(([, factor]) => factor)).toEqual(["2", "3"]);
  expect(second?.[0]).not.toBe(first?.[0]);
  expect(engine.stats().lanes[0]).toMatchObject({ starts: 2, crashes: 0 });
  const { info } = await world.finish(
    model.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 1) } }),
  );
  expect(JSON.stringify(info.why)).toContain("memory-short");
  // Pinned, there is no other.
  await expect(load("two", { variant: "f32" })).rejects.toMatchObject({ code: "out-of-memory" });
});

test("a run that has no memory in a new worker either is answered by a smaller variant, as are later ones", async () => {
  const tried: (string | undefined)[] = [];
  let isShort = false;
  const { world, load } = await openScene({
    workers: 1,
    bundles: { two: twoVariants() },
    change: (toy) => {
      const factors = new Map<number, string | undefined>();
      return {
        ...toy,
        load: (id, model) => {
          factors.set(id, model.session[FACTOR_ENTRY]);
          return toy.load(id, model);
        },
        run: (id, ...rest) => {
          tried.push(factors.get(id));
          if (isShort && factors.get(id) === "2")
            return Promise.reject(new SelvedgeError("out-of-memory", "simulated"));
          return toy.run(id, ...rest);
        },
      };
    },
  });
  const run = (model: Model) =>
    world.finish(model.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 1) } }));
  const model = await load("two");
  const pinned = await load("two", { variant: "f32" });
  expect((await run(model)).outputs["y"]?.data[0]).toBe(2);
  isShort = true;
  tried.length = 0;
  const { outputs, info } = await run(model);
  expect(outputs["y"]?.data[0]).toBe(3);
  expect(info).toMatchObject({ variant: "small", attempts: 3 });
  expect(info.why.reasons.map((x) => x.code)).toContain("memory-short");
  expect(tried).toEqual(["2", "2", "3"]);
  expect([model.variant, model.why.code]).toEqual(["small", "memory-short"]);
  expect((await run(model)).outputs["y"]?.data[0]).toBe(3);
  expect(tried).toEqual(["2", "2", "3", "3"]);
  await expect(run(pinned)).rejects.toMatchObject({ code: "out-of-memory" });
});

test("a smaller variant answers, too, where the GPU ran out of memory before wasm did; the GPU keeps the others (memory GPU)", async () => {
  const tried: string[] = [];
  let isShort = false;
  const { world, load, pass } = await openScene({
    ...{ gpu: true, workers: 1, cores: 1, bundles: { two: twoVariants("slow") } },
    change: (toy) => {
      const factors = new Map<number, string | undefined>();
      let name = "";
      return {
        ...toy,
        start: (options) => toy.start({ ...options, backend: (name = options.backend) }),
        load: (id, model) => {
          factors.set(id, model.session[FACTOR_ENTRY]);
          return toy.load(id, model);
        },
        run: (id, ...rest) => {
          tried.push(`${name} ${factors.get(id)}`);
          if (isShort && factors.get(id) === "2")
            return Promise.reject(new SelvedgeError("out-of-memory", "simulated"));
          return toy.run(id, ...rest);
        },
      };
    },
  });
  const run = (model: Model) =>
    world.finish(model.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 1) } }));
  const model = await load("two");
  expect((await run(model)).info.backend).toBe("webgpu");
  isShort = true;
  tried.length = 0;
  const { outputs, info } = await run(model);
  expect(outputs["y"]?.data[0]).toBe(3);
  expect(info).toMatchObject({ variant: "small", backend: "wasm", attempts: 4 });
  expect(tried).toEqual(["webgpu 2", "wasm 2", "wasm 2", "wasm 3"]);
  tried.length = 0;
  expect((await run(model)).outputs["y"]?.data[0]).toBe(3);
  expect(tried.at(-1)).toBe("wasm 3");
  isShort = false;
  tried.length = 0;
  for (let i = 0; i < 20; i += 1) {
    await pass(30_000);
    await run(model);
  }
  expect(tried).toContain("webgpu 2");
  expect([model.backend, model.variant]).toEqual(["webgpu", "f32"]);
});

test("where other models took a worker's memory, the model is tried again in a worker of its own", async () => {
  let isHeld = false;
  const { load, ask } = await openScene({
    workers: 1,
    bundles: { two: twoVariants() },
    change: (toy) => ({
      ...toy,
      load: (id, model) => {
        const isLarge = model.session[FACTOR_ENTRY] === "2" && model.files.length > 1;
        if (isLarge && isHeld) return Promise.reject(new SelvedgeError("out-of-memory", "simulated"));
        isHeld = true;
        return toy.load(id, model);
      },
      start: (options) => {
        isHeld = false;
        return toy.start(options);
      },
    }),
  });
  const other = await load("m");
  const model = await load("two");
  expect(model.variant).toBe("f32");
  expect(await ask(model, 2)).toEqual([0, 2]);
  expect(await ask(other, 2)).toEqual([0, 2]);
});

test("a small device has one worker, which ends soon after its use", async () => {
  const { world } = await openScene({ cores: 8 });
  const of = async (memoryBytes: number | null) => {
    const facts = { ...world.effects.facts, isolated: true, memoryBytes };
    const engine = await createEngine({ effects: { ...world.effects, facts } });
    const model = await world.finish(engine.load(`${BASE}m.json`));
    const data = Float32Array.of(1, 1);
    await world.finish(model.run({ x: { dtype: "float32", dims: [1, 2], data } }));
    let isOver = false;
    world.at(6_000, () => (isOver = true), false);
    await world.run(() => isOver, Infinity);
    const lanes = engine.stats().lanes.map((x) => x.id);
    const states = engine.stats().lanes.map((x) => x.state);
    await engine.close();
    return { lanes, isUp: states.some((x) => x !== "off"), why: model.why.code };
  };
  expect(await of(2 ** 31)).toEqual({ lanes: ["wasm-0"], isUp: false, why: "memory-short" });
  const { lanes, isUp } = await of(2 ** 33);
  expect(lanes.length).toBeGreaterThan(4);
  expect(isUp).toBe(true);
});
