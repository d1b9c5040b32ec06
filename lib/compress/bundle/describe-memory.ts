// The memory of a variant as its bundle states it: predicted from its graph and its weights.
import type { Variant } from "../../core/bundle.ts";
import { predictMemory } from "../../core/predict-memory.ts";
import { deviceTensors, foldedBytes } from "../check/device-bytes.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { rawLength } from "../onnx/stored-bytes.ts";
import { bitsOf } from "../onnx/tensor-proto.ts";

/** Session entry with which wasm holds weights behind DequantizeLinear in float32. */
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
  const tensors = deviceTensors(model);
  const onDevice = tensors.reduce((total, x) => total + x, 0);
  const weights = { float: weightBytes - quantized - half, half, quantized };
  // The float32 copies of float16 weights are in their own factor.
  const all = Math.min(foldedBytes(model, session?.wasm?.[FOLDS] === "1"), 4 * weightBytes);
  const folded = Math.max(0, all - 2 * half);
  const memoryBytes = predictMemory({ graph: graphBytes, ...weights, folded, onDevice });
  return { memoryBytes, tensorBytes: tensors.reduce((a, b) => Math.max(a, b), 0) };
}
