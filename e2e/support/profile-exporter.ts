// Writes what exporters put around the layers of a model, for the profile's cases of exported models
// (profile-exports.ts): sizes that are computed from shapes, layers in 8 and 4 bits, attention.
import { CONTRIB } from "../../lib/compress/onnx/model.ts";
import type { NumericType } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { Builder } from "./profile-builder.ts";

/** Numbers of ONNX's types. */
export const [FLOAT, INT32, INT64, BOOL] = [1, 6, 7, 9] as const;
/** An end beyond all. */
export const LAST = 2 ** 31 - 1;
export const HEADS = 4;

/** A way in which graphs are exported. */
export interface Way {
  readonly opset: number;
  readonly dtype?: NumericType;
  /** Whether it is a newer exporter's: sizes by Slice or Shape and not by Gather, zeros allowed, nodes with metadata. */
  readonly isNew?: boolean;
  /** Whether weights are Constant nodes. */
  readonly hasNodes?: boolean;
  /** How weights are stored: activations are quantized in the run for those of 8 bits. Default: as floats. */
  readonly weights?: "8 bits" | "4 bits";
  /** Whether layers are so wide that kernels go another way. */
  readonly isWide?: boolean;
}

/** Writes the parts that exports have in common. */
export class Exporter {
  readonly b: Builder;
  readonly #way: Way;
  readonly #bytes = new Map<string, readonly string[]>();
  /** Number of layers of 8 bits so far, every other of which is signed. */
  #layers = 0;
  /** Width of a head, and of a layer. */
  readonly each: number;
  readonly width: number;
  /** Number of tokens. */
  readonly length: number;

  constructor(b: Builder, way: Way) {
    this.b = b;
    this.#way = way;
    this.each = way.isWide === true ? 32 : 8;
    this.width = HEADS * this.each;
    this.length = way.isWide === true ? 40 : 5;
  }

  get isNew(): boolean {
    return this.#way.isNew === true;
  }

  /** Two rows of tokens, the second with padding at its end, or what is seen of them. */
  tokens(of: "ids" | "mask" | "types"): string {
    const { length } = this;
    const values = Array.from({ length: 2 * length }, (_, i) => {
      const isPad = i >= length && i % length > 1;
      if (of === "mask") return Number(!isPad);
      if (of === "types") return Number(i < length && i > 2);
      return isPad ? 1 : 2 + (i % 40);
    });
    return this.b.open({ batch: 2, sequence: length }, "int64", values);
  }

  /** A table of embeddings, and what is looked up in it. */
  lookUp(rows: number, ids: string): string {
    const { b, width } = this;
    if (this.#way.weights !== "8 bits") return b.add("Gather", [b.weight(rows, width), ids]);
    const found = b.add("Gather", [b.bytes("uint8", rows, width), ids]);
    return b.add("DequantizeLinear", [found, b.scalar(0.02), b.constant(127, "uint8")]);
  }

  linear(x: string, from: number, to: number): string {
    const { b } = this;
    if (this.#way.weights === "4 bits") return b.add("Add", [this.#byBlocks(x, from, to), b.weight(to)]);
    if (this.#way.weights !== "8 bits") return b.linear(x, from, to);
    const [bytes = "", scale = "", zero = ""] = this.#quantized(x);
    this.#layers += 1;
    const dtype = this.#layers % 2 === 0 ? "int8" : "uint8";
    const weights = b.bytes(dtype, from, to);
    const product = b.add("MatMulInteger", [bytes, weights, zero, b.constant(dtype === "int8" ? 0 : 127, dtype)]);
    const scales = b.add("Mul", [scale, b.scalar(0.02)]);
    return b.add("Add", [b.add("Mul", [b.add("Cast", [product], { to: FLOAT }), scales]), b.weight(to)]);
  }

  /** Quantizes a value once for all layers that read it. */
  #quantized(x: string): readonly string[] {
    const known = this.#bytes.get(x) ?? this.b.addAll("DynamicQuantizeLinear", [x], 3);
    this.#bytes.set(x, known);
    return known;
  }

  /** A product with a matrix whose columns have a scale for each block of 32. */
  #byBlocks(x: string, from: number, to: number): string {
    const { b } = this;
    const blocks = from / 32;
    const zeros = b.nodes.length % 2 === 0 ? [b.bytes("uint8", to * Math.ceil(blocks / 2))] : [];
    const inputs = [x, b.bytes("uint8", to, blocks, 16), b.weight(to * blocks), ...zeros];
    return b.add("MatMulNBits", inputs, { K: from, N: to, bits: 4, block_size: 32 }, CONTRIB);
  }

  unsqueeze(x: string, ...axes: readonly number[]): string {
    const { b } = this;
    return b.opset >= 13 ? b.add("Unsqueeze", [x, b.constant(axes)]) : b.add("Unsqueeze", [x], { axes });
  }

  squeeze(x: string, ...axes: readonly number[]): string {
    const { b } = this;
    return b.opset >= 13 ? b.add("Squeeze", [x, b.constant(axes)]) : b.add("Squeeze", [x], { axes });
  }

  slice(x: string, axis: number, from: number, to: number, step = 1): string {
    const { b } = this;
    return b.add("Slice", [x, ...[from, to, axis, step].map((i) => b.constant([i]))]);
  }

  /** A size as a number. */
  size(x: string, axis: number): string {
    const { b } = this;
    if (!this.isNew) return b.add("Gather", [b.add("Shape", [x]), b.constant(axis)], { axis: 0 });
    return this.squeeze(this.slice(b.add("Shape", [x]), 0, axis, axis + 1), 0);
  }

  /** A size as a list of one. */
  sizes(x: string, axis: number): string {
    const { b } = this;
    if (this.isNew && b.opset >= 15) return b.add("Shape", [x], { start: axis, end: axis + 1 });
    return this.unsqueeze(this.size(x, axis), 0);
  }

  /** A list of sizes: values are numbers or lists of one. */
  list(...parts: readonly (string | number)[]): string {
    const { b } = this;
    const one = (x: string | number): string => (typeof x === "string" ? x : b.constant([x]));
    return b.add("Concat", parts.map(one), { axis: 0 });
  }

  view(x: string, ...parts: readonly (string | number)[]): string {
    return this.reshape(x, this.list(...parts));
  }

  reshape(x: string, shape: string): string {
    return this.b.add("Reshape", [x, shape], this.isNew && this.b.opset >= 14 ? { allowzero: 1 } : {});
  }

  cast(x: string, to: number): string {
    return this.b.add("Cast", [x], { to });
  }

  float(x: string): string {
    return this.cast(x, this.b.dtype === "float16" ? 10 : FLOAT);
  }

  transpose(x: string, ...perm: readonly number[]): string {
    return this.b.add("Transpose", [x], { perm });
  }

  norm(x: string, width: number): string {
    const { b } = this;
    if (b.opset < 17) return b.layerNorm(x, width);
    return b.add("LayerNormalization", [x, b.weight(width), b.weight(width)], { axis: -1 });
  }

  /** Broadcasts to a shape in which -1 keeps a size. */
  expand(x: string, sizes: string, rank: number): string {
    const { b } = this;
    const shape = this.isNew ? sizes : b.add("Reshape", [sizes, b.constant([-1])]);
    const ones = b.add("ConstantOfShape", [b.constant([rank])], {});
    const filled = b.add("Add", [ones, b.constant([1], "float32")]);
    const whole = this.cast(filled, INT64);
    const minus = b.add("Mul", [whole, b.constant(-1)]);
    return b.add("Expand", [x, b.add("Where", [b.add("Equal", [shape, minus]), whole, shape])]);
  }

  range(from: string, to: string): string {
    return this.b.add("Range", [from, to, this.b.constant(1)]);
  }
}

/** Writes a case; returns the names of its outputs. */
export type Export = (e: Exporter) => readonly string[];

/** Attention over heads whose sizes are read from the input. */
export function attend(e: Exporter, x: string, mask: string | null): string {
  const { b } = e;
  const [rows, length] = [e.sizes(x, 0), e.sizes(x, 1)];
  const split = (...perm: readonly number[]): string =>
    e.transpose(e.view(e.linear(x, e.width, e.width), rows, length, HEADS, e.each), ...perm);
  const [query, key, value] = [split(0, 2, 1, 3), split(0, 2, 3, 1), split(0, 2, 1, 3)];
  const scaled = b.add("Div", [b.add("MatMul", [query, key]), b.scalar(Math.sqrt(e.each))]);
  const scores = mask === null ? scaled : b.add("Add", [scaled, mask]);
  const mixed = e.transpose(b.add("MatMul", [b.add("Softmax", [scores], { axis: -1 }), value]), 0, 2, 1, 3);
  const joined = e.view(mixed, e.sizes(mixed, 0), e.sizes(mixed, 1), e.width);
  return e.linear(joined, e.width, e.width);
}
