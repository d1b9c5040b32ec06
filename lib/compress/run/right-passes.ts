// The session entries that a model is run with in Node: without the passes of ONNX Runtime that compute it wrongly, as in
// a worker.
import { withoutPassesOf, withoutWrongPasses } from "../../worker/backend/wrong-passes.ts";
import { readModelFile } from "../onnx/model-file.ts";
import type { OnnxModel } from "../onnx/model.ts";
import type { OnnxSource } from "../onnx/written-model.ts";

/** Adds the passes that would compute a model wrongly to those that its session switches off. */
export function withRightPasses(
  source: OnnxSource,
  session: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  if (typeof source !== "string") return withoutWrongPasses(source, session);
  let model: OnnxModel;
  try {
    model = readModelFile(source);
  } catch {
    // ONNX Runtime says better what it does not load.
    return session;
  }
  const nodes = model.graph.nodes.map((x) => ({
    opType: x.opType,
    input: x.input[0] ?? "",
    output: x.output[0] ?? "",
  }));
  return withoutPassesOf(nodes, session);
}
