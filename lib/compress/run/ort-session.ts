// Opens a model in ONNX Runtime: a small one in this process, a large one in a process of its own.
import { statSync } from "node:fs";
import type { InferenceSession } from "onnxruntime-node";
import type { Tensor } from "../../core/tensor.ts";
import { readModelFile } from "../onnx/model-file.ts";
import { decodeModel } from "../onnx/model.ts";
import { LARGE_BYTES } from "../onnx/stored-bytes.ts";
import { Scratch, writeModel } from "../onnx/written-model.ts";
import type { OnnxSource } from "../onnx/written-model.ts";
import type { Feed } from "./feeds.ts";
import { ModelProcess } from "./model-process.ts";
import type { ExecutionProvider, Ports } from "./model-process.ts";
import { loadRuntime } from "./optional-peers.ts";
import { withRightPasses } from "./right-passes.ts";

/** A session of ONNX Runtime. */
export interface OrtSession {
  readonly inputMetadata: Ports;
  readonly outputMetadata: Ports;
  /** Processor time of the session's own process, in milliseconds; 0 where it is this one. */
  readonly busyMs: number;
  /** Runs the model; returns all outputs, or those named, in their own types. */
  run(feed: Feed, names?: readonly string[]): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}

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

/** Opens a model with options of ONNX Runtime; a small one in a process of its own as well, where `isApart`. */
export async function openSession(
  source: OnnxSource,
  provider: ExecutionProvider,
  given: Omit<InferenceSession.SessionOptions, "executionProviders">,
  { isApart = false }: { readonly isApart?: boolean } = {},
): Promise<OrtSession> {
  const extra = withRightPasses(source, given.extra as Readonly<Record<string, string>> | undefined);
  const options = { ...given, extra, executionProviders: [provider] } as const;
  if (!isApart && !isLarge(source)) return openHere(source, provider, options);
  const scratch = new Scratch();
  try {
    const path =
      typeof source === "string" ? source : ((await writeModel(decodeModel(source), scratch, 0)).source as string);
    const opened = await timed(ModelProcess.open(path, provider, options));
    return {
      inputMetadata: opened.inputMetadata,
      outputMetadata: opened.outputMetadata,
      get busyMs() {
        return opened.busyMs;
      },
      run: (feed, names) => timed(opened.run(feed, names)),
      async release() {
        await opened.release();
        await scratch.close();
      },
    };
  } catch (error) {
    await scratch.close();
    throw error;
  }
}

/** Whether a model, with its external data, is so large that it gets a process of its own. */
export function isLarge(source: OnnxSource): boolean {
  if (typeof source !== "string") return source.length >= LARGE_BYTES;
  if (statSync(source).size >= LARGE_BYTES) return true;
  try {
    return readModelFile(source).byteLength >= LARGE_BYTES;
  } catch {
    // ONNX Runtime says better what it does not load.
    return false;
  }
}

async function openHere(
  source: OnnxSource,
  provider: ExecutionProvider,
  options: InferenceSession.SessionOptions,
): Promise<OrtSession> {
  // Loaded on first use: it is larger than the rest of the toolchain.
  const runtime =
    provider === "wasm" ? await (await import("./web-runtime.ts")).startWebRuntime() : await loadRuntime();
  const session: InferenceSession = await timed(runtime.InferenceSession.create(source as Uint8Array, options));
  return {
    inputMetadata: session.inputMetadata,
    outputMetadata: session.outputMetadata,
    busyMs: 0,
    async run(feed, names) {
      const tensors = Object.entries(feed).map(
        ([name, { dtype, dims, data }]) =>
          [name, new runtime.Tensor(dtype as "float32", data as Float32Array, dims)] as const,
      );
      const feeds = Object.fromEntries(tensors);
      const results = await timed(names === undefined ? session.run(feeds) : session.run(feeds, names));
      return Object.fromEntries(
        Object.entries(results).map(([name, { type, dims, data }]) => [name, { dtype: type, dims, data } as Tensor]),
      );
    },
    release: () => session.release(),
  };
}
