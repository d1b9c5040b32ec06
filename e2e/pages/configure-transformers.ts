// Settings of transformers.js for the workers that measure it.
import { env } from "@huggingface/transformers";

/** Lets it take models and WebAssembly from this server alone, and one thread. */
export function configureTransformers(): void {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  const { wasm } = env.backends.onnx;
  if (wasm === undefined) throw new Error("transformers.js has no wasm backend here");
  wasm.wasmPaths = {
    mjs: "/transformers-ort/ort-wasm-simd-threaded.asyncify.mjs",
    wasm: "/transformers-ort/ort-wasm-simd-threaded.asyncify.wasm",
  };
  wasm.numThreads = 1;
}
