// Models on a device without WebGPU: a large one runs in the JSPI build of ONNX Runtime, which reads its weights without
// a copy, a small one in the smaller build. Both give the same answers.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { toBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "../../../lib/compress/onnx/onnx.gen.js";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import type * as Selvedge from "selvedge";

/** Columns of the large model's weights: 2,048 rows of float32 make 33.5 MB. */
const WIDTHS = { small: 16, large: 4_096 } as const;
const ROWS = 2_048;

interface Ran {
  readonly builds: readonly string[];
  readonly values: readonly number[];
}

/** Loads and runs a model; with `hidesJspi` as in a browser without JSPI. */
async function run(page: Page, which: keyof typeof WIDTHS, hidesJspi: boolean): Promise<Ran> {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  return page.evaluate(
    async ({ which, hidesJspi, rows }) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      if (hidesJspi) Reflect.deleteProperty(WebAssembly, "Suspending");
      const engine = await createEngine({ workers: 1 });
      const model = await engine.load(`/${which}.onnx`);
      const data = Float32Array.from({ length: rows }, (_, i) => Math.sin(i));
      const { outputs, info } = await model.run({ x: { dtype: "float32", dims: [1, rows], data } });
      if (engine.device.gpu !== null || info.backend !== "wasm") throw new Error("There is a GPU here.");
      await engine.close();
      const names = performance.getEntriesByType("resource").map((x) => /ort-(\w+)\.wasm$/.exec(x.name)?.[1] ?? "");
      return { builds: [...new Set(names.filter((x) => x !== ""))], values: [...(outputs["y"]?.data as Float32Array)] };
    },
    { which, hidesJspi, rows: ROWS },
  );
}

test.beforeEach(async ({ page }) => {
  await page.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined });
  });
  for (const [name, columns] of Object.entries(WIDTHS)) {
    const values = Array.from({ length: ROWS * columns }, (_, i) => ((i * 7_919) % 1_009) / 1_009 - 0.5);
    const model = modelOf({
      inputs: { x: { dtype: "float32", dims: [1, ROWS] } },
      constants: { w: { dtype: "float32", dims: [ROWS, columns], values } },
      outputs: ["y"],
      nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    });
    const body = Buffer.from(toBinary(ModelProtoSchema, model.proto));
    await page.route(`**/${name}.onnx`, (route) => route.fulfill({ body, contentType: "application/octet-stream" }));
  }
});

test("without WebGPU a large model runs in the JSPI build, with the answers of the other build", async ({ page }) => {
  const large = await run(page, "large", false);
  expect(large.builds).toContain("jspi");
  const other = await run(page, "large", true);
  expect(other.builds).toEqual(["wasm"]);
  expect(large.values).toHaveLength(WIDTHS.large);
  expect(large.values).toEqual(other.values);
});

test("without WebGPU a small model fetches the smaller build alone", async ({ page }) => {
  const { builds, values } = await run(page, "small", false);
  expect(builds).toEqual(["wasm"]);
  expect(values).toHaveLength(WIDTHS.small);
});
