// Turns Constant nodes that hold a tensor into initializers, where runtimes and the other transforms look for weights.
// (Paddle's exporter writes every weight as a Constant node.) Constant nodes with other attributes stay: they are rare,
// and Graph.constant does not read them either.
import type { Transform } from "../onnx/model.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";

/** Turns Constant nodes into initializers, in subgraphs too; a constant that is an output of its graph stays a node. */
export function constantsToInitializers(): Transform {
  return (model) => {
    for (const graph of model.graph.all()) {
      const moved = new Set<NodeProto>();
      for (const node of graph.nodes) {
        if (node.opType !== "Constant" || node.domain !== "") continue;
        const name = node.output[0];
        const tensor = node.attribute.find((x) => x.name === "value")?.t;
        if (name === undefined || tensor === undefined || graph.isOutput(name)) continue;
        tensor.name = name;
        graph.proto.initializer.push(tensor);
        moved.add(node);
      }
      graph.remove(moved);
    }
  };
}
