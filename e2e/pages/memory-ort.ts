// ONNX Runtime Web in a worker, which fetches the model itself, by its URL.
import * as ort from "onnxruntime-web/jspi";
import { answer } from "./memory-peer.ts";

ort.env.wasm.wasmPaths = { wasm: "/onnxruntime-web/ort-wasm-simd-threaded.jspi.wasm" };
ort.env.wasm.numThreads = 1;

answer(({ path, backend }) => {
  const options = { executionProviders: [backend], logSeverityLevel: 4 } as const;
  return ort.InferenceSession.create(new URL(path, location.href).href, options);
});
