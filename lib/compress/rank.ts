// Tells a value's number of dims where that follows from the graph; undefined where it does not. Enough to know which
// axis is the last one; no shape inference.
import { integersAt } from "./graph.ts";
import type { Graph } from "./graph.ts";
import type { NodeProto, ValueInfoProto } from "./onnx.gen.js";

/** Operators whose output has the rank of their first input. */
const LIKE_FIRST = new Set(
  (
    "Abs AveragePool BatchNormalization Cast Ceil Clip Conv ConvTranspose CumSum Dropout Elu Erf Exp Floor " +
    "GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity InstanceNormalization LeakyRelu Log LogSoftmax LRN " +
    "MaxPool Neg Pad PRelu Reciprocal Relu Resize Round Selu Sigmoid Slice Softmax Softplus Split Sqrt Tanh Tile " +
    "Transpose Upsample DequantizeLinear QuantizeLinear"
  ).split(" "),
);
/** Operators that broadcast their inputs. */
const BROADCAST = new Set("Add Sub Mul Div Pow Min Max Mean Sum Where Equal Greater Less And Or Xor MatMul".split(" "));

/** Gives the rank of a value, looking at most 64 nodes back. */
export function rankOf(graph: Graph, name: string, depth = 64): number | undefined {
  const constant = graph.constant(name);
  if (constant !== undefined) return constant.dims.length;
  const { input, output, valueInfo } = graph.proto;
  for (const value of [...input, ...output, ...valueInfo]) if (value.name === name) return declaredRank(value);
  const node = graph.producer(name);
  if (node === undefined) return graph.parent === null ? undefined : rankOf(graph.parent, name, depth);
  return node.domain !== "" || depth === 0 ? undefined : rankAfter(graph, node, depth - 1);
}

function rankAfter(graph: Graph, node: NodeProto, depth: number): number | undefined {
  const first = node.input[0] ?? "";
  const op = node.opType;
  if (op === "Transpose") return integersAt(node, "perm")?.length ?? rankOf(graph, first, depth);
  if (LIKE_FIRST.has(op)) return rankOf(graph, first, depth);
  if (BROADCAST.has(op)) {
    const ranks = node.input.map((x) => rankOf(graph, x, depth));
    return ranks.includes(undefined) ? undefined : Math.max(...ranks.map((x) => x ?? 0));
  }
  if (op === "Concat") return rankOf(graph, first, depth);
  if (op === "Flatten" || op === "Gemm") return 2;
  if (op === "Reshape") return lengthOf(graph, node.input[1] ?? "", depth);
  if (op === "Squeeze" || op === "Unsqueeze") {
    const rank = rankOf(graph, first, depth);
    const axes = integersAt(node, "axes")?.length ?? lengthOf(graph, node.input[1] ?? "", depth);
    if (rank === undefined || axes === undefined) return undefined;
    return op === "Squeeze" ? rank - axes : rank + axes;
  }
  return undefined;
}

/** Gives the length of a list of dims: a constant, or pieces joined. */
function lengthOf(graph: Graph, name: string, depth: number): number | undefined {
  const constant = graph.constant(name);
  if (constant !== undefined) return Number(constant.dims[0] ?? 1n);
  const node = graph.producer(name);
  if (node === undefined || depth === 0) return undefined;
  if (node.opType === "Cast") return lengthOf(graph, node.input[0] ?? "", depth - 1);
  if (node.opType === "Shape") return rankOf(graph, node.input[0] ?? "", depth - 1);
  if (node.opType === "Slice") {
    const [start, end] = [integersAt(node, "starts")?.[0], integersAt(node, "ends")?.[0]];
    return start === undefined || end === undefined || start < 0 || end < start ? undefined : end - start;
  }
  if (node.opType === "Unsqueeze") return 1;
  if (node.opType !== "Concat") return undefined;
  const lengths = node.input.map((x) => lengthOf(graph, x, depth - 1));
  return lengths.includes(undefined) ? undefined : lengths.reduce<number>((sum, x) => sum + (x ?? 0), 0);
}

function declaredRank(value: ValueInfoProto): number | undefined {
  const type = value.type?.value;
  return type?.case === "tensorType" ? type.value.shape?.dim.length : undefined;
}
