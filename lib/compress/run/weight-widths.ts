// Share of a model's weights by the bits that each is stored in. A form is named int8 or int4 for what most of its
// weights are: at most a quarter of them may be stored in 16 bits or more, and some of int4's are stored in 4.
import type { Graph } from "../onnx/graph.ts";
import { integerOf } from "../onnx/graph.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import { bitsOf, elementCount } from "../onnx/tensor-proto.ts";

/** Shares of the weights, which sum to 1, by bits. */
export interface WeightWidths {
  /** Share at 4 bits. */
  readonly 4: number;
  /** Share at 8 bits. */
  readonly 8: number;
  /** Share at 16 bits. */
  readonly 16: number;
  /** Share at 32 bits and more. */
  readonly 32: number;
}

/** Maximum share of weights in 16 bits or more of a form that is named after fewer. */
export const WIDE_MOST = 0.25;
/** Minimum share of weights in 4 bits of int4; with fewer it saves less than 2.5 % of int8's bytes. */
export const NARROW_LEAST = 0.05;
/** Minimum number of elements of a weight; smaller tensors stay as they are in every form. */
const LEAST_ELEMENTS = 256;
/**
 * Inputs that hold weights, by operator; others hold biases, scales, zero points or states. Other operators' constants,
 * as position tables, are no weights.
 */
const WEIGHT_INPUTS: ReadonlyMap<string, readonly number[]> = new Map(
  [
    { at: [0, 1], of: ["MatMul", "FusedMatMul", "MatMulInteger", "MatMulIntegerToFloat", "Gemm", "FusedGemm"] },
    { at: [0, 1], of: ["Conv", "FusedConv", "ConvTranspose", "ConvInteger", "Einsum"] },
    { at: [1], of: ["DynamicQuantizeMatMul", "MatMulNBits", "MatMulBnb4", "DeformConv", "Attention", "QAttention"] },
    { at: [0, 3], of: ["QGemm", "QLinearMatMul", "QLinearConv"] },
    { at: [0], of: ["Gather", "GatherND", "GatherElements", "GatherBlockQuantized"] },
    { at: [1, 2], of: ["LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"] },
    { at: [2, 3, 4], of: ["EmbedLayerNormalization", "QEmbedLayerNormalization"] },
    { at: [2, 4, 6], of: ["MoE"] },
    { at: [2, 5, 8], of: ["QMoE"] },
  ].flatMap(({ at, of }) => of.map((opType) => [opType, at] as const)),
);
/** Operators that hand a weight on from their first input. */
const RESTORED: ReadonlySet<string> = new Set(["DequantizeLinear", "Cast", "Reshape", "Transpose", "Identity"]);
/** Operators with subgraphs; one that takes a weight in counts for the layers in it. */
const BODIES: ReadonlySet<string> = new Set(["If", "Loop", "Scan"]);
/** Operators that keep two values of 4 bits in a byte, each with the attribute that says so. */
const IN_BYTES: ReadonlyMap<string, string> = new Map([
  ["MatMulNBits", "bits"],
  ["GatherBlockQuantized", "bits"],
  ["MatMulBnb4", ""],
  ["QMoE", "expert_weight_bits"],
]);

/** Counts the weights of a model, subgraphs included; biases, scales and shapes are none. */
export function weightWidths(model: OnnxModel): WeightWidths {
  const counts = countWeights(model);
  const total = [...counts.values()].reduce((a, b) => a + b, 0);
  const share = (bits: number): number => (total === 0 ? (bits === 32 ? 1 : 0) : (counts.get(bits) ?? 0) / total);
  return { 4: share(4), 8: share(8), 16: share(16), 32: share(32) };
}

/** Whether a model has weights that count. */
export function hasWeights(model: OnnxModel): boolean {
  return countWeights(model).size > 0;
}

/** Counts the weights by the bits that each is stored in. */
function countWeights(model: OnnxModel): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const graph of model.graph.all()) {
    for (const tensor of graph.proto.initializer) {
      if (!isNumeric(tensor) || !isRead(graph, tensor.name, tensor.dims.length)) continue;
      const { bits, elements } = storedAs(graph, tensor);
      if (elements >= LEAST_ELEMENTS) counts.set(bits, (counts.get(bits) ?? 0) + elements);
    }
  }
  return counts;
}

/** Share of the weights that are stored in 16 bits or more. */
export function wideShare(widths: WeightWidths): number {
  return widths[16] + widths[32];
}

/** Whether a layer reads a stored value of a rank as weights, as it is or restored. */
function isRead(graph: Graph, name: string, rank: number): boolean {
  const readers = graph.readers(name);
  // A branch returns it as it is.
  if (readers === undefined) return rank > 1;
  return readers.some(({ graph: around, node }) => {
    const isAt = (place: number): boolean => node.input[place] === name;
    const isPair = node.opType === "Add" && isSumOfBytes(around, node);
    if (isPair || (RESTORED.has(node.opType) && isAt(0))) return node.output.some((x) => isRead(around, x, rank));
    // A matrix of 4 bits by bitsandbytes is a list of bytes.
    if (rank < 2 && node.opType !== "MatMulBnb4") return false;
    return BODIES.has(node.opType) || (WEIGHT_INPUTS.get(node.opType) ?? []).some(isAt);
  });
}

/** Whether an Add restores a weight from a high and a low byte (int16-pairs.ts). */
function isSumOfBytes(graph: Graph, { input }: NodeProto): boolean {
  return input.every((x) => graph.producer(x)?.opType === "DequantizeLinear");
}

function isNumeric({ dataType }: TensorProto): boolean {
  const { FLOAT, FLOAT16, DOUBLE, INT8, UINT8, INT4, UINT4 } = TensorProto_DataType;
  return [FLOAT, FLOAT16, DOUBLE, INT8, UINT8, INT4, UINT4].some((x) => x === dataType);
}

function storedAs(graph: Graph, tensor: TensorProto): { bits: number; elements: number } {
  const elements = elementCount(tensor);
  const stored = bitsOf(tensor.dataType);
  if (stored !== 8) return { bits: Math.min(32, stored), elements };
  const user = graph.readers(tensor.name)?.[0]?.node;
  const bits = IN_BYTES.get(user?.opType ?? "");
  if (user !== undefined && bits !== undefined)
    return integerOf(user, bits, 4) === 4 ? { bits: 4, elements: elements * 2 } : { bits: 8, elements };
  const isPair = graph.consumers(user?.output[0] ?? "").some((x) => x.opType === "Add" && isSumOfBytes(graph, x));
  // Each byte counts for half of the values.
  return user?.opType === "DequantizeLinear" && isPair ? { bits: 16, elements: elements / 2 } : { bits: 8, elements };
}
