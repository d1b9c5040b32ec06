// Models whose honest answers a GPU and WebAssembly may round differently, for tests of the golden check: outside of those
// that its bounds were chosen by. All take a free number of rows.
import { CONTRIB } from "../../lib/compress/onnx/model.ts";
import type { KernelModel } from "../../lib/test-support/onnx/kernel-models.ts";

/** A model, and how its rows are made. */
export interface HostileModel extends KernelModel {
  /** Dims of a row of each output. */
  readonly outs: readonly (readonly number[])[];
  /** Element type of the outputs. Default: float32. */
  readonly type?: "int64";
  /** Values of a row: each is base + spread · (pseudo-random in −1 to 1). */
  readonly base: number;
  readonly spread: number;
  /** Whether rounding alone may change an answer by more than a thousandth of its largest value. */
  readonly isDelicate?: boolean;
}

const wave = (length: number, seed: number, scale: number): number[] =>
  Array.from({ length }, (_, i) => scale * Math.sin((i + 1) * (1.3 + seed * 0.61) + seed * i * i * 0.01));
const weight = (dims: readonly number[], seed: number, scale: number) =>
  ({
    dtype: "float32",
    dims,
    values: wave(
      dims.reduce((a, b) => a * b, 1),
      seed,
      scale,
    ),
  }) as const;
const number = (value: number) => ({ dtype: "float32", dims: [], values: [value] }) as const;
const WIDE = 96;
const x = { x: { dtype: "float32", dims: [2, WIDE] } } as const;
const at = (opType: string, input: readonly string[], output: string, attributes = {}) => ({
  opType,
  ...{ input, output: [output], attributes },
});
const rows = { row: [WIDE], inputs: x, base: 0, spread: 1 } as const;

/** A product whose logits are large. */
const logits = (scale: number) => ({ w: weight([WIDE, 24], 1, scale) });

/** The models by name. */
export const HOSTILE_MODELS: Readonly<Record<string, HostileModel>> = {
  softmax: {
    ...{ ...rows, constants: logits(1), outputs: ["y"], outs: [[24]] },
    nodes: [at("MatMul", ["x", "w"], "l"), at("Softmax", ["l"], "y", { axis: -1 })],
  },
  "logits of 10,000": {
    ...{ ...rows, constants: logits(2_000), outputs: ["y"], outs: [[24]] },
    nodes: [at("MatMul", ["x", "w"], "y")],
  },
  "saturated sigmoid": {
    ...{ ...rows, constants: logits(3), outputs: ["y"], outs: [[24]] },
    nodes: [at("MatMul", ["x", "w"], "l"), at("Sigmoid", ["l"], "y")],
  },
  argmax: {
    ...{ ...rows, constants: logits(1), outputs: ["y"], outs: [[]], type: "int64" },
    nodes: [at("MatMul", ["x", "w"], "l"), at("ArgMax", ["l"], "y", { axis: -1, keepdims: 0 })],
  },
  "layer norm of nearly constant rows": {
    ...{ ...rows, base: 5, spread: 1e-2, outputs: ["y"], outs: [[8]], isDelicate: true },
    constants: { gamma: weight([WIDE], 2, 1), beta: weight([WIDE], 3, 0.1), w: weight([WIDE, 8], 4, 0.3) },
    nodes: [at("LayerNormalization", ["x", "gamma", "beta"], "n", { axis: -1 }), at("MatMul", ["n", "w"], "y")],
  },
  "difference of two large sums": {
    ...{ ...rows, base: 100, spread: 50, outputs: ["y"], outs: [[1]], isDelicate: true },
    constants: {
      a: { ...weight([WIDE, 1], 5, 0), values: wave(WIDE, 5, 0.01).map((x) => 1 + x) },
      b: { ...weight([WIDE, 1], 6, 0), values: Array.from({ length: WIDE }, () => 1) },
    },
    nodes: [at("MatMul", ["x", "a"], "p"), at("MatMul", ["x", "b"], "q"), at("Sub", ["p", "q"], "y")],
  },
  "one score near zero": {
    ...{ ...rows, outputs: ["y"], outs: [[1]], isDelicate: true },
    constants: { w: weight([WIDE, WIDE], 7, 0.2), v: weight([WIDE, 1], 8, 0.05) },
    nodes: [at("MatMul", ["x", "w"], "h"), at("Tanh", ["h"], "t"), at("MatMul", ["t", "v"], "y")],
  },
  int8: {
    ...{ ...rows, outputs: ["y"], outs: [[24]] },
    constants: {
      q: {
        dtype: "int8",
        dims: [WIDE, 24],
        values: Array.from({ length: WIDE * 24 }, (_, i) => ((i * 37) % 255) - 127),
      },
      s: number(0.01),
    },
    nodes: [at("DequantizeLinear", ["q", "s"], "w"), at("MatMul", ["x", "w"], "y")],
  },
  int4: {
    ...{ ...rows, outputs: ["y"], outs: [[24]] },
    constants: {
      q: { dtype: "uint8", dims: [24, 3, 16], values: Array.from({ length: 24 * 48 }, (_, i) => (i * 41 + 7) % 256) },
      s: weight([72], 9, 0.1),
    },
    nodes: [
      {
        ...at("MatMulNBits", ["x", "q", "s"], "y", { K: WIDE, N: 24, bits: 4, block_size: 32 }),
        domain: CONTRIB,
      },
    ],
  },
};
