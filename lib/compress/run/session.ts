// Runs a model on one backend in Node: onnxruntime-node's CPU as the reference, its WebGPU, or the same WebAssembly
// build that browsers run.
import type { Tensor } from "../../core/tensor.ts";
import { float16Value } from "../onnx/float16.ts";
import type { OnnxSource } from "../onnx/written-model.ts";
import type { Outputs } from "./metric.ts";
import { openSession } from "./ort-session.ts";
import type { ExecutionProvider } from "./model-process.ts";
import type { Feed } from "./samples.ts";

/** A loaded model. */
export interface LoadedModel {
  run(feed: Feed): Promise<Outputs>;
  /** Runs the model and returns its outputs in their own types. */
  runTensors(feed: Feed): Promise<Record<string, Tensor>>;
  /** Processor time of the model's own process, in milliseconds; 0 where it runs in this one. */
  busyMs(): number;
  release(): Promise<void>;
}

/**
 * ONNX Runtime 1.30 crashes on a float16 Transpose that swaps rows and batch before a MatMul: it puts a Cast between
 * them, and this fusion then looks for a node that is not there.
 */
const UNSAFE = "MatmulTransposeFusion";
/** Session entry with ONNX Runtime passes to disable, separated by ;. */
export const DISABLED = "optimization.disable_specified_optimizers";

/**
 * Loads a model, from its bytes or its path, on one thread, with ONNX Runtime session entries such as
 * `session.disable_quant_qdq`.
 */
export async function openModel(
  source: OnnxSource,
  provider: ExecutionProvider,
  extra: Readonly<Record<string, string>> = {},
  where: Parameters<typeof openSession>[3] = {},
): Promise<LoadedModel> {
  const options = {
    logSeverityLevel: 4,
    intraOpNumThreads: 1,
    extra:
      provider === "cpu" ? { ...extra, [DISABLED]: [extra[DISABLED] ?? [], UNSAFE].flat().join(";") } : { ...extra },
  } as const;
  const session = await openSession(source, provider, options, where);
  return {
    runTensors: (feed) => session.run(feed),
    async run(feed) {
      const outputs: Record<string, Outputs[string]> = {};
      for (const [name, { dtype, dims, data }] of Object.entries(await session.run(feed)))
        outputs[name] = { dims, data: numbersOf(dtype, data) };
      return outputs;
    },
    busyMs: () => session.busyMs,
    release: () => session.release(),
  };
}

/** Runs a model on every feed; by default on onnxruntime-node's CPU. */
export async function runAll(
  source: OnnxSource,
  feeds: readonly Feed[],
  {
    provider = "cpu",
    extra = {},
  }: { readonly provider?: ExecutionProvider; readonly extra?: Readonly<Record<string, string>> } = {},
): Promise<Outputs[]> {
  const model = await openModel(source, provider, extra);
  try {
    const outputs: Outputs[] = [];
    for (const feed of feeds) outputs.push(await model.run(feed));
    return outputs;
  } finally {
    await model.release();
  }
}

/**
 * Loads a model on onnxruntime-node's CPU without graph passes, and releases it.
 * @returns the error where it does not load, else null
 */
export async function loadError(
  source: OnnxSource,
  externalData: readonly { readonly path: string; readonly data: Uint8Array }[] = [],
): Promise<Error | null> {
  const options = { logSeverityLevel: 4, intraOpNumThreads: 1, graphOptimizationLevel: "disabled" } as const;
  try {
    const session = await openSession(source, "cpu", { ...options, ...(externalData.length > 0 && { externalData }) });
    await session.release();
    return null;
  } catch (error) {
    return error instanceof Error ? error : new Error("ONNX Runtime does not load it", { cause: error });
  }
}

/** Returns an output's values as numbers; texts as their hashes, since they are only compared for equality. */
export function numbersOf(type: string, data: Tensor["data"]): ArrayLike<number> {
  if (Array.isArray(data)) return data.map(hashOf);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float64Array.from(data, Number);
  return type === "float16" && data instanceof Uint16Array ? Float32Array.from(data, float16Value) : data;
}

/** Hashes a text to 32 bits (FNV-1a). */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const letter of text) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x01000193);
  return hash >>> 0;
}
