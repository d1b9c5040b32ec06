// Removes data that no runtime reads: docs, node names, recorded shapes of inner values; inner values are renamed to
// short numbers. The interface, names of inputs and outputs, stays. In a small model names are a tenth of the file.
// Constants of one type become contiguous, which compresses better.
import type { GraphProto, NodeProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { subgraphs } from "../onnx/graph.ts";

/** Removes docs and names; the last transform of a shipped form. */
export function strip(): Transform {
  return (model) => {
    const { proto } = model.graph;
    const kept = new Set([...proto.input, ...proto.output].map((x) => x.name));
    const names = new Map<string, string>();
    let count = 0;
    const short = (name: string): string => {
      if (name === "" || kept.has(name)) return name;
      for (let known = names.get(name); ;) {
        if (known !== undefined) return known;
        const next = (count++).toString(36);
        if (!kept.has(next)) names.set(name, (known = next));
      }
    };
    model.proto.docString = "";
    stripGraph(proto, short);
    model.graph.changed();
  };
}

function stripGraph(graph: GraphProto, short: (name: string) => string): void {
  graph.docString = "";
  graph.valueInfo = [];
  graph.quantizationAnnotation = [];
  for (const value of [...graph.input, ...graph.output]) {
    value.name = short(value.name);
    value.docString = "";
  }
  for (const tensor of [...graph.initializer, ...graph.sparseInitializer.flatMap((x) => x.values ?? [])]) {
    tensor.name = short(tensor.name);
    tensor.docString = "";
  }
  graph.initializer.sort((a, b) => a.dataType - b.dataType);
  for (const node of graph.node) stripNode(node, short);
}

function stripNode(node: NodeProto, short: (name: string) => string): void {
  node.name = "";
  node.docString = "";
  node.metadataProps = [];
  node.input = node.input.map(short);
  node.output = node.output.map(short);
  for (const attribute of node.attribute) {
    attribute.docString = "";
    if (attribute.t !== undefined) attribute.t.name = "";
  }
  for (const inner of subgraphs(node)) stripGraph(inner, short);
}
