// Inlines the only branch of an If that can be taken. Exporters leave such an If where a model was made for several
// cases, as Silero's for two sampling rates: the other branch holds unused weights, and everything in a branch is
// hidden from passes that follow values.
import { namesIn } from "../onnx/graph.ts";
import type { Graph } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { elementCount, floatsOf, integersOf } from "../onnx/tensor-proto.ts";

/** Inlines the taken branch of each If whose condition is a constant, or compares constants. */
export function inlineIfBranches(): Transform {
  return (model) => {
    while ([...model.graph.all()].some((graph) => graph.nodes.some((node) => inlineBranch(graph, node))));
  };
}

/** Replaces an If by its branch; returns false where nothing was done. */
function inlineBranch(graph: Graph, node: NodeProto): boolean {
  if (node.opType !== "If" || node.domain !== "") return false;
  const isTrue = truth(graph, node.input[0] ?? "");
  const branch = node.attribute.find((x) => x.name === (isTrue === true ? "then_branch" : "else_branch"))?.g;
  if (isTrue === undefined || branch === undefined) return false;
  // A branch has names of its own; one that the outer graph also has would be confused with it.
  if (namesIn(branch).some((name) => graph.isTaken(name))) return false;
  const last = node.output.flatMap((name, i) => (name === "" ? [] : [{ name, from: branch.output[i]?.name ?? "" }]));
  for (const { name, from } of last) graph.insertAfter(node, { opType: "Identity", input: [from], output: [name] });
  const at = graph.proto.node.indexOf(node);
  graph.proto.node.splice(at, 1, ...branch.node);
  graph.proto.initializer.push(...branch.initializer);
  graph.proto.sparseInitializer.push(...branch.sparseInitializer);
  graph.proto.valueInfo.push(...branch.valueInfo);
  graph.changed();
  return true;
}

/** Returns a condition that is the same in every run; undefined for any other. */
function truth(graph: Graph, name: string): boolean | undefined {
  const tensor = graph.constant(name);
  if (tensor !== undefined) {
    const value = valueOf(tensor);
    return value === undefined ? undefined : value !== 0;
  }
  const node = producerOf(graph, name);
  if (node === undefined || node.domain !== "") return undefined;
  const [a, b] = node.input.map((x) => graph.constant(x)).map((x) => x && valueOf(x));
  switch (node.opType) {
    case "Identity":
      return truth(graph, node.input[0] ?? "");
    case "Not": {
      const isTrue = truth(graph, node.input[0] ?? "");
      return isTrue === undefined ? undefined : !isTrue;
    }
    case "Equal":
      return a === undefined || b === undefined ? undefined : a === b;
    case "Less":
      return a === undefined || b === undefined ? undefined : a < b;
    case "Greater":
      return a === undefined || b === undefined ? undefined : a > b;
    default:
      return undefined;
  }
}

/** Finds the node that makes a value, here or in an outer graph. */
function producerOf(graph: Graph, name: string): NodeProto | undefined {
  for (let at: Graph | null = graph; at !== null; at = at.parent) {
    const node = at.producer(name);
    if (node !== undefined) return node;
  }
  return undefined;
}

/** Reads a tensor of one element. */
function valueOf(tensor: TensorProto): number | undefined {
  if (elementCount(tensor) !== 1) return undefined;
  switch (tensor.dataType) {
    case TensorProto_DataType.BOOL:
      return tensor.rawData[0] ?? tensor.int32Data[0];
    case TensorProto_DataType.INT32:
    case TensorProto_DataType.INT64:
      return integersOf(tensor)[0];
    case TensorProto_DataType.FLOAT:
      return floatsOf(tensor)[0];
    default:
      return undefined;
  }
}
