// Weights that are also inputs: before version 4 of the format every initializer had to be listed among the inputs, and
// exporters continued to do so. They are never fed; listed as inputs they are no constants, and no pass may change
// them.
import type { Transform } from "../onnx/model.ts";

const IR_VERSION = 4n;

/** Removes initializers from the inputs of the main graph. */
export function dropInitializerInputs(): Transform {
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
