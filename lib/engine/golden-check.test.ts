// The golden check: a variant that computes its known input wrongly on the GPU answers no request there.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { writeSafetensors } from "../compress/bundle/safetensors.ts";
import { createEngine } from "../create-engine.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { parseBundle } from "../core/bundle-schema.ts";
import type { BundleFile, Variant } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { endOf, openScene } from "../test-support/simulate/fixtures.ts";
import type { Scene, SceneOptions } from "../test-support/simulate/fixtures.ts";
import { COST_ENTRY, FACTOR_ENTRY, TOY_CHUNK, toyBundle } from "../test-support/simulate/toy-backend.ts";
import { faultOf } from "./compare-outputs.ts";
import { IDLE_MS, REPEAT_MS } from "./golden-check.ts";
import type { Model } from "./model.ts";
import type { LoadOptions } from "./options.ts";
import { AGAIN_MS } from "./measuring.ts";

const DAY_MS = 86_400_000;
/** Session entry that tells the variants of a test apart. */
const VARIANT_ENTRY = "session.intra_op.allow_spinning";
const floats = (...values: number[]): Tensor => ({
  dtype: "float32",
  dims: [1, values.length],
  data: Float32Array.from(values),
});

type Outputs = Readonly<Record<string, Tensor>>;
/** Changes the outputs of a run on the GPU; `variant` is the number of its variant. */
type Lie = (outputs: Outputs, variant: number) => Outputs;

/** Applies a function to each value of `y`. */
const each =
  (change: (value: number, i: number) => number): Lie =>
  ({ y }) => ({ y: { ...y, data: Float32Array.from(y?.data as Float32Array, change) } as Tensor });
const honest: Lie = (outputs) => outputs;
const zeros = each(() => 0);
/** A lie in runs with outputs for which a condition on rows and columns holds. */
const onlyWhere =
  (condition: (rows: number, columns: number) => boolean, lie: Lie): Lie =>
  (outputs, variant) => {
    const [rows = 0, columns = 0] = outputs["y"]?.dims ?? [];
    return condition(rows, columns) ? lie(outputs, variant) : outputs;
  };

/** A model in a simulated world, where the GPU lies as `gpu.lie` says. */
interface Stage extends Scene {
  readonly gpu: { lie: Lie; runs: number; rows: number[]; lose: () => void };
}

interface StageOptions extends SceneOptions {
  /** Whether the golden files are on the server. Default true. */
  readonly hasGolden?: boolean;
  /** Width of the bare model `bare.onnx`. Default 2. */
  readonly bareWidth?: number | string;
  /** Number of variants. Default 1. */
  readonly variants?: number;
  /** Called before each load and run on wasm. */
  readonly onWasm?: (what: "load" | "run") => void;
}

/** Opens a scene with the bundle `checked`, whose golden is x = (3, −5), y = (6, −10); the GPU is 5 × faster. */
async function stage(lie: Lie, options: StageOptions = {}): Promise<Stage> {
  const gpu: Stage["gpu"] = { lie, runs: 0, rows: [], lose: () => undefined };
  const { hasGolden = true, bareWidth = 2, variants = 1, onWasm, ...sceneOptions } = options;
  const bundle = parseBundle(JSON.parse(toyBundle("checked", 2, "apart", "slow")));
  const files: Record<string, Uint8Array<ArrayBuffer>> = {
    [`${TOY_CHUNK.path}.bin`]: new TextEncoder().encode(TOY_CHUNK.content),
    "bare.onnx": Uint8Array.of(8, 9, 0x3a, 0),
    "half.onnx": Uint8Array.of(8, 9, 0x3a, 6, 0x2a, 4, 8, 2, 0x10, 10), // one weight, float16
  };
  const fileOf = (path: string, tensors: Outputs): BundleFile => {
    const bytes = writeSafetensors(tensors) as Uint8Array<ArrayBuffer>;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    if (hasGolden) files[`chunks/${sha256}.bin`] = bytes;
    return { path, bytes: bytes.length, chunks: [{ sha256, bytes: bytes.length }] };
  };
  const golden = { inputs: fileOf("in", { x: floats(3, -5) }), outputs: fileOf("out", { y: floats(6, -10) }) };
  const [only] = bundle.variants as [Variant];
  const made = Array.from({ length: variants }, (_, i): Variant => ({
    ...only,
    ...(i === 0 ? {} : { id: `v${i}`, speed: { webgpu: 1 + i / 2, wasm: 1 + i / 2 } }),
    session: { ...only.session, webgpu: { ...only.session?.webgpu, [VARIANT_ENTRY]: String(i) } },
    golden,
  }));
  const checked = bundleJson({ ...bundle, variants: made });
  const scene = await openScene({
    gpu: true,
    bundles: { checked: JSON.stringify(checked) },
    files,
    change: (toy) => {
      let isGpu = false;
      const numbers = new Map<number, number>();
      const backend: typeof toy = {
        ...toy,
        start: (startOptions) => {
          isGpu = startOptions.backend === "webgpu";
          if (isGpu) gpu.lose = () => backend.onLost?.("simulated");
          return toy.start(startOptions);
        },
        load: async (modelId, loadOptions, ...rest) => {
          if (!isGpu) onWasm?.("load");
          numbers.set(modelId, Number(loadOptions.session[VARIANT_ENTRY] ?? 0));
          if (FACTOR_ENTRY in loadOptions.session) return toy.load(modelId, loadOptions, ...rest);
          const session = { [FACTOR_ENTRY]: "2", [COST_ENTRY]: isGpu ? "apart" : "slow" };
          const facts = await toy.load(modelId, { ...loadOptions, session }, ...rest);
          const inputs = facts.inputs.map((x) => ({ ...x, dims: ["n", bareWidth] }));
          return { ...facts, inputs };
        },
        run: async (modelId, ...rest) => {
          if (!isGpu) onWasm?.("run");
          const outputs = await toy.run(modelId, ...rest);
          if (!isGpu) return outputs;
          gpu.runs += 1;
          gpu.rows.push(outputs["y"]?.dims[0] ?? 0);
          return gpu.lie(outputs, numbers.get(modelId) ?? 0);
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

/** Runs the model on rows of `columns` times a number; returns the first number of each answer, or the error's code. */
async function askWide({ world }: Stage, model: Model, count: number, columns: number): Promise<unknown[]> {
  const one = (value: number): Promise<unknown> =>
    endOf(model.run({ x: { dtype: "float32", dims: [1, columns], data: new Float32Array(columns).fill(value) } }));
  return world.finish(Promise.all(Array.from({ length: count }, (_, i) => one(i + 1))));
}
const right = (count: number): number[] => Array.from({ length: count }, (_, i) => 2 * (i + 1));

describe("a batch of a size that was never checked", () => {
  const BATCHES: readonly (readonly [string, (rows: number) => boolean])[] = [
    ["more than one row", (rows) => rows > 1],
    ["exactly two rows", (rows) => rows === 2],
    ["rows that are no multiple of 4", (rows) => rows > 1 && rows % 4 !== 0],
    ["more than 8 rows", (rows) => rows > 8],
  ];
  test.each(BATCHES)("gets right answers although the GPU computes %s wrongly (golden batch)", async (_, condition) => {
    const scene = await stage(honest, { ...{ cores: 1, workers: 1 } });
    const model = await scene.load("checked");
    expect(model.backend).toBe("webgpu");
    scene.gpu.lie = onlyWhere(
      (rows) => condition(rows),
      each((x) => x * 1.5),
    );
    for (const count of [1, 3, 7, 20, 40, 12]) expect(await askWide(scene, model, count, 2)).toEqual(right(count));
    expect(scene.gpu.rows.some(condition)).toBe(true);
    await scene.pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
    expect(model.why.text).toMatch(
      /^wasm: WebGPU f32 refused: error 0\.5 above 0\.001 in a batch of \d+ \(golden check\)$/,
    );
  });

  test("fails with wrong-result where the caller named the GPU (golden batch)", async () => {
    const scene = await stage(honest);
    const model = await scene.load("checked", { backend: "webgpu" });
    scene.gpu.lie = onlyWhere((rows) => rows > 1, zeros);
    const ends = await askWide(scene, model, 12, 2);
    expect(new Set(ends.filter((x) => typeof x === "string"))).toEqual(new Set(["wrong-result"]));
    expect(ends.filter((x) => typeof x === "number")).toEqual(right(12).filter((x) => ends.includes(x)));
    expect(await askWide(scene, model, 1, 2)).toEqual(["wrong-result"]);
  });

  test("costs extra runs once for all pages (golden batch memo)", async () => {
    const scene = await stage(honest);
    const options = { backend: "webgpu", batching: { maxBatchSize: 2 } } as const;
    const model = await scene.load("checked", options);
    const cost = async (of: Model, count: number): Promise<number> => {
      const before = scene.world.rows;
      expect(await askWide(scene, of, count, 2)).toEqual(right(count));
      return scene.world.rows - before - count;
    };
    expect(await cost(model, 40)).toBeGreaterThan(0);
    expect([await cost(model, 40), await cost(model, 40)]).toEqual([0, 0]);
    const engine = await createEngine({ effects: scene.world.effects });
    const again = await scene.world.finish(engine.load("https://app.test/checked.json", options));
    expect(await cost(again, 40)).toBe(0);
  });
});

describe("a request of a shape that was never checked", () => {
  const SHAPES: readonly (readonly [string, number, (rows: number, columns: number) => boolean])[] = [
    ["no multiple of 4", 7, (_, columns) => columns % 4 !== 0 && columns !== 2],
    ["large", 300, (_, columns) => columns > 256],
    ["in a batch", 8, (rows, columns) => rows > 1 && columns === 8],
  ];
  test.each(SHAPES)("gets the right answer: %s (golden shape)", async (_, columns, condition) => {
    const scene = await stage(onlyWhere(condition, zeros), { cores: 1, workers: 1 });
    const model = await scene.load("checked");
    expect(model.backend).toBe("webgpu");
    expect(await askWide(scene, model, 20, columns)).toEqual(right(20));
    await scene.pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
  });

  test("is compared with wasm once, and the model stays on the GPU (golden shape)", async () => {
    const wasm = { runs: 0 };
    const scene = await stage(honest, { onWasm: (what) => (wasm.runs += what === "run" ? 1 : 0) });
    const model = await scene.load("checked", { backend: "webgpu" });
    for (const columns of [7, 7, 5, 7]) expect(await askWide(scene, model, 1, columns)).toEqual([2]);
    expect([wasm.runs, model.backend, model.why.text]).toEqual([1, "webgpu", "webgpu: pinned by the caller"]);
  });

  test("is answered where there is no wasm to compare with, and called unverified (golden shape)", async () => {
    const scene = await stage(honest, { backends: ["webgpu"] });
    const model = await scene.load("checked");
    expect(model.why.text).not.toContain("unverified");
    expect(await askWide(scene, model, 9, 7)).toEqual(right(9));
    expect(model.why.text).toMatch(/; unverified: a shape could not be compared with wasm$/);
  });
});

describe("the next variant", () => {
  /** A lie in the runs of some variants. */
  const only =
    (...variants: number[]): Lie =>
    (outputs, variant) =>
      variants.includes(variant) ? zeros(outputs, variant) : outputs;
  const PINS: readonly LoadOptions[] = [{}, { backend: "webgpu" }];

  test.each(PINS)("runs on the GPU where that computes the first wrongly: %j (golden next)", async (options) => {
    const scene = await stage(only(0, 1), { variants: 3 });
    const model = await scene.load("checked", options);
    expect([model.backend, model.variant]).toEqual(["webgpu", "v2"]);
    expect(model.why.text).toContain(
      "; WebGPU f32 refused: error 1 above 0.001 (golden check); WebGPU v1 refused: error 1",
    );
    expect(await askWide(scene, model, 20, 2)).toEqual(right(20));
    const runs = scene.gpu.runs;
    const engine = await createEngine({ effects: scene.world.effects });
    const again = await scene.world.finish(engine.load("https://app.test/checked.json", options));
    expect([again.backend, again.variant, scene.gpu.runs]).toEqual(["webgpu", "v2", runs]);
  });

  test("is wasm's where the GPU computes all wrongly (golden next)", async () => {
    const scene = await stage(zeros, { variants: 3 });
    const model = await scene.load("checked");
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
    await expect(scene.load("checked", { backend: "webgpu" })).rejects.toMatchObject({ code: "wrong-result" });
  });

  test("is not used in place of one that the caller named (golden next)", async () => {
    const scene = await stage(only(0), { variants: 2 });
    const named = { backend: "webgpu", variant: "f32" } as const;
    await expect(scene.load("checked", named)).rejects.toMatchObject({ code: "wrong-result" });
  });

  test("takes over while requests run, where the first fails later (golden next)", async () => {
    const scene = await stage(honest, { variants: 2 });
    const model = await scene.load("checked");
    scene.gpu.lie = only(0);
    scene.gpu.lose();
    expect(await askWide(scene, model, 12, 2)).toEqual(right(12));
    await scene.pass(10_000);
    expect([model.backend, model.variant]).toEqual(["webgpu", "v1"]);
  });
});

describe("a GPU that fails after it passed", () => {
  test("is found by a repeated check after an hour of use, once idle (golden repeat)", async () => {
    const scene = await stage(honest, { idleMs: 2 * REPEAT_MS });
    const model = await scene.load("checked");
    await askWide(scene, model, 1, 2);
    const runs = scene.gpu.runs;
    await scene.pass(REPEAT_MS - 60_000);
    await askWide(scene, model, 1, 2);
    await scene.pass(10 * IDLE_MS);
    expect(scene.gpu.runs - runs).toBe(1); // the request
    await scene.pass(60_000);
    await askWide(scene, model, 1, 2);
    await scene.pass(10 * IDLE_MS);
    expect(scene.gpu.runs - runs).toBe(3);
    await askWide(scene, model, 1, 2);
    await scene.pass(10 * IDLE_MS);
    expect([scene.gpu.runs - runs, model.backend]).toEqual([4, "webgpu"]);
    await scene.pass(REPEAT_MS);
    scene.gpu.lie = each((x) => (x < 0 ? 0 : x)); // right for the requests, wrong for the golden
    expect(await askWide(scene, model, 1, 2)).toEqual([2]);
    expect(model.backend).toBe("webgpu");
    await scene.pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
  });

  test("answers nothing from the cached results of before (golden cache)", async () => {
    const scene = await stage(honest);
    const model = await scene.load("checked", { cache: true });
    scene.gpu.lie = each((x) => (x > 0 ? x + 1 : x));
    const ask = async (): Promise<unknown> => (await askWide(scene, model, 1, 2))[0];
    expect([await ask(), await ask()]).toEqual([3, 3]); // believed, and cached
    scene.gpu.lose();
    await scene.world.finish(endOf(scene.run(model, 9)));
    await scene.pass(5_000);
    expect([model.backend, await ask()]).toEqual(["wasm", 2]);
    scene.gpu.lie = honest;
    await scene.pass(DAY_MS);
    const later = await scene.load("checked", { backend: "webgpu", cache: true });
    expect([later.backend, ...(await askWide(scene, later, 1, 2))]).toEqual(["webgpu", 2]);
  });
});

describe("a bare model", () => {
  const load = ({ world, engine }: Stage, options: LoadOptions = {}): Promise<Model> =>
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

  test("is not blinded by one huge value where the toolchain gives a floor", () => {
    const expected = tensor(1e6, 1, -0.5);
    const floors = { y: 1e-4 };
    const fault = (...values: number[]): string | null => faultOf(tensor(...values), expected, false, { floors });
    expect(faultOf(tensor(1e6, 3, -0.5), expected, false)).toBeNull();
    expect(fault(1e6, 3, -0.5)).toContain("above 0.001");
    expect(fault(1e6, 1.01, -0.5)).toContain("above 0.001");
    expect(fault(1.002e6, 1, -0.5)).toContain("above 0.001");
    expect(fault(1.0009e6, 1.0009, -0.5004)).toBeNull();
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
