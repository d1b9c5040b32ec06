// Parts that exporters write around the layers of a model whose dims are open, for the profile (profile-cases.ts): sizes that are
// computed from shapes, positions, masks, windows, and embeddings of positions in other sizes. With fixed dims ONNX Runtime
// computes all of it once, ahead of a run, and its ways of doing so in a run are not seen.
import { create } from "@bufbuild/protobuf";
import { makeNode } from "../../lib/compress/onnx/graph.ts";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  StringStringEntryProtoSchema,
  ValueInfoProtoSchema,
} from "../../lib/compress/onnx/onnx.gen.js";
import type { AttributeProto, ModelProto } from "../../lib/compress/onnx/onnx.gen.js";
import { CONTRIB } from "../../lib/compress/onnx/model.ts";
import { modelOf } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { NumericType } from "../../lib/test-support/onnx/onnx-graphs.ts";
import { Builder } from "./profile-builder.ts";
import { withNodes } from "./profile-blocks.ts";
import type { Case, LazyCase } from "./profile-cases.ts";

const [FLOAT, INT32, INT64, BOOL] = [1, 6, 7, 9];
const LAST = 2 ** 31 - 1;

const HEADS = 4;

/** A way in which graphs are exported. */
interface Way {
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
class Exporter {
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

type Export = (e: Exporter) => readonly string[];

/** Attention over heads whose sizes are read from the input. */
function attend(e: Exporter, x: string, mask: string | null): string {
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

/** Attention over fixed sizes, its products over three dims. */
const STATIC: Export = (e) => {
  const { b } = e;
  const pixels = b.input([1, 3, 24, 40]);
  const sizes = { kernel_shape: [8, 8], strides: [8, 8] };
  const patches = b.add("Conv", [pixels, b.weight(e.width, 3, 8, 8), b.weight(e.width)], sizes);
  const listed = e.transpose(e.reshape(patches, b.constant([1, e.width, 15])), 0, 2, 1);
  let x = b.add("Add", [b.add("Concat", [b.weight(1, 1, e.width), listed], { axis: 1 }), b.weight(1, 16, e.width)]);
  for (let i = 0; i < 2; i += 1) {
    const normed = e.norm(x, e.width);
    const split = (): string => {
      const heads = e.reshape(e.linear(normed, e.width, e.width), b.constant([1, -1, HEADS, e.each]));
      return e.transpose(heads, 0, 2, 1, 3);
    };
    const [value, key, query] = [split(), split(), split()];
    const turned = e.transpose(b.add("Reshape", [key, b.constant([-1, 16, e.each])]), 0, 2, 1);
    const back = b.add("Reshape", [turned, b.constant([1, HEADS, e.each, 16])]);
    const scale = b.scalar(0.6);
    const scores = b.add("MatMul", [b.add("Mul", [query, scale]), b.add("Mul", [back, scale])]);
    const mixed = b.add("MatMul", [b.add("Softmax", [scores], { axis: -1 }), value]);
    const joined = e.reshape(e.transpose(mixed, 0, 2, 1, 3), b.constant([1, 16, e.width]));
    x = b.add("Add", [e.linear(joined, e.width, e.width), x]);
    x = b.add("Add", [e.linear(b.gelu(e.linear(e.norm(x, e.width), e.width, 2 * e.width)), 2 * e.width, e.width), x]);
  }
  const first = e.squeeze(e.slice(x, 1, 0, 1), 1);
  return [b.add("Gemm", [first, b.weight(7, e.width), b.weight(7)], { transB: 1 })];
};

/** A branch on sizes, whose graphs read values from outside (see addBranches). */
const BRANCH: Export = (e) => {
  const { b } = e;
  const [x, y] = [
    b.open({ batch: 2, sequence: e.length, "=": e.width }),
    b.open({ batch: 2, other: e.length, "=": e.width }),
  ];
  const isEqual = b.add("Equal", [e.size(x, 1), e.size(y, 1)]);
  const one = b.add("If", [isEqual, x, y]);
  const other = b.add("If", [e.cast(b.add("Not", [isEqual]), BOOL), x, y]);
  return [b.add("Add", [one, other])];
};

/** Inputs that fail a run: reading beyond an end, sizes that do not fit, a sound shorter than a filter. */
const FAILING: Readonly<Record<string, Export>> = {
  "index beyond the end": ({ b }) => [b.add("Gather", [b.weight(4, 8), b.open({ n: 2 }, "int64", [1, 9])])],
  "sizes that do not fit": (e) => [e.reshape(e.b.open({ n: 3, m: 5 }), e.b.constant([4, -1]))],
  "a filter that is too long": ({ b }) => [b.add("Conv", [b.open({ n: 1, "=": 4, time: 3 }), b.weight(4, 4, 9)])],
  "dims that do not match": ({ b }) => [b.add("Add", [b.open({ n: 3 }), b.open({ m: 5 })])],
  "matrices that do not match": ({ b }) => [b.add("MatMul", [b.open({ n: 3, k: 5 }), b.open({ j: 4, m: 2 })])],
  "parts that do not match": ({ b }) => [
    b.add("Concat", [b.open({ n: 3, k: 5 }), b.open({ j: 4, m: 2 })], { axis: 0 }),
  ],
  "more than there is": ({ b }) => b.addAll("TopK", [b.open({ n: 3 }), b.open({ k: 1 }, "int64", [9])], 2),
};

/** An encoder of two layers, with its embeddings, a mask, and the mean of what it says. */
const ENCODER: Export = (e) => {
  const { b } = e;
  const ids = e.tokens("ids");
  const seen = e.tokens("mask");
  const types = e.tokens("types");
  const places = e.slice(b.constant([...Array(64).keys()]), 0, 0, LAST);
  const at = b.add("Slice", [
    e.unsqueeze(places, 0),
    b.constant([0]),
    e.sizes(ids, 1),
    b.constant([1]),
    b.constant([1]),
  ]);
  const words = e.lookUp(64, ids);
  const kinds = e.lookUp(2, types);
  const sum = b.add("Add", [b.add("Add", [words, kinds]), e.lookUp(64, at)]);
  const wide = b.add("Expand", [e.unsqueeze(seen, 1, 2), e.list(e.sizes(ids, 0), 1, e.sizes(ids, 1), e.sizes(ids, 1))]);
  const hidden = b.add("Sub", [b.scalar(1), e.float(wide)]);
  const mask = b.add("Where", [e.cast(hidden, BOOL), b.scalar(-60_000), hidden]);
  let x = e.norm(sum, e.width);
  for (let i = 0; i < 2; i += 1) {
    x = e.norm(b.add("Add", [attend(e, x, i === 0 ? mask : b.add("Mul", [hidden, b.scalar(-60_000)])), x]), e.width);
    x = e.norm(b.add("Add", [e.linear(b.gelu(e.linear(x, e.width, 64)), 64, e.width), x]), e.width);
  }
  const shown = e.float(b.add("Expand", [e.unsqueeze(seen, -1), b.add("Shape", [x])]));
  const total = b.reduce("ReduceSum", b.add("Mul", [x, shown]), [1], 0);
  const count = b.add("Clip", [b.reduce("ReduceSum", shown, [1], 0), b.scalar(1e-4)]);
  const mean = b.add("Div", [total, count]);
  const length = b.add("Clip", [b.reduce("ReduceL2", mean, [1]), b.scalar(1e-4)]);
  const first = b.add("Gather", [x, b.constant(0)], { axis: 1 });
  return [b.add("Div", [mean, b.add("Expand", [length, b.add("Shape", [mean])])]), b.add("Tanh", [first])];
};

/** Positions that are counted from a mask. */
const positions =
  (dtype: NumericType): Export =>
  (e) => {
    const { b } = e;
    const to = dtype === "int32" ? INT32 : INT64;
    const ids = e.tokens("ids");
    const isText = e.cast(b.add("Not", [b.add("Equal", [ids, b.constant(1)])]), to);
    const counted = b.add("CumSum", [isText, b.constant(1)]);
    const sum = b.add("Add", [counted, b.constant(0, dtype)]);
    const places = b.add("Add", [e.cast(b.add("Mul", [sum, isText]), INT64), b.constant(1)]);
    const before = b.add("CumSum", [e.cast(isText, INT64), b.constant(-1, "int32")], { exclusive: 1 });
    const kept = b.add("Where", [b.add("Equal", [isText, b.constant(0, dtype)]), b.constant(1), before]);
    const both = b.add("Add", [e.lookUp(64, places), e.lookUp(64, kept)]);
    const last = b.add("Sub", [b.add("ReduceSum", [isText, b.constant([-1])], { keepdims: 0 }), b.constant(1, dtype)]);
    const rows = e.range(b.constant(0), e.size(ids, 0));
    const picked = e.list(e.unsqueeze(rows, 1), e.unsqueeze(e.cast(last, INT64), 1));
    const indices = e.reshape(picked, b.constant([2, -1]));
    return [e.norm(both, e.width), b.add("GatherND", [both, e.transpose(indices, 1, 0)])];
  };

/** A causal mask of what is before and what is text, and its values. */
function causalMask(e: Exporter, ids: string, seen: string, isBool: boolean): string {
  const { b } = e;
  const length = e.size(ids, 1);
  const all = e.range(b.constant(0), length);
  const isBefore = b.add(b.opset >= 16 ? "LessOrEqual" : "Less", [all, e.view(all, -1, 1)]);
  const square = b.add("Expand", [
    e.unsqueeze(isBefore, 0, 1),
    e.list(e.sizes(ids, 0), 1, e.sizes(ids, 1), e.sizes(ids, 1)),
  ]);
  const isText = b.add("Expand", [e.unsqueeze(e.cast(seen, BOOL), 1, 2), b.add("Shape", [square])]);
  const both = b.add("And", [square, isText]);
  if (!isBool) return b.add("Where", [both, b.scalar(0), b.scalar(-60_000)]);
  const full = b.add("Expand", [b.scalar(-60_000), b.add("Shape", [both])]);
  const upper = b.opset >= 14 ? b.add("Trilu", [full, b.constant(1)], { upper: 1 }) : full;
  const added = b.add("Where", [both, upper, full]);
  return b.add("Where", [b.add("Not", [isText]), b.scalar(-60_000), added]);
}

/** Layers of a decoder that multiplies by Gemm, with learnt positions. */
const DECODER: Export = (e) => {
  const { b } = e;
  const ids = e.tokens("ids");
  const seen = e.tokens("mask");
  const flat = e.view(ids, -1, e.sizes(ids, 1));
  const places = e.unsqueeze(e.range(b.constant(0), e.size(ids, 1)), 0);
  let x = b.add("Add", [e.lookUp(64, flat), e.lookUp(64, places)]);
  const dense = (given: string, from: number, to: number): string => {
    const rows = e.view(given, -1, e.sizes(given, 2));
    const product = b.add("Gemm", [rows, b.weight(from, to), b.weight(to)]);
    return e.view(product, e.sizes(given, 0), e.sizes(given, 1), to);
  };
  const mask = causalMask(e, ids, seen, true);
  for (let i = 0; i < 2; i += 1) {
    const normed = e.norm(x, e.width);
    const parts = b.addAll("Split", [dense(normed, e.width, 3 * e.width), b.constant([e.width, e.width, e.width])], 3, {
      axis: 2,
    });
    const [query = "", key = "", value = ""] = parts.map((part, which) =>
      e.transpose(
        e.view(part, e.sizes(part, 0), e.sizes(part, 1), HEADS, e.each),
        ...(which === 1 ? [0, 2, 3, 1] : [0, 2, 1, 3]),
      ),
    );
    const scores = b.add("Mul", [b.add("MatMul", [query, key]), b.scalar(0.35)]);
    const isHere = b.add("Equal", [mask, b.scalar(0)]);
    const kept = i === 0 ? b.add("Add", [scores, mask]) : b.add("Where", [isHere, scores, b.scalar(-60_000)]);
    const mixed = e.transpose(b.add("MatMul", [b.add("Softmax", [kept], { axis: -1 }), value]), 0, 2, 1, 3);
    const joined = e.view(mixed, e.sizes(mixed, 0), e.sizes(mixed, 1), e.width);
    x = b.add("Add", [dense(joined, e.width, e.width), x]);
    x = b.add("Add", [x, dense(b.fastGelu(dense(e.norm(x, e.width), e.width, 64)), 64, e.width)]);
  }
  const normed = e.norm(x, e.width);
  // The last token that is no padding.
  const isPad = e.cast(b.add("Equal", [ids, b.constant(1)]), INT32);
  const end = b.add("Sub", [b.add("ArgMax", [isPad], { axis: -1, keepdims: 0 }), b.constant(1)]);
  const from = b.add("Mod", [b.add("Add", [end, e.size(ids, 1)]), e.size(ids, 1)]);
  const rows = e.range(b.constant(0), e.size(ids, 0));
  const at = b.add("Concat", [e.unsqueeze(rows, 1), e.unsqueeze(from, 1)], { axis: 1 });
  return [b.add("GatherND", [b.add("MatMul", [normed, b.weight(e.width, 10)]), at])];
};

/** Layers of a decoder with rotary positions, and keys that several heads share. */
const ROTARY: Export = (e) => {
  const { b } = e;
  const ids = e.tokens("ids");
  const seen = e.tokens("mask");
  const places = e.unsqueeze(e.range(b.constant(0), e.size(ids, 1)), 0);
  const steps = e.expand(b.weight(1, e.each / 2, 1), e.list(e.sizes(places, 0), -1, 1), 3);
  const angles = e.transpose(b.add("MatMul", [steps, e.float(e.unsqueeze(places, 1))]), 0, 2, 1);
  const twice = b.add("Concat", [angles, angles], { axis: -1 });
  const [cos = "", sin = ""] = ["Cos", "Sin"].map((opType) =>
    e.unsqueeze(e.float(b.add("Mul", [b.add(opType, [twice]), b.scalar(1)])), 1),
  );
  const mask = causalMask(e, ids, seen, false);
  const cut = b.add("Slice", [mask, b.constant([0]), e.sizes(ids, 1), b.constant([3]), b.constant([1])]);
  let x = e.lookUp(64, ids);
  const rms = (given: string, width: number): string => {
    const wide = e.float(given);
    const mean = b.reduce("ReduceMean", b.add("Pow", [wide, b.scalar(2)]), [-1]);
    const root = b.add("Reciprocal", [b.add("Sqrt", [b.add("Add", [mean, b.scalar(1e-5)])])]);
    return b.add("Mul", [b.weight(width), e.float(b.add("Mul", [wide, root]))]);
  };
  const turn = (given: string): string => {
    const half = b.add("Div", [e.sizes(given, 3), b.constant([2])]);
    const right = b.add("Slice", [given, half, b.constant([LAST]), b.constant([3]), b.constant([1])]);
    const left = b.add("Slice", [given, b.constant([0]), half, b.constant([3]), b.constant([1])]);
    const turned = b.add("Concat", [b.add("Neg", [right]), left], { axis: -1 });
    return b.add("Add", [b.add("Mul", [given, cos]), b.add("Mul", [turned, sin])]);
  };
  for (let i = 0; i < 2; i += 1) {
    const normed = rms(x, e.width);
    const split = (heads: number): string => {
      const product = b.add("MatMul", [normed, b.weight(e.width, heads * e.each)]);
      return e.transpose(e.view(product, e.sizes(normed, 0), e.sizes(normed, 1), -1, e.each), 0, 2, 1, 3);
    };
    const repeat = (given: string): string => {
      const [rows, length] = [e.sizes(given, 0), e.sizes(given, 2)];
      const wide = e.expand(e.unsqueeze(given, 2), e.list(rows, 2, 2, length, e.each), 5);
      return e.view(wide, rows, HEADS, length, e.each);
    };
    const [query, key, value] = [turn(rms(split(HEADS), e.each)), repeat(turn(split(2))), repeat(split(2))];
    const scale = b.add("Sqrt", [b.add("Div", [b.scalar(1), b.add("Sqrt", [e.float(e.size(query, 3))])])]);
    const product = b.add("MatMul", [
      b.add("Mul", [query, scale]),
      b.add("Mul", [e.transpose(key, 0, 1, 3, 2), scale]),
    ]);
    const shares = b.add("Softmax", [b.add("Add", [product, cut])], { axis: -1 });
    const safe = b.add("Where", [b.add("IsNaN", [shares]), b.scalar(0), shares]);
    const mixed = e.transpose(b.add("MatMul", [safe, value]), 0, 2, 1, 3);
    x = b.add("Add", [
      x,
      b.add("MatMul", [e.view(mixed, e.sizes(ids, 0), e.sizes(ids, 1), -1), b.weight(e.width, e.width)]),
    ]);
    const outer = rms(x, e.width);
    const gate = b.add("MatMul", [outer, b.weight(e.width, 64)]);
    const gelu = i === 0 ? b.add("Mul", [gate, b.add("Sigmoid", [gate])]) : b.fastGelu(gate);
    x = b.add("Add", [
      x,
      b.add("MatMul", [b.add("Mul", [gelu, b.add("MatMul", [outer, b.weight(e.width, 64)])]), b.weight(64, e.width)]),
    ]);
  }
  return [rms(x, e.width)];
};

/** Distances between places in buckets, as biases of attention. */
const BUCKETS: Export = (e) => {
  const { b } = e;
  const x = b.open({ batch: 2, sequence: e.length, "=": e.width });
  const all = e.range(b.constant(0), e.size(x, 1));
  const far = b.add("Sub", [e.unsqueeze(all, 0), e.unsqueeze(all, 1)]);
  const side = b.add("Mul", [e.cast(b.add("Greater", [far, b.constant(0)]), INT64), b.constant(16)]);
  const size = b.add("Abs", [far]);
  const sign = b.add("Sign", [e.float(far)]);
  const log = b.add("Log", [b.add("Div", [e.float(size), b.scalar(8)])]);
  const large = b.add("Add", [
    e.cast(b.add("Mul", [b.add("Div", [log, b.scalar(2.77)]), b.scalar(8)]), INT64),
    b.constant(8),
  ]);
  const most = b.add("Expand", [b.constant(15), b.add("Shape", [large])]);
  const capped = b.add("Min", [large, most]);
  const bucket = b.add("Add", [side, b.add("Where", [b.add("Less", [size, b.constant(8)]), size, capped])]);
  const bias = e.unsqueeze(e.transpose(b.add("Gather", [b.weight(32, HEADS), bucket]), 2, 0, 1), 0);
  const near = b.add("Where", [
    b.add("LessOrEqual", [size, b.constant(2)]),
    far,
    e.cast(b.add("Ceil", [b.add("Mul", [log, sign])]), INT64),
  ]);
  const places = b.add("Clip", [b.add("Add", [near, b.constant(4)]), b.constant(0), b.constant(7)]);
  const rows = e.list(e.sizes(x, 0), HEADS, e.sizes(x, 1), e.sizes(x, 1));
  const scores = b.add("Expand", [bias, rows]);
  const wide = b.add("Expand", [e.unsqueeze(places, 0, 1), b.add("Shape", [scores])]);
  const table = b.add("Concat", [scores, scores], { axis: -1 });
  const picked = b.add("GatherElements", [table, wide], { axis: -1 });
  return [attend(e, x, picked), b.add("Neg", [e.float(bucket)])];
};

/** Windows over an image whose sides are padded to whole ones, rolled, and joined again. */
const WINDOWS: Export = (e) => {
  const { b } = e;
  const pixels = b.open({ batch: 2, "=": 3, height: 24, width: 40 });
  const patches = b.add("Conv", [pixels, b.weight(e.width, 3, 4, 4), b.weight(e.width)], {
    kernel_shape: [4, 4],
    strides: [4, 4],
  });
  const [height, width] = [e.size(patches, 2), e.size(patches, 3)];
  const flat = e.transpose(e.view(patches, e.sizes(patches, 0), e.sizes(patches, 1), -1), 0, 2, 1);
  const normed = e.norm(flat, e.width);
  const image = e.view(normed, e.sizes(normed, 0), e.unsqueeze(height, 0), e.unsqueeze(width, 0), e.width);
  const missing = (size: string): string =>
    b.add("Mod", [b.add("Sub", [b.constant(4), b.add("Mod", [size, b.constant(4)])]), b.constant(4)]);
  const given = e.list(0, 0, 0, e.unsqueeze(missing(width), 0), 0, e.unsqueeze(missing(height), 0));
  const filled = b.add("Concat", [given, e.cast(b.add("ConstantOfShape", [b.constant([2])]), INT64)], { axis: 0 });
  const pairs = e.slice(e.reshape(filled, b.constant([-1, 2])), 0, -1, -LAST, -1);
  const pads = e.cast(b.add("Reshape", [e.transpose(pairs, 1, 0), b.constant([-1])]), INT64);
  const padded = b.add("Pad", [image, pads, b.scalar(0)], { mode: "constant" });
  const roll = (x: string, axis: number, by: number): string =>
    b.add("Concat", [e.slice(x, axis, by, LAST), e.slice(x, axis, 0, by)], { axis });
  const rolled = roll(roll(padded, 1, 2), 2, 2);
  const [tall, wide] = [e.sizes(rolled, 1), e.sizes(rolled, 2)];
  const [down, across] = [b.add("Div", [tall, b.constant([4])]), b.add("Div", [wide, b.constant([4])])];
  const cut = e.transpose(e.view(rolled, e.sizes(rolled, 0), down, 4, across, 4, e.width), 0, 1, 3, 2, 4, 5);
  const windows = e.reshape(cut, b.constant([-1, 16, e.width]));
  const split = (...perm: readonly number[]): string =>
    e.transpose(
      e.view(e.linear(windows, e.width, e.width), e.sizes(windows, 0), e.sizes(windows, 1), HEADS, e.each),
      ...perm,
    );
  const [query, key, value] = [split(0, 2, 1, 3), split(0, 2, 1, 3), split(0, 2, 1, 3)];
  const unit = (x: string): string => {
    const length = b.add("Clip", [b.reduce("ReduceL2", x, [-1]), b.scalar(1e-4)]);
    return b.add("Div", [x, b.add("Expand", [length, b.add("Shape", [x])])]);
  };
  const scores = b.add("MatMul", [unit(query), e.transpose(unit(key), 0, 1, 3, 2)]);
  const table = b.add("Gather", [b.weight(49, HEADS), b.constant(Array.from({ length: 256 }, (_, i) => i % 49))]);
  const bias = e.unsqueeze(e.transpose(e.reshape(table, b.constant([16, 16, -1])), 2, 0, 1), 0);
  const masked = b.add("Add", [b.add("Add", [scores, bias]), b.weight(1, 1, 16, 16)]);
  const mixed = e.transpose(b.add("MatMul", [b.add("Softmax", [masked], { axis: -1 }), value]), 0, 2, 1, 3);
  const joined = e.view(mixed, e.sizes(mixed, 0), e.sizes(mixed, 1), e.width);
  const placed = e.transpose(e.view(joined, -1, down, across, 4, 4, e.width), 0, 1, 3, 2, 4, 5);
  const whole = roll(roll(e.view(placed, -1, tall, wide, e.width), 1, -2), 2, -2);
  const seen = b.add("Slice", [whole, b.constant([0]), e.unsqueeze(height, 0), b.constant([1]), b.constant([1])]);
  const back = b.add("Slice", [seen, b.constant([0]), e.unsqueeze(width, 0), b.constant([2]), b.constant([1])]);
  const every = [0, 1].flatMap((x) => [0, 1].map((y) => e.slice(e.slice(back, 1, x, LAST, 2), 2, y, LAST, 2)));
  const merged = e.view(b.add("Concat", every, { axis: -1 }), e.sizes(pixels, 0), -1, 4 * e.width);
  return [b.add("MatMul", [e.norm(merged, 4 * e.width), b.weight(4 * e.width, 2 * e.width)])];
};

/** Patches with a class token, and embeddings of positions that are resized to the image. */
const PATCHES: Export = (e) => {
  const { b } = e;
  const pixels = b.open({ batch: 2, channels: 3, height: 32, width: 48 });
  const patches = b.add("Conv", [pixels, b.weight(e.width, 3, 8, 8), b.weight(e.width)], {
    kernel_shape: [8, 8],
    strides: [8, 8],
  });
  const flat = e.transpose(e.view(patches, e.sizes(patches, 0), e.sizes(patches, 1), -1), 0, 2, 1);
  const first = e.expand(b.weight(1, 1, e.width), e.list(e.sizes(pixels, 0), -1, -1), 3);
  const tokens = b.add("Concat", [first, flat], { axis: 1 });
  const places = b.weight(1, 17, e.width);
  const [one, rest] = [e.slice(places, 1, 0, 1), e.slice(places, 1, 1, LAST)];
  const square = e.transpose(e.reshape(rest, b.constant([1, 4, 4, e.width])), 0, 3, 1, 2);
  const side = (axis: number): string => {
    const floor = b.add("Floor", [b.add("Div", [e.float(e.sizes(pixels, axis)), b.constant([8], b.dtype)])]);
    return e.cast(floor, INT64);
  };
  const sizes = e.list(e.slice(b.add("Shape", [square]), 0, 0, 2), side(2), side(3));
  const resized = (mode: string): string =>
    b.add("Resize", [square, "", "", sizes], {
      mode,
      coordinate_transformation_mode: mode === "cubic" ? "half_pixel" : "align_corners",
      ...(mode === "cubic" && { cubic_coeff_a: { float: -0.75 } }),
    });
  const both = b.add("Add", [resized("cubic"), resized("linear")]);
  const listed = b.add("Reshape", [e.transpose(both, 0, 2, 3, 1), b.constant([1, -1, e.width])]);
  const x = b.add("Add", [tokens, b.add("Concat", [one, listed], { axis: 1 })]);
  const layer = b.add("Mul", [attend(e, e.norm(x, e.width), null), b.weight(e.width)]);
  const last = e.norm(b.add("Add", [layer, x]), e.width);
  const other = b.reduce("ReduceMean", e.slice(last, 1, 1, LAST), [1], 0);
  const map = e.view(e.transpose(e.slice(last, 1, 1, LAST), 0, 2, 1), e.sizes(pixels, 0), -1, side(2), side(3));
  const up = b.add("Resize", [map, "", b.constant([1, 1, 2, 2], "float32")], {
    mode: "linear",
    coordinate_transformation_mode: "half_pixel",
  });
  return [b.add("Concat", [b.add("Gather", [last, b.constant(0)], { axis: 1 }), other], { axis: 1 }), up];
};

/** Positions of pixels by sine and cosine, sampled features, and the best of many boxes. */
const BOXES: Export = (e) => {
  const { b } = e;
  const map = b.open({ batch: 2, "=": e.width, height: 6, width: 8 });
  const mask = b.open(
    { batch: 2, height: 6, width: 8 },
    "int64",
    Array.from({ length: 96 }, (_, i) => Number(i % 8 < 6)),
  );
  const isSeen = e.cast(mask, BOOL);
  const seen = e.float(isSeen);
  const sines = [1, 2].map((axis) => {
    const counted = b.add("CumSum", [seen, b.constant(axis)]);
    const whole = b.add("Add", [e.slice(counted, axis, -1, LAST), b.scalar(1e-4)]);
    const part = b.add("Mul", [b.add("Div", [counted, whole]), b.scalar(2 * Math.PI)]);
    const exponent = b.add("Div", [
      e.float(
        b.add("Mul", [b.constant(2), b.add("Div", [e.range(b.constant(0), b.constant(e.width / 2)), b.constant(2)])]),
      ),
      b.scalar(e.width / 2),
    ]);
    const angles = b.add("Div", [e.unsqueeze(part, -1), b.add("Pow", [b.scalar(20), exponent])]);
    const [even, odd] = [e.slice(angles, 3, 0, LAST, 2), e.slice(angles, 3, 1, LAST, 2)];
    const stacked = b.add("Concat", [e.unsqueeze(b.add("Sin", [even]), 4), e.unsqueeze(b.add("Cos", [odd]), 4)], {
      axis: 4,
    });
    return e.view(stacked, e.sizes(stacked, 0), e.sizes(stacked, 1), e.sizes(stacked, 2), -1);
  });
  const place = e.transpose(b.add("Concat", sines, { axis: 3 }), 0, 3, 1, 2);
  const flat = e.transpose(e.view(b.add("Add", [map, place]), e.sizes(map, 0), e.sizes(map, 1), -1), 0, 2, 1);
  const text = attend(e, flat, null);
  const boxes = b.add("Sigmoid", [e.linear(text, e.width, 4)]);
  const inner = b.add("Clip", [boxes, b.scalar(0), b.scalar(1)]);
  const inverse = b.add("Log", [
    b.add("Div", [
      b.add("Clip", [inner, b.scalar(1e-3)]),
      b.add("Clip", [b.add("Sub", [b.scalar(1), inner]), b.scalar(1e-3)]),
    ]),
  ]);
  const scores = e.linear(text, e.width, 5);
  const best = b.reduce("ReduceMax", scores, [-1], 0);
  const [, places = ""] = b.addAll("TopK", [best, b.constant([4])], 2, { axis: 1 });
  const pick = (x: string, width: number): string => {
    const wide = e.expand(e.unsqueeze(places, -1), e.list(-1, -1, width), 3);
    return b.add("GatherElements", [x, wide], { axis: 1 });
  };
  const queries = b.add("Tile", [e.unsqueeze(b.weight(4, e.width), 0), e.list(e.sizes(map, 0), 1, 1)]);
  const reference = b.add("Sigmoid", [pick(inverse, 4)]);
  const [cx = "", cy = "", w = "", h = ""] = b.addAll("Split", [reference, b.constant([1, 1, 1, 1])], 4, { axis: -1 });
  const half = (x: string): string => b.add("Mul", [x, b.scalar(0.5)]);
  const corners = ["Sub", "Add"].flatMap((opType) => [b.add(opType, [cx, half(w)]), b.add(opType, [cy, half(h)])]);
  const grid = b.add("Sub", [
    b.add("Mul", [b.scalar(2), e.unsqueeze(b.add("Concat", [cx, cy], { axis: -1 }), 2)]),
    b.scalar(1),
  ]);
  const sample = (): string =>
    b.add("GridSample", [map, grid], {
      mode: b.opset >= 20 ? "linear" : "bilinear",
      padding_mode: "zeros",
      align_corners: 0,
    });
  const sampled = b.opset >= 16 ? sample() : grid;
  const [down, across] = [e.range(b.constant(0), e.size(map, 2)), e.range(b.constant(0), e.size(map, 3))];
  const shape = e.list(e.sizes(map, 2), e.sizes(map, 3));
  const mesh = [b.add("Expand", [e.view(down, -1, 1), shape]), b.add("Expand", [e.view(across, 1, -1), shape])];
  const anchors = b.add("Add", [
    e.float(
      b.add(
        "Concat",
        mesh.map((x) => e.unsqueeze(x, -1)),
        { axis: -1 },
      ),
    ),
    b.scalar(0.5),
  ]);
  const isGood = b.add("And", [b.add("Greater", [anchors, b.scalar(0.1)]), b.add("Less", [anchors, b.scalar(7.5)])]);
  const rows = e.cast(b.reduce("ReduceMin", e.cast(isGood, INT32), [-1]), BOOL);
  const shown = b.add("Where", [rows, anchors, b.scalar(LAST)]);
  const picked = b.add("Einsum", [pick(text, e.width), queries], { equation: "bqc,bkc->bqk" });
  const none = b.add("Where", [e.unsqueeze(b.add("Not", [isSeen]), 1), b.scalar(0), map]);
  const indices = b.add("NonZero", [isSeen]);
  return [b.add("Concat", corners, { axis: -1 }), sampled, shown, picked, none, e.transpose(indices, 1, 0), scores];
};

/** Convolutions over the samples of a sound, and over time. */
const SOUND: Export = (e) => {
  const { b } = e;
  const samples = b.open({ batch: 2, samples: 1_600 });
  const over = (x: string, from: number, to: number, size: number, stride: number, group = 1): string =>
    b.add("Conv", [x, b.weight(to, from / group, size), ...(stride > 2 ? [] : [b.weight(to)])], {
      kernel_shape: [size],
      strides: [stride],
      group,
      ...(group > 1 && { pads: [size / 2, size / 2] }),
    });
  const first = over(e.unsqueeze(samples, 1), 1, e.width, 10, 5);
  const flat = e.view(first, e.sizes(first, 0), HEADS, -1);
  const normed = b.add("InstanceNormalization", [flat, b.weight(HEADS), b.weight(HEADS)]);
  const scaled = b.add("Mul", [b.add("Reshape", [normed, b.add("Shape", [first])]), b.weight(e.width, 1)]);
  const deep = b.gelu(over(b.gelu(over(b.gelu(scaled), e.width, e.width, 3, 2)), e.width, e.width, 2, 2));
  const steps = e.norm(e.transpose(deep, 0, 2, 1), e.width);
  const near = e.transpose(steps, 0, 2, 1);
  const placed = e.slice(over(near, e.width, e.width, 16, 1, HEADS), 2, 0, -1);
  const x = b.add("Add", [steps, e.transpose(b.gelu(placed), 0, 2, 1)]);
  const [left = "", right = ""] = b.addAll("Split", [deep, b.constant([e.width / 2, e.width / 2])], 2, { axis: 1 });
  const gated = b.add("Mul", [left, b.add("Sigmoid", [right])]);
  return [b.add("LogSoftmax", [e.linear(attend(e, x, null), e.width, 12)], { axis: -1 }), gated];
};

const EXPORTS: Readonly<Record<string, Export>> = {
  encoder: ENCODER,
  "positions of int32": positions("int32"),
  "positions of int64": positions("int64"),
  decoder: DECODER,
  "rotary decoder": ROTARY,
  "distances in buckets": BUCKETS,
  windows: WINDOWS,
  patches: PATCHES,
  boxes: BOXES,
  sound: SOUND,
  "fixed sizes": STATIC,
  branches: BRANCH,
  ...FAILING,
};
const PLAIN_WAYS: readonly Way[] = [13, 14, 17, 18, 20].flatMap((opset) =>
  [false, true].flatMap((isNew) => [false, true].map((hasNodes) => ({ opset, isNew, hasNodes }))),
);
const WAYS: readonly Way[] = [
  ...PLAIN_WAYS,
  ...[false, true].flatMap((isNew) => [
    { opset: 17, isNew, isWide: true },
    ...(["8 bits", "4 bits"] as const).flatMap((weights) => [
      { opset: 17, isNew, weights },
      { opset: 18, isNew, weights, isWide: true },
    ]),
    { opset: 17, isNew, weights: "4 bits" as const, dtype: "float16" as const },
    { opset: 17, isNew, dtype: "float16" as const },
    { opset: 20, isNew, dtype: "float16" as const, isWide: true },
  ]),
];

/** Lists the cases. */
export function exportCases(): LazyCase[] {
  return Object.entries(EXPORTS).flatMap(([name, write]) =>
    WAYS.map((way) => ({
      title: `${name} as exported, ${JSON.stringify(way)}`,
      onGpu: way.opset >= 17 && way.dtype === undefined && way.hasNodes !== true,
      make: () => (way.hasNodes === true ? withNodes(exported(write, way)) : exported(write, way)),
    })),
  );
}

function exported(write: Export, way: Way): Case {
  const { opset, dtype = "float32" } = way;
  const build = new Builder(dtype, opset);
  const outputs = write(new Exporter(build, way));
  const { inputs, constants, nodes, declared } = build;
  const model = modelOf({ inputs, constants, nodes, outputs, opset, declared });
  addBranches(model.proto);
  if (way.isNew === true) addMetadata(model.proto);
  return { model, inputs };
}

/** Adds to each If its graphs: of the two values that stand behind its condition. */
function addBranches({ graph }: ModelProto): void {
  for (const node of graph?.node ?? []) {
    if (node.opType !== "If") continue;
    const [condition = "", x = "", y = ""] = node.input;
    node.input = [condition];
    const branch = (name: string, opType: string, input: readonly string[]): AttributeProto => {
      const output = `${node.output[0] ?? ""} ${name}`;
      const g = { name, node: [makeNode({ opType, input, output: [output] })], output: [{ name: output }] };
      return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.GRAPH, g });
    };
    node.attribute.push(branch("then_branch", "Mul", [x, y]), branch("else_branch", "Identity", [x]));
  }
}

/** Adds what newer exporters write beside a graph, which is read like the rest. */
function addMetadata(proto: ModelProto): void {
  const entries = () => [create(StringStringEntryProtoSchema, { key: "namespace", value: "model: encoder.layer" })];
  proto.irVersion = 10n;
  proto.producerName = "exporter";
  proto.metadataProps = entries();
  if (proto.graph === undefined) return;
  proto.graph.docString = "A graph";
  proto.graph.metadataProps = entries();
  for (const node of proto.graph.node) {
    node.docString = "A node";
    node.metadataProps = entries();
  }
  for (const { name, dataType, dims } of proto.graph.initializer) {
    const shape = { dim: dims.map((x) => ({ value: { case: "dimValue" as const, value: x } })) };
    proto.graph.valueInfo.push(
      create(ValueInfoProtoSchema, {
        name,
        type: { value: { case: "tensorType", value: { elemType: dataType, shape } } },
        metadataProps: entries(),
      }),
    );
  }
}
