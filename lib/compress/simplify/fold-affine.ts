// Folds y · scale + shift around a convolution into its weights and bias: batch normalization, and Mul and Add by a
// constant, per channel or for all. It must be done here, before the weights are quantized, since a runtime can't
// afterwards; and each removed node saves a dispatch on a GPU.
//
// After a convolution everything folds. Before one, a scale for all channels folds, and a shift only where there is no
// padding (padding inserts zeros, which the shift did not affect) and no group.
import type { Graph } from "../onnx/graph.ts";
import { floatOf, integerOf, integersAt, textOf } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { rankOf } from "../onnx/rank.ts";
import { elementCount, floatsOf, floatTensor } from "../onnx/tensor-proto.ts";

/** Minimum number of elements of a weight that is not worth a second copy. */
const SHARED_MIN = 256;

/** y = x · scale + shift, each of one value or one per channel. */
interface Affine {
  readonly input: string;
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** Folds constant scales and shifts into adjacent convolutions; results change by rounding only. */
export function foldAffine(): Transform {
  return (model) => {
    for (const graph of model.graph.all()) {
      dropIdentities(graph);
      for (const node of [...graph.nodes]) if (isConvolution(node)) while (foldBehind(graph, node));
      for (const node of [...graph.nodes]) if (isConvolution(node)) while (foldBefore(graph, node));
    }
  };
}

function isConvolution(node: NodeProto): boolean {
  return (node.opType === "Conv" || node.opType === "ConvTranspose") && node.domain === "";
}

function dropIdentities(graph: Graph): void {
  for (const node of [...graph.nodes]) {
    const output = node.output[0] ?? "";
    const affine = node.opType === "Mul" || node.opType === "Add" ? affineOf(graph, node) : undefined;
    if (affine === undefined || affine.scale.length > 1 || affine.shift.length > 1 || graph.isOutput(output)) continue;
    if (affine.scale[0] !== 1 || affine.shift[0] !== 0) continue;
    graph.replaceUses(output, affine.input);
    graph.remove(new Set([node]));
  }
}

/** Folds the only consumer of a convolution's output into it; returns whether there was one to fold. */
function foldBehind(graph: Graph, conv: NodeProto): boolean {
  const output = conv.output[0] ?? "";
  const next = graph.onlyConsumer(output);
  const weight = floatConstant(graph, conv.input[1]);
  const bias = biasOf(graph, conv);
  if (next === undefined || weight === undefined || bias === undefined) return false;
  const affine = affineOf(graph, next);
  if (affine?.input !== output || isCopied(graph, conv, weight, (x) => graph.onlyConsumer(x.output[0] ?? "")))
    return false;
  const group = integerOf(conv, "group", 1);
  const dims = weight.dims.map(Number);
  const isTransposed = conv.opType === "ConvTranspose";
  if (isTransposed && group !== 1) return false;
  const channels = (isTransposed ? dims[1] : dims[0]) ?? 0;
  for (const { length } of [affine.scale, affine.shift]) if (length !== 1 && length !== channels) return false;
  const kernel = elementCount(weight) / ((dims[0] ?? 1) * (dims[1] ?? 1));
  const inner = isTransposed ? kernel : elementCount(weight) / channels;
  const weights = floatsOf(weight).map((w, i) => w * at(affine.scale, Math.floor(i / inner) % channels));
  const biases = Float32Array.from(
    { length: channels },
    (_, c) => at(bias, c) * at(affine.scale, c) + at(affine.shift, c),
  );
  setWeights(graph, conv, dims, weights, biases);
  conv.output = [next.output[0] ?? ""];
  graph.remove(new Set([next]));
  return true;
}

/** Folds the producer of a convolution's input into it; returns whether there was one to fold. */
function foldBefore(graph: Graph, conv: NodeProto): boolean {
  const input = conv.input[0] ?? "";
  const previous = graph.producer(input);
  const weight = floatConstant(graph, conv.input[1]);
  const bias = biasOf(graph, conv);
  if (conv.opType !== "Conv" || previous === undefined || weight === undefined || bias === undefined) return false;
  if (previous.opType !== "Mul" && previous.opType !== "Add") return false;
  if (graph.onlyConsumer(input) !== conv) return false;
  if (isCopied(graph, conv, weight, (x) => graph.producer(x.input[0] ?? ""))) return false;
  const affine = affineOf(graph, previous);
  if (affine === undefined || affine.scale.length > 1 || affine.shift.length > 1) return false;
  const [scale, shift] = [at(affine.scale, 0), at(affine.shift, 0)];
  const isPadded =
    textOf(conv, "auto_pad", "NOTSET") !== "NOTSET" || (integersAt(conv, "pads") ?? []).some((x) => x !== 0);
  const dims = weight.dims.map(Number);
  const channels = dims[0] ?? 0;
  const values = floatsOf(weight);
  const inner = values.length / channels;
  if (shift !== 0 && isPadded) {
    // s·x + t before padding equals s·(x + t/s): the scale of a Mul above this Add can be removed, its shift can't.
    return scaleThroughShift(graph, conv, previous, affine);
  }
  const biases = Float32Array.from({ length: channels }, (_, c) => {
    let sum = 0;
    for (let i = c * inner; i < (c + 1) * inner; i++) sum += values[i] ?? 0;
    return at(bias, c) + shift * sum;
  });
  setWeights(
    graph,
    conv,
    dims,
    values.map((w) => w * scale),
    biases,
  );
  conv.input[0] = affine.input;
  graph.remove(new Set([previous]));
  return true;
}

/** Rewrites conv(pad(x · s + t)) to conv'(pad(x + t / s)), with s in the weights. */
function scaleThroughShift(graph: Graph, conv: NodeProto, add: NodeProto, shift: Affine): boolean {
  const multiply = graph.producer(shift.input);
  const weight = floatConstant(graph, conv.input[1]);
  if (multiply?.opType !== "Mul" || weight === undefined || graph.onlyConsumer(shift.input) !== add) return false;
  const affine = affineOf(graph, multiply);
  const scale = affine === undefined || affine.scale.length > 1 ? 0 : at(affine.scale, 0);
  // A tiny scale would make the shift huge and lose the precision of x.
  if (affine === undefined || scale === 0 || Math.abs(at(shift.shift, 0) / scale) > 64) return false;
  const name = graph.freshName(`${add.output[0] ?? ""}/shift`);
  const value = graph.addInitializer(floatTensor(name, [1], Float32Array.of(at(shift.shift, 0) / scale)));
  graph.insertBefore(add, { opType: "Add", input: [affine.input, value], output: add.output });
  const bias = biasOf(graph, conv);
  setWeights(
    graph,
    conv,
    weight.dims.map(Number),
    floatsOf(weight).map((w) => w * scale),
    Float32Array.from(bias ?? []),
  );
  graph.remove(new Set([multiply, add]));
  return true;
}

function setWeights(
  graph: Graph,
  conv: NodeProto,
  dims: readonly number[],
  weights: Float32Array,
  bias: Float32Array,
): void {
  const stem = conv.output[0] ?? "";
  const weightName = graph.addInitializer(floatTensor(graph.freshName(`${stem}/weight`), dims, weights));
  conv.input = [conv.input[0] ?? "", weightName];
  if (bias.some((x) => x !== 0))
    conv.input.push(graph.addInitializer(floatTensor(graph.freshName(`${stem}/bias`), [bias.length], bias)));
  graph.changed();
}

/**
 * Whether folding a neighbour would store a weight once more: heads of detectors share theirs over all scales, with a
 * normalization for each. Where all neighbours are alike the folded weights are equal, and shared again afterwards.
 */
function isCopied(
  graph: Graph,
  conv: NodeProto,
  weight: TensorProto,
  neighbour: (conv: NodeProto) => NodeProto | undefined,
): boolean {
  if (elementCount(weight) < SHARED_MIN) return false;
  const keyOf = (x: NodeProto): string => {
    const next = neighbour(x);
    const constants = next?.input.filter((name) => graph.constant(name) !== undefined);
    return JSON.stringify([x.opType, x.input.slice(1), next?.opType, constants]);
  };
  return graph.ownerOf(weight.name) !== graph || graph.consumers(weight.name).some((x) => keyOf(x) !== keyOf(conv));
}

/** Reads a node as y = x · scale + shift with constants, on the channel axis of an NCHW value. */
function affineOf(graph: Graph, node: NodeProto): Affine | undefined {
  if (node.domain !== "") return undefined;
  const one = Float64Array.of(1);
  const zero = Float64Array.of(0);
  if (node.opType === "BatchNormalization") {
    if (node.output.length !== 1) return undefined;
    const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((i) => floatConstant(graph, node.input[i]));
    if (gamma === undefined || beta === undefined || mean === undefined || variance === undefined) return undefined;
    const epsilon = floatOf(node, "epsilon", 1e-5);
    const deviation = Float64Array.from(floatsOf(variance), (x) => Math.sqrt(x + epsilon));
    const scale = Float64Array.from(floatsOf(gamma), (x, c) => x / at(deviation, c));
    const shift = Float64Array.from(floatsOf(beta), (x, c) => x - (floatsOf(mean)[c] ?? 0) * at(scale, c));
    return { input: node.input[0] ?? "", scale, shift };
  }
  if (node.opType !== "Mul" && node.opType !== "Add") return undefined;
  const [left = "", right = ""] = node.input;
  const constant = floatConstant(graph, left) ?? floatConstant(graph, right);
  if (constant === undefined) return undefined;
  const input = floatConstant(graph, left) === undefined ? left : right;
  const values = channelValues(graph, constant, input);
  if (values === undefined) return undefined;
  return node.opType === "Mul" ? { input, scale: values, shift: zero } : { input, scale: one, shift: values };
}

/** Returns a constant's values where it broadcasts as one value, or one per channel of a 4-D value. */
function channelValues(graph: Graph, constant: TensorProto, input: string): Float64Array | undefined {
  const dims = constant.dims.map(Number);
  const values = Float64Array.from(floatsOf(constant));
  const rank = rankOf(graph, input);
  if (values.length === 1) return rank === undefined || dims.length > rank ? undefined : values;
  if (rank !== 4) return undefined;
  const padded = [...Array<number>(4 - Math.min(4, dims.length)).fill(1), ...dims];
  return padded.length === 4 && padded[1] === values.length ? values : undefined;
}

/** Returns a convolution's bias, zeros where it has none, undefined where it is not a constant. */
function biasOf(graph: Graph, conv: NodeProto): Float64Array | undefined {
  const weight = floatConstant(graph, conv.input[1]);
  if (weight === undefined) return undefined;
  const group = integerOf(conv, "group", 1);
  const channels = conv.opType === "Conv" ? Number(weight.dims[0]) : Number(weight.dims[1]) * group;
  const name = conv.input[2] ?? "";
  if (name === "") return new Float64Array(channels);
  const bias = floatConstant(graph, name);
  return bias === undefined ? undefined : Float64Array.from(floatsOf(bias));
}

function floatConstant(graph: Graph, name: string | undefined): TensorProto | undefined {
  const constant = graph.constant(name ?? "");
  return constant?.dataType === TensorProto_DataType.FLOAT ? constant : undefined;
}

/** Reads the only value, or that of a channel. */
function at(values: Float64Array, channel: number): number {
  return (values.length === 1 ? values[0] : values[channel]) ?? 0;
}
