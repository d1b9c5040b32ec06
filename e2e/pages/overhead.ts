// Subjects of the `overhead` benchmark, in the page: model.run, the same model in a hand-written worker, and ONNX
// Runtime on the main thread. Each sample runs one of them and returns its duration.
import * as ort from "onnxruntime-web/wasm";
import { createEngine } from "selvedge";
import type { Engine, Model } from "selvedge";
import { addModel } from "../../lib/test-support/backend-models.ts";

type Feeds = Readonly<Record<string, { dtype: "float32"; dims: number[]; data: Float32Array }>>;

interface Subject {
  run(feeds: Feeds): Promise<string>;
}

const subjects = new Map<string, Subject>();
let feeds: Feeds = {};
let engine: Engine | null = null;

/** Loads a model (`add`, or a URL) under all requested subjects; inputs are noise of the given dims. */
async function setUp(url: string, names: readonly string[], dims: Readonly<Record<string, number[]>>): Promise<void> {
  const model = await bytesOf(url);
  feeds = Object.fromEntries(Object.entries(dims).map(([name, sizes]) => [name, noise(sizes)]));
  if (names.includes("selvedge")) subjects.set("selvedge", await selvedge(model));
  if (names.includes("raw worker")) subjects.set("raw worker", await rawWorker(model));
  if (names.includes("raw worker 2")) subjects.set("raw worker 2", await rawWorker(model));
  if (names.includes("raw main thread")) subjects.set("raw main thread", await rawMainThread(model));
}

/** Runs a subject so many times in sequence; returns ms per run. `slowBy` adds that share of busy waiting. */
async function sample(name: string, count: number, slowBy: number): Promise<{ ms: number; backend: string }> {
  const subject = get(name);
  const startMs = performance.now();
  let backend = "";
  for (let i = 0; i < count; i += 1) backend = await subject.run(feeds);
  const ms = performance.now() - startMs;
  if (slowBy > 0) turn(ms * slowBy);
  return { ms: (ms * (1 + slowBy)) / count, backend };
}

/** Returns the longest interval in ms between two ticks of a 4 ms timer on the main thread during so many runs. */
async function stall(name: string, count: number, slowBy: number): Promise<{ ms: number; backend: string }> {
  const subject = get(name);
  let running = true;
  let longestMs = 0;
  let backend = "";
  const watching = (async () => {
    for (let beforeMs = performance.now(); running;) {
      await nextTick();
      const nowMs = performance.now();
      longestMs = Math.max(longestMs, nowMs - beforeMs);
      beforeMs = nowMs;
    }
  })();
  const runs = Array.from({ length: count }, async () => {
    backend = await subject.run(feeds);
  });
  await Promise.all(runs);
  running = false;
  await watching;
  return { ms: longestMs * (1 + slowBy), backend };
}

/** Reads many pictures of lines with the bundle, as an app would; returns the longest stall. */
async function stallReading(urls: readonly string[]): Promise<{ ms: number; backend: string; lines: number }> {
  engine ??= await createEngine();
  const model = await engine.load("/models/ocr-rec/bundle.json");
  const blobs = await Promise.all(urls.map(async (url) => (await fetch(url)).blob()));
  let lines = 0;
  subjects.set("reading", {
    async run() {
      const { decoded, info } = await model.run({ x: blobs[lines++] as Blob });
      if (Object.values(decoded)[0]?.[0]?.kind !== "text") throw new Error("no text");
      return info.backend;
    },
  });
  const { ms, backend } = await stall("reading", blobs.length, 0);
  model.unload();
  return { ms, backend, lines };
}

async function selvedge(model: ArrayBuffer): Promise<Subject> {
  engine ??= await createEngine({ backends: ["wasm"], workers: 1 });
  const loaded: Model = await engine.load(model);
  return {
    async run(given) {
      const { info } = await loaded.run(given);
      return info.backend;
    },
  };
}

async function rawWorker(model: ArrayBuffer): Promise<Subject> {
  const worker = new Worker(new URL("./raw-worker.ts", import.meta.url), { type: "module" });
  const ask = (message: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        resolve(data);
      };
      worker.onerror = (event) => {
        reject(new Error(event.message));
      };
      worker.postMessage(message);
    });
  await ask({ model });
  return {
    async run(given) {
      await ask({ feeds: given });
      return "wasm";
    },
  };
}

async function rawMainThread(model: ArrayBuffer): Promise<Subject> {
  ort.env.wasm.wasmPaths = { wasm: "/onnxruntime-web/ort-wasm-simd-threaded.wasm" };
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 4 });
  let tail: Promise<unknown> = Promise.resolve();
  return {
    async run(given) {
      const values = Object.fromEntries(
        Object.entries(given).map(([name, { dims, data }]) => [name, new ort.Tensor("float32", data, dims)]),
      );
      // One run at a time, or ONNX Runtime Web breaks; every app writes this chain.
      const run = tail.then(() => session.run(values));
      tail = run;
      await run;
      return "wasm";
    },
  };
}

async function bytesOf(url: string): Promise<ArrayBuffer> {
  if (url === "add") return addModel().buffer;
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  return response.arrayBuffer();
}

function noise(dims: number[]): Feeds[string] {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  for (let i = 0; i < data.length; i += 1) data[i] = Math.sin(i * 12.9898) * 0.5;
  return { dtype: "float32", dims, data };
}

function get(name: string): Subject {
  const subject = subjects.get(name);
  if (subject === undefined) throw new Error(`there is no subject "${name}"`);
  return subject;
}

function turn(ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs;);
}

/** Waits for a timer: 4 ms on an idle thread. A tighter loop would itself cause stalls. */
function nextTick(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 4);
  });
}

Object.assign(globalThis, { bench: { setUp, sample, stall, stallReading } });
