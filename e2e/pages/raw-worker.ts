// Peer of the benchmarks: ONNX Runtime Web in a hand-written worker, with nothing around it.
import * as ort from "onnxruntime-web/wasm";

interface Ask {
  readonly model?: ArrayBuffer;
  readonly feeds?: Readonly<Record<string, { dims: number[]; data: Float32Array }>>;
}

let session: ort.InferenceSession | null = null;

self.onmessage = async ({ data: { model, feeds } }: MessageEvent<Ask>) => {
  if (model !== undefined) {
    ort.env.wasm.wasmPaths = { wasm: "/onnxruntime-web/ort-wasm-simd-threaded.wasm" };
    ort.env.wasm.numThreads = 1;
    session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 4 });
    self.postMessage(null);
    return;
  }
  if (session === null || feeds === undefined) throw new Error("there is no model");
  const values: Record<string, ort.Tensor> = {};
  for (const [name, { dims, data }] of Object.entries(feeds)) values[name] = new ort.Tensor("float32", data, dims);
  const results = await session.run(values);
  const outputs: Record<string, { dims: readonly number[]; data: Float32Array }> = {};
  const buffers: ArrayBuffer[] = [];
  for (const [name, tensor] of Object.entries(results)) {
    const data = tensor.data as Float32Array<ArrayBuffer>;
    outputs[name] = { dims: tensor.dims, data };
    buffers.push(data.buffer);
  }
  self.postMessage(outputs, { transfer: buffers });
};
