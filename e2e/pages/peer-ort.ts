// ONNX Runtime Web in a worker, used by hand.
import * as ort from "onnxruntime-web/jspi";
import { answer } from "./peer.ts";
import type { PeerData } from "./peer.ts";

let session: ort.InferenceSession | null = null;

answer({
  async load(model, backend) {
    ort.env.wasm.wasmPaths = { wasm: "/onnxruntime-web/ort-wasm-simd-threaded.jspi.wasm" };
    ort.env.wasm.numThreads = 1;
    session = await ort.InferenceSession.create(model, { executionProviders: [backend], logSeverityLevel: 4 });
  },
  async run(feeds) {
    const values = Object.entries(feeds).map(([name, { dtype, dims, data }]) => [
      name,
      new ort.Tensor(dtype as "float32", data as Float32Array, dims),
    ]);
    const outputs = await session?.run(Object.fromEntries(values) as Record<string, ort.Tensor>);
    return outputs?.["y"]?.data as PeerData;
  },
});
