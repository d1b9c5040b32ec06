import { expect, test } from "vitest";
import { modelOf } from "../../test-support/onnx/onnx-graphs.ts";
import { readModel } from "../../compress/onnx/model.ts";
import { weightsFirst } from "./order-nodes.ts";

const X = { dtype: "float32", dims: [1, 4] } as const;
const weight = (name: string) => ({
  [`${name}/q`]: { dtype: "int8", dims: [4, 4] } as const,
  [`${name}/s`]: { dtype: "float32", dims: [4] } as const,
});
const dequantize = (name: string) => ({
  opType: "DequantizeLinear",
  input: [`${name}/q`, `${name}/s`],
  output: [name],
  attributes: { axis: 1 },
});
const product = (input: string, name: string, output: string) => ({
  opType: "MatMul",
  input: [input, name],
  output: [output],
});

test("nodes that dequantize weights come first, in their order; all else stays as it is", () => {
  const file = modelOf({
    inputs: { x: X },
    constants: { ...weight("a"), ...weight("b") },
    outputs: ["y"],
    nodes: [dequantize("a"), product("x", "a", "h"), dequantize("b"), product("h", "b", "y")],
  }).write();
  const changed = weightsFirst(file);
  const { nodes, proto } = readModel(changed ?? new Uint8Array()).graph;
  expect(nodes.map((x) => x.output[0])).toEqual(["a", "b", "h", "y"]);
  expect(proto.initializer).toEqual(readModel(file).graph.proto.initializer);
  expect(changed).toHaveLength(file.length);
  expect(weightsFirst(changed ?? new Uint8Array())).toBeNull();
});

test("nodes that dequantize what another node computes stay where they are", () => {
  const quantized = { opType: "QuantizeLinear", input: ["x", "a/s1"], output: ["xq"] };
  const back = { opType: "DequantizeLinear", input: ["xq", "a/s1"], output: ["xf"] };
  const file = modelOf({
    inputs: { x: X },
    constants: { "a/s1": { dtype: "float32", dims: [] } },
    outputs: ["xf"],
    nodes: [quantized, back],
  }).write();
  expect(weightsFirst(file)).toBeNull();
});

test("files that are no models, and cut ones, stay as they are", () => {
  const file = modelOf({
    inputs: { x: X },
    constants: weight("a"),
    outputs: ["y"],
    nodes: [product("x", "a", "y"), dequantize("a")],
  }).write();
  for (let length = 0; length < file.length; length += 7)
    expect(() => weightsFirst(file.subarray(0, length))).not.toThrow();
  expect(weightsFirst(Uint8Array.of(255, 255, 255))).toBeNull();
});
