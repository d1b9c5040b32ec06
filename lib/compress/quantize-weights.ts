// Stores weights as int8, symmetric, one scale per output channel, behind a DequantizeLinear: a quarter of the bytes, and
// the arithmetic stays float32. WebGPU has a kernel for DequantizeLinear but for no integer convolution; on wasm the
// session entry `session.disable_quant_qdq` lets ONNX Runtime compute the weights once, while loading.
//
// Scheme of ONNX's DequantizeLinear (operator set 13, `axis`): w ≈ q · scale[channel], q in −127…127, so that no zero
// point is needed; rounding is to the nearest, ties to even, and the error at most scale / 2 for each weight.
import { SelvedgeError } from "../errors.ts";
import { integerOf, integersAt } from "./graph.ts";
import type { Graph } from "./graph.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import type { NodeProto, TensorProto } from "./onnx.gen.js";
import type { Transform } from "./onnx.ts";
import { elementCount, float16Tensor, floatsOf, floatTensor, int8Tensor } from "./weights.ts";

/** Describes a weight that may be quantized. */
export interface WeightFacts {
  /** The operator that uses it: Conv, ConvTranspose, MatMul, Gemm, Gather, Transpose, LSTM, GRU or RNN. */
  readonly opType: string;
  readonly dims: readonly number[];
  /** The number of groups of a convolution; 1 for other operators. */
  readonly group: number;
  /** Name of the weight in the model. */
  readonly name: string;
}

/** Options of `quantizeWeights`. */
export interface QuantizeOptions {
  /** Weights of fewer elements stay as they are. Default 1024: below that the scales and the node cost more. */
  readonly minElements?: number;
  /** Chooses how a weight is stored. Default "int8" for all. */
  readonly store?: (weight: WeightFacts) => WeightStore;
}

/** How a weight is stored: int8 behind DequantizeLinear, float16 behind Cast, or as it is. */
export type WeightStore = "int8" | "float16" | "float32";

/** What `quantizeWeights` does unless told otherwise. */
export const QUANTIZE_DEFAULTS: Required<QuantizeOptions> = { minElements: 1024, store: () => "int8" };

/** Tells whether each channel is convolved alone: few weights, each of which matters much. */
export function isDepthwise(weight: WeightFacts): boolean {
  return weight.opType === "Conv" && weight.group > 1 && weight.dims[1] === 1;
}

/** Tells whether a convolution reads an image: at most 4 channels, where an error spreads to everything. */
export function isStem(weight: WeightFacts): boolean {
  return weight.opType === "Conv" && weight.group === 1 && (weight.dims[1] ?? 0) <= 4;
}

/**
 * Quantizes the constant float32 weights of convolutions, products, recurrent layers and tables. A weight that several nodes share is
 * stored once; one that they read along different axes stays float32.
 * @throws SelvedgeError `model-invalid` below operator set 13.
 */
export function quantizeWeights(options: QuantizeOptions = {}): Transform {
  const { minElements, store } = { ...QUANTIZE_DEFAULTS, ...options };
  return (model) => {
    if (model.opset < 13)
      throw new SelvedgeError("model-invalid", `per-channel weights need operator set 13, not ${model.opset}`, {
        opset: model.opset,
      });
    for (const graph of model.graph.all()) {
      for (const tensor of [...graph.proto.initializer]) {
        if (tensor.dataType !== TensorProto_DataType.FLOAT || elementCount(tensor) < minElements) continue;
        const users = graph.consumers(tensor.name);
        const first = users[0];
        if (first === undefined || graph.constant(tensor.name) !== tensor || graph.isOutput(tensor.name)) continue;
        const axes = new Set(users.map((x) => channelAxis(graph, x, tensor)));
        const axis = [...axes][0];
        if (axes.size !== 1 || axis === undefined) continue;
        const dims = tensor.dims.map(Number);
        const facts = { opType: first.opType, dims, group: integerOf(first, "group", 1), name: tensor.name };
        const form = store(facts);
        if (form === "int8") toInt8(graph, tensor, axis, users);
        else if (form === "float16") toFloat16(graph, tensor, users);
      }
    }
  };
}

/** Gives the axis of a weight that counts output channels, or undefined where the node does not use it as a weight. */
function channelAxis(graph: Graph, node: NodeProto, weight: TensorProto): number | undefined {
  const at = node.input.indexOf(weight.name);
  if (node.domain !== "" || at < 0 || node.input.lastIndexOf(weight.name) !== at) return undefined;
  const rank = weight.dims.length;
  if (node.opType === "Gather") return at === 0 && rank === 2 && integerOf(node, "axis", 0) === 0 ? 0 : undefined;
  if (node.opType === "Transpose" && rank === 2) {
    const [output = ""] = node.output;
    const isByRow = graph.consumers(output).every((x) => x.opType === "MatMul" && x.input[1] === output);
    return isByRow && integersAt(node, "perm")?.join() !== "0,1" && !graph.isOutput(output) ? 0 : undefined;
  }
  // [directions, gates · hidden, inputs]: the scales of both directions are one.
  if (["LSTM", "GRU", "RNN"].includes(node.opType)) return at === 1 || at === 2 ? 1 : undefined;
  if (at !== 1) return undefined;
  switch (node.opType) {
    case "Conv":
      return 0;
    case "ConvTranspose":
      return integerOf(node, "group", 1) === 1 ? 1 : undefined;
    case "MatMul":
      return rank >= 2 ? rank - 1 : undefined;
    case "Gemm":
      return integerOf(node, "transB", 0) === 1 ? 0 : 1;
    default:
      return undefined;
  }
}

function toInt8(graph: Graph, tensor: TensorProto, axis: number, users: readonly NodeProto[]): void {
  const { values, scales } = quantizeInt8(floatsOf(tensor), tensor.dims.map(Number), axis);
  if (scales.some((x) => !Number.isFinite(x))) return;
  replace(graph, tensor, users, (dequantized) => {
    const quantized = int8Tensor(graph.freshName(`${tensor.name}/int8`), tensor.dims.map(Number), values);
    const scale = floatTensor(graph.freshName(`${tensor.name}/scale`), [scales.length], scales);
    const input = [graph.addInitializer(quantized), graph.addInitializer(scale)];
    return { opType: "DequantizeLinear", input, output: [dequantized], attributes: { axis } };
  });
}

function toFloat16(graph: Graph, tensor: TensorProto, users: readonly NodeProto[]): void {
  const values = floatsOf(tensor);
  if (values.some((x) => !Number.isFinite(x) || Math.abs(x) > 65_504)) return;
  replace(graph, tensor, users, (widened) => {
    const name = graph.freshName(`${tensor.name}/float16`);
    const input = [graph.addInitializer(float16Tensor(name, tensor.dims.map(Number), float16BitsOf(values)))];
    return { opType: "Cast", input, output: [widened], attributes: { to: TensorProto_DataType.FLOAT } };
  });
}

function replace(
  graph: Graph,
  tensor: TensorProto,
  users: readonly NodeProto[],
  make: (output: string) => Parameters<Graph["insertBefore"]>[1],
): void {
  const first = graph.nodes.find((x) => users.includes(x));
  if (first === undefined) return;
  const wide = graph.freshName(`${tensor.name}/float32`);
  graph.insertBefore(first, make(wide));
  graph.replaceUses(tensor.name, wide);
  graph.proto.initializer.splice(graph.proto.initializer.indexOf(tensor), 1);
  graph.changed();
}

/** Quantizes values to int8, symmetric, with a scale for each index of `axis`. */
export function quantizeInt8(
  values: Float32Array,
  dims: readonly number[],
  axis: number,
): { values: Int8Array; scales: Float32Array } {
  const channels = dims[axis] ?? 1;
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const peaks = new Float32Array(channels);
  const quantized = new Int8Array(values.length);
  // Plain loops: `from` with a function collects a list of numbers first, ten times the size of its result.
  for (let i = 0; i < values.length; i++) {
    const channel = Math.floor(i / inner) % channels;
    const size = Math.abs(values[i] ?? 0);
    // A NaN comes through, so that the weight is left alone.
    peaks[channel] = Math.max(peaks[channel] ?? 0, size);
  }
  // Kept normal: a subnormal scale has too few bits to bound the error, and some GPUs take it as 0.
  const scales = peaks.map((peak) => Math.max(peak / 127, 2 ** -126));
  for (let i = 0; i < values.length; i++) {
    const scale = scales[Math.floor(i / inner) % channels] ?? 1;
    quantized[i] = Math.max(-127, Math.min(127, roundToEven((values[i] ?? 0) / scale)));
  }
  return { values: quantized, scales };
}

function roundToEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/** Gives the bits of the float16 nearest to each value. */
export function float16BitsOf(values: Float32Array): Uint16Array {
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) bits[i] = float16Bits(values[i] ?? 0);
  return bits;
}

/** Gives the bits of the float16 nearest to a value, ties to even (IEEE 754). */
export function float16Bits(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65_520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundToEven(size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  // log2 may round up to the next whole number.
  const power = 2 ** exponent > size ? exponent - 1 : exponent;
  // A fraction that rounds up to 1024 carries into the exponent, as it should.
  return sign | (((power + 15) << 10) + roundToEven((size / 2 ** power - 1) * 1024));
}
