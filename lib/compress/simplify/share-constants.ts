// Deduplicates equal constants: exporters write a tied weight twice, and the same scales and shapes many times.
import { createHash } from "node:crypto";
import type { Graph } from "../onnx/graph.ts";
import type { TensorProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { rawLength } from "../onnx/stored-bytes.ts";

/** Minimum size in bytes: sharing smaller constants saves almost nothing. */
const LEAST_BYTES = 64;

/** Makes the users of equal constants read a single one, in subgraphs that of an outer graph too. */
export function shareConstants(): Transform {
  return (model) => {
    shareIn(model.graph, new Map());
  };
}

function shareIn(graph: Graph, outer: ReadonlyMap<string, string>): void {
  const known = new Map(outer);
  for (const tensor of [...graph.proto.initializer]) {
    if (rawLength(tensor) < LEAST_BYTES || graph.constant(tensor.name) !== tensor) continue;
    const key = keyOf(tensor);
    const same = known.get(key);
    if (same === undefined) known.set(key, tensor.name);
    else if (!graph.isOutput(tensor.name) && graph.constant(same) !== undefined) {
      graph.replaceUses(tensor.name, same);
      graph.proto.initializer = graph.proto.initializer.filter((x) => x !== tensor);
      graph.changed();
    }
  }
  for (const inner of graph.all()) if (inner.parent === graph) shareIn(inner, known);
}

function keyOf({ dataType, dims, rawData }: TensorProto): string {
  return `${dataType} ${dims.join(",")} ${createHash("sha256").update(rawData).digest("hex")}`;
}
