// Removes nodes that pass their input through: Identity, and Dropout as ONNX Runtime leaves it out. It does the same when
// it loads a model; but until then a weight read through such a node is not seen as its
// consumer's weight. Exporters write an Identity for each further use of a shared weight.
import type { Graph } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { isIdleDropout } from "../onnx/random-outputs.ts";

/** Connects each such node's input to its consumers; one between an input or a constant and an output stays. */
export function dropIdentities(): Transform {
  return (model) => {
    for (const graph of model.graph.all()) {
      const gone = new Set(graph.nodes.filter((node) => isIdentity(graph, node) && isBridged(graph, node)));
      graph.remove(gone);
    }
  };
}

function isIdentity(graph: Graph, node: NodeProto): boolean {
  return (node.domain === "" && node.opType === "Identity") || isIdleDropout(node, graph);
}

/** Makes a node's consumers read its input; returns whether the node is no longer needed. */
function isBridged(graph: Graph, { input: [from = ""], output: [to = ""] }: NodeProto): boolean {
  if (!graph.isOutput(to)) {
    graph.replaceUses(to, from);
    return true;
  }
  // An output keeps its name, so its producer takes over that name.
  const producer = graph.producer(from);
  if (producer === undefined || graph.isOutput(from)) return false;
  producer.output = producer.output.map((x) => (x === from ? to : x));
  graph.changed();
  graph.replaceUses(from, to);
  return true;
}
