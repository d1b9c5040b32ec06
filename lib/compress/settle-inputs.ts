// Weights that are also inputs: before version 4 of the format every initializer had to be listed among the inputs, and
// exporters went on doing so. Nobody feeds them; listed, they are no constants, and no pass may touch them.
import type { Transform } from "./onnx.ts";

const IR_VERSION = 4n;

/** Takes initializers out of the inputs, in the main graph. */
export function settleInputs(): Transform {
  return (model) => {
    const { proto } = model.graph;
    const stored = new Set(proto.initializer.map((x) => x.name));
    const inputs = proto.input.filter((x) => !stored.has(x.name));
    if (inputs.length === proto.input.length) return;
    proto.input = inputs;
    if (model.proto.irVersion < IR_VERSION) model.proto.irVersion = IR_VERSION;
    model.graph.changed();
  };
}
