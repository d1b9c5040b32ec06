// Loads a large model by its URL, with Selvedge, and with ONNX Runtime Web and transformers.js in a worker, for measurements
// of memory. All start their runtime with a tiny model first.
import { createEngine } from "selvedge";
import type { Engine, Model } from "selvedge";
import type { Ask } from "./memory-peer.ts";

/** A peer of the benchmark. */
export type MemoryPeer = "onnxruntime-web by url" | "transformers.js";
/** A subject of the benchmark. */
export type MemoryName = "selvedge" | MemoryPeer;

/** Functions of the page. */
export interface MemoryPage {
  /** Starts the runtime. */
  start(name: MemoryName, backend: "webgpu" | "wasm"): Promise<void>;
  /** Loads a model, and returns the time in ms. `slowBy` is the share of it that is waited besides. */
  load(url: string, slowBy: number): Promise<number>;
  /** Returns whether Selvedge has stored a model. */
  isStored(url: string): Promise<boolean>;
  /** Returns Selvedge's prediction for a model, in bytes. */
  predict(url: string): Promise<number>;
  /** Holds memory of the page. */
  hold(bytes: number): void;
  /** Runs the model that Selvedge has loaded on random values for its input x, several times. */
  run(dims: readonly number[], times: number): Promise<void>;
}

/** The smallest model: y = x. */
const IDENTITY = "/memory/identity/onnx/model.onnx";

let loadIt: ((url: string) => Promise<unknown>) | null = null;
let engine: Engine | null = null;
let model: Model | null = null;
const held: Uint8Array[] = [];
let backend: "webgpu" | "wasm" = "wasm";

const page: MemoryPage = {
  async start(name, on) {
    backend = on;
    loadIt = name === "selvedge" ? await startSelvedge() : await startPeer(name);
  },
  async load(url, slowBy) {
    const beganMs = performance.now();
    await loadIt?.(url);
    const ms = performance.now() - beganMs;
    if (slowBy > 0) await new Promise((resolve) => setTimeout(resolve, slowBy * ms));
    return performance.now() - beganMs;
  },
  async isStored(url) {
    return (await engine?.availability(url, { backend }))?.state === "available";
  },
  async predict(url) {
    const { memoryBytes = null } = (await engine?.availability(url, { backend })) ?? {};
    return memoryBytes ?? Number.NaN;
  },
  hold(bytes) {
    held.push(new Uint8Array(bytes).fill(1));
  },
  async run(dims, times) {
    for (let i = 0; i < times; i += 1) {
      const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, Math.random);
      await model?.run({ x: { dtype: "float32", dims, data } });
    }
  },
};
Object.assign(globalThis, { memoryPage: page });
const calls = new URL(location.href).searchParams.get("calls");
if (calls !== null) void answerCalls(calls);

/** Asks a server for calls of the page's functions, each with the answer of the one before (bare-firefox.ts). */
async function answerCalls(server: string): Promise<never> {
  let answer = {};
  for (;;) {
    const asked = await fetch(server, { method: "POST", body: JSON.stringify(answer) });
    const { method, args } = (await asked.json()) as { method: keyof MemoryPage; args: readonly unknown[] };
    const call = page[method] as (...args: readonly unknown[]) => unknown;
    try {
      answer = { value: await call(...args) };
    } catch (error) {
      answer = { error: String(error) };
    }
  }
}

async function startSelvedge(): Promise<(url: string) => Promise<unknown>> {
  // With both backends, so that the runtime that is started is the build that loads large models, too.
  const made = await createEngine({ workers: 1 });
  engine = made;
  await made.load(IDENTITY, { backend, allowUnverified: true });
  return async (url) => (model = await made.load(url, { backend, allowUnverified: true }));
}

async function startPeer(name: MemoryPeer): Promise<(url: string) => Promise<unknown>> {
  const worker =
    name === "transformers.js"
      ? new Worker(new URL("./memory-transformers.ts", import.meta.url), { type: "module" })
      : new Worker(new URL("./memory-ort.ts", import.meta.url), { type: "module" });
  const load = (url: string): Promise<void> =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<string | null>) => {
        if (data === null) resolve();
        else reject(new Error(data));
      };
      worker.postMessage({ path: url, backend } satisfies Ask);
    });
  await load(IDENTITY);
  return load;
}
