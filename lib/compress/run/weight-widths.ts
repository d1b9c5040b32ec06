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
  readonly 4: number;
  readonly 8: number;
  readonly 16: number;
  readonly 32: number;
}

/** Maximum share of weights in 16 bits or more of a form that is named after fewer. */
export const WIDE_MOST = 0.25;
/** Minimum share of weights in 4 bits of int4; with fewer it saves less than 2.5 % of int8's bytes. */
export const NARROW_LEAST = 0.05;
/** Minimum number of elements of a weight; smaller tensors stay as they are in every form. */
const LEAST_ELEMENTS = 256;
/** Operators that read weights; a branch counts for the layers in it. Other constants, as position tables, are none. */
const LAYERS: ReadonlySet<string> = new Set([
  ...["Conv", "ConvTranspose", "MatMul", "Gemm", "Gather", "Einsum", "LSTM", "GRU", "RNN", "If", "Loop", "Scan"],
  ...["MatMulNBits", "GatherBlockQuantized", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"],
  ...[
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "FusedMatMul",
    "FusedGemm",
    "FusedConv",
    "Attention",
    "QAttention",
    "EmbedLayerNormalization",
  ],
]);
/** Operators between a stored weight and the layer that reads it. */
const RESTORED: ReadonlySet<string> = new Set(["DequantizeLinear", "Cast", "Reshape", "Transpose", "Identity"]);
/** Operators between stored scales and their use. */
const AFTER_SCALES: ReadonlySet<string> = new Set(["Cast", "Mul", "Reshape"]);

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
  // A branch may read scales that lie around it.
  const scales = new Set([...model.graph.all()].flatMap((graph) => [...scalesOf(graph)]));
  for (const graph of model.graph.all()) {
    for (const tensor of graph.proto.initializer) {
      if (scales.has(tensor.name) || tensor.dims.length < 2 || !isNumeric(tensor)) continue;
      if (!isRead(graph, tensor.name)) continue;
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

/** Whether a layer reads a stored weight, as it is or restored. */
function isRead(graph: Graph, name: string): boolean {
  return graph.consumers(name).some((node) => {
    const isPair = node.opType === "Add" && isSumOfBytes(graph, node);
    if (RESTORED.has(node.opType) || isPair) return node.output.some((x) => isRead(graph, x));
    return LAYERS.has(node.opType);
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
  // Kernels for blocks take two values of 4 bits in a byte.
  if (user !== undefined && ["MatMulNBits", "GatherBlockQuantized"].includes(user.opType))
    return integerOf(user, "bits", 4) === 4 ? { bits: 4, elements: elements * 2 } : { bits: 8, elements };
  const isPair = graph.consumers(user?.output[0] ?? "").some((x) => x.opType === "Add" && isSumOfBytes(graph, x));
  // Each byte counts for half of the values.
  return user?.opType === "DequantizeLinear" && isPair ? { bits: 16, elements: elements / 2 } : { bits: 8, elements };
}

/** Names of the initializers that hold scales and zero points. */
function scalesOf(graph: Graph): ReadonlySet<string> {
  const found = new Set<string>();
  const follow = (name: string): void => {
    if (name === "" || found.has(name)) return;
    found.add(name);
    const producer = graph.producer(name);
    if (producer !== undefined && AFTER_SCALES.has(producer.opType)) for (const x of producer.input) follow(x);
  };
  for (const { opType, input } of graph.nodes) {
    if (opType === "DequantizeLinear" || opType === "QuantizeLinear") for (const x of input.slice(1)) follow(x);
    if (opType === "MatMulNBits" || opType === "GatherBlockQuantized") for (const x of input.slice(2)) follow(x);
  }
  return found;
}
