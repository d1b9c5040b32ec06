import { expect, test } from "vitest";
import { dropIdentities } from "./drop-identities.ts";
import { runModel, runModelOften, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import type { SmallModel } from "../../test-support/compress/fixtures.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { quantizeWeights } from "../quantize/quantize-weights.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { floatTensor, rawTensor } from "../onnx/tensor-proto.ts";

const { BOOL } = TensorProto_DataType;
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

test("a Dropout stays whose mask is read, or that trains on an input; ONNX Runtime leaves others out", async () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: [2, 64] },
    outputs: ["y", "mask", "z"],
    types: { mask: BOOL },
    nodes: [
      { opType: "Dropout", input: ["x"], output: ["h", "mask"] },
      { opType: "Relu", input: ["h"], output: ["r"] },
      { opType: "Dropout", input: ["r", "ratio", "train"], output: ["d"] },
      { opType: "Neg", input: ["d"], output: ["y"] },
      { opType: "Dropout", input: ["x", "ratio", "train"], output: ["z"] },
    ],
    initializers: [floatTensor("ratio", [], Float32Array.of(0.5)), rawTensor("train", BOOL, [], Uint8Array.of(1))],
  });
  const [[y, , z], [, , again]] = (await runModelOften(model.write(), [feeds, feeds])) as [number[][], number[][]];
  model.transform(dropIdentities());
  expect(model.graph.nodes.map((node) => node.output[0])).toEqual(["h", "r", "y", "z"]);
  const [now] = await runModel(model.write(), feeds);
  expect(now).toEqual(y);
  expect(again, "ONNX Runtime drops values").not.toEqual(z);
});
