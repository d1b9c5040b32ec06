// Passes of ONNX Runtime over a graph that change what it computes, read from an ONNX file in a worker, which has no
// protobuf library. Each is switched off where a model has what it does wrongly, and for no other: passes save time.
//
// 1.30 moves a Pad into the MaxPool behind it, which then pads with the least number in place of the Pad's value. Seen
// in BiT, whose values are below 0 there; 1.32 does not.
import { fieldsOf, textOf } from "./onnx-fields.ts";
import { GRAPH, MODEL, NODE } from "./rewrite-model.ts";

/** The entry of a session that switches passes off. */
export const DISABLED = "optimization.disable_specified_optimizers";

/** Adds the passes that would compute a model wrongly to those that its session switches off. */
export function withoutWrongPasses(
  file: Uint8Array,
  session: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const own = session[DISABLED];
  return padsBeforeMaxPool(file)
    ? { ...session, [DISABLED]: own === undefined ? "Pad_Fusion" : `${own};Pad_Fusion` }
    : session;
}

function padsBeforeMaxPool(file: Uint8Array): boolean {
  const padded = new Set<string>();
  try {
    for (const { number, body: graph } of fieldsOf(file))
      if (number === MODEL.graph)
        for (const node of fieldsOf(graph)) {
          if (node.number !== GRAPH.node) continue;
          const opType = textOf(node.body, NODE.opType);
          if (opType === "Pad") padded.add(textOf(node.body, NODE.output));
          else if (opType === "MaxPool" && padded.has(textOf(node.body, NODE.input))) return true;
        }
  } catch {
    // ONNX Runtime refuses it for its own reason
  }
  return false;
}
