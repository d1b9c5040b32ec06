import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InferenceSession } from "onnxruntime-node";
import { expect, test } from "vitest";
import { readModel } from "../../lib/compress/onnx/model.ts";
import { twoLayers } from "../../lib/test-support/compress/fixtures.ts";
import { runLocally } from "./engine-models.ts";
import { doubleWork } from "./half-speed.ts";

/** Counts the products that ONNX Runtime is left with after its own optimizations. */
async function productsOf(bytes: Uint8Array): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-half-speed-"));
  try {
    const optimizedModelFilePath = join(folder, "model.onnx");
    await InferenceSession.create(bytes, { optimizedModelFilePath, logSeverityLevel: 4 });
    const { graph } = readModel(new Uint8Array(readFileSync(optimizedModelFilePath)));
    return graph.nodes.filter(({ opType }) => /MatMul|Gemm/.test(opType)).length;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("a model of half the speed computes all twice, with one copy of the weights and the same answers", async () => {
  const bytes = twoLayers({ opset: 17, inputs: 64, units: 256, outputs: 64 }).write();
  const slow = readModel(bytes).transform(doubleWork).write();
  expect(await productsOf(slow)).toBe(2 * (await productsOf(bytes)));
  expect(slow.length - bytes.length).toBeLessThan(5_000);
  const data = Float32Array.from({ length: 4 * 64 }, (_, i) => Math.sin(i));
  const x = { dtype: "float32", dims: [4, 64], data } as const;
  expect(await runLocally(slow, { x })).toEqual(await runLocally(bytes, { x }));
});
