// Declared dims of outputs against those that a run returned. Exporters write sizes of the example that they traced, and
// ONNX Runtime only warns; a bundle that repeats them would have every page check its outputs against a wrong size.
import type { BundleOutput } from "../../core/bundle.ts";
import type { OnnxModel } from "../onnx/model.ts";
import type { Outputs } from "./metric.ts";

/**
 * Opens the dims of outputs that a run contradicts, in the description and in the model.
 * @param isBatch - whether the run was one of two rows, so that a first dim of twice the declared size is the batch;
 * false where a given bundle says which axis it is. Default false
 * @returns the corrected outputs; `notes` gets a sentence for each
 */
export function withObservedDims(
  outputs: readonly BundleOutput[],
  model: OnnxModel,
  observed: Outputs | undefined,
  notes: string[],
  isBatch = false,
): readonly BundleOutput[] {
  return outputs.map((output) => {
    const { name, dims } = output;
    const seen = observed?.[name]?.dims;
    if (seen === undefined || seen.length !== dims.length) return output;
    const wrong = dims.flatMap((dim, i) => (typeof dim === "number" && dim !== seen[i] ? [i] : []));
    if (wrong.length === 0) return output;
    notes.push(
      `The output "${name}" is declared [${dims.join(", ")}], but a run returned [${seen.join(", ")}]: the sizes that differ are left open.`,
    );
    openDims(model, name, wrong);
    const open = dims.map((dim, i) => (wrong.includes(i) ? `${name}_${i}` : dim));
    const isDoubled = isBatch && seen[0] === 2 * Number(dims[0]);
    return { ...output, dims: open, ...(wrong.includes(0) && { batchAxis: isDoubled ? 0 : null }) };
  });
}

function openDims({ graph }: OnnxModel, name: string, axes: readonly number[]): void {
  const type = graph.proto.output.find((x) => x.name === name)?.type?.value;
  if (type?.case !== "tensorType") return;
  for (const axis of axes) {
    const dim = type.value.shape?.dim[axis];
    if (dim !== undefined) dim.value = { case: undefined };
  }
  // Recorded shapes of inner values come from the same trace.
  graph.proto.valueInfo = [];
  graph.changed();
}
