// The memory of a variant as its bundle states it: predicted from its graph and its weights.
import type { Variant } from "../../core/bundle.ts";
import { predictMemory } from "../../core/predict-memory.ts";
import { deviceTensors } from "../check/device-bytes.ts";
import { readModel } from "../onnx/model.ts";
import { bitsOf } from "../onnx/tensor-proto.ts";

/** Predicts the memory of a model in one file, whose weights a bundle stores apart. */
export function describeMemory(
  bytes: Uint8Array,
  graphBytes: number,
  weightBytes: number,
): Pick<Variant, "memoryBytes" | "tensorBytes"> {
  const model = readModel(bytes);
  const small = model.graph.proto.initializer.filter((x) => bitsOf(x.dataType) <= 8);
  const quantized = Math.min(
    weightBytes,
    small.reduce((sum, x) => sum + x.rawData.length, 0),
  );
  const tensors = deviceTensors(model);
  const onDevice = tensors.reduce((sum, x) => sum + x, 0);
  const memoryBytes = predictMemory({ graph: graphBytes, float: weightBytes - quantized, quantized, onDevice });
  return { memoryBytes, tensorBytes: tensors.reduce((a, b) => Math.max(a, b), 0) };
}
