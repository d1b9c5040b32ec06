// Small models for tests of the golden check, each with kernels that the demo's models lack. All take a free number of rows.
import type { GraphSpec } from "./onnx-graphs.ts";
import { CONTRIB } from "../../compress/onnx/model.ts";

/** A model of one input `x`, whose rows have some dims. */
export interface KernelModel extends GraphSpec {
  /** Dims of a row of `x`. */
  readonly row: readonly number[];
}

const wave = (dims: readonly number[], seed: number, scale: number): number[] =>
  Array.from(
    { length: dims.reduce((a, b) => a * b, 1) },
    (_, i) => scale * Math.sin((i + 1) * (1 + seed * 0.37) + seed),
  );
const weight = (dims: readonly number[], seed: number, scale = 0.3) =>
  ({ dtype: "float32", dims, values: wave(dims, seed, scale) }) as const;
const shape = (...values: number[]) => ({ dtype: "int64", dims: [values.length], values }) as const;
const WIDE = 24;

/** Tokens to classes: embedding, attention in parts, layer normalization, mean over the tokens. */
const attention: KernelModel = {
  row: [6],
  inputs: { x: { dtype: "int32", dims: [2, 6] } },
  constants: {
    table: weight([32, WIDE], 1, 1),
    ...{ q: weight([WIDE, WIDE], 2), k: weight([WIDE, WIDE], 3), v: weight([WIDE, WIDE], 4) },
    ...{ gamma: { dtype: "float32", dims: [WIDE], values: wave([WIDE], 5, 1) }, beta: weight([WIDE], 6) },
    ...{ out: weight([WIDE, 5], 7), axes: shape(1) },
  },
  outputs: ["y"],
  nodes: [
    { opType: "Gather", input: ["table", "x"], output: ["e"] },
    { opType: "MatMul", input: ["e", "q"], output: ["eq"] },
    { opType: "MatMul", input: ["e", "k"], output: ["ek"] },
    { opType: "MatMul", input: ["e", "v"], output: ["ev"] },
    { opType: "Transpose", input: ["ek"], output: ["ekt"], attributes: { perm: [0, 2, 1] } },
    { opType: "MatMul", input: ["eq", "ekt"], output: ["scores"] },
    { opType: "Softmax", input: ["scores"], output: ["shares"], attributes: { axis: -1 } },
    { opType: "MatMul", input: ["shares", "ev"], output: ["mixed"] },
    // The second is fused with the normalization.
    { opType: "Add", input: ["mixed", "ev"], output: ["both"] },
    { opType: "Add", input: ["both", "e"], output: ["sum"] },
    { opType: "LayerNormalization", input: ["sum", "gamma", "beta"], output: ["normal"], attributes: { axis: -1 } },
    { opType: "ReduceMean", input: ["normal", "axes"], output: ["mean"], attributes: { keepdims: 0 } },
    { opType: "MatMul", input: ["mean", "out"], output: ["y"] },
  ],
};

/** An image to a map of half its channels: depthwise convolution, resizing, slices and their concatenation. */
const pixels: KernelModel = {
  row: [8, 12, 10],
  inputs: { x: { dtype: "float32", dims: [2, 8, 12, 10] } },
  constants: {
    depth: weight([8, 1, 3, 3], 1),
    point: weight([6, 8, 1, 1], 2),
    ...{ starts: shape(0), middle: shape(3), ends: shape(6), axis: shape(1) },
    scales: { dtype: "float32", dims: [4], values: [1, 1, 2, 2] },
    flat: shape(2, 3),
  },
  outputs: ["y", "mean"],
  nodes: [
    {
      opType: "Conv",
      input: ["x", "depth"],
      output: ["d"],
      attributes: { group: 8, kernel_shape: [3, 3], pads: [1, 1, 1, 1] },
    },
    { opType: "Conv", input: ["d", "point"], output: ["p"], attributes: { kernel_shape: [1, 1] } },
    { opType: "Slice", input: ["p", "starts", "middle", "axis"], output: ["first"] },
    { opType: "Slice", input: ["p", "middle", "ends", "axis"], output: ["second"] },
    { opType: "Concat", input: ["second", "first"], output: ["swapped"], attributes: { axis: 1 } },
    // After a convolution it would be fused with it.
    { opType: "HardSigmoid", input: ["swapped"], output: ["h"] },
    {
      opType: "Resize",
      input: ["h", "", "scales"],
      output: ["y"],
      attributes: { mode: "linear", coordinate_transformation_mode: "asymmetric" },
    },
    { opType: "ReduceMean", input: ["y", "flat"], output: ["mean"], attributes: { keepdims: 0 } },
  ],
};

/** A product with weights of 4 bits in blocks of 32, of an odd number of columns, and one with weights of 8 bits. */
const packed: KernelModel = {
  row: [64],
  inputs: { x: { dtype: "float32", dims: [2, 64] } },
  constants: {
    four: { dtype: "uint8", dims: [23, 2, 16], values: Array.from({ length: 736 }, (_, i) => (i * 37 + 11) % 256) },
    scales: { dtype: "float32", dims: [46], values: wave([46], 1, 0.1) },
    eight: { dtype: "int8", dims: [23, 7], values: Array.from({ length: 161 }, (_, i) => ((i * 29) % 255) - 127) },
    step: { dtype: "float32", dims: [], values: [0.01] },
  },
  outputs: ["y"],
  nodes: [
    {
      opType: "MatMulNBits",
      domain: CONTRIB,
      input: ["x", "four", "scales"],
      output: ["m"],
      attributes: { K: 64, N: 23, bits: 4, block_size: 32 },
    },
    { opType: "Tanh", input: ["m"], output: ["t"] },
    { opType: "DequantizeLinear", input: ["eight", "step"], output: ["w"] },
    { opType: "MatMul", input: ["t", "w"], output: ["y"] },
  ],
};

/** The models by name. */
export const KERNEL_MODELS: Readonly<Record<string, KernelModel>> = { attention, pixels, packed };
