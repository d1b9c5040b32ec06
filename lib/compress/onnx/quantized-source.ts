// Recognition of models whose weights are quantized already. Their original precision is lost, so quantizing them again
// loses more and gains nothing; the float32 original must be given.
import { integerOf, subgraphs } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import type { GraphProto, NodeProto } from "./onnx.gen.js";
import { TensorProto_DataType } from "./onnx.gen.js";
import { elementCount, NEWER } from "./tensor-proto.ts";

/** Operators that read quantized weights. */
const READERS: ReadonlySet<string> = new Set(
  (
    "DequantizeLinear QLinearConv QLinearMatMul MatMulInteger ConvInteger MatMulNBits MatMulBnb4 GatherBlockQuantized " +
    "MatMulIntegerToFloat DynamicQuantizeMatMul DynamicQuantizeLSTM QGemm QAttention QEmbedLayerNormalization QMoE " +
    "MatMulFpQ4 QLinearConvTranspose"
  ).split(" "),
);
const BYTES: ReadonlySet<number> = new Set([
  TensorProto_DataType.INT8,
  TensorProto_DataType.UINT8,
  TensorProto_DataType.INT4,
  TensorProto_DataType.UINT4,
  TensorProto_DataType.FLOAT8E4M3FN,
  TensorProto_DataType.FLOAT8E5M2,
  ...Object.values(NEWER).map((x) => x.type),
]);
/** Types of weights in a DequantizeLinear alone: other operators read lists and texts in them. */
const WORDS: ReadonlySet<number> = new Set([TensorProto_DataType.INT16, TensorProto_DataType.UINT16]);
/** Share of the weights from which on a model counts as quantized. */
const SHARE = 0.25;
/** Minimum number of elements of a weight. */
const WEIGHT_MIN = 64;

/** Lists the operators with quantized weights and their counts, the most frequent first; undefined for a float model. */
export function quantizedOperators({ proto }: OnnxModel): string[] | undefined {
  const found = new Map<string, number>();
  const counts = { float: 0, quantized: 0 };
  if (proto.graph !== undefined) count(proto.graph, new Map(), counts, found);
  if (counts.quantized === 0 || counts.quantized < SHARE * (counts.float + counts.quantized)) return undefined;
  return [...found].sort(([, a], [, b]) => b - a).map(([name, n]) => `${n} ${name}`);
}

/** A constant's number of elements, and their type. */
interface Weight {
  readonly elements: number;
  readonly dataType: number;
}

function count(
  graph: GraphProto,
  outer: ReadonlyMap<string, Weight>,
  counts: { float: number; quantized: number },
  found: Map<string, number>,
): void {
  const known = new Map(outer);
  const tensors = [
    ...graph.initializer.map((tensor) => ({ name: tensor.name, tensor })),
    ...graph.node.flatMap((node) => constantOf(node)),
  ];
  const counted = new Set<string>();
  for (const { name, tensor } of tensors) {
    const { dataType } = tensor;
    const elements = elementCount(tensor);
    if (elements < WEIGHT_MIN) continue;
    if (isFloat(dataType)) counts.float += elements;
    known.set(name, { elements, dataType });
  }
  for (const node of graph.node) {
    const weights = node.input.filter((x) => isQuantized(node, known.get(x)));
    if (weights.length > 0) found.set(node.opType, (found.get(node.opType) ?? 0) + 1);
    for (const name of weights) {
      if (counted.has(name)) continue;
      counted.add(name);
      counts.quantized += known.get(name)?.elements ?? 0;
    }
    for (const inner of subgraphs(node)) count(inner, known, counts, found);
  }
}

/** Whether a node reads a weight that is quantized. */
function isQuantized(node: NodeProto, weight: Weight | undefined): boolean {
  const { opType } = node;
  // A mask may be stored in bytes too, and is cast to bool.
  const isWidened = opType === "Cast" && isFloat(integerOf(node, "to", 0));
  if (weight === undefined || !(READERS.has(opType) || isWidened)) return false;
  return BYTES.has(weight.dataType) || (opType === "DequantizeLinear" && WORDS.has(weight.dataType));
}

function constantOf(node: NodeProto) {
  const tensor = node.opType === "Constant" ? node.attribute.find((x) => x.name === "value")?.t : undefined;
  return tensor === undefined ? [] : [{ name: node.output[0] ?? "", tensor }];
}

function isFloat(type: number): boolean {
  const types: readonly number[] = [
    TensorProto_DataType.FLOAT,
    TensorProto_DataType.FLOAT16,
    TensorProto_DataType.BFLOAT16,
    TensorProto_DataType.DOUBLE,
  ];
  return types.includes(type);
}
