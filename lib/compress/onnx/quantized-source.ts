// Recognition of models whose weights are quantized already. Their original precision is lost, so quantizing them again
// loses more and gains nothing; the float32 original must be given.
import { subgraphs } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import type { GraphProto, NodeProto } from "./onnx.gen.js";
import { TensorProto_DataType } from "./onnx.gen.js";
import { elementCount } from "./tensor-proto.ts";

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
]);
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

/** A constant's number of elements, and whether they are stored in 8 bits or fewer. */
interface Weight {
  readonly elements: number;
  readonly isNarrow: boolean;
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
    const elements = elementCount(tensor);
    if (elements < WEIGHT_MIN) continue;
    const isNarrow = BYTES.has(tensor.dataType);
    const isFloat = tensor.dataType === TensorProto_DataType.FLOAT || isOtherFloat(tensor.dataType);
    if (isFloat) counts.float += elements;
    if (isNarrow || isFloat) known.set(name, { elements, isNarrow });
  }
  for (const node of graph.node) {
    const isReader = READERS.has(node.opType) || node.opType === "Cast";
    const weights = isReader ? node.input.filter((x) => known.get(x)?.isNarrow === true) : [];
    if (weights.length > 0) found.set(node.opType, (found.get(node.opType) ?? 0) + 1);
    for (const name of weights) {
      if (counted.has(name)) continue;
      counted.add(name);
      counts.quantized += known.get(name)?.elements ?? 0;
    }
    for (const inner of subgraphs(node)) count(inner, known, counts, found);
  }
}

function constantOf(node: NodeProto) {
  const tensor = node.opType === "Constant" ? node.attribute.find((x) => x.name === "value")?.t : undefined;
  return tensor === undefined ? [] : [{ name: node.output[0] ?? "", tensor }];
}

function isOtherFloat(type: number): boolean {
  const others: readonly number[] = [
    TensorProto_DataType.FLOAT16,
    TensorProto_DataType.BFLOAT16,
    TensorProto_DataType.DOUBLE,
  ];
  return others.includes(type);
}
