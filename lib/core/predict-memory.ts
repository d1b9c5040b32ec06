// Predicted peak memory of loading a variant: the one table of constants, for the toolchain, which writes predictions
// into bundles, and for the fetch worker, which estimates those of other models (fit.ts).
//
// Measured with ONNX Runtime Web 1.30 in Chromium and Firefox on models of 8 to 600 MB whose weights are external data
// read from Blobs, as all but small models are loaded (worker/backend/externalize.ts). A run takes more
// (plan-buffers.ts).
import type { BundleFile } from "./bundle.ts";

/** Factors on bytes of a model, and a constant. */
const WASM = {
  /** Weights of 32 bits and more. Kernels keep a rearranged copy of some (prepacking). */
  float: 1.4,
  /** float16 weights, which are converted to float32. */
  half: 2.8,
  /** Weights of 8 bits and fewer. */
  quantized: 1.2,
  /** The least of any model. */
  least: 1.1,
  /** A graph is read into memory and parsed. */
  graph: 4,
  /** Chunks on their way from the network, and the worker's own; measured with Selvedge, `npm run bench -- memory`. */
  freeBytes: 50e6,
} as const;
const WEBGPU = {
  /** Weights as the GPU holds them. */
  onDevice: 1,
  /** The page's process passes them on in pieces. */
  page: 0.1,
  graph: 4,
  /** Shaders and staging buffers. */
  freeBytes: 75e6,
} as const;

/** Part of a prediction on wasm that does not depend on the model. */
export const FREE_BYTES: number = WASM.freeBytes;

/**
 * Bytes of the worker that runs a variant on wasm before the GPU does, beside its model: they are freed late. Measured in
 * Chromium 156.
 */
export const CHECK_BYTES = 75e6;

/** A model in one file below this size is passed as one buffer (worker/backend/externalize.ts). */
const ONE_BUFFER_MAX_BYTES = 16 * 2 ** 20;

/** Bytes of a model, by how they are held. */
export interface ModelBytes {
  /** The graph, and the weights that lie in it. */
  readonly graph: number;
  /** Weights of 32 bits and more. */
  readonly float: number;
  /** float16 weights. */
  readonly half: number;
  /** Weights of 8 bits and fewer. */
  readonly quantized: number;
  /** Float32 weights that ONNX Runtime makes of quantized ones while loading on wasm. Default 0. */
  readonly folded?: number | undefined;
  /** All weights as a GPU holds them. Default: as in the file. */
  readonly onDevice?: number | undefined;
}

/** Predicted peak of a load on each backend, in bytes. */
export interface Predicted {
  readonly webgpu: number;
  readonly wasm: number;
}

/** Predicts the peak of a load in bytes: on wasm the WebAssembly memory, on WebGPU the GPU's and the page's process. */
export function predictMemory({ graph, float, half, quantized, folded = 0, onDevice }: ModelBytes): Predicted {
  const held = WASM.float * (float + folded) + WASM.half * half + WASM.quantized * quantized;
  const wasm = held + WASM.graph * graph + WASM.freeBytes;
  const weights = float + half + quantized;
  const gpu = WEBGPU.onDevice * Math.max(weights, onDevice ?? 0) + WEBGPU.page * weights;
  return { wasm: Math.round(wasm), webgpu: Math.round(gpu + WEBGPU.graph * graph + WEBGPU.freeBytes) };
}

/** Returns the least WebAssembly memory of a model whose weights are of unknown types. */
export function leastMemory(weightBytes: number): number {
  return WASM.least * weightBytes;
}

/** Reads the bytes of a model from the sizes of its files, with weights taken for float32. */
export function modelBytes([first, ...others]: readonly Pick<BundleFile, "bytes">[]): ModelBytes {
  const float = others.reduce((sum, x) => sum + x.bytes, 0);
  const alone = first?.bytes ?? 0;
  if (float === 0 && alone >= ONE_BUFFER_MAX_BYTES) return { graph: 0, float: alone, half: 0, quantized: 0 };
  return { graph: alone, float, half: 0, quantized: 0 };
}
