// Predicted peak memory of loading a variant, from its files.
import type { PerBackend } from "../../core/bundle.ts";

/** Measured with ONNX Runtime Web 1.30 on models of 30 to 600 MB, weights as external data. */
const WASM = { perByte: 1.5, perGraphByte: 4, freeBytes: 25e6 } as const;
const WEBGPU = { perByte: 1.16, perGraphByte: 4, freeBytes: 25e6 } as const;

/**
 * Predicts the peak of a load in bytes. On wasm it is the wasm heap, which grows to 1.5 × float32 weights (1.3 × int8,
 * 1.2 × int4) + 25 MB; the largest factor is used for all, so predictions are rather too high. On WebGPU it is the
 * weights on the GPU and 0.16 × of them in the page's process. A graph is read into memory and parsed: 4 × its bytes.
 * Activations are not included.
 */
export function predictMemory(graphBytes: number, weightBytes: number): Required<PerBackend> {
  const of = ({ perByte, perGraphByte, freeBytes }: typeof WASM | typeof WEBGPU): number =>
    Math.round(perByte * weightBytes + perGraphByte * graphBytes + freeBytes);
  return { webgpu: of(WEBGPU), wasm: of(WASM) };
}
