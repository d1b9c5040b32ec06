// Models of texts as exporters write them, for the profile (profile-exports.ts): an encoder, positions, masks, decoders.
import type { NumericType } from "../../lib/test-support/onnx/onnx-graphs.ts";
import { attend, BOOL, HEADS, INT32, INT64, LAST } from "./profile-exporter.ts";
import type { Export, Exporter } from "./profile-exporter.ts";

/** An encoder of two layers, with its embeddings, a mask, and the mean of what it says. */
export const ENCODER: Export = (e) => {
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
export const positions =
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
export const DECODER: Export = (e) => {
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
export const ROTARY: Export = (e) => {
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
export const BUCKETS: Export = (e) => {
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
