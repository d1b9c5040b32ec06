// Number of dims of a value where it follows from the graph; else undefined. Enough to know which axis is the last one;
// no shape inference.
import { integerOf, integersAt } from "./graph.ts";
import type { Graph } from "./graph.ts";
import type { NodeProto, ValueInfoProto } from "./onnx.gen.js";
import { integersOf } from "./tensor-proto.ts";

/** Operators whose output has the rank of their first input. */
const LIKE_FIRST = new Set(
  (
    "Abs AveragePool BatchNormalization Cast Ceil Clip CumSum Dropout Elu Erf Exp Floor " +
    "GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity InstanceNormalization LeakyRelu Log LogSoftmax LRN " +
    "Concat Gelu GroupNormalization LayerNormalization MaxPool Mish Neg Not Pad PRelu Reciprocal Relu Resize Round Selu Sigmoid Slice Softmax Softplus Split Sqrt Tanh Tile " +
    "Transpose Trilu Upsample DequantizeLinear QuantizeLinear"
  ).split(" "),
);
/** Operators that broadcast their inputs. */
const BROADCAST = new Set("Add Sub Mul Div Pow Min Max Mean Sum Where Equal Greater Less And Or Xor MatMul".split(" "));

/** Maximum number of nodes that a rank is followed back through, so that a long graph cannot exhaust the stack. */
const DEPTH_MAX = 500;

/** Returns the rank of a value, where it follows from at most 500 preceding nodes. */
export function rankOf(graph: Graph, name: string): number | undefined {
  return new Search().rank(graph, name, 0);
}

/** One search, which visits each value once: residual graphs have very many paths. */
class Search {
  readonly #ranks = new Map<string, number | undefined>();

  rank(graph: Graph, name: string, depth: number): number | undefined {
    const constant = graph.constant(name);
    if (constant !== undefined) return constant.dims.length;
    if (this.#ranks.has(name)) return this.#ranks.get(name);
    this.#ranks.set(name, undefined);
    const { input, output, valueInfo } = graph.proto;
    const declared = [...input, ...output, ...valueInfo].find((x) => x.name === name);
    const node = graph.producer(name);
    let rank = declared === undefined ? undefined : declaredRank(declared);
    if (rank === undefined && node?.domain === "" && depth < DEPTH_MAX) rank = this.#after(graph, node, depth + 1);
    else if (rank === undefined && node === undefined && graph.parent !== null)
      rank = this.rank(graph.parent, name, depth);
    this.#ranks.set(name, rank);
    return rank;
  }

  #after(graph: Graph, node: NodeProto, depth: number): number | undefined {
    const first = node.input[0] ?? "";
    const op = node.opType;
    if (op === "Conv" || op === "ConvTranspose") return this.rank(graph, node.input[1] ?? "", depth);
    if (op === "Transpose") return integersAt(node, "perm")?.length ?? this.rank(graph, first, depth);
    if (LIKE_FIRST.has(op)) return this.rank(graph, first, depth);
    if (BROADCAST.has(op)) {
      const ranks = node.input.map((x) => this.rank(graph, x, depth));
      if (op === "MatMul" && ranks.includes(1)) return undefined;
      return ranks.includes(undefined) ? undefined : Math.max(...ranks.map((x) => x ?? 0));
    }
    if (op.startsWith("Reduce") && integerOf(node, "keepdims", 1) === 1) return this.rank(graph, first, depth);
    if (op === "Flatten" || op === "Gemm") return 2;
    if (op === "Gather") {
      const [data, indexes] = [this.rank(graph, first, depth), this.rank(graph, node.input[1] ?? "", depth)];
      return data === undefined || indexes === undefined ? undefined : data - 1 + indexes;
    }
    if (op === "Shape" || op === "Range") return 1;
    if (op === "ConstantOfShape") return this.#length(graph, first, depth);
    if (op === "Expand") {
      const [data, target] = [this.rank(graph, first, depth), this.#length(graph, node.input[1] ?? "", depth)];
      return data === undefined || target === undefined ? undefined : Math.max(data, target);
    }
    if (op === "Reshape") return this.#length(graph, node.input[1] ?? "", depth);
    if (op === "Squeeze" || op === "Unsqueeze") {
      const rank = this.rank(graph, first, depth);
      const axes = integersAt(node, "axes")?.length ?? this.#length(graph, node.input[1] ?? "", depth);
      if (rank === undefined || axes === undefined) return undefined;
      return op === "Squeeze" ? rank - axes : rank + axes;
    }
    return undefined;
  }

  /** Returns the length of a list of dims: a constant, a concatenation, or a part of a list of known length. */
  #length(graph: Graph, name: string, depth: number): number | undefined {
    const constant = graph.constant(name);
    if (constant !== undefined) return Number(constant.dims[0] ?? 1n);
    const node = graph.producer(name);
    if (node === undefined || depth >= DEPTH_MAX) return undefined;
    const first = node.input[0] ?? "";
    if (node.opType === "Cast") return this.#length(graph, first, depth + 1);
    if (node.opType === "Shape") return this.rank(graph, first, depth + 1);
    if (node.opType === "Unsqueeze") return 1;
    if (node.opType === "Slice") {
      const [start, end, step] = [
        listAt(graph, node, "starts", 1),
        listAt(graph, node, "ends", 2),
        listAt(graph, node, "steps", 4),
      ];
      const whole = this.#length(graph, first, depth + 1);
      if (start?.[0] === undefined || end?.[0] === undefined || (step?.[0] ?? 1) !== 1) return undefined;
      return whole === undefined ? undefined : sliceLength(whole, start[0], end[0]);
    }
    if (node.opType !== "Concat") return undefined;
    const lengths = node.input.map((x) => this.#length(graph, x, depth + 1));
    return lengths.includes(undefined) ? undefined : lengths.reduce<number>((sum, x) => sum + (x ?? 0), 0);
  }
}

/** Length of a slice: a border below 0 counts from the end, one past an end is clamped to it, as "all the rest" is. */
function sliceLength(whole: number, start: number, end: number): number {
  const [from = 0, to = 0] = [start, end].map((x) => Math.min(whole, Math.max(0, x < 0 ? x + whole : x)));
  return Math.max(0, to - from);
}

/** Reads a list that is an attribute in older operator sets and a constant input in newer ones. */
export function listAt(graph: Graph, node: NodeProto, attribute: string, input: number): number[] | undefined {
  const given = graph.constant(node.input[input] ?? "");
  return given === undefined ? integersAt(node, attribute) : integersOf(given);
}

function declaredRank(value: ValueInfoProto): number | undefined {
  const type = value.type?.value;
  return type?.case === "tensorType" ? type.value.shape?.dim.length : undefined;
}
