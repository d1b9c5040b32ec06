// Rules for operators that compute: which axes must agree, which are reduced, which are created.
import { integerOf, setAttribute } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { listAt } from "../onnx/rank.ts";
import { repeated, tiled } from "./dependency-units.ts";
import type { Axes, Labels } from "./dependency-units.ts";
import type { Rule, Walk } from "./dependency-walk.ts";

const words = (text: string): string[] => text.split(" ");

/** Elementwise operators. */
const ALONE = words(
  "Relu LeakyRelu Sigmoid Tanh Erf Elu Selu Celu Softplus Softsign HardSigmoid HardSwish Mish Gelu Clip Abs Neg Exp Log " +
    "Sqrt Reciprocal Floor Ceil Round Sign Cast Identity Dropout Sin Cos Tan Not IsNaN IsInf ThresholdedRelu Shrink " +
    "Swish com.microsoft.Gelu com.microsoft.QuickGelu",
);
/** Operators that broadcast their inputs. */
const BROADCAST = words(
  "Add Sub Mul Div Pow Min Max Mean Sum Where PRelu Mod Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor " +
    "com.microsoft.FastGelu com.microsoft.BiasGelu",
);
const POOLS = words("MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool");
/** Reductions whose result zero elements do not change. */
const SUMS = words("ReduceSum ReduceL1 ReduceL2 ReduceSumSquare");
const REDUCTIONS = [...SUMS, ...words("ReduceMean ReduceMax ReduceMin ReduceProd ReduceLogSum ReduceLogSumExp")];

/** Rules for operators that compute, by operator type. */
export const COMPUTE_RULES: readonly (readonly [string, Rule])[] = [
  ...ALONE.map((x) => [x, alone] as const),
  ...BROADCAST.map((x) => [x, broadcast] as const),
  ...POOLS.map((x) => [x, pool] as const),
  ...REDUCTIONS.map((x) => [x, reduce] as const),
  ...words("Softmax LogSoftmax Hardmax").map((x) => [x, softmax] as const),
  ["Conv", convolution],
  ["ConvTranspose", transposedConvolution],
  ["Gemm", gemm],
  ["MatMul", matmul],
  ["BatchNormalization", perChannel],
  ["InstanceNormalization", perChannel],
  ["LayerNormalization", layerNormalization],
];

function alone(walk: Walk, node: NodeProto): void {
  for (const name of node.input.slice(1)) walk.fixAll(name);
  for (const name of node.output) walk.set(name, walk.axes(node.input[0] ?? ""));
}

/** Unifies axes aligned from the right; an axis of length 1 is compatible with any. */
function broadcast(walk: Walk, node: NodeProto): void {
  const names = node.input.filter((x) => x !== "");
  const axes = names.map((x) => walk.axes(x));
  if (axes.includes(undefined)) {
    walk.stay(node);
    return;
  }
  walk.set(node.output[0], broadcastAxes(walk, names, axes as Axes[], 0));
}

/** Returns the axes to which operands broadcast, without their last `inner` axes. */
function broadcastAxes(walk: Walk, names: readonly string[], axes: readonly Axes[], inner: number): Axes {
  const rank = Math.max(...axes.map((x) => x.length)) - inner;
  return Array.from({ length: rank }, (_, at) => {
    const parts = names.flatMap((name, i) => {
      const own = axes[i] ?? [];
      const axis = at - (rank - (own.length - inner));
      return axis < 0 || walk.dim(name, axis) === 1 ? [] : [own[axis] ?? null];
    });
    const [first = null, ...rest] = parts;
    return rest.reduce((sum, x) => walk.units.unify(sum, x), first);
  });
}

function pool(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  if (axes === undefined) {
    walk.stay(node);
    return;
  }
  for (const labels of axes.slice(2)) walk.units.fix(labels);
  for (const name of node.output)
    walk.set(
      name,
      axes.map((x, i) => (i < 2 ? x : null)),
    );
}

function reduce(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  const listed = listAt(walk.graph, node, "axes", 1);
  const isComputed = listed === undefined && (node.input[1] ?? "") !== "";
  if (axes === undefined || isComputed) {
    walk.stay(node);
    return;
  }
  const isNoOp = listed === undefined && integerOf(node, "noop_with_empty_axes", 0) === 1;
  const reduced = new Set(isNoOp ? [] : (listed ?? [...axes.keys()]).map((x) => (x < 0 ? x + axes.length : x)));
  for (const axis of reduced) {
    const labels = axes[axis] ?? null;
    if (labels === null) continue;
    if (SUMS.includes(node.opType)) walk.read({ node, input: 0, axis, rank: axes.length }, labels);
    else if (node.opType === "ReduceMean") walk.blurred.push(labels);
    else walk.units.fix(labels);
  }
  const rest = axes.map((x, i) => (reduced.has(i) ? null : x));
  const keeps = integerOf(node, "keepdims", 1) === 1;
  walk.set(node.output[0], keeps ? rest : rest.filter((_, i) => !reduced.has(i)));
}

function softmax(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  if (axes === undefined) {
    walk.stay(node);
    return;
  }
  const axis = integerOf(node, "axis", -1);
  walk.units.fix(axes.at(axis));
  walk.set(node.output[0], axes);
}

function perChannel(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  if (axes === undefined || node.output.filter((x) => x !== "").length > 1) {
    walk.stay(node);
    return;
  }
  for (const name of node.input.slice(1)) walk.unifyAxis(name, 0, axes[1] ?? null);
  if (node.opType === "InstanceNormalization") for (const labels of axes.slice(2)) walk.units.fix(labels);
  walk.set(node.output[0], axes);
}

function layerNormalization(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  if (axes === undefined || node.output.filter((x) => x !== "").length > 1) {
    walk.stay(node);
    return;
  }
  const axis = integerOf(node, "axis", -1);
  const first = axis < 0 ? axis + axes.length : axis;
  for (const [i, labels] of axes.slice(first).entries()) {
    if (labels !== null) walk.blurred.push(labels);
    for (const name of node.input.slice(1)) if (name !== "") walk.unifyAxis(name, i, labels);
  }
  walk.set(node.output[0], axes);
}

/** Ties the channels at the same position of each group, so that groups keep equal sizes. */
function tie(walk: Walk, labels: Labels | null, groups: number): void {
  if (labels === null) return;
  const size = labels.length / groups;
  for (let i = size; i < labels.length; i++) walk.units.join(labels[i % size] ?? 0, labels[i] ?? 0);
}

/** Reads the parameters of a convolution; undefined where its weight is computed or its input's rank unknown. */
function partsOf(walk: Walk, node: NodeProto): { x: Axes; w: Axes; sizes: number[]; groups: number } | undefined {
  const [input = "", weight = ""] = node.input;
  const [x, w, constant] = [walk.axes(input), walk.axes(weight), walk.graph.constant(weight)];
  if (x === undefined || w === undefined || constant === undefined || x.length < 3) return undefined;
  for (const labels of [...x.slice(2), ...w.slice(2)]) walk.units.fix(labels);
  return { x, w, sizes: constant.dims.map(Number), groups: integerOf(node, "group", 1) };
}

function convolution(walk: Walk, node: NodeProto): void {
  const parts = partsOf(walk, node);
  if (parts === undefined) {
    walk.stay(node);
    return;
  }
  const { x, w, sizes, groups } = parts;
  const [weight = "", bias = ""] = node.input.slice(1);
  const channels = (sizes[1] ?? 1) * groups;
  let [made, from] = [w[0] ?? null, x[1] ?? null];
  if (groups > 1 && channels === groups) {
    // Depthwise: the channels are those of the input, each repeated once or several times.
    made = followed(walk, node, from, made, groups);
  } else {
    if (groups > 1) {
      tie(walk, from, groups);
      tie(walk, made, groups);
    }
    const first = from === null ? null : from.slice(0, channels / groups);
    walk.units.unify(first, w[1] ?? null);
    if (from !== null && (w[1] ?? null) === null) from = fixed(walk, from);
    walk.read({ node, input: 0, axis: 1, rank: x.length, weight: { input: 1, axis: 1, groups } }, from);
    walk.produce({ node, kind: "convolution", weight, axis: 0 }, made);
  }
  if (bias !== "") walk.unifyAxis(bias, 0, made);
  walk.set(node.output[0], [x[0] ?? null, made, ...x.slice(2).map(() => null)]);
}

function transposedConvolution(walk: Walk, node: NodeProto): void {
  const parts = partsOf(walk, node);
  if (parts === undefined) {
    walk.stay(node);
    return;
  }
  const { x, w, sizes, groups } = parts;
  const [weight = "", bias = ""] = node.input.slice(1);
  const from = x[1] ?? null;
  const own = w[1] ?? null;
  let made: Labels | null;
  if (groups > 1 && sizes[0] === groups) {
    walk.units.fix(own);
    made = followed(walk, node, from, w[0] ?? null, groups);
    if (made !== null && (sizes[1] ?? 1) > 1) made = repeated(made, sizes[1] ?? 1);
  } else {
    if (groups > 1) tie(walk, from, groups);
    walk.units.unify(from, w[0] ?? null);
    walk.read({ node, input: 0, axis: 1, rank: x.length, weight: { input: 1, axis: 0, groups } }, from);
    made = own === null ? null : tiled(own, groups);
    walk.produce({ node, kind: "convolution", weight, axis: 1 }, own);
  }
  if (bias !== "") walk.unifyAxis(bias, 0, made);
  walk.set(node.output[0], [x[0] ?? null, made, ...x.slice(2).map(() => null)]);
}

/** Makes a depthwise convolution's weight, and its number of groups, follow its input's channels. */
function followed(
  walk: Walk,
  node: NodeProto,
  from: Labels | null,
  weight: Labels | null,
  groups: number,
): Labels | null {
  const outer = from === null || weight === null ? null : repeated(from, weight.length / groups);
  const made = walk.units.unify(outer, weight);
  if (made === null || from === null) return fixed(walk, from);
  walk.adaptations.push((_kept, count) => {
    setAttribute(node, "group", count(from));
  });
  return made;
}

function fixed(walk: Walk, labels: Labels | null): null {
  walk.units.fix(labels);
  return null;
}

function gemm(walk: Walk, node: NodeProto): void {
  const [left = "", right = "", bias = ""] = node.input;
  const [a, b, c] = [walk.axes(left), walk.axes(right), bias === "" ? [] : walk.axes(bias)];
  if (a?.length !== 2 || b?.length !== 2 || c === undefined) {
    walk.stay(node);
    return;
  }
  const [inner, outer] = [integerOf(node, "transA", 0) === 1 ? 0 : 1, integerOf(node, "transB", 0) === 1 ? 1 : 0];
  const summed = walk.units.unify(a[inner] ?? null, b[outer] ?? null);
  const isWeight = walk.isConstant(right);
  const weight = isWeight ? { weight: { input: 1, axis: outer, groups: 1 } } : {};
  walk.read({ node, input: 0, axis: inner, rank: 2, ...weight }, summed);
  const made = [a[1 - inner] ?? null, b[1 - outer] ?? null];
  if (isWeight) walk.produce({ node, kind: "product", weight: right, axis: 1 - outer }, made[1] ?? null);
  for (const [i, labels] of c.entries()) {
    const at = i + 2 - c.length;
    if (walk.dim(bias, i) !== 1) made[at] = walk.units.unify(made[at] ?? null, labels);
  }
  walk.set(node.output[0], made);
}

function matmul(walk: Walk, node: NodeProto): void {
  const [left = "", right = ""] = node.input;
  const [a, b] = [walk.axes(left), walk.axes(right)];
  if (a === undefined || b === undefined || a.length < 2 || b.length < 2) {
    walk.stay(node);
    return;
  }
  const summed = walk.units.unify(a.at(-1) ?? null, b.at(-2) ?? null);
  const batch = broadcastAxes(walk, [left, right], [a, b], 2);
  const [byRight, byLeft] = [walk.isConstant(right), walk.isConstant(left)];
  if (byLeft && !byRight) {
    const weight = a.length === 2 ? { weight: { input: 0, axis: 1, groups: 1 } } : {};
    walk.read({ node, input: 1, axis: b.length - 2, rank: b.length, ...weight }, summed);
    walk.produce({ node, kind: "product", weight: left, axis: a.length - 2 }, a.at(-2) ?? null);
  } else {
    const weight = byRight && b.length === 2 ? { weight: { input: 1, axis: 0, groups: 1 } } : {};
    walk.read({ node, input: 0, axis: a.length - 1, rank: a.length, ...weight }, summed);
    if (byRight) walk.produce({ node, kind: "product", weight: right, axis: b.length - 1 }, b.at(-1) ?? null);
  }
  walk.set(node.output[0], [...batch, a.at(-2) ?? null, b.at(-1) ?? null]);
}
