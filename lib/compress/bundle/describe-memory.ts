// The memory of a variant as its bundle states it: of a load, predicted from its graph and its weights, and of a run.
import type { Bundle, Variant } from "../../core/bundle.ts";
import { predictMemory } from "../../core/predict-memory.ts";
import { runBytes } from "../check/activation-bytes.ts";
import { deviceTensors, foldedBytes } from "../check/device-bytes.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { rawLength } from "../onnx/stored-bytes.ts";
import { bitsOf } from "../onnx/tensor-proto.ts";
import { syntheticSizes } from "../run/synthetic-inputs.ts";

/** Session entry with which weights behind DequantizeLinear are held in float32; else each run expands them. */
const FOLDS = "session.disable_quant_qdq";

/** Predicts the memory of a model whose weights a bundle stores apart. */
export function describeMemory(
  model: OnnxModel,
  graphBytes: number,
  weightBytes: number,
  session?: Variant["session"],
): Pick<Variant, "memoryBytes" | "tensorBytes"> {
  const sum = (has: (bits: number) => boolean): number =>
    model.graph.proto.initializer.reduce((total, x) => total + (has(bitsOf(x.dataType)) ? rawLength(x) : 0), 0);
  const quantized = Math.min(
    weightBytes,
    sum((bits) => bits <= 8),
  );
  const half = Math.min(
    weightBytes - quantized,
    sum((bits) => bits === 16),
  );
  const folds = foldsOf(session);
  const tensors = deviceTensors(model, folds.webgpu);
  const onDevice = tensors.reduce((total, x) => total + x, 0);
  const weights = { float: weightBytes - quantized - half, half, quantized };
  // The float32 copies of float16 weights are in their own factor.
  const all = Math.min(foldedBytes(model, folds.wasm), 4 * weightBytes);
  const folded = Math.max(0, all - 2 * half);
  const memoryBytes = predictMemory({ graph: graphBytes, ...weights, folded, onDevice });
  return { memoryBytes, tensorBytes: tensors.reduce((a, b) => Math.max(a, b), 0) };
}

/** Whether the session of each backend expands quantized weights while loading. */
function foldsOf(session: Variant["session"]): { readonly webgpu: boolean; readonly wasm: boolean } {
  return { webgpu: session?.webgpu?.[FOLDS] === "1", wasm: session?.wasm?.[FOLDS] === "1" };
}

/** Number of guesses of open sizes with which inference is tried. */
const GUESSES = 8;

/**
 * Predicts the memory of a run for one item of typical sizes, those that are open guessed as those of a golden; nothing
 * where ONNX Runtime infers no shapes.
 */
export async function describeRun(
  model: OnnxModel,
  { inputs, exampleDims = {} }: Pick<Bundle["model"], "inputs" | "exampleDims">,
  session?: Variant["session"],
): Promise<Pick<Variant, "activationBytes">> {
  const typical: Record<string, number> = { ...exampleDims };
  for (const { dims, batchAxis } of inputs) if (batchAxis !== null) typical[String(dims[batchAxis])] = 1;
  let guesses = 0;
  for (const sizes of syntheticSizes(inputs, { typical, bound: 1 })) {
    const activationBytes = await runBytes(model, sizes, foldsOf(session)).catch(() => null);
    if (activationBytes !== null) return { activationBytes };
    guesses += 1;
    if (guesses === GUESSES) break;
  }
  return {};
}
