// Peer of the scheduling benchmark: ONNX Runtime Web in a hand-written worker, for several models, with one run in
// flight at a time. Its name contains its number of threads.
import * as ort from "onnxruntime-web/wasm";

/** Request of the page: load a model under a name, or run one. */
export type Ask =
  | { readonly id: number; readonly name: string; readonly bytes: ArrayBuffer }
  | {
      readonly id: number;
      readonly name: string;
      readonly input: string;
      readonly dims: number[];
      readonly data: Float32Array;
    };

ort.env.wasm.wasmPaths = { wasm: "/onnxruntime-web/ort-wasm-simd-threaded.wasm" };
ort.env.wasm.numThreads = Number(self.name);

const sessions = new Map<string, ort.InferenceSession>();
let tail: Promise<unknown> = Promise.resolve();

self.onmessage = ({ data }: MessageEvent<Ask>) => {
  tail = tail.then(() => answer(data));
};

async function answer(ask: Ask): Promise<void> {
  if ("bytes" in ask) {
    const options = { executionProviders: ["wasm"], logSeverityLevel: 4 } as const;
    sessions.set(ask.name, await ort.InferenceSession.create(ask.bytes, options));
    self.postMessage({ id: ask.id });
    return;
  }
  const session = sessions.get(ask.name);
  if (session === undefined) throw new Error(`there is no model "${ask.name}"`);
  const results = await session.run({ [ask.input]: new ort.Tensor("float32", ask.data, ask.dims) });
  const [output] = Object.values(results);
  const values = output?.data as Float32Array<ArrayBuffer>;
  self.postMessage({ id: ask.id, dims: output?.dims, values }, { transfer: [values.buffer] });
}
