// Runs a model on one backend in Node, whichever it is: onnxruntime-node's CPU as the reference, its WebGPU, or the very
// WebAssembly that browsers run.
import type { Tensor } from "../tensor.ts";
import type { Outputs } from "./metric.ts";
import { loadRuntime, loadWebRuntime } from "./runtime.ts";
import type { Feed } from "./samples.ts";

/** Where a model runs. */
export type Place = "cpu" | "webgpu" | "wasm";

/** A loaded model. */
export interface LoadedModel {
  run(feed: Feed): Promise<Outputs>;
  release(): Promise<void>;
}

/** Loads a model, from its bytes or its path, on one thread; with ONNX Runtime's session entries, as `session.disable_quant_qdq`. */
export async function openModel(
  source: Uint8Array | string,
  place: Place,
  extra: Readonly<Record<string, string>> = {},
): Promise<LoadedModel> {
  const runtime = place === "wasm" ? await loadWebRuntime() : await loadRuntime();
  if (place === "wasm") runtime.env.wasm.numThreads = 1;
  const session = await runtime.InferenceSession.create(source as Uint8Array, {
    executionProviders: [place],
    logSeverityLevel: 4,
    intraOpNumThreads: 1,
    extra: { ...extra },
  });
  return {
    async run(feed) {
      const tensors = Object.entries(feed).map(
        ([name, { dtype, dims, data }]) =>
          [name, new runtime.Tensor(dtype as "float32", data as Float32Array, dims)] as const,
      );
      const results = await session.run(Object.fromEntries(tensors));
      const outputs: Record<string, Outputs[string]> = {};
      for (const [name, { type, dims, data }] of Object.entries(results))
        if (type !== "string") outputs[name] = { dims, data: numbers(type, data) };
      return outputs;
    },
    release: () => session.release(),
  };
}

function numbers(type: string, data: Tensor["data"]): ArrayLike<number> {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float64Array.from(data, Number);
  if (type !== "float16" || !(data instanceof Uint16Array)) return data as Float32Array;
  return Float32Array.from(data, (bits) => {
    const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  });
}
