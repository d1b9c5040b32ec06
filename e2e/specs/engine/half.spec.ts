// Models in float16 on a GPU that computes in float16: their answers are those of wasm, which computes the same file in
// float32, within float16's precision; and one whose values exceed float16's largest number is refused before it answers.
// On an adapter without `shader-f16` (SwiftShader) a variant that needs it is not offered.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { Random } from "../../../lib/test-support/random.ts";
import { packBundle } from "../../../lib/compress/bundle/pack.ts";
import { chunkPath } from "../../../lib/core/bundle.ts";
import { chromiumAdapter } from "../../support/browsers.ts";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import { keep } from "../../support/suite.ts";
import type * as Selvedge from "selvedge";

const WIDTH = 64;
const FLOAT32 = 1;
const FLOAT16 = 10;
/** Largest error of float16 that the golden check accepts, as a share of the largest value. */
const TOLERANCE = 2e-2;

/** Two products in float16 with `gain` between them, which is taken back after the second. */
function half(gain: number): Uint8Array<ArrayBuffer> {
  const square = (seed: number): number[] => {
    const random = new Random(seed);
    return Array.from({ length: WIDTH * WIDTH }, () => (random.next() - 0.4) / Math.sqrt(WIDTH));
  };
  const cast = (from: string, to: string, dtype: number) => ({
    opType: "Cast",
    input: [from],
    output: [to],
    attributes: { to: dtype },
  });
  return modelOf({
    inputs: { x: { dtype: "float32", dims: [4, WIDTH] } },
    constants: {
      a: { dtype: "float16", dims: [WIDTH, WIDTH], values: square(1) },
      b: { dtype: "float16", dims: [WIDTH, WIDTH], values: square(2) },
      gain: { dtype: "float16", dims: [], values: [gain] },
      loss: { dtype: "float32", dims: [], values: [1 / gain ** 2] },
    },
    outputs: ["y"],
    nodes: [
      cast("x", "xh", FLOAT16),
      { opType: "MatMul", input: ["xh", "a"], output: ["h"] },
      { opType: "Mul", input: ["h", "gain"], output: ["large"] },
      { opType: "MatMul", input: ["large", "b"], output: ["h2"] },
      { opType: "Mul", input: ["h2", "gain"], output: ["larger"] },
      cast("larger", "wide", FLOAT32),
      { opType: "Mul", input: ["wide", "loss"], output: ["y"] },
    ],
  }).write();
}

/** Serves a bundle at /half/ whose one variant needs `shader-f16` on a GPU, and the same file bare. */
async function open(page: Page, gain: number): Promise<void> {
  const bytes = half(gain);
  const inputs = [{ name: "x", dtype: "float32" as const, dims: [4, WIDTH], batchAxis: null }];
  const outputs = [{ name: "y", dtype: "float32" as const, dims: [4, WIDTH], batchAxis: null }];
  const model = { name: "half", version: "1", licence: "MIT", inputs, outputs };
  const files = [{ path: "model.onnx", bytes, isModel: true }];
  const variants = [
    { id: "f16", needs: ["shader-f16"], files },
    { id: "any", needs: [], files },
  ];
  const { json, chunks } = await packBundle({ model, variants }, { compress: false });
  await page.route("**/half.onnx", (route) => route.fulfill({ body: Buffer.from(bytes) }));
  await page.route("**/half/**", async (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname.endsWith("bundle.json")) return route.fulfill({ json });
    const found = [...chunks].find(([sha256]) => pathname.endsWith(chunkPath(2, sha256)));
    return found === undefined ? route.fulfill({ status: 404 }) : route.fulfill({ body: Buffer.from(found[1]) });
  });
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
}

interface Ran {
  readonly hasHalf: boolean;
  /** Code and message of the load's error; else null. */
  readonly failed: readonly [string, string] | null;
  readonly backend: string | null;
  readonly values: readonly number[];
}

/** Loads and runs the model in a new engine. */
function run(page: Page, source: string, options: Selvedge.LoadOptions): Promise<Ran> {
  return page.evaluate(
    async ({ source, options, width }) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ store: "memory", workers: 1 });
      const hasHalf = engine.device.gpu?.features.includes("shader-f16") === true;
      try {
        const model = await engine.load(source, options);
        const data = Float32Array.from({ length: 4 * width }, (_, i) => Math.cos(i));
        const { outputs, info } = await model.run({ x: { dtype: "float32", dims: [4, width], data } });
        return { hasHalf, failed: null, backend: info.backend, values: [...(outputs["y"]?.data as Float32Array)] };
      } catch (error) {
        const { code, message } = error as Selvedge.SelvedgeError;
        return { hasHalf, failed: [code, message] as const, backend: null, values: [] };
      } finally {
        await engine.close();
      }
    },
    { source, options, width: WIDTH },
  );
}

/** Whether this browser's adapter must compute in float16. */
const mustHaveHalf = (browserName: string): boolean => browserName !== "chromium" || chromiumAdapter() === "lavapipe";

test("a float16 model answers on the GPU as on wasm, within float16's precision", async ({ page, browserName }) => {
  await open(page, 1);
  const gpu = await run(page, "/half.onnx", { backend: "webgpu" });
  expect(gpu.hasHalf).toBe(mustHaveHalf(browserName));
  if (!gpu.hasHalf) {
    const { failed } = await run(page, "/half/bundle.json", { backend: "webgpu", variant: "f16" });
    expect(failed?.[0]).toBe("no-backend");
    return;
  }
  expect([gpu.failed, gpu.backend]).toEqual([null, "webgpu"]);
  const wasm = await run(page, "/half.onnx", { backend: "wasm" });
  const scale = Math.max(...wasm.values.map(Math.abs));
  const error = Math.max(...wasm.values.map((x, i) => Math.abs(x - (gpu.values[i] ?? NaN)))) / scale;
  await keep(test.info(), { error });
  expect(error).toBeLessThan(TOLERANCE);
  // Computed in float16, and not in float32.
  expect(error).toBeGreaterThan(1e-6);
  const { failed, backend } = await run(page, "/half/bundle.json", { backend: "webgpu", variant: "f16" });
  expect([failed, backend]).toEqual([null, "webgpu"]);
});

test("a float16 model that overflows on the GPU is refused, and wasm answers", async ({ page, browserName }) => {
  await open(page, 3_000);
  const gpu = await run(page, "/half.onnx", { backend: "webgpu" });
  if (!mustHaveHalf(browserName)) {
    expect(gpu.hasHalf).toBe(false);
    return;
  }
  expect(gpu.failed?.[0]).toBe("wrong-result");
  expect(gpu.failed?.[1]).toContain('"y" is not finite');
  const { backend, values } = await run(page, "/half.onnx", { backend: "wasm" });
  expect(backend).toBe("wasm");
  expect(values.every(Number.isFinite)).toBe(true);
});
