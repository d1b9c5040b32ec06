// ONNX's own operators have two names for their domain: "" and "ai.onnx". All other passes look for the first.
import type { Transform } from "../onnx/model.ts";

const LONG = "ai.onnx";

/** Names the domain of ONNX's own operators "", in functions too. */
export function nameDefaultDomain(): Transform {
  return ({ proto, graph }) => {
    const imports = [proto, ...proto.functions].flatMap((x) => x.opsetImport);
    const nodes = [...graph.all()].flatMap((x) => x.nodes);
    for (const x of [...imports, ...nodes, ...proto.functions.flatMap((x) => x.node)])
      if (x.domain === LONG) x.domain = "";
    graph.changed();
  };
}
