// Passes of ONNX Runtime over a graph that change what it computes, read from an ONNX file in a worker, which has no
// protobuf library. Each is switched off where a model has what it does wrongly, and for no other: passes save time.
//
// 1.30 moves a Pad into the MaxPool behind it, which then pads with the least number in place of the Pad's value. Seen
// in BiT, whose values are below 0 there; 1.32 does not.
import { fieldsOf, textOf } from "./onnx-fields.ts";
import { GRAPH, MODEL, NODE } from "./rewrite-model.ts";

/** The entry of a session that switches passes off. */
export const DISABLED = "optimization.disable_specified_optimizers";

type Entries = Readonly<Record<string, string>>;

/** The fields of a node that are read. */
export interface PassedNode {
  readonly opType: string;
  /** Its first input and its first output. */
  readonly input: string;
  readonly output: string;
}

/** Adds the passes that would compute a model wrongly to those that its session switches off. */
export function withoutWrongPasses(file: Uint8Array, session: Entries): Entries {
  try {
    return withoutPassesOf(nodesOf(file), session);
  } catch {
    // ONNX Runtime refuses the file for its own reason.
    return session;
  }
}

/** The same, of a model's nodes in their order. */
export function withoutPassesOf(nodes: Iterable<PassedNode>, session: Entries): Entries {
  const own = session[DISABLED];
  if (!padsBeforeMaxPool(nodes) || own?.split(";").includes(PAD_FUSION) === true) return session;
  return { ...session, [DISABLED]: own === undefined ? PAD_FUSION : `${own};${PAD_FUSION}` };
}

const PAD_FUSION = "Pad_Fusion";

function padsBeforeMaxPool(nodes: Iterable<PassedNode>): boolean {
  const padded = new Set<string>();
  for (const { opType, input, output } of nodes)
    if (opType === "Pad") padded.add(output);
    else if (opType === "MaxPool" && padded.has(input)) return true;
  return false;
}

function* nodesOf(file: Uint8Array): Generator<PassedNode> {
  for (const { number, body: graph } of fieldsOf(file))
    if (number === MODEL.graph)
      for (const { number: field, body } of fieldsOf(graph))
        if (field === GRAPH.node)
          yield {
            opType: textOf(body, NODE.opType),
            input: textOf(body, NODE.input),
            output: textOf(body, NODE.output),
          };
}
