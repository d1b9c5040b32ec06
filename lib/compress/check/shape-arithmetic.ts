// Finds the nodes that are shape arithmetic by their dependencies: an exporter multiplies dims for a Reshape and
// compares positions for a mask, with operators that activations use as well. So nodes get names, which appear in ONNX
// Runtime's log.
import type { Graph } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";

/**
 * Assigns a unique name to every node of a model, and returns the names of those in the main graph that depend on lengths
 * and constants only.
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
