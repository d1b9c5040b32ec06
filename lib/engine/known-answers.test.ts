// Known answers: wasm's where a model has no golden, and what happens where there are none.
import { describe, expect, test } from "vitest";
import { createEngine } from "../create-engine.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { endOf } from "../test-support/simulate/fixtures.ts";
import {
  askWide,
  each,
  floats,
  honest,
  onlyWhere,
  right,
  stage,
  zeros,
} from "../test-support/simulate/golden-stage.ts";
import type { Lie, GoldenStage } from "../test-support/simulate/golden-stage.ts";
import type { ImageInput, Inputs } from "./inputs.ts";
import type { Model } from "./model.ts";
import type { LoadOptions } from "./options.ts";

describe("a bare model", () => {
  const load = ({ world, engine }: GoldenStage, options: LoadOptions = {}): Promise<Model> =>
    world.finish(engine.load("https://app.test/bare.onnx", options));
  const LIES_OF_ROWS: readonly (readonly [string, Lie])[] = [
    ["everywhere", zeros],
    ["by 1 %", each((x) => x * 1.01)],
    ["NaN", each((x, i) => (i === 1 ? NaN : x))],
    ["for several rows", onlyWhere((rows) => rows > 1, zeros)],
  ];

  for (const bareWidth of [2, "w"])
    test.each(LIES_OF_ROWS)(
      `of width ${bareWidth} gets right answers where the GPU is wrong %s (golden bare)`,
      async (_, lie) => {
        const scene = await stage(lie, { bareWidth });
        const model = await load(scene);
        for (const count of [1, 9, 30]) expect(await askWide(scene, model, count, 2)).toEqual(right(count));
        const pinned = await load(scene, { backend: "webgpu" }).catch((error: unknown) => error);
        if (!(pinned instanceof SelvedgeError))
          for (const end of await askWide(scene, pinned as Model, 9, 2))
            expect([...right(9), "wrong-result"]).toContain(end);
      },
    );

  test("is run on wasm before the GPU loads it, once, in a worker that ends (golden bare)", async () => {
    const calls: string[] = [];
    const scene = await stage(honest, { onWasm: (what) => calls.push(`wasm ${what}`) });
    const model = await load(scene, { backend: "webgpu" });
    expect([calls, scene.gpu.runs]).toEqual([["wasm load", "wasm run"], 1]);
    expect(scene.engine.stats().lanes.filter(({ backend, state }) => backend === "wasm" && state !== "off")).toEqual(
      [],
    );
    expect([model.backend, model.why.text]).toEqual(["webgpu", "webgpu: pinned by the caller"]);
    expect(await askWide(scene, model, 1, 2)).toEqual([2]);
    const engine = await createEngine({ effects: scene.world.effects });
    await scene.world.finish(engine.load("https://app.test/bare.onnx", { backend: "webgpu" }));
    expect([calls.length, scene.gpu.runs]).toEqual([2, 2]);
  });

  const outOfMemory = (): void => {
    throw new SelvedgeError("out-of-memory", "simulated");
  };

  test("is refused where wasm can't hold it, unless the caller allows that (golden bare)", async () => {
    const scene = await stage(honest, { onWasm: outOfMemory });
    await expect(load(scene)).rejects.toMatchObject({ details: { reason: "unverified" } });
    await expect(load(scene, { backend: "webgpu" })).rejects.toMatchObject({
      code: "wrong-result",
      details: { reason: "unverified" },
      message: expect.stringContaining("allowUnverified: true") as string,
    });
    const model = await load(scene, { backend: "webgpu", allowUnverified: true });
    expect(model.why.text).toMatch(/; unverified: wasm can't run it \(out-of-memory\)$/);
    expect(await askWide(scene, model, 12, 2)).toEqual(right(12));
  });

  test("may be less exact where its weights are float16 (golden bare)", async () => {
    const scene = await stage(
      each((x) => x * 1.005),
      { bareWidth: "w" },
    );
    const pinned = { backend: "webgpu" } as const;
    expect(await askWide(scene, await load(scene, pinned), 1, 2)).toEqual(["wrong-result"]);
    const half = await scene.world.finish(scene.engine.load("https://app.test/half.onnx", pinned));
    expect(await askWide(scene, half, 1, 2)).toEqual([Math.fround(2 * 1.005)]);
    scene.gpu.lie = zeros;
    expect(await askWide(scene, half, 1, 7)).toEqual(["wrong-result"]);
  });

  test("runs where the engine has no wasm, and is called unverified (golden bare)", async () => {
    const scene = await stage(honest, { backends: ["webgpu"] });
    const model = await load(scene);
    expect(model.why.text).toMatch(/; unverified: there is no WebAssembly to compare with$/);
    expect(await askWide(scene, model, 3, 2)).toEqual(right(3));
  });
});

test("a golden that can't be fetched fails no load: the model is unverified (golden missing)", async () => {
  const scene = await stage(honest, { hasGolden: false });
  const model = await scene.load("checked");
  expect(model.backend).toBe("webgpu");
  expect(model.why.text).toMatch(/; unverified: the golden files could not be fetched$/);
  expect(await scene.ask(model, 3)).toEqual([0, 2, 4]);
});

test("an error of the GPU in the check fails the load there as it would in a request (golden error)", async () => {
  const scene = await stage(() => {
    throw new SelvedgeError("internal", "simulated");
  });
  const model = await scene.load("checked");
  expect([model.backend, model.why.code]).toEqual(["wasm", "measurement-failed"]);
});

describe("a model of images whose size follows the image", () => {
  const resize = { mode: "side", maxSide: 64 } as const;
  const pixels = (width: number, height: number): ImageInput => ({
    width,
    height,
    data: new Uint8ClampedArray(4 * width * height).fill(255),
    close: () => undefined,
  });
  const askImage = async ({ world }: GoldenStage, model: Model, width: number, height: number): Promise<unknown> => {
    world.effects.createImageBitmap = (source) => Promise.resolve(source as ImageBitmap);
    return world.finish(endOf(model.run({ x: pixels(width, height) })));
  };

  test("is compared with wasm at the size that an image has after resizing, and is not unverified (golden image)", async () => {
    const wasm = { runs: 0 };
    const scene = await stage(honest, { resize, onWasm: (what) => (wasm.runs += what === "run" ? 1 : 0) });
    const model = await scene.load("checked", { backend: "webgpu" });
    for (const [width, height] of [
      [9, 5],
      [9, 5],
      [128, 64], // 64 × 32
      [64, 32],
      [256, 128],
    ] as const)
      expect(await askImage(scene, model, width, height)).toBeCloseTo(2);
    expect([wasm.runs, model.why.text]).toEqual([2, "webgpu: pinned by the caller"]);
  });

  test("gets no answer where the GPU computes its size wrongly (golden image)", async () => {
    const scene = await stage(
      (outputs, variant) => (outputs["y"]?.dims[3] === 13 ? zeros(outputs, variant) : outputs),
      { resize },
    );
    const model = await scene.load("checked", { backend: "webgpu" });
    expect(await askImage(scene, model, 8, 8)).toBeCloseTo(2);
    expect(await askImage(scene, model, 13, 8)).toBe("wrong-result");
  });
});

describe("a model with a state", () => {
  const second = [
    { x: floats(1, 1) },
    { y: floats(3, -0.5), next: floats(3, -0.5) }, // (4, −3) / 2 + 1
  ] as const;
  const row = (value: number, rows = 1): Inputs => ({
    x: { dtype: "float32", dims: [rows, 2], data: new Float32Array(2 * rows).fill(value) },
  });

  test("is checked by two steps, the second with the state that the first left (golden state)", async () => {
    const scene = await stage(honest, { hasState: true, next: [second] });
    expect((await scene.load("checked", { backend: "webgpu" })).backend).toBe("webgpu");
    const forgetful: Lie = ({ y, ...others }) =>
      Number(y?.data[0]) === 3 ? { ...others, y: floats(1, 1), next: floats(1, 1) } : { y: y as Tensor, ...others };
    const other = await stage(forgetful, { hasState: true, next: [second] });
    await expect(other.load("checked", { backend: "webgpu" })).rejects.toMatchObject({ code: "wrong-result" });
  });

  test("gets right answers from its steps where the GPU computes their size wrongly (golden state)", async () => {
    const scene = await stage(
      onlyWhere((rows) => rows === 3, zeros),
      { hasState: true, cores: 1, workers: 1 },
    );
    const model = await scene.load("checked");
    expect(model.backend).toBe("webgpu");
    const initial = { sum: { dtype: "float32", dims: [3, 2], data: new Float32Array(6) } } as const;
    const state = model.stateful({ initial });
    const answers: unknown[] = [];
    for (const value of [1, 2, 3]) answers.push(await scene.world.finish(endOf(state.run(row(value, 3)))));
    expect(answers).toEqual([1, 2.5, 4.25]);
    await scene.pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
  });

  test("is compared once for a size, and stays on the GPU where that is right (golden state)", async () => {
    const wasm = { runs: 0 };
    const scene = await stage(honest, { hasState: true, onWasm: (what) => (wasm.runs += what === "run" ? 1 : 0) });
    const model = await scene.load("checked", { backend: "webgpu" });
    const initial = { sum: { dtype: "float32", dims: [3, 2], data: new Float32Array(6) } } as const;
    for (const state of [model.stateful({ initial }), model.stateful({ initial })])
      for (const value of [1, 2]) await scene.world.finish(state.run(row(value, 3)));
    expect([wasm.runs, model.why.text]).toEqual([2, "webgpu: pinned by the caller"]);
  });
});

test("each run of a golden is compared, as one with large values (golden next run)", async () => {
  const overflow = each((x) => (Math.abs(x) > 100 ? Infinity : x));
  const next = [[{ x: floats(300, 1) }, { y: floats(600, 2) }]] as const;
  const scene = await stage(overflow, { next });
  await expect(scene.load("checked", { backend: "webgpu" })).rejects.toMatchObject({
    message: expect.stringContaining('"y" is not finite') as string,
  });
  expect((await (await stage(honest, { next })).load("checked")).backend).toBe("webgpu");
});

test("the values of an output that is declared random are not compared (golden random)", async () => {
  let draws = 1;
  const random = each((x) => x + (draws += 1));
  const declared = await stage(random, {
    describe: (model) => ({ ...model, outputs: model.outputs.map((x) => ({ ...x, isRandom: true })) }),
  });
  const model = await declared.load("checked", { backend: "webgpu" });
  expect(await askWide(declared, model, 1, 7)).toHaveLength(1);
  expect(model.why.text).toBe("webgpu: pinned by the caller");
  await expect((await stage(random)).load("checked", { backend: "webgpu" })).rejects.toMatchObject({
    code: "wrong-result",
  });
});
