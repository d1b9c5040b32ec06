// Takes out nodes that hand on what they are given: Identity, and Dropout, which does nothing but in training. ONNX Runtime
// does so when it loads a model; but until then a weight that is read through one is no weight of what reads it. Exporters
// write an Identity for each further use of a shared weight.
import type { Graph } from "./graph.ts";
import type { NodeProto } from "./onnx.gen.js";
import type { Transform } from "./onnx.ts";

/** Joins each such node's input to what reads its output; one between an input or a constant and an output stays. */
export function dropIdentities(): Transform {
  return (model) => {
    for (const graph of model.graph.all()) {
      const gone = new Set(graph.nodes.filter((node) => isIdentity(graph, node) && isBridged(graph, node)));
      graph.remove(gone);
    }
  };
}

function isIdentity(graph: Graph, { opType, domain, input, output }: NodeProto): boolean {
  if (domain !== "") return false;
  if (opType === "Identity") return true;
  if (opType !== "Dropout") return false;
  const isTraining = (input[2] ?? "") !== "" && graph.constant(input[2] ?? "")?.rawData[0] !== 0;
  const [, mask = ""] = output;
  return !isTraining && (mask === "" || (graph.consumers(mask).length === 0 && !graph.isOutput(mask)));
}

/** Has what reads a node's output read its input; tells whether nothing needs the node any more. */
function isBridged(graph: Graph, { input: [from = ""], output: [to = ""] }: NodeProto): boolean {
  if (!graph.isOutput(to)) {
    graph.replaceUses(to, from);
    return true;
  }
  // An output keeps its name, so what makes it takes that.
  const producer = graph.producer(from);
  if (producer === undefined || graph.isOutput(from)) return false;
  producer.output = producer.output.map((x) => (x === from ? to : x));
  graph.changed();
  graph.replaceUses(from, to);
  return true;
}
