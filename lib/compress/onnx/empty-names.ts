// Empty names of optional values at the end of a node's list. ONNX allows them and they say no more than a shorter list,
// but onnxruntime-node 1.30 and 1.32 end the process on some: LayerNormalization's bias crashes a fusion as the model is
// loaded, and the running statistics of a BatchNormalization before operator set 14 crash its kernel. Two more operators
// are not worth an entry: DFT's axis, and the bias of com.microsoft.Attention, which has no shorter list (run/trial.ts
// reports those).
import { subgraphs } from "./graph.ts";
import type { ModelProto, NodeProto } from "./onnx.gen.js";

/** Leaves such names out, in all graphs and functions of a model. Returns whether there were any. */
export function dropEmptyNames({ graph, functions }: ModelProto): boolean {
  return dropIn([...(graph?.node ?? []), ...functions.flatMap((x) => x.node)]);
}

function dropIn(nodes: readonly NodeProto[]): boolean {
  let isChanged = false;
  for (const node of nodes) {
    const before = node.input.length + node.output.length;
    if (node.domain === "" && node.opType === "LayerNormalization") dropLast(node.input);
    if (node.domain === "" && node.opType === "BatchNormalization") dropLast(node.output);
    isChanged ||= node.input.length + node.output.length < before;
    for (const inner of subgraphs(node)) if (dropIn(inner.node)) isChanged = true;
  }
  return isChanged;
}

function dropLast(names: string[]): void {
  while (names.at(-1) === "") names.pop();
}
