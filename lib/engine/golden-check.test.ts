// The golden check: a variant that computes its known input wrongly on the GPU answers no request there.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { writeSafetensors } from "../compress/bundle/safetensors.ts";
import { createEngine } from "../create-engine.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { parseBundle } from "../core/bundle-schema.ts";
import type { BundleFile } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { endOf, openScene } from "../test-support/simulate/fixtures.ts";
import type { Scene, SceneOptions } from "../test-support/simulate/fixtures.ts";
import { TOY_CHUNK, toyBundle } from "../test-support/simulate/toy-backend.ts";
import { faultOf } from "./golden-check.ts";
import { AGAIN_MS } from "./measuring.ts";

const DAY_MS = 86_400_000;
const floats = (...values: number[]): Tensor => ({
  dtype: "float32",
  dims: [1, values.length],
  data: Float32Array.from(values),
});

type Outputs = Readonly<Record<string, Tensor>>;
type Lie = (outputs: Outputs) => Outputs;

/** Applies a function to each value of `y`. */
const each =
  (change: (value: number, i: number) => number): Lie =>
  ({ y }) => ({ y: { ...y, data: Float32Array.from(y?.data as Float32Array, change) } as Tensor });
const honest: Lie = (outputs) => outputs;
const zeros = each(() => 0);

/** A model in a simulated world, where the GPU lies as `gpu.lie` says. */
interface Stage extends Scene {
  readonly gpu: { lie: Lie; runs: number; lose: () => void };
}

/** Opens a scene with the bundle `checked`, whose golden is x = (3, −5), y = (6, −10); the GPU is 5 × faster. */
async function stage(lie: Lie, options: SceneOptions & { readonly hasGolden?: boolean } = {}): Promise<Stage> {
  const gpu = { lie, runs: 0, lose: (): void => undefined };
  const { hasGolden = true, ...sceneOptions } = options;
  const bundle = parseBundle(JSON.parse(toyBundle("checked", 2, "apart", "slow")));
  const files: Record<string, Uint8Array<ArrayBuffer>> = {
    [`${TOY_CHUNK.path}.bin`]: new TextEncoder().encode(TOY_CHUNK.content),
  };
  const fileOf = (path: string, tensors: Outputs): BundleFile => {
    const bytes = writeSafetensors(tensors) as Uint8Array<ArrayBuffer>;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    if (hasGolden) files[`chunks/${sha256}.bin`] = bytes;
    return { path, bytes: bytes.length, chunks: [{ sha256, bytes: bytes.length }] };
  };
  const golden = { inputs: fileOf("in", { x: floats(3, -5) }), outputs: fileOf("out", { y: floats(6, -10) }) };
  const checked = bundleJson({ ...bundle, variants: bundle.variants.map((variant) => ({ ...variant, golden })) });
  const scene = await openScene({
    gpu: true,
    bundles: { checked: JSON.stringify(checked) },
    files,
    change: (toy) => {
      let isGpu = false;
      const backend: typeof toy = {
        ...toy,
        start: (startOptions) => {
          isGpu = startOptions.backend === "webgpu";
          if (isGpu) gpu.lose = () => backend.onLost?.("simulated");
          return toy.start(startOptions);
        },
        run: async (...args) => {
          const outputs = await toy.run(...args);
          if (!isGpu) return outputs;
          gpu.runs += 1;
          return gpu.lie(outputs);
        },
      };
      return backend;
    },
    ...sceneOptions,
  });
  return { ...scene, gpu };
}

const LIES: readonly (readonly [string, Lie, string])[] = [
  ["zeros", zeros, "error 1 above 0.001"],
  ["1 % more everywhere", each((x) => x * 1.01), "error 0.01 above 0.001"],
  ["one element off", each((x, i) => (i === 0 ? x + 0.02 : x)), "error 0.002 above 0.001"],
  ["NaN", each((x, i) => (i === 1 ? NaN : x)), '"y" is not finite'],
  ["infinity", each((x, i) => (i === 0 ? Infinity : x)), '"y" is not finite'],
  ["other dims", ({ y }) => ({ y: { ...y, dims: [2, 1] } as Tensor }), '"y" has dims 2×1 in place of 1×2'],
];

/** Loads `checked` on another engine in the same browser, as a later page does. */
async function nextPage({ world }: Stage): Promise<string> {
  const engine = await createEngine({ effects: world.effects });
  const model = await world.finish(engine.load("https://app.test/checked.json"));
  await engine.close();
  return `${model.backend} ${model.why.code}`;
}

describe("a model whose golden the GPU answers wrongly", () => {
  test.each(LIES)("runs on wasm from the first request, and says why: %s (golden)", async (_, lie, fault) => {
    const scene = await stage(lie);
    const model = await scene.load("checked");
    expect([model.backend, model.why]).toEqual([
      "wasm",
      { code: "golden-failed", text: `wasm: WebGPU f32 refused: ${fault} (golden check)` },
    ]);
    const runs = scene.gpu.runs;
    expect(await scene.ask(model, 20)).toEqual(Array.from({ length: 20 }, (__, i) => 2 * i));
    const { info } = await scene.world.finish(scene.run(model, 3));
    expect(info.why.code).toBe("golden-failed");
    await scene.pass(2 * AGAIN_MS);
    await scene.ask(model, 1);
    expect([runs, scene.gpu.runs]).toEqual([1, 1]);
  });

  test.each(LIES)("is refused with wrong-result where the caller named the GPU: %s (golden)", async (_, lie, fault) => {
    const scene = await stage(lie);
    await expect(scene.load("checked", { backend: "webgpu" })).rejects.toMatchObject({
      code: "wrong-result",
      details: { reason: "golden", variant: "f32" },
      message: expect.stringContaining(`WebGPU f32 refused: ${fault} (golden check)`) as string,
    });
    const runs = scene.gpu.runs;
    await expect(scene.load("checked", { backend: "webgpu" })).rejects.toMatchObject({ code: "wrong-result" });
    expect([runs, scene.gpu.runs]).toEqual([1, 1]);
  });

  test("is not tried again by later pages for a day, then is, and may pass (golden memo)", async () => {
    const scene = await stage(zeros);
    await scene.load("checked");
    scene.gpu.lie = honest;
    expect(await nextPage(scene)).toBe("wasm golden-failed");
    expect(scene.gpu.runs).toBe(1);
    await scene.pass(DAY_MS);
    expect(await nextPage(scene)).toBe("webgpu measured-faster");
  });
});

describe("a model whose golden the GPU answers rightly", () => {
  test("runs there, and is checked once for all pages (golden memo)", async () => {
    const scene = await stage(each((x) => x * (1 + 1e-6)));
    const model = await scene.load("checked", { backend: "webgpu" });
    expect([model.backend, scene.gpu.runs]).toEqual(["webgpu", 1]);
    const again = await scene.load("checked", { backend: "webgpu" });
    expect([again.backend, scene.gpu.runs]).toEqual(["webgpu", 1]);
  });

  test("is checked again in another browser, and by another release (golden memo)", async () => {
    const scene = await stage(honest);
    const { effects } = scene.world;
    await scene.load("checked", { backend: "webgpu" });
    const other = await createEngine({ effects: { ...effects, facts: { ...effects.facts, browser: "other" } } });
    const load = (engine = other) =>
      scene.world.finish(engine.load("https://app.test/checked.json", { backend: "webgpu" }));
    await load();
    expect(scene.gpu.runs).toBe(2);
    const memo = effects.memo.get("selvedge/golden/1") as string;
    effects.memo.set("selvedge/golden/1", memo.replace(/"release":"[^"]*"/, '"release":"0.0.1"'));
    await load(scene.engine);
    expect(scene.gpu.runs).toBe(3);
  });

  test("is checked again after the device was lost; where it lies then, wasm answers all (golden loss)", async () => {
    const scene = await stage(honest);
    const model = await scene.load("checked");
    expect(model.backend).toBe("webgpu");
    scene.gpu.lie = zeros;
    scene.gpu.lose();
    const answers = Array.from({ length: 12 }, (_, i) => endOf(scene.run(model, i + 1)));
    expect(await scene.world.finish(Promise.all(answers))).toEqual(Array.from({ length: 12 }, (_, i) => 2 * (i + 1)));
    await scene.pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
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
  expect([model.backend, model.why.code]).toEqual(["wasm", "webgpu-failed"]);
});

describe("the comparison", () => {
  const value = fc.double({ min: -1e6, max: 1e6, noNaN: true });
  const tensor = (...values: number[]): Outputs => ({ y: floats(...values) });

  test("accepts what differs by less than the tolerance of the largest reference, and nothing that differs by more", () => {
    fc.assert(
      fc.property(fc.array(value, { minLength: 2, maxLength: 9 }), fc.nat(), (values, at) => {
        const scale = Math.max(...values.map(Math.abs));
        fc.pre(scale > 1e-2);
        const off = (by: number): Outputs => tensor(...values.map((x, i) => (i === at % values.length ? x + by : x)));
        const isRefused = (outputs: Outputs, isHalf: boolean): boolean =>
          faultOf(outputs, tensor(...values), isHalf) !== null;
        expect(isRefused(off(0.9e-3 * scale), false)).toBe(false);
        expect(isRefused(off(1.1e-3 * scale), false)).toBe(true);
        expect(isRefused(off(1.9e-2 * scale), true)).toBe(false);
        expect(isRefused(off(2.1e-2 * scale), true)).toBe(true);
      }),
    );
  });

  test("is not blinded by a mask, nor by a reference that is not finite", () => {
    const expected = tensor(-3.4e38, -Infinity, 1);
    expect(faultOf(tensor(-3.4e38, -3e38, 1), expected, false)).toBeNull();
    expect(faultOf(tensor(-3.4e38, -Infinity, 1.01), expected, false)).toBe("error 0.01 above 0.001");
    expect(faultOf(tensor(-3.3e38, -Infinity, 1), expected, false)).toContain("above 0.001");
  });

  test("accepts zeros where the reference is zeros, and refuses an output that is absent", () => {
    expect(faultOf(tensor(0, 0), tensor(0, 0), false)).toBeNull();
    expect(faultOf(tensor(0, 1e-3), tensor(0, 0), false)).not.toBeNull();
    expect(faultOf({}, tensor(0, 0), false)).toBe('no output "y"');
  });

  test("reads float16 and int64", () => {
    const half: Tensor = { dtype: "float16", dims: [3], data: Uint16Array.of(0x3c00, 0xc000, 0x0001) };
    expect(faultOf({ y: { ...half, data: Uint16Array.of(0x3c10, 0xc000, 0) } }, { y: half }, false)).toBeNull();
    expect(faultOf({ y: { ...half, data: Uint16Array.of(0x7c00, 0xc000, 0) } }, { y: half }, false)).toContain(
      "finite",
    );
    const whole: Tensor = { dtype: "int64", dims: [2], data: BigInt64Array.of(7n, 2n) };
    expect(faultOf({ y: { ...whole, data: BigInt64Array.of(7n, 3n) } }, { y: whole }, false)).toContain("error 0.14");
  });
});
