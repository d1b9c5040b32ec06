// Typical blocks of models as exporters write them, for the profile of ONNX Runtime's usual functions (profile-cases.ts):
// its optimizations match patterns of operators, which single operators do not show.
import { create } from "@bufbuild/protobuf";
import { makeNode } from "../../lib/compress/onnx/graph.ts";
import { AttributeProto_AttributeType, AttributeProtoSchema } from "../../lib/compress/onnx/onnx.gen.js";
import { quantizeBlocks } from "../../lib/compress/quantize/quantize-blocks.ts";
import { quantizeDynamic } from "../../lib/compress/quantize/quantize-dynamic.ts";
import { quantizeWeights } from "../../lib/compress/quantize/quantize-weights.ts";
import { CONTRIB, readModel } from "../../lib/compress/onnx/model.ts";
import type { Transform } from "../../lib/compress/onnx/model.ts";
import { modelOf } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { NumericType } from "../../lib/test-support/onnx/onnx-graphs.ts";
import { Builder } from "./profile-builder.ts";
import { withExternalData } from "./profile-cases.ts";
import type { Case, LazyCase } from "./profile-cases.ts";

type Block = (build: Builder) => readonly string[];

const RESNET: Block = (b) => {
  const x = b.input([1, 3, 32, 32]);
  const stem = b.add("Relu", [b.norm(b.bareConv(x, 3, 16, 7, 2), 16)]);
  const pooled = b.add("MaxPool", [b.add("Dropout", [stem])], {
    kernel_shape: [3, 3],
    strides: [2, 2],
    pads: [1, 1, 1, 1],
  });
  const first = b.add("Relu", [b.norm(b.bareConv(pooled, 16, 16, 3), 16)]);
  const sum = b.add("Relu", [b.add("Add", [b.norm(b.conv(first, 16, 16, 3), 16), pooled])]);
  const deep = b.add("Relu", [b.norm(b.bareConv(sum, 16, 32, 1), 32)]);
  const short = b.norm(b.bareConv(sum, 16, 32, 1, 2), 32);
  const down = b.add("Relu", [b.add("Add", [b.norm(b.conv(deep, 32, 32, 3, 2), 32), short])]);
  const flat = b.add("Flatten", [b.add("GlobalAveragePool", [down])]);
  const logits = b.add("Gemm", [flat, b.weight(10, 32), b.weight(10)], { transB: 1 });
  return [b.add("Softmax", [logits], { axis: 1 })];
};

const MOBILENET: Block = (b) => {
  const x = b.input([1, 3, 32, 32]);
  const stem = b.add("HardSwish", [b.norm(b.conv(x, 3, 16, 3, 2), 16)]);
  const wide = b.norm(b.conv(stem, 16, 48, 1), 48);
  // HardSwish before operator set 14.
  const gate = b.add("Clip", [b.add("Add", [wide, b.scalar(3)]), b.scalar(0), b.scalar(6)]);
  const swish = b.add("Div", [b.add("Mul", [wide, gate]), b.scalar(6)]);
  const deep = b.add("Clip", [b.norm(b.bareConv(swish, 48, 48, 5, 1, 48), 48), b.scalar(0), b.scalar(6)]);
  const squeezed = b.reduce("ReduceMean", deep, [2, 3]);
  const excited = b.conv(b.add("Relu", [b.conv(squeezed, 48, 8, 1)]), 8, 48, 1);
  const scaled = b.add("Mul", [
    deep,
    b.add("HardSigmoid", [excited], { alpha: { float: 1 / 6 }, beta: { float: 0.5 } }),
  ]);
  const narrow = b.add("Add", [b.norm(b.conv(scaled, 48, 16, 1), 16), stem]);
  const padded = b.add("Pad", [narrow, b.constant([0, 0, 1, 1, 0, 0, 1, 1])]);
  const activated = b.conv(padded, 16, 16, 3, 2, 16);
  const silu = b.add("Mul", [activated, b.add("Sigmoid", [activated])]);
  const leaky = b.add("LeakyRelu", [b.conv(silu, 16, 16, 3)], { alpha: { float: 0.1 } });
  const prelu = b.add("PRelu", [leaky, b.weight(16, 1, 1)]);
  return [b.add("AveragePool", [prelu], { kernel_shape: [2, 2], strides: [2, 2] })];
};

/** Rows of an embedding, so many that the form in 4 bits takes it too. */
const VOCABULARY = 64;

/** An encoder layer, with GELU, its mask made from token ids. */
const encoder =
  (gelu: "gelu" | "fastGelu"): Block =>
  (b) => {
    const [width, heads, sequence] = [32, 4, 6];
    const ids = b.input([1, sequence], "int64", [1, 2, 3, 4, 0, 0]);
    const seen = b.input([1, sequence], "int64", [1, 1, 1, 1, 0, 0]);
    const shape = b.add("Shape", [ids]);
    const length = b.add("Gather", [shape, b.constant(1)], { axis: 0 });
    const range = b.add("Range", [b.constant(0), length, b.constant(1)]);
    const places = b.add("Expand", [b.add("Unsqueeze", [range, b.constant([0])]), shape]);
    const words = b.add("Gather", [b.weight(VOCABULARY, width), ids]);
    const embedded = b.add("Add", [words, b.add("Gather", [b.weight(16, width), places])]);
    let x = b.layerNorm(embedded, width);
    const cast = { to: b.dtype === "float16" ? 10 : 1 };
    const kept = b.add("Cast", [b.add("Unsqueeze", [seen, b.constant([1, 2])])], cast);
    const mask = b.add("Mul", [b.add("Sub", [b.scalar(1), kept]), b.scalar(-10_000)]);
    const query = b.heads(b.linear(x, width, width), sequence, heads, width / heads, [0, 2, 1, 3]);
    const key = b.heads(b.linear(x, width, width), sequence, heads, width / heads, [0, 2, 3, 1]);
    const value = b.heads(b.linear(x, width, width), sequence, heads, width / heads, [0, 2, 1, 3]);
    const scores = b.add("Add", [b.add("Div", [b.add("MatMul", [query, key]), b.scalar(Math.sqrt(8))]), mask]);
    const mixed = b.add("MatMul", [b.add("Softmax", [scores], { axis: -1 }), value]);
    const turned = b.add("Transpose", [mixed], { perm: [0, 2, 1, 3] });
    const joined = b.add("Reshape", [turned, b.constant([1, sequence, width])]);
    x = b.layerNorm(b.add("Add", [b.linear(joined, width, width), x]), width);
    const inner = b.linear(b[gelu](b.linear(x, width, 4 * width)), 4 * width, width);
    const added = b.add("Add", [inner, x]);
    const last =
      b.opset < 17
        ? b.layerNorm(added, width)
        : b.add("LayerNormalization", [added, b.weight(width), b.weight(width)], { axis: -1 });
    // Pooled: the mean over what is seen, of length 1; and the first token, by Gemm and Tanh.
    const shown = b.add("Cast", [b.add("Unsqueeze", [seen, b.constant([2])])], cast);
    const sum = b.reduce("ReduceSum", b.add("Mul", [last, shown]), [1], 0);
    const count = b.add("Clip", [b.reduce("ReduceSum", shown, [1], 0), b.scalar(1e-3)]);
    const mean = b.add("Div", [sum, count]);
    const unit = b.add("Div", [mean, b.reduce("ReduceL2", mean, [1])]);
    const first = b.add("Gather", [last, b.constant(0)], { axis: 1 });
    return [unit, b.add("Tanh", [b.add("Gemm", [first, b.weight(width, width), b.weight(width)])])];
  };

/** RMSNorm as exporters write it. */
function rmsNorm(b: Builder, x: string, width: number): string {
  const mean = b.reduce("ReduceMean", b.add("Pow", [x, b.scalar(2)]), [-1]);
  const root = b.add("Sqrt", [b.add("Add", [mean, b.scalar(1e-5)])]);
  return b.add("Mul", [b.weight(width), b.add("Mul", [x, b.add("Div", [b.scalar(1), root])])]);
}

/** Rotary positions: x · cos + rotated x · sin. */
function rotate(b: Builder, x: string, cos: string, sin: string, half: number): string {
  const part = (from: number, to: number): string =>
    b.add("Slice", [x, b.constant([from]), b.constant([to]), b.constant([3]), b.constant([1])]);
  const turned = b.add("Concat", [b.add("Neg", [part(half, 2 ** 31)]), part(0, half)], { axis: -1 });
  return b.add("Add", [b.add("Mul", [x, cos]), b.add("Mul", [turned, sin])]);
}

/** A decoder layer with rotary positions, a causal mask and a cache of keys and values. */
const DECODER: Block = (b) => {
  const [width, heads, each, sequence, past] = [32, 4, 8, 2, 3];
  const ids = b.input([1, sequence], "int64", [1, 2]);
  const pastKey = b.input([1, heads, past, each]);
  const pastValue = b.input([1, heads, past, each]);
  const pastLength = b.add("Gather", [b.add("Shape", [pastKey]), b.constant(2)]);
  const length = b.add("Add", [b.add("Gather", [b.add("Shape", [ids]), b.constant(1)]), pastLength]);
  const places = b.add("Range", [pastLength, length, b.constant(1)]);
  const cast = { to: b.dtype === "float16" ? 10 : 1 };
  const angles = b.add("Mul", [
    b.add("Unsqueeze", [b.add("Cast", [places], cast), b.constant([1])]),
    b.weight(1, each),
  ]);
  const [cos, sin] = [b.add("Cos", [angles]), b.add("Sin", [angles])];
  let x = b.add("Gather", [b.weight(VOCABULARY, width), ids]);
  const inner = rmsNorm(b, x, width);
  const project = (): string => b.add("MatMul", [inner, b.weight(width, width)]);
  const query = rotate(b, b.heads(project(), sequence, heads, each, [0, 2, 1, 3]), cos, sin, each / 2);
  const newKey = rotate(b, b.heads(project(), sequence, heads, each, [0, 2, 1, 3]), cos, sin, each / 2);
  const newValue = b.heads(project(), sequence, heads, each, [0, 2, 1, 3]);
  const key = b.add("Concat", [pastKey, newKey], { axis: 2 });
  const value = b.add("Concat", [pastValue, newValue], { axis: 2 });
  const all = b.add("Range", [b.constant(0), length, b.constant(1)]);
  const isAfter = b.add("Greater", [all, b.add("Unsqueeze", [places, b.constant([1])])]);
  const mask = b.add("Where", [isAfter, b.scalar(-10_000), b.scalar(0)]);
  const turned = b.add("Transpose", [key], { perm: [0, 1, 3, 2] });
  const scores = b.add("Mul", [b.add("MatMul", [query, turned]), b.scalar(0.35)]);
  const shares = b.add("Softmax", [b.add("Add", [scores, mask])], { axis: -1 });
  const mixed = b.add("Transpose", [b.add("MatMul", [shares, value])], { perm: [0, 2, 1, 3] });
  const joined = b.add("Reshape", [mixed, b.constant([1, -1, width])]);
  x = b.add("Add", [x, b.add("MatMul", [joined, b.weight(width, width)])]);
  const outer = rmsNorm(b, x, width);
  const gate = b.add("MatMul", [outer, b.weight(width, 64)]);
  const silu = b.add("Mul", [gate, b.add("Sigmoid", [gate])]);
  const product = b.add("Mul", [silu, b.add("MatMul", [outer, b.weight(width, 64)])]);
  x = b.add("Add", [x, b.add("MatMul", [product, b.weight(64, width)])]);
  const logits = b.add("MatMul", [x, b.add("Transpose", [b.weight(10, width)], { perm: [1, 0] })]);
  return [b.add("ArgMax", [logits], { axis: -1 }), logits, key, value];
};

/** A decoder layer of ONNX Runtime's own operators, as its model builder writes it. */
const CONTRIB_DECODER: Block = (b) => {
  const [width, heads, each, sequence, past] = [64, 4, 16, 1, 4];
  const x = b.input([1, sequence, width]);
  const skip = b.input([1, sequence, width]);
  const normed = b.add("SimplifiedLayerNormalization", [x, b.weight(width)], { axis: -1, epsilon: { float: 1e-5 } });
  const project = (to: number): string => b.add("MatMul", [normed, b.weight(width, to)]);
  const [query, key, value] = [project(width), project(width / 2), project(width / 2)];
  const [oldKey, oldValue] = [b.input([1, heads / 2, past, each]), b.input([1, heads / 2, past, each])];
  const last = b.input([1, 1], "int32", [past]);
  const total = b.constant([past + 1], "int32");
  const tables = [b.weight(16, each / 2), b.weight(16, each / 2)];
  const attributes = { num_heads: heads, kv_num_heads: heads / 2, do_rotary: 1, scale: { float: 0.35 } };
  const inputs = [query, key, value, oldKey, oldValue, last, total, ...tables];
  const [mixed = "", newKey = "", newValue = ""] = b.addAll("GroupQueryAttention", inputs, 3, attributes, CONTRIB);
  const projected = b.add("MatMul", [mixed, b.weight(width, width)]);
  const [outer = "", , , sum = ""] = b.addAll(
    "SkipSimplifiedLayerNormalization",
    [skip, projected, b.weight(width)],
    4,
    { epsilon: { float: 1e-5 } },
    CONTRIB,
  );
  const ran = b.add("FastGelu", [b.add("MatMul", [outer, b.weight(width, width)])], {}, CONTRIB);
  return [b.add("Add", [ran, sum]), newKey, newValue];
};

/** An encoder layer of ONNX Runtime's own operators, as its transformer optimizer writes it. */
const CONTRIB_ENCODER: Block = (b) => {
  const [width, sequence] = [32, 6];
  const x = b.input([1, sequence, width]);
  const project = (): string => b.add("MatMul", [x, b.weight(width, width)]);
  const [query, key, value] = [project(), project(), project()];
  const mixed = b.add("MultiHeadAttention", [query, key, value], { num_heads: 4 }, CONTRIB);
  const attention = b.add("Attention", [x, b.weight(width, 3 * width), b.weight(3 * width)], { num_heads: 4 }, CONTRIB);
  const normed = b.add(
    "SkipLayerNormalization",
    [mixed, attention, b.weight(width), b.weight(width), b.weight(width)],
    { epsilon: { float: 1e-5 } },
    CONTRIB,
  );
  const biased = b.add("BiasGelu", [b.add("MatMul", [normed, b.weight(width, 64)]), b.weight(64)], {}, CONTRIB);
  const quick = b.add("QuickGelu", [biased], {}, CONTRIB);
  const gelu = b.add("Gelu", [quick], {}, CONTRIB);
  return [b.add("FusedMatMul", [gelu, b.weight(32, 64)], { transB: 1, alpha: { float: 0.5 } }, CONTRIB)];
};

/** Recurrent layers in both directions, after a convolution over time. */
const RECURRENT: Block = (b) => {
  const x = b.input([2, 8, 12]);
  const conv = b.add("Conv", [x, b.weight(8, 8, 3), b.weight(8)], { kernel_shape: [3], pads: [1, 1] });
  const time = b.add("Transpose", [b.add("Relu", [conv])], { perm: [2, 0, 1] });
  const both = (opType: string, gates: number): string => {
    const parameters = [b.weight(2, gates * 4, 8), b.weight(2, gates * 4, 4), b.weight(2, 2 * gates * 4)];
    const attributes = {
      hidden_size: 4,
      direction: "bidirectional",
      ...(opType === "GRU" ? { linear_before_reset: 1 } : {}),
    };
    const state = Array.from({ length: opType === "LSTM" ? 2 : 1 }, () => b.weight(2, 2, 4));
    const output = b.add(opType, [time, ...parameters, "", ...state], attributes);
    return b.add("Reshape", [b.add("Transpose", [output], { perm: [0, 2, 1, 3] }), b.constant([12, 2, 8])]);
  };
  const forward = (opType: string, gates: number): string[] =>
    b.addAll(opType, [time, b.weight(1, gates * 4, 8), b.weight(1, gates * 4, 4), b.weight(1, 2 * gates * 4)], 2, {
      hidden_size: 4,
    });
  const [lstm, gru, rnn] = [both("LSTM", 4), both("GRU", 3), both("RNN", 1)];
  const sum = b.add("Add", [b.add("Add", [lstm, gru]), rnn]);
  const logits = b.add("LogSoftmax", [b.linear(sum, 8, 6)], { axis: 2 });
  return [logits, ...forward("LSTM", 4), ...forward("GRU", 3), ...forward("RNN", 1)];
};

/** A detector's head: features of two sizes, boxes, and suppression of those that overlap. */
const DETECTOR: Block = (b) => {
  const x = b.input([1, 16, 16, 16]);
  const silu = (value: string): string => b.add("Mul", [value, b.add("Sigmoid", [value])]);
  const pool = (value: string): string => b.add("MaxPool", [value], { kernel_shape: [5, 5], pads: [2, 2, 2, 2] });
  const one = silu(b.conv(x, 16, 16, 3, 2));
  const pools = [one, pool(one), pool(pool(one)), pool(pool(pool(one)))];
  const deep = silu(b.conv(b.add("Concat", pools, { axis: 1 }), 64, 16, 1));
  const [left = "", right = ""] = b.addAll("Split", [deep, b.constant([8, 8])], 2, { axis: 1 });
  const mixed = b.add("Concat", [left, b.add("Add", [right, silu(b.conv(right, 8, 8, 3))])], { axis: 1 });
  const up = b.add("Resize", [mixed, "", b.constant([1, 1, 2, 2], "float32")], {
    mode: "nearest",
    coordinate_transformation_mode: "asymmetric",
    nearest_mode: "floor",
  });
  const smooth = b.add("Resize", [mixed, "", "", b.constant([1, 16, 16, 16])], {
    mode: "linear",
    coordinate_transformation_mode: "pytorch_half_pixel",
  });
  const learnt = b.add("ConvTranspose", [mixed, b.weight(16, 16, 2, 2), b.weight(16)], {
    kernel_shape: [2, 2],
    strides: [2, 2],
  });
  const all = b.add("Concat", [b.add("Add", [up, smooth]), learnt, x], { axis: 1 });
  const raw = b.add("Reshape", [b.conv(all, 48, 8, 1), b.constant([1, 8, 256])]);
  const [box = "", classes = ""] = b.addAll("Split", [raw, b.constant([4, 4])], 2, { axis: 1 });
  const shares = b.add("Softmax", [b.add("Reshape", [box, b.constant([1, 4, 1, 256])])], { axis: 1 });
  const boxes = b.add("Mul", [b.add("Squeeze", [shares, b.constant([2])]), b.scalar(16)]);
  const scores = b.add("Sigmoid", [classes]);
  const [best = "", places = ""] = b.addAll("TopK", [b.reduce("ReduceMax", scores, [1], 0), b.constant([5])], 2, {
    axis: 1,
  });
  const turned = b.add("Transpose", [boxes], { perm: [0, 2, 1] });
  const picked = b.add("GatherND", [turned, b.add("Unsqueeze", [places, b.constant([2])])], { batch_dims: 1 });
  const elements = b.add("GatherElements", [b.reduce("ReduceMax", scores, [1], 0), places], { axis: 1 });
  const limits = [b.constant([10]), b.constant([0.5], "float32"), b.constant([0.1], "float32")];
  const float = (value: string): string => (b.dtype === "float32" ? value : b.add("Cast", [value], { to: 1 }));
  const kept = b.add("NonMaxSuppression", [float(turned), float(scores), ...limits]);
  const valid = b.add("NonZero", [b.add("Greater", [best, b.scalar(0.1)])]);
  const scattered = b.add("ScatterND", [best, b.place(0, 1), b.weight(1)]);
  return [kept, picked, elements, valid, scattered];
};

/** Layers of segmentation and of older networks. */
const OTHERS: Block = (b) => {
  const x = b.input([1, 8, 12, 12]);
  const dilated = b.add("Conv", [x, b.weight(8, 8, 3, 3)], { dilations: [2, 2], pads: [2, 2, 2, 2] });
  const scaled = b.add("Mul", [b.bareConv(dilated, 8, 8, 3), b.weight(8, 1, 1)]);
  const moved = b.add("Add", [b.bareConv(scaled, 8, 8, 3), b.weight(8, 1, 1)]);
  const grouped = b.add("Elu", [b.conv(moved, 8, 16, 3, 1, 2)]);
  const norm = b.add("InstanceNormalization", [grouped, b.weight(16), b.weight(16)]);
  const lrn = b.add("LRN", [norm], { size: 3 });
  const shuffled = b.add("Transpose", [b.add("Reshape", [lrn, b.constant([1, 2, 8, 12, 12])])], {
    perm: [0, 2, 1, 3, 4],
  });
  const back = b.add("Reshape", [shuffled, b.constant([1, 16, 12, 12])]);
  const big = b.add("DepthToSpace", [back], { blocksize: 2 });
  const small = b.add("SpaceToDepth", [big], { blocksize: 2 });
  const soft = b.add("Mul", [small, b.add("Tanh", [b.add("Softplus", [small])])]);
  const same = b.add("AveragePool", [soft], { kernel_shape: [3, 3], auto_pad: "SAME_UPPER", count_include_pad: 1 });
  const tiled = b.add("Tile", [same, b.constant([1, 1, 1, 2])]);
  const [low = "", high = ""] = b.addAll("Split", [tiled], 2, b.opset < 18 ? { axis: 3 } : { axis: 3, num_outputs: 2 });
  const least = b.add("Min", [b.add("Max", [low, high]), b.scalar(1)]);
  const picked = b.add("Einsum", [least, b.weight(16, 4)], { equation: "bchw,cd->bdhw" });
  const added = b.add("CumSum", [picked, b.constant(3)]);
  return [b.add("GlobalMaxPool", [b.add("Gelu", [least], {}, b.opset < 20 ? CONTRIB : "")]), b.add("Abs", [added])];
};

/** Quantized by pairs of QuantizeLinear and DequantizeLinear, as static quantizers write it. */
const QUANTIZED: Block = (b) => {
  const x = b.input([1, 8, 12, 12]);
  const pair = (value: string, type: NumericType): string => {
    const [scale, zero] = [b.scalar(0.05), b.constant(0, type)];
    return b.add("DequantizeLinear", [b.add("QuantizeLinear", [value, scale, zero]), scale, zero]);
  };
  const bytes = (...dims: number[]): string => {
    const name = b.weight(...dims);
    b.constants[name] = { dtype: "int8", dims };
    return b.add("DequantizeLinear", [name, b.scalar(0.02), b.constant(0, "int8")]);
  };
  const conv = b.add("Conv", [pair(x, "uint8"), bytes(8, 8, 3, 3)], { pads: [1, 1, 1, 1] });
  const relu = pair(b.add("Relu", [pair(conv, "uint8")]), "uint8");
  const deep = pair(b.add("Conv", [relu, bytes(8, 1, 3, 3)], { group: 8, pads: [1, 1, 1, 1] }), "uint8");
  const sum = pair(b.add("Add", [deep, relu]), "uint8");
  const pooled = pair(b.add("GlobalAveragePool", [sum]), "uint8");
  const flat = b.add("Reshape", [pooled, b.constant([1, 8])]);
  return [
    pair(b.add("Gemm", [flat, bytes(8, 4)]), "uint8"),
    pair(b.add("Sigmoid", [sum]), "int8"),
    pair(b.add("MatMul", [flat, bytes(8, 4)]), "uint8"),
  ];
};

/** Layers of the sizes that models have: kernels have other ways for them than for small ones. */
const LARGE: Block = (b) => {
  const x = b.input([3, 3, 96, 64]);
  const stem = b.add("Relu", [b.norm(b.bareConv(x, 3, 64, 7, 2), 64)]);
  const pooled = b.add("MaxPool", [stem], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] });
  const deep = b.add("Clip", [b.norm(b.bareConv(pooled, 64, 64, 5, 1, 64), 64), b.scalar(0), b.scalar(6)]);
  const wide = b.add("Relu", [b.norm(b.bareConv(deep, 64, 256, 1), 256)]);
  const down = b.add("Relu", [b.conv(b.add("Sigmoid", [b.conv(wide, 256, 128, 3)]), 128, 128, 3, 2)]);
  const up = b.add("ConvTranspose", [down, b.weight(128, 64, 2, 2)], { kernel_shape: [2, 2], strides: [2, 2] });
  const shape = b.add("Shape", [down]);
  const rows = b.add("Slice", [shape, b.constant([0]), b.constant([1])]);
  const target = b.add("Concat", [b.add("Cast", [rows], { to: 7 }), b.constant([128, -1])], { axis: 0 });
  const steps = b.add("Transpose", [b.add("Reshape", [down, target])], { perm: [0, 2, 1] });
  const inner = b.add("Relu", [b.linear(steps, 128, 512)]);
  const pool = b.add("Flatten", [b.add("GlobalAveragePool", [down])]);
  const gemm = b.add("Gemm", [pool, b.weight(1000, 128), b.weight(1000)], { transB: 1 });
  return [b.add("Softmax", [b.linear(inner, 512, 128)], { axis: -1 }), b.add("Softmax", [gemm], { axis: 1 }), up];
};

const BLOCKS: Readonly<Record<string, Block>> = {
  "large layers": LARGE,
  "ResNet block": RESNET,
  "MobileNetV3 block": MOBILENET,
  "GELU encoder": encoder("gelu"),
  "tanh GELU encoder": encoder("fastGelu"),
  "decoder with a cache": DECODER,
  "decoder of contributed operators": CONTRIB_DECODER,
  "encoder of contributed operators": CONTRIB_ENCODER,
  "recurrent layers": RECURRENT,
  "detector head": DETECTOR,
  "other layers": OTHERS,
  "static quantization": QUANTIZED,
};
const FORMS: Readonly<Record<string, readonly Transform[]>> = {
  "int8 weights": [quantizeWeights({ minElements: 16 })],
  "dynamic int8": [quantizeDynamic({ minElements: 16 })],
  "int4 blocks": [quantizeBlocks({ block: 32, minElements: 1000 })],
};

/** Session entries that bundles set. */
const SESSIONS: readonly Readonly<Record<string, string>>[] = [
  {},
  { "session.disable_quant_qdq": "1" },
  { "optimization.disable_specified_optimizers": "ConstantFolding;GeluFusion" },
];

/** Lists the blocks: in float32 in two operator sets, in float16, and quantized. */
export function blockCases(): LazyCase[] {
  return Object.entries(BLOCKS).flatMap(([name, block]) => {
    const make = (
      what: string,
      dtype: NumericType,
      opset: number,
      transforms: readonly Transform[] = [],
    ): LazyCase => ({
      title: `${name} ${what}`,
      onGpu: dtype !== "float16", // the software adapter has no shader-f16
      make: () => blockCase(block, dtype, opset, transforms),
    });
    return [
      make("float32", "float32", 17),
      make("float32 of operator set 21", "float32", 21),
      make("float32 of operator set 14", "float32", 14),
      make("float16", "float16", 17),
      { ...make("with weights as nodes", "float32", 11), make: () => withNodes(blockCase(block, "float32", 11, [])) },
      ...SESSIONS.map((session, i): LazyCase => ({
        title: `${name} with external data ${i}`,
        onGpu: true,
        make: () => withExternalData({ ...blockCase(block, "float32", 17, []), session }),
      })),
      ...Object.entries(FORMS).map(([form, transforms]) => make(form, "float32", 17, transforms)),
    ];
  });
}

/** Turns initializers into Constant nodes, as some exporters write weights. */
export function withNodes({ model, inputs }: Case): Case {
  const { graph } = model.proto;
  if (graph === undefined) return { model, inputs };
  const constants = graph.initializer.map((value) => {
    const node = makeNode({ opType: "Constant", input: [], output: [value.name] });
    node.attribute.push(
      create(AttributeProtoSchema, { name: "value", type: AttributeProto_AttributeType.TENSOR, t: value }),
    );
    return node;
  });
  graph.initializer = [];
  graph.node.unshift(...constants);
  return { model, inputs };
}

function blockCase(block: Block, dtype: NumericType, opset: number, transforms: readonly Transform[]): Case {
  const build = new Builder(dtype, opset);
  const outputs = block(build);
  const { inputs, constants, nodes } = build;
  const model = modelOf({ inputs, constants, nodes, outputs, opset, isFree: true });
  return { model: transforms.length === 0 ? model : readModel(model.write()).transform(...transforms), inputs };
}
