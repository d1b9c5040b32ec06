// ONNX Runtime Web in a worker, which fetches the model itself, by its URL.
import * as ort from "onnxruntime-web/jspi";

interface Ask {
  readonly url: string | null;
  readonly backend: "webgpu" | "wasm";
}

/** The smallest model: y = x. */
const IDENTITY = "/corpus/memory/identity.onnx";

ort.env.wasm.wasmPaths = { wasm: "/onnxruntime-web/ort-wasm-simd-threaded.jspi.wasm" };
ort.env.wasm.numThreads = 1;

self.addEventListener("message", ({ data: { url, backend } }: MessageEvent<Ask>) => {
  ort.InferenceSession.create(url ?? IDENTITY, { executionProviders: [backend], logSeverityLevel: 4 }).then(
    () => {
      self.postMessage(null);
    },
    (error: unknown) => {
      self.postMessage(String(error));
    },
  );
});
