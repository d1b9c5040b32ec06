// The memory of a variant as its bundle states it: predicted from its graph and its weights.
import type { Variant } from "../../core/bundle.ts";
import { predictMemory } from "../../core/predict-memory.ts";
import { deviceTensors } from "../check/device-bytes.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { rawLength } from "../onnx/stored-bytes.ts";
import { bitsOf } from "../onnx/tensor-proto.ts";

/** Predicts the memory of a model whose weights a bundle stores apart. */
export function describeMemory(
  model: OnnxModel,
  graphBytes: number,
  weightBytes: number,
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
  const memoryBytes = predictMemory({ graph: graphBytes, ...weights, onDevice });
  return { memoryBytes, tensorBytes: tensors.reduce((a, b) => Math.max(a, b), 0) };
}
