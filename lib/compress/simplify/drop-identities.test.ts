import { expect, test } from "vitest";
import { dropIdentities } from "./drop-identities.ts";
import { runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import type { SmallModel } from "../../test-support/compress/fixtures.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { quantizeWeights } from "../quantize/quantize-weights.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";

const feeds = { x: { dims: [2, 64], data: seededFloats(128) } };
const operators = (model: OnnxModel): string[] => model.graph.nodes.map((x) => x.opType);
const small = (parts: Pick<SmallModel, "nodes" | "outputs" | "initializers">) =>
  smallModel({ opset: 13, inputs: { x: [2, 64] }, ...parts });

/** Drops identities, checks that every output is unchanged, and returns the model. */
async function after(parts: Parameters<typeof small>[0]): Promise<OnnxModel> {
  const before = await runModel(small(parts).write(), feeds);
  const model = small(parts).transform(dropIdentities());
  expect(await runModel(model.write(), feeds)).toEqual(before);
  return model;
}

test("a weight that is shared through Identity is a weight of all its consumers", async () => {
  const model = await after({
    outputs: ["y"],
    nodes: [
      { opType: "Identity", input: ["w"], output: ["v"] },
      { opType: "MatMul", input: ["x", "w"], output: ["h"] },
      { opType: "Relu", input: ["h"], output: ["r"] },
      { opType: "Identity", input: ["v"], output: ["u"] },
      { opType: "MatMul", input: ["r", "u"], output: ["y"] },
    ],
    initializers: [floatTensor("w", [64, 64], seededFloats(4_096, 3))],
  });
  expect(operators(model)).toEqual(["MatMul", "Relu", "MatMul"]);
  model.transform(quantizeWeights());
  expect(operators(model)).toEqual(["Cast", "DequantizeLinear", "MatMul", "Relu", "MatMul"]);
});

test("an output keeps its name; one that is also an input or another output keeps its Identity", async () => {
  const model = await after({
    outputs: ["y", "z", "copy"],
    nodes: [
      { opType: "Relu", input: ["x"], output: ["h"] },
      { opType: "Neg", input: ["h"], output: ["n"] },
      { opType: "Identity", input: ["h"], output: ["y"] },
      { opType: "Identity", input: ["h"], output: ["z"] },
      { opType: "Dropout", input: ["n"], output: ["d"] },
      { opType: "Identity", input: ["x"], output: ["c"] },
      { opType: "Identity", input: ["c"], output: ["copy"] },
      { opType: "Abs", input: ["d"], output: ["unused"] },
    ],
    initializers: [],
  });
  expect(model.graph.nodes.map((x) => [x.opType, x.input[0], x.output[0]])).toEqual([
    ["Relu", "x", "y"],
    ["Neg", "y", "n"],
    ["Identity", "y", "z"],
    ["Identity", "x", "copy"],
    ["Abs", "n", "unused"],
  ]);
});

test("a Dropout whose mask is read, or that may train, stays", async () => {
  const model = small({
    outputs: ["y", "mask"],
    nodes: [
      { opType: "Dropout", input: ["x"], output: ["h", "mask"] },
      { opType: "Dropout", input: ["h", "ratio", "train"], output: ["y"] },
    ],
    initializers: [floatTensor("ratio", [], Float32Array.of(0.5)), int64Tensor("train", [], [1])],
  }).transform(dropIdentities());
  expect(operators(model)).toEqual(["Dropout", "Dropout"]);
});
