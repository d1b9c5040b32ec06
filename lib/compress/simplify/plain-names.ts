// Names that all other passes can rely on. ONNX's own operators have two names for their domain, "" and "ai.onnx": the
// passes look for the first. And ONNX Runtime returns values in a JavaScript object, where "__proto__" names none.
import { subgraphs } from "../onnx/graph.ts";
import type { Transform } from "../onnx/model.ts";
import type { GraphProto } from "../onnx/onnx.gen.js";

const LONG_DOMAIN = "ai.onnx";
const NO_NAME = "__proto__";

/** Names the domain of ONNX's own operators "", in functions too, and renames a value "__proto__" that is no input or output. */
export function plainNames(): Transform {
  return ({ proto, graph }) => {
    const imports = [proto, ...proto.functions].flatMap((x) => x.opsetImport);
    const nodes = [...graph.all()].flatMap((x) => x.nodes);
    for (const x of [...imports, ...nodes, ...proto.functions.flatMap((x) => x.node)])
      if (x.domain === LONG_DOMAIN) x.domain = "";
    const isPort = [...graph.proto.input, ...graph.proto.output].some((x) => x.name === NO_NAME);
    if (!isPort) renameIn(graph.proto, graph.freshName("proto"));
    graph.changed();
  };
}

function renameIn(graph: GraphProto, name: string): void {
  const renamed = (x: string): string => (x === NO_NAME ? name : x);
  for (const list of [graph.initializer, graph.input, graph.output, graph.valueInfo])
    for (const value of list) value.name = renamed(value.name);
  for (const { values } of graph.sparseInitializer) if (values !== undefined) values.name = renamed(values.name);
  for (const node of graph.node) {
    node.input = node.input.map(renamed);
    node.output = node.output.map(renamed);
    for (const inner of subgraphs(node)) renameIn(inner, name);
  }
}
