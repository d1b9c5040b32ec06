// Turns the target of a Reshape into a constant where it follows from the graph, so that no shape has to be computed in
// a run: such arithmetic is done on the CPU even where the rest is on the GPU, and costs copies.
//
// A target is traced back to its elements (shape-elements.ts). A dim at its own position that belongs to the tensor
// being reshaped becomes 0 ("unchanged"); one remaining element becomes -1 ("inferred"). With two remaining the node is
// not changed. -1 is not possible for an empty tensor, which a run never has.
//
// The target of an Expand has no "inferred", so it is rebuilt from the dims alone: exporters write "unchanged" as a
// comparison with -1, whose operators no GPU has for 64-bit integers.
import { integerOf } from "../onnx/graph.ts";
import type { Graph } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { elementsOf } from "./shape-elements.ts";
import type { Dim, DimsOf } from "./shape-elements.ts";
import { int64Tensor } from "../onnx/tensor-proto.ts";

const UNKNOWN: DimsOf = () => undefined;

/** Replaces computed targets of Reshape by constants where they follow from the graph alone. */
export function constantReshapes(): Transform {
  return (model) => {
    for (const graph of model.graph.all()) for (const node of graph.nodes) makeReshapeConstant(graph, node);
  };
}

/** Makes the target of a Reshape a constant where it can be derived; returns whether it did. */
export function makeReshapeConstant(graph: Graph, node: NodeProto, dimsOf: DimsOf = UNKNOWN): boolean {
  const [data = "", target = ""] = node.input;
  if (node.opType !== "Reshape" || node.domain !== "") return false;
  if (integerOf(node, "allowzero", 0) !== 0 || graph.constant(target) !== undefined) return false;
  const elements = elementsOf(graph, target, dimsOf);
  if (elements === undefined) return false;
  const dims = elements.map((x, i) => {
    if (typeof x !== "object") return x;
    const dim = dimsOf(x.of)?.[x.axis];
    if (typeof dim === "number" && dim > 0) return dim;
    const isSame = dim !== undefined && dim !== "" && dim === dimsOf(data)?.[i];
    return isSame || (x.of === data && x.axis === i) ? 0 : x;
  });
  const open = dims.filter((x) => typeof x !== "number" || x === -1).length;
  if (open > 1) return false;
  const values = dims.map((x) => (typeof x === "number" ? x : -1));
  const name = graph.freshName(`${node.output[0] ?? ""}/shape`);
  node.input = [data, graph.addInitializer(int64Tensor(name, [values.length], values))];
  graph.changed();
  return true;
}

/** Rebuilds the target of an Expand from dims alone, where it is chosen by comparisons; returns whether it did. */
export function makeExpandConstant(graph: Graph, node: NodeProto, dimsOf: DimsOf = UNKNOWN): boolean {
  const [data = "", target = ""] = node.input;
  if (node.opType !== "Expand" || node.domain !== "" || graph.producer(target)?.opType !== "Where") return false;
  const elements = elementsOf(graph, target, dimsOf);
  if (elements === undefined || elements.length === 0 || elements.includes("computed")) return false;
  const name = (what: string): string => graph.freshName(`${node.output[0] ?? ""}/${what}`);
  const list = (what: string, values: readonly number[]): string =>
    graph.addInitializer(int64Tensor(name(what), [values.length], values));
  const pieces = (elements as (number | Dim)[]).map((x) => {
    const dim = typeof x === "number" ? x : dimsOf(x.of)?.[x.axis];
    if (typeof x === "number" || (typeof dim === "number" && dim > 0)) return list("dim", [Number(dim)]);
    const [shape, piece] = [name("shape"), name("dim")];
    graph.insertBefore(node, { opType: "Shape", input: [x.of], output: [shape] });
    graph.insertBefore(node, { opType: "Gather", input: [shape, list("axis", [x.axis])], output: [piece] });
    return piece;
  });
  const joined = name("target");
  graph.insertBefore(node, { opType: "Concat", input: pieces, output: [joined], attributes: { axis: 0 } });
  node.input = [data, joined];
  graph.changed();
  return true;
}
