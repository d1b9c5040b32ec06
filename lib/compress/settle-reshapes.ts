// Makes the target of a Reshape a constant where it follows from the graph, so that no shape has to be computed in a
// run: such arithmetic is done on the CPU even where the rest is on the GPU, and costs copies.
//
// A target is followed back to its elements: constants, and dims of some tensor. A dim that stands in its own place and
// belongs to the tensor being reshaped becomes 0 ("as it was"); one that is left over becomes -1 ("what remains"). With
// two left over the node stays as it is. -1 is not possible for a tensor of no elements; a run never has one.
import { integerOf } from "./graph.ts";
import type { Graph } from "./graph.ts";
import type { NodeProto } from "./onnx.gen.js";
import type { Transform } from "./onnx.ts";
import { listAt, rankOf } from "./rank.ts";
import { int64Tensor, integersOf } from "./weights.ts";

/** One element of a shape: a number, or a dim of a tensor. */
type Element = number | { readonly of: string; readonly axis: number };

/** Gives what is known of a tensor's dims: lengths, and names, each of which is one length wherever it stands. */
export type DimsOf = (name: string) => readonly (number | string)[] | undefined;

const UNKNOWN: DimsOf = () => undefined;

/** Replaces computed targets of Reshape by constants where they follow from the graph. */
export function settleReshapes(): Transform {
  return (model) => {
    for (const graph of model.graph.all()) for (const node of graph.nodes) settleReshape(graph, node);
  };
}

/** Makes the target of one node a constant, where it is a Reshape whose target follows; tells whether it did. */
export function settleReshape(graph: Graph, node: NodeProto, dimsOf: DimsOf = UNKNOWN): boolean {
  const [data = "", target = ""] = node.input;
  if (node.opType !== "Reshape" || node.domain !== "") return false;
  if (integerOf(node, "allowzero", 0) !== 0 || graph.constant(target) !== undefined) return false;
  const elements = elementsOf(graph, target, dimsOf);
  if (elements === undefined) return false;
  const dims = elements.map((x, i) => {
    if (typeof x === "number") return x;
    const dim = dimsOf(x.of)?.[x.axis];
    if (typeof dim === "number" && dim > 0) return dim;
    const isSame = dim !== undefined && dim !== "" && dim === dimsOf(data)?.[i];
    return isSame || (x.of === data && x.axis === i) ? 0 : x;
  });
  const open = dims.filter((x) => typeof x === "object" || x === -1).length;
  if (open > 1) return false;
  const values = dims.map((x) => (typeof x === "object" ? -1 : x));
  const name = graph.freshName(`${node.output[0] ?? ""}/shape`);
  node.input = [data, graph.addInitializer(int64Tensor(name, [values.length], values))];
  graph.changed();
  return true;
}

/** Follows a list of integers back to its elements; undefined where one is anything else. */
export function elementsOf(graph: Graph, name: string, dimsOf: DimsOf = UNKNOWN, depth = 64): Element[] | undefined {
  const constant = graph.constant(name);
  if (constant !== undefined) return constant.dims.length <= 1 ? integersOf(constant) : undefined;
  const node = graph.producer(name);
  if (node === undefined || node.domain !== "" || depth === 0) return undefined;
  const first = node.input[0] ?? "";
  switch (node.opType) {
    case "Shape": {
      const rank = dimsOf(first)?.length ?? rankOf(graph, first);
      if (rank === undefined || node.attribute.length > 0) return undefined;
      return Array.from({ length: rank }, (_, axis) => ({ of: first, axis }));
    }
    case "Cast":
      return elementsOf(graph, first, dimsOf, depth - 1);
    case "Concat": {
      const parts = node.input.map((x) => elementsOf(graph, x, dimsOf, depth - 1));
      return parts.includes(undefined) ? undefined : parts.flatMap((x) => x ?? []);
    }
    case "Slice": {
      const [start, end] = [listAt(graph, node, "starts", 1)?.[0], listAt(graph, node, "ends", 2)?.[0]];
      if (start === undefined || end === undefined || (listAt(graph, node, "steps", 4)?.[0] ?? 1) !== 1)
        return undefined;
      return elementsOf(graph, first, dimsOf, depth - 1)?.slice(start, end);
    }
    case "Gather": {
      const at = graph.constant(node.input[1] ?? "");
      const whole = elementsOf(graph, first, dimsOf, depth - 1);
      if (at === undefined || whole === undefined || at.dims.length > 1) return undefined;
      const picked = integersOf(at).map((i) => whole.at(i));
      return picked.includes(undefined) ? undefined : (picked as Element[]);
    }
    case "Squeeze":
    case "Unsqueeze":
      return elementsOf(graph, first, dimsOf, depth - 1);
    default:
      return undefined;
  }
}
