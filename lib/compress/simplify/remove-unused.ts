// Removes dead nodes and initializers, and recorded shapes of removed values.
import type { Transform } from "../onnx/model.ts";
import type { Graph } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";

/**
 * Removes nodes and initializers on which no output depends, in subgraphs too. Inputs of the model are kept: they are
 * its interface.
 */
export function removeUnused(): Transform {
  return (model) => {
    // Graphs below come first: what only their dead nodes read is dead too.
    model.graph.changed();
    for (const graph of [...model.graph.all()].reverse()) pruneGraph(graph);
  };
}

function pruneGraph(graph: Graph): void {
  const isUsed = (name: string): boolean => graph.isOutput(name) || graph.consumers(name).length > 0;
  for (;;) {
    const dead = new Set<NodeProto>(graph.nodes.filter((node) => !node.output.some((x) => x !== "" && isUsed(x))));
    if (dead.size === 0) break;
    graph.remove(dead);
  }
  const inputs = new Set(graph.proto.input.map((x) => x.name));
  graph.proto.initializer = graph.proto.initializer.filter((x) => isUsed(x.name) || inputs.has(x.name));
  graph.proto.valueInfo = graph.proto.valueInfo.filter((x) => isUsed(x.name));
  graph.changed();
}
