// Whether the rows of a batch influence each other, as read from the graph: ONNX Runtime itself is the judge. Each graph
// is run on a batch and on its rows alone.
import { expect, test } from "vitest";
import type { OnnxModel } from "../../compress/onnx/model.ts";
import { TensorProto_DataType as T } from "../../compress/onnx/onnx.gen.js";
import { floatTensor, int64Tensor } from "../../compress/onnx/tensor-proto.ts";
import type { NodeSpec } from "../../compress/onnx/graph.ts";
import type { TensorProto } from "../../compress/onnx/onnx.gen.js";
import { runAll } from "../../compress/run/session.ts";
import { addBranch, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { rowsMix } from "./read-rows.ts";

const ROWS = 3;

interface Case {
  readonly nodes: readonly NodeSpec[];
  readonly constants?: readonly TensorProto[];
  /** Dims of a row of `x`. Default [8]. */
  readonly row?: readonly number[];
  readonly opset?: number;
}

const axes = (...values: number[]): TensorProto => int64Tensor("axes", [values.length], values);
const weights = (name: string, ...dims: number[]): TensorProto =>
  floatTensor(
    name,
    dims,
    seededFloats(
      dims.reduce((a, b) => a * b, 1),
      7,
    ),
  );
const node = (opType: string, input: string, output: string, attributes: NodeSpec["attributes"] = {}): NodeSpec => ({
  opType,
  input: input.split(" "),
  output: output.split(" "),
  attributes,
});
const QUANTIZED = [
  node("DynamicQuantizeLinear", "x", "q scale zero"),
  node("DequantizeLinear", "q scale zero", "y"),
] as const;
const LSTM = [weights("w", 1, 8, 4), weights("r", 1, 8, 2)];
const TIME_MAJOR = [
  node("Transpose", "x", "t", { perm: [1, 0, 2] }),
  node("LSTM", "t w r", "all", { hidden_size: 2 }),
  node("Squeeze", "all axes", "s"),
  node("Transpose", "s", "y", { perm: [1, 0, 2] }),
];

const MIXED: Readonly<Record<string, Case>> = {
  "activations quantized by the largest value of the batch": { nodes: QUANTIZED },
  "the same behind a layer and a reshape": {
    nodes: [
      node("MatMul", "x w", "m"),
      node("Shape", "m", "s"),
      node("Reshape", "m s", "z"),
      node("DynamicQuantizeLinear", "z", "q scale zero"),
      node("DequantizeLinear", "q scale zero", "y"),
    ],
    constants: [weights("w", 8, 4)],
  },
  "a scale of the whole tensor, made by hand": {
    nodes: [node("Abs", "x", "a"), node("ReduceMax", "a", "m"), node("Div", "x m", "y")],
  },
  "a reduction over the first axis": { nodes: [node("ReduceMean", "x", "m", { axes: [0] }), node("Sub", "x m", "y")] },
  "a reduction over the axis to which the batch was moved": {
    nodes: [
      node("Transpose", "x", "t", { perm: [1, 0] }),
      node("ReduceMax", "t", "m", { axes: [1], keepdims: 1 }),
      node("Sub", "t m", "d"),
      node("Transpose", "d", "y", { perm: [1, 0] }),
    ],
  },
  "axes given as an input": {
    nodes: [node("ReduceMean", "x axes", "m"), node("Sub", "x m", "y")],
    constants: [axes(0)],
    opset: 18,
  },
  "a softmax over the batch": { nodes: [node("Softmax", "x", "y", { axis: 0 })], opset: 13 },
  "a softmax of the old kind over all axes": { nodes: [node("Softmax", "x", "y", { axis: 0 })], opset: 11 },
  "a running sum over the batch": { nodes: [node("CumSum", "x axis", "y")], constants: [int64Tensor("axis", [], [0])] },
  "one row for all": {
    nodes: [node("Gather", "x axis", "g", { axis: 0 }), node("Sub", "x g", "y")],
    constants: [int64Tensor("axis", [], [0])],
  },
  "a recurrent layer whose steps are the rows": {
    nodes: [
      node("Unsqueeze", "x axes", "u"),
      node("LSTM", "u w r", "all", { hidden_size: 2 }),
      node("Squeeze", "all two", "y"),
    ],
    constants: [axes(1), int64Tensor("two", [1], [1]), ...LSTM],
    row: [4],
  },
  "a convolution along the rows": {
    nodes: [
      node("Transpose", "x", "t", { perm: [1, 0] }),
      node("Unsqueeze", "t axes", "u"),
      node("Conv", "u w", "c", { pads: [1, 1] }),
      node("Squeeze", "c axes", "s"),
      node("Transpose", "s", "y", { perm: [1, 0] }),
    ],
    constants: [axes(0), weights("w", 4, 8, 3)],
  },
  "rows put into one by a reshape": {
    nodes: [node("Reshape", "x axes", "r"), node("Softmax", "r", "p", { axis: 1 }), node("Reshape", "p back", "y")],
    constants: [axes(1, -1, 8), int64Tensor("back", [2], [-1, 8])],
  },
};

const APART: Readonly<Record<string, Case>> = {
  "a quantized constant": {
    nodes: [
      node("DynamicQuantizeLinear", "w", "q scale zero"),
      node("DequantizeLinear", "q scale zero", "d"),
      node("MatMul", "x d", "y"),
    ],
    constants: [weights("w", 8, 4)],
  },
  "a reduction of each row": { nodes: [node("ReduceMax", "x", "m", { axes: [1] }), node("Sub", "x m", "y")] },
  "a reduction counted from the end": {
    nodes: [node("ReduceMean", "x axes", "m"), node("Sub", "x m", "y")],
    constants: [axes(-1)],
    opset: 18,
  },
  "a softmax of each row": { nodes: [node("Softmax", "x", "y", { axis: -1 })] },
  "a product of sizes": {
    nodes: [
      node("Shape", "x", "s"),
      node("ReduceProd", "s", "n", { keepdims: 0 }),
      node("Cast", "n", "f", { to: T.FLOAT }),
      node("Mul", "f zero", "z"),
      node("Add", "x z", "y"),
    ],
    constants: [floatTensor("zero", [], Float32Array.of(0))],
  },
  "a recurrent layer over the steps of each row": {
    nodes: TIME_MAJOR,
    constants: [axes(1), ...LSTM],
    row: [5, 4],
  },
  "a reduction over axis 0, where the batch was moved away": {
    nodes: [node("Transpose", "x", "t", { perm: [1, 0] }), node("ReduceSum", "t axes", "y", { keepdims: 0 })],
    constants: [axes(0)],
  },
  "the first token of each row": {
    nodes: [node("Gather", "x axis", "y", { axis: 1 })],
    constants: [int64Tensor("axis", [], [0])],
    row: [5, 4],
  },
  "a convolution": {
    nodes: [node("Conv", "x w", "y")],
    constants: [weights("w", 4, 8, 3)],
    row: [8, 6],
  },
};

function modelOf({ nodes, constants = [], row = [8], opset = 13 }: Case): OnnxModel {
  const model = { inputs: { x: ["batch", ...row] }, outputs: ["y"] };
  return smallModel({ opset, ...model, nodes, initializers: constants });
}

/** Runs a batch, and each of its rows alone; returns the largest difference. */
async function differenceOf(bytes: Uint8Array, row: readonly number[]): Promise<number> {
  const size = row.reduce((a, b) => a * b, 1);
  // Rows of different magnitude.
  const data = seededFloats(ROWS * size, 3).map((x, i) => x * (1 + Math.floor(i / size) * 4));
  const feed = (from: number, rows: number) => ({
    x: { dtype: "float32" as const, dims: [rows, ...row], data: data.slice(from * size, (from + rows) * size) },
  });
  const answers = await runAll(bytes, [feed(0, ROWS), ...Array.from({ length: ROWS }, (_, i) => feed(i, 1))]);
  const [whole = [], ...alone] = answers.map((x) => [...(x["y"]?.data as Float32Array)]);
  const each = alone.flat();
  expect(each).toHaveLength(whole.length);
  return Math.max(...whole.map((x, i) => Math.abs(x - (each[i] ?? Number.NaN))));
}

test.each(Object.entries(MIXED))("%s joins the rows", async (_, made) => {
  const bytes = modelOf(made).write();
  expect(await differenceOf(bytes, made.row ?? [8])).toBeGreaterThan(1e-3);
  expect(rowsMix(bytes)).toBe(true);
});

test.each(Object.entries(APART))("%s keeps the rows apart", async (_, made) => {
  const bytes = modelOf(made).write();
  expect(await differenceOf(bytes, made.row ?? [8])).toBeLessThan(1e-5);
  expect(rowsMix(bytes)).toBe(false);
});

test("a branch that quantizes the batch joins its rows", () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["batch", 8], isFast: [] },
    types: { isFast: T.BOOL },
    outputs: ["y"],
    nodes: [{ opType: "If", input: ["isFast"], output: ["y"] }],
  });
  const [first] = model.graph.nodes;
  addBranch(first, "then_branch", QUANTIZED, "y");
  addBranch(first, "else_branch", [node("Identity", "x", "y")], "y");
  expect(rowsMix(model.write())).toBe(true);
});

test("an input whose first dim has a size has no batch, and a file that is no model has none", () => {
  const bytes = smallModel({ opset: 13, inputs: { x: [4, 8] }, outputs: ["y"], nodes: QUANTIZED }).write();
  expect(rowsMix(bytes)).toBe(false);
  expect(rowsMix(modelOf({ nodes: QUANTIZED }).write().subarray(0, 40))).toBe(false);
  expect(rowsMix(new TextEncoder().encode("<!doctype html>"))).toBe(false);
});
