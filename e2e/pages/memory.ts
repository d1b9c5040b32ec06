// Loads a large model by its URL, with Selvedge and with ONNX Runtime Web in a worker, for the benchmark of memory. Both
// start their runtime with a tiny model first.
import { createEngine } from "selvedge";

/** A subject of the benchmark. */
export type MemoryName = "selvedge" | "onnxruntime-web by url";

/** Functions of the page. */
export interface MemoryPage {
  /** Starts the runtime. */
  start(name: MemoryName, backend: "webgpu" | "wasm"): Promise<void>;
  /** Loads a model, and returns the time in ms. */
  load(url: string): Promise<number>;
}

/** The smallest model: y = x. */
const IDENTITY = "/corpus/memory/identity.onnx";

let loadIt: ((url: string) => Promise<unknown>) | null = null;

const page: MemoryPage = {
  async start(name, backend) {
    loadIt = name === "selvedge" ? await startSelvedge(backend) : await startPeer(backend);
  },
  async load(url) {
    const beganMs = performance.now();
    await loadIt?.(url);
    return performance.now() - beganMs;
  },
};
Object.assign(globalThis, { memoryPage: page });

async function startSelvedge(backend: "webgpu" | "wasm"): Promise<(url: string) => Promise<unknown>> {
  // With both backends, so that the runtime that is started is the build that loads large models, too.
  const engine = await createEngine({ workers: 1 });
  await engine.load(IDENTITY, { backend, allowUnverified: true });
  return (url) => engine.load(url, { backend, allowUnverified: true });
}

async function startPeer(backend: "webgpu" | "wasm"): Promise<(url: string) => Promise<unknown>> {
  const worker = new Worker(new URL("./memory-peer.ts", import.meta.url), { type: "module" });
  const ask = (url: string | null): Promise<void> =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<string | null>) => {
        if (data === null) resolve();
        else reject(new Error(data));
      };
      worker.postMessage({ url, backend });
    });
  await ask(null);
  return (url) => ask(new URL(url, location.href).href);
}
