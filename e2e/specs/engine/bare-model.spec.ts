// A bare ONNX file whose graph is rewritten while it loads (lib/worker/backend/externalize.ts): beside each file the
// same one with an unknown field at its end, which ONNX Runtime skips and the rewriter refuses. The answers are the same
// to the bit, and ONNX Runtime's memory is smaller by nearly one copy of the weights.
import { expect, test } from "@playwright/test";
import { keep } from "../../support/suite.ts";
import type * as Selvedge from "selvedge";

interface Case {
  readonly backend: "webgpu" | "wasm";
  /** Path below /expanded/. */
  readonly path: string;
  /** Dims of its one input. */
  readonly dims: readonly number[];
}

interface Result {
  readonly differing: number;
  readonly values: number;
  readonly fileBytes: number;
  /** Memory of the worker, for the file and for the refused one. */
  readonly apartBytes: number;
  readonly wholeBytes: number;
}

/** Loads and runs a file in both ways. */
async function compare({ backend, path, dims }: Case): Promise<Result> {
  const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
  const file = await (await fetch(path)).blob();
  // A group of field 100: tags of its start and its end.
  const refused = new Blob([file, Uint8Array.of(0xa3, 0x06, 0xa4, 0x06)]);
  const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 0.7));
  const answers: Uint8Array[] = [];
  const bytes: number[] = [];
  for (const blob of [file, refused]) {
    const engine = await createEngine({ backends: [backend], workers: 1 });
    const model = await engine.load(blob, { backend });
    const [input = ""] = model.inputs.map((x) => x.name);
    const { outputs, info } = await model.run({ [input]: { dtype: "float32", dims, data: data.slice() } });
    if (info.backend !== backend) throw new Error(`ran on ${info.backend}`);
    for (const { data: values } of Object.values(outputs)) {
      const view = values as Float32Array;
      answers.push(new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice());
    }
    bytes.push(Math.max(...engine.stats().lanes.map((x) => x.memoryBytes)));
    await engine.close();
  }
  const half = answers.length / 2;
  let differing = 0;
  for (let i = 0; i < half; i += 1)
    answers[i]?.forEach((x, at) => (differing += x === answers[half + i]?.[at] ? 0 : 1));
  const [apartBytes = 0, wholeBytes = 0] = bytes;
  const values = answers.slice(0, half).reduce((sum, x) => sum + x.length, 0);
  return { differing, values, fileBytes: file.size, apartBytes, wholeBytes };
}

const CASES: readonly Case[] = [
  { backend: "wasm", path: "/expanded/fashion-mlp/f32.onnx", dims: [3, 1, 28, 28] },
  { backend: "webgpu", path: "/expanded/fashion-mlp/f32.onnx", dims: [2, 1, 28, 28] },
];

for (const each of CASES)
  test(`${each.path} answers on ${each.backend} as it does in one buffer, with less memory`, async ({ page }) => {
    const { pages } = test.info().config.metadata as { pages: string };
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const result = await page.evaluate(compare, each);
    await keep(test.info(), { ...each, dims: each.dims.join(" "), ...result });
    expect(result.differing).toBe(0);
    expect(result.values).toBeGreaterThan(0);
    expect(result.apartBytes).toBeLessThan(result.wholeBytes - 0.4 * result.fileBytes);
  });
