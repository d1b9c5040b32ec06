// Names that all other passes can rely on. ONNX's own operators have two names for their domain, "" and "ai.onnx": the
// passes look for the first. And ONNX Runtime returns values in a JavaScript object, where "__proto__" names none.
import { freeName, namesIn, renameValues, subgraphs } from "../onnx/graph.ts";
import type { Transform } from "../onnx/model.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";

const LONG_DOMAIN = "ai.onnx";
const NO_NAME = "__proto__";

/** Names the domain of ONNX's own operators "", in functions too, and renames a value "__proto__" that is no input or output. */
export function plainNames(): Transform {
  return ({ proto, graph }) => {
    for (const holder of [proto, ...proto.functions]) {
      holder.opsetImport.forEach(shorten);
      // Both names may be imported.
      holder.opsetImport = holder.opsetImport.filter((x, i, all) => all.findIndex((y) => y.domain === x.domain) === i);
    }
    for (const node of [...graph.proto.node, ...proto.functions.flatMap((x) => x.node)]) shortenIn(node);
    const isPort = [...graph.proto.input, ...graph.proto.output].some((x) => x.name === NO_NAME);
    const taken = new Set(namesIn(graph.proto));
    if (!isPort && taken.has(NO_NAME)) {
      const name = freeName("proto", (x) => taken.has(x));
      renameValues(graph.proto, (x) => (x === NO_NAME ? name : x));
    }
    graph.changed();
  };
}

function shorten(named: { domain: string }): void {
  if (named.domain === LONG_DOMAIN) named.domain = "";
}

function shortenIn(node: NodeProto): void {
  shorten(node);
  for (const inner of subgraphs(node)) inner.node.forEach(shortenIn);
}
