// Runs a model on one backend in Node: onnxruntime-node's CPU as the reference, its WebGPU, or the same WebAssembly
// build that browsers run.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InferenceSession } from "onnxruntime-node";
import type { Tensor } from "../../core/tensor.ts";
import { float16Value } from "../onnx/float16.ts";
import { writeModelFile } from "../onnx/model-file.ts";
import { decodeModel } from "../onnx/model.ts";
import type { Outputs } from "./metric.ts";
import { loadRuntime } from "./optional-peers.ts";
import type { Feed } from "./samples.ts";

/** Where a model runs. */
export type Place = "cpu" | "webgpu" | "wasm";

/** A loaded model. */
export interface LoadedModel {
  run(feed: Feed): Promise<Outputs>;
  /** Runs the model and returns its outputs in their own types. */
  runTensors(feed: Feed): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}

/**
 * ONNX Runtime 1.30 crashes on a float16 Transpose that swaps rows and batch before a MatMul: it puts a Cast between
 * them, and this fusion then looks for a node that is not there.
 */
const UNSAFE = "MatmulTransposeFusion";
/** Session entry with ONNX Runtime passes to disable, separated by ;. */
export const DISABLED = "optimization.disable_specified_optimizers";

/** Models of this size are passed to ONNX Runtime as a file. */
const ON_DISK_BYTES = 2 ** 27;

const spent = { ms: 0 };

/** Returns the total time in milliseconds that this process has waited for ONNX Runtime to load and run models. */
export function ortMs(): number {
  return spent.ms;
}

async function timed<T>(work: Promise<T>): Promise<T> {
  const started = performance.now();
  try {
    return await work;
  } finally {
    spent.ms += performance.now() - started;
  }
}

/**
 * Loads a model, from its bytes or its path, on one thread, with ONNX Runtime session entries such as
 * `session.disable_quant_qdq`.
 */
export async function openModel(
  source: Uint8Array | string,
  place: Place,
  extra: Readonly<Record<string, string>> = {},
): Promise<LoadedModel> {
  // Loaded on first use: it is larger than the rest of the toolchain.
  const runtime = place === "wasm" ? await (await import("./web-runtime.ts")).startWebRuntime() : await loadRuntime();
  const options = {
    executionProviders: [place],
    logSeverityLevel: 4,
    intraOpNumThreads: 1,
    extra: place === "cpu" ? { ...extra, [DISABLED]: [extra[DISABLED] ?? [], UNSAFE].flat().join(";") } : { ...extra },
  } as const;
  const create = async (from: Uint8Array | string): Promise<InferenceSession> =>
    timed(runtime.InferenceSession.create(from as Uint8Array, options));
  const isLarge = place !== "wasm" && typeof source !== "string" && source.length >= ON_DISK_BYTES;
  const session = isLarge ? await createFromDisk(source, create) : await create(source);
  const runRaw = async (feed: Feed): ReturnType<typeof session.run> => {
    const tensors = Object.entries(feed).map(
      ([name, { dtype, dims, data }]) =>
        [name, new runtime.Tensor(dtype as "float32", data as Float32Array, dims)] as const,
    );
    return timed(session.run(Object.fromEntries(tensors)));
  };
  return {
    async runTensors(feed) {
      const results = Object.entries(await runRaw(feed));
      return Object.fromEntries(
        results.map(([name, { type, dims, data }]) => [name, { dtype: type, dims, data } as Tensor]),
      );
    },
    async run(feed) {
      const results = await runRaw(feed);
      const outputs: Record<string, Outputs[string]> = {};
      for (const [name, { type, dims, data }] of Object.entries(results))
        outputs[name] = { dims, data: numbersOf(type, data) };
      return outputs;
    },
    release: () => session.release(),
  };
}

/**
 * Creates a session over a file with external data, which ONNX Runtime maps: from one buffer it would parse one copy of
 * the weights, and keep another.
 */
async function createFromDisk(
  bytes: Uint8Array,
  create: (path: string) => Promise<InferenceSession>,
): Promise<InferenceSession> {
  const folder = await mkdtemp(join(tmpdir(), "selvedge-session-"));
  try {
    const path = join(folder, "model.onnx");
    await writeModelFile(path, decodeModel(bytes), { external: true });
    return await create(path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a model on every feed; by default on onnxruntime-node's CPU. */
export async function runAll(
  source: Uint8Array | string,
  feeds: readonly Feed[],
  { place = "cpu", extra = {} }: { readonly place?: Place; readonly extra?: Readonly<Record<string, string>> } = {},
): Promise<Outputs[]> {
  const model = await openModel(source, place, extra);
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
  graph: Uint8Array,
  externalData: readonly { readonly path: string; readonly data: Uint8Array }[] = [],
): Promise<Error | null> {
  const { InferenceSession } = await loadRuntime();
  const options = { logSeverityLevel: 4, intraOpNumThreads: 1, graphOptimizationLevel: "disabled" } as const;
  try {
    const session = await timed(InferenceSession.create(graph, { ...options, externalData }));
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
