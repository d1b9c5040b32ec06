import { expect, test } from "vitest";
import { deviceBytes } from "../check/device-bytes.ts";
import { decibels, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { formsFor } from "./forms.ts";
import type { Target } from "./forms.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

test.each([
  [["webgpu"], "MatMulNBits", 0.35],
  [["webgpu-f16", "webgpu"], "MatMulNBits", 0.35],
  [["webgpu", "wasm"], "DequantizeLinear", 1],
] as const)("int8 for %s stores a product as %s, and takes %d of a GPU's memory", async (targets, operator, share) => {
  const make = () =>
    smallModel({
      opset: 13,
      inputs: { x: [5, 120] },
      outputs: ["y"],
      nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
      initializers: [floatTensor("w", [120, 96], seededFloats(120 * 96, 5))],
    });
  const feeds = { x: { dims: [5, 120], data: seededFloats(5 * 120) } };
  const samples = [{ x: { dtype: "float32" as const, ...feeds.x } }];
  const [before = []] = await runModel(make().write(), feeds);
  const form = formsFor(targets satisfies readonly Target[], ["int8"]).find((x) => x.id === "int8");
  for (const given of [[], samples]) {
    const model = make();
    await form?.make(model, given, { isSynthetic: given.length === 0 });
    expect(model.graph.nodes.map((x) => x.opType)).toContain(operator);
    expect(deviceBytes(model) / deviceBytes(make())).toBeLessThanOrEqual(share);
    for (const provider of ["cpu", "webgpu"]) {
      const [now = []] = await runModel(model.write(), feeds, { executionProviders: [provider] });
      expect(decibels(before, now), provider).toBeGreaterThan(40);
    }
  }
});
