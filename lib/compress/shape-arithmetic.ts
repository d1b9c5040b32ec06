// Tells which nodes are shape arithmetic, by what they depend on: an exporter multiplies dims for a Reshape and compares
// places for a mask, by operators that activations go through as well. So nodes get names, which ONNX Runtime's log gives.
import type { Graph } from "./graph.ts";
import type { NodeProto } from "./onnx.gen.js";
import type { OnnxModel } from "./onnx.ts";

/**
 * Returns every node of a model a name of its own, and lists those of the main graph that depend on nothing but lengths
 * and constants.
 */
export function nameShapeNodes({ graph }: OnnxModel): ReadonlySet<string> {
  let count = 0;
  for (const each of graph.all()) for (const node of each.nodes) node.name = `node ${(count += 1)}`;
  const found = new Set<string>();
  const derived = new Set<string>();
  for (const node of graph.nodes)
    if (asksLength(node) || node.input.every((x) => isDerived(graph, derived, x))) {
      found.add(node.name);
      for (const output of node.output) derived.add(output);
    }
  return found;
}

function asksLength({ opType, domain }: NodeProto): boolean {
  return domain === "" && (opType === "Shape" || opType === "Size");
}

function isDerived(graph: Graph, derived: ReadonlySet<string>, name: string): boolean {
  return name === "" || derived.has(name) || graph.constant(name) !== undefined;
}
