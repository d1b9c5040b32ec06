// Chooses the nodes where float16 costs more accuracy than it saves time: the sums along a transformer's residual
// stream, the norms over them, and the last product before an output. An error there reaches every output at full size,
// while one inside a layer is a small share of it. These nodes stay float32; on a model of random weights that is 2 to
// 6 dB.
//
// Only cheap nodes are chosen: sums and norms cost a GPU little, products do not, so a large last product stays in
// float16.
import type { Graph } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { elementCount } from "../onnx/tensor-proto.ts";

/** Maximum number of elements of the weights of a product or a table that stays float32. */
const WEIGHT_MAX = 2 ** 20;
/** Operators allowed between the last product and an output. */
const ENDINGS: ReadonlySet<string> = new Set(
  "Add Mul Softmax LogSoftmax Sigmoid Tanh Reshape Squeeze Unsqueeze Flatten Transpose Identity".split(" "),
);
/** Operators of a decomposed norm, after its mean. */
const NORM: ReadonlySet<string> = new Set("Sub Pow Mul ReduceMean Add Sqrt Reciprocal Div".split(" "));

/** Chooses the nodes of a graph that are worth float32. */
export function nodesInFloat32(graph: Graph): Set<NodeProto> {
  const picked = new Set<NodeProto>();
  for (const { name } of graph.proto.output) for (const node of lastProduct(graph, name)) picked.add(node);
  for (const node of graph.nodes) {
    const parts = normOf(graph, node);
    for (const part of parts) picked.add(part);
    if (parts.length > 0) pickSums(graph, node.input[0] ?? "", picked);
  }
  return picked;
}

/** Returns the nodes from the last product on, if this output ends in one. */
function lastProduct(graph: Graph, output: string): NodeProto[] {
  const chain: NodeProto[] = [];
  for (let node = graph.producer(output); node?.domain === ""; node = next(graph, node)) {
    chain.push(node);
    if (node.opType === "MatMul" || node.opType === "Gemm") {
      const turn = graph.producer(node.input[1] ?? "");
      if (turn !== undefined) chain.push(turn);
      return isSmall(graph, node.input[1]) ? chain : [];
    }
    if (!ENDINGS.has(node.opType)) return [];
  }
  return [];
}

/** Returns the producer of the only non-constant input. */
function next(graph: Graph, node: NodeProto): NodeProto | undefined {
  const open = node.input.filter((x) => x !== "" && graph.constant(x) === undefined);
  return open.length === 1 ? graph.producer(open[0] ?? "") : undefined;
}

function isSmall(graph: Graph, name = ""): boolean {
  const source = graph.constant(name) ?? graph.constant(graph.producer(name)?.input[0] ?? "");
  return source !== undefined && elementCount(source) <= WEIGHT_MAX;
}

/** Returns the nodes of the norm that begins here: a single one, or a mean, its subtraction, and the rest. */
function normOf(graph: Graph, node: NodeProto): NodeProto[] {
  if (node.domain !== "") return [];
  if (node.opType === "LayerNormalization") return [node];
  if (node.opType !== "ReduceMean") return [];
  const [mean = ""] = node.output;
  const isNorm = graph.consumers(mean).some((x) => x.opType === "Sub" && x.input[0] === node.input[0]);
  if (!isNorm) return [];
  const parts = new Set([node]);
  const waiting = [...graph.consumers(mean)];
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    if (parts.has(part) || !NORM.has(part.opType)) continue;
    parts.add(part);
    // Scale and bias follow the quotient: ONNX Runtime fuses all of it, and fails where they have another type.
    const users = part.output.flatMap((x) => graph.consumers(x));
    const hasVector = part.input.some((x) => graph.constant(x)?.dims.length === 1);
    const isBehind = part.opType === "Div" || (hasVector && (part.opType === "Mul" || part.opType === "Add"));
    waiting.push(...users.filter((x) => !isBehind || x.input.some((y) => graph.constant(y)?.dims.length === 1)));
  }
  return [...parts];
}

/** Picks the sums, and the tables, that a value consists of. */
function pickSums(graph: Graph, value: string, picked: Set<NodeProto>): void {
  const node = graph.producer(value);
  if (node === undefined || node.domain !== "" || picked.has(node)) return;
  if (node.opType === "Gather" && isSmall(graph, node.input[0])) picked.add(node);
  if (node.opType !== "Add") return;
  picked.add(node);
  for (const input of node.input) {
    const source = graph.producer(input);
    // The sum of a product and its bias belongs to the layer.
    const isBias = node.input.some((x) => graph.constant(x)?.dims.length === 1);
    if (source !== undefined && !isBias) pickSums(graph, input, picked);
  }
}
