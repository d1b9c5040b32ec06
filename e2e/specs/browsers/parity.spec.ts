// f32 outputs agree across backends: the same tensor through WebGPU and wasm, in the browser that has both.
import { expect, test } from "@playwright/test";
import { sample } from "../../../lib/test-support/slice.ts";
import { keep } from "../../support/suite.ts";
import type * as Selvedge from "selvedge";

const MAX_DIFFERENCE = 1e-3;

const CASES = [
  { model: "ocr-rec", dims: [1, 3, 48, 160] },
  { model: "ocr-det", dims: [1, 3, 96, 160] },
  { model: "ocr-cls", dims: [1, 3, 48, 192] },
] as const;

for (const { model, dims } of sample(CASES, 2)) {
  test(`${model} gives the same numbers on WebGPU as on wasm at f32`, async ({ page }) => {
    const { pages } = test.info().config.metadata as { pages: string };
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const { largest, backends } = await page.evaluate(
      async ({ model, dims }) => {
        const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
        const length = dims.reduce((product: number, size) => product * size, 1);
        const data = Float32Array.from({ length }, (_, at) => Math.sin(at / 7) * Math.cos(at / 911));
        const results: Float32Array[] = [];
        const backends: string[] = [];
        for (const backend of ["wasm", "webgpu"] as const) {
          const engine = await createEngine({ backends: [backend], workers: 1 });
          const loaded = await engine.load(`/models/${model}/bundle.json`, { backend, variant: "f32" });
          const input = loaded.inputs[0]?.name ?? "";
          const { outputs, info } = await loaded.run({ [input]: { dtype: "float32", dims, data } });
          const output = outputs[loaded.outputs[0]?.name ?? ""];
          results.push(output?.data as Float32Array);
          backends.push(info.backend);
          await engine.close();
        }
        const [onWasm, onWebgpu] = results;
        if (onWasm === undefined || onWebgpu === undefined) throw new Error("a backend returned nothing");
        if (onWasm.length !== onWebgpu.length || onWasm.length === 0) throw new Error("the sizes differ");
        let largest = 0;
        for (const [at, value] of onWasm.entries()) {
          const difference = Math.abs(value - (onWebgpu[at] ?? Number.NaN));
          if (!(difference <= largest)) largest = difference;
        }
        return { largest, backends };
      },
      { model, dims },
    );
    await keep(test.info(), { model, largest });
    expect(backends).toEqual(["wasm", "webgpu"]);
    expect(largest).toBeLessThanOrEqual(MAX_DIFFERENCE);
  });
}
