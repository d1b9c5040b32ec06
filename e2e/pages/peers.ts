// Peers of the scheduling benchmark: Selvedge with its defaults, transformers.js on the main thread as its users have
// it, one request after the other, ONNX Runtime Web on the main thread, and in one or two hand-written workers, which
// take requests in order of arrival. Each has one thread, the default of ONNX Runtime Web on two cores; except
// Selvedge's wide lane, which is compared with a worker with as many.
import { AutoModel, env, Tensor } from "@huggingface/transformers";
import * as ort from "onnxruntime-web/wasm";
import { createEngine } from "selvedge";
import type { Engine, EngineOptions, Inputs, Model, RunOptions } from "selvedge";

import { createLaneAlone } from "./lane-alone.ts";

/** A model that is measured. */
export interface Measured {
  readonly name: string;
  readonly input: string;
  readonly dims: readonly number[];
  /** The variant, or null for the one that Selvedge chooses. */
  readonly variant: string | null;
}

/** Something that answers requests. */
export interface Peer {
  /** Runs one request; returns the backend that ran it. */
  run(model: Measured, data: Float32Array, options?: RunOptions): Promise<string>;
  /** Runs many queued requests; a hand-written program batches them, `batch` at a time, where that pays. */
  offline(model: Measured, data: () => Float32Array, count: number, batch: number): Promise<string>;
  /** Returns the variant, if the peer chose it. */
  variantOf?(model: Measured): string | undefined;
}

/** Names the peers. */
export type PeerName =
  | "selvedge"
  | "selvedge, one thread each"
  | "a lane alone"
  | "transformers.js"
  | "raw main thread"
  | "raw worker"
  | "raw worker 2"
  | "raw worker, threads"
  | "raw two workers"
  | "raw two workers, batched"
  | "raw three workers, one apart";

/** Creates a peer with models loaded; `batches` are the batch sizes of each in a hand-written program. */
export async function createPeer(
  name: PeerName,
  models: readonly Measured[],
  batches: readonly number[],
): Promise<Peer> {
  if (name === "selvedge") return createSelvedge(models, {});
  if (name === "selvedge, one thread each") return createSelvedge(models, { threads: 1 });
  if (name === "a lane alone") return createLaneAlone(models.filter(isFirst), bytesOf);
  if (name === "transformers.js") return createTransformers(models);
  if (name === "raw main thread") return createMainThread(models);
  const threads = name === "raw worker, threads" ? Math.min(8, navigator.hardwareConcurrency) : 1;
  const joins = new Map(models.filter(isFirst).map((model, i) => [model.name, batches[i] ?? 1]));
  if (name === "raw two workers, batched") return createWorkers(models, 2, threads, joins);
  if (name === "raw three workers, one apart") return createApart(models, threads);
  return createWorkers(models, name === "raw two workers" ? 2 : 1, threads);
}

/** Selvedge on wasm, with only the variants set. */
async function createSelvedge(
  models: readonly Measured[],
  options: EngineOptions,
): Promise<Peer & { engine: Engine; loaded: Map<string, Model> }> {
  const engine = await createEngine({ backends: ["wasm"], ...options });
  const loaded = new Map<string, Model>();
  for (const { name, variant } of models)
    loaded.set(
      `${name} ${variant}`,
      await engine.load(`/models/${name}/bundle.json`, variant === null ? {} : { variant }),
    );
  const run: Peer["run"] = async ({ name, variant, input, dims }, data, options) => {
    const model = loaded.get(`${name} ${variant}`) as Model;
    const { info } = await model.run({ [input]: { dtype: "float32", dims, data } }, options);
    return info.backend;
  };
  return {
    engine,
    loaded,
    run,
    variantOf: ({ name, variant }) => loaded.get(`${name} ${variant}`)?.variant,
    async offline({ name, variant, input, dims }, data, count) {
      const model = loaded.get(`${name} ${variant}`) as Model;
      const source = function* (): Generator<Inputs> {
        for (let i = 0; i < count; i += 1) yield { [input]: { dtype: "float32", dims, data: data() } };
      };
      let backend = "";
      for await (const { info } of model.map(source(), { ordered: false })) backend = info.backend;
      return backend;
    },
  };
}

/** Whether a model was not listed before in another variant. */
function isFirst({ name }: Measured, i: number, all: readonly Measured[]): boolean {
  return all.findIndex((x) => x.name === name) === i;
}

async function createTransformers(models: readonly Measured[]): Promise<Peer> {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = "/corpus/peers/";
  env.useBrowserCache = false;
  const { wasm } = env.backends.onnx;
  if (wasm === undefined) throw new Error("transformers.js has no wasm here");
  wasm.numThreads = 1;
  wasm.wasmPaths = "/corpus/peers/ort/";
  const loaded = new Map<string, (inputs: Record<string, Tensor>) => Promise<unknown>>();
  for (const { name } of models) {
    const model = await AutoModel.from_pretrained(name, { dtype: "fp32", device: "wasm" });
    loaded.set(name, model);
  }
  return inOrder(async ({ name, input, dims }, data) => {
    await loaded.get(name)?.({ [input]: new Tensor("float32", data, [...dims]) });
  });
}

async function createMainThread(models: readonly Measured[]): Promise<Peer> {
  ort.env.wasm.wasmPaths = { wasm: "/onnxruntime-web/ort-wasm-simd-threaded.wasm" };
  ort.env.wasm.numThreads = 1;
  const sessions = new Map<string, ort.InferenceSession>();
  for (const { name } of models) {
    const options = { executionProviders: ["wasm"], logSeverityLevel: 4 } as const;
    sessions.set(name, await ort.InferenceSession.create(await bytesOf(name), options));
  }
  return inOrder(async ({ name, input, dims }, data) => {
    await sessions.get(name)?.run({ [input]: new ort.Tensor("float32", data, dims) });
  });
}

/** One run at a time, or ONNX Runtime Web breaks; every app writes this chain. */
function inOrder(work: (model: Measured, data: Float32Array) => Promise<void>): Peer {
  let tail: Promise<unknown> = Promise.resolve();
  const run: Peer["run"] = async (model, data) => {
    const own = tail.then(() => work(model, data));
    tail = own.catch(() => undefined);
    await own;
    return "wasm";
  };
  return {
    run,
    async offline(model, data, count) {
      for (let i = 0; i < count; i += 1) await run(model, data());
      return "wasm";
    },
  };
}

/** A request queued for a hand-written worker. */
interface Waiting {
  readonly model: Measured;
  readonly data: Float32Array;
  readonly resolve: () => void;
}

/** Two hand-written workers for background work, and one more for all other requests. */
async function createApart(models: readonly Measured[], threads: number): Promise<Peer> {
  const background = await createWorkers(models, 2, threads);
  const apart = await createWorkers(models, 1, threads);
  return {
    ...background,
    run: (model, data, options) => (options?.priority === "background" ? background : apart).run(model, data),
  };
}

/**
 * Hand-written workers, first in, first out; `joins` is the number of queued requests of a model that a free one takes.
 */
async function createWorkers(
  models: readonly Measured[],
  count: number,
  threads: number,
  joins: ReadonlyMap<string, number> = new Map(),
): Promise<Peer> {
  let nextId = 0;
  const pending = new Map<number, () => void>();
  const workers = Array.from({ length: count }, () => {
    const url = new URL("./scheduling-worker.ts", import.meta.url);
    const worker = new Worker(url, { type: "module", name: String(threads) });
    worker.onmessage = ({ data }: MessageEvent<{ id: number }>) => {
      pending.get(data.id)?.();
      pending.delete(data.id);
    };
    return worker;
  });
  const ask = (worker: Worker, message: object): Promise<void> =>
    new Promise((resolve, reject) => {
      const id = nextId++;
      pending.set(id, resolve);
      worker.onerror = (event) => {
        reject(new Error(event.message));
      };
      worker.postMessage({ id, ...message });
    });
  for (const { name } of models) {
    const bytes = await bytesOf(name);
    for (const worker of workers) await ask(worker, { name, bytes });
  }
  // First in, first out: each worker takes the next queued request when it is free.
  const free = [...workers];
  const waiting: ((worker: Worker) => void)[] = [];
  const take = (): Promise<Worker> => {
    const worker = free.pop();
    return worker === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(worker);
  };
  const give = (worker: Worker): void => {
    const next = waiting.shift();
    if (next === undefined) free.push(worker);
    else next(worker);
  };
  const runOn = async ({ name, input }: Measured, dims: readonly number[], data: Float32Array): Promise<void> => {
    const worker = await take();
    await ask(worker, { name, input, dims, data });
    give(worker);
  };
  const queue: Waiting[] = [];
  /** Takes the first queued request, and others of its model up to its batch size. */
  const takeBatch = (): readonly [Waiting, ...Waiting[]] | null => {
    const first = queue.shift();
    if (first === undefined) return null;
    const batch: [Waiting, ...Waiting[]] = [first];
    const most = joins.get(first.model.name) ?? 1;
    for (let i = 0; i < queue.length && batch.length < most;)
      if (queue[i]?.model.name === first.model.name) batch.push(...queue.splice(i, 1));
      else i += 1;
    return batch;
  };
  const pump = async (): Promise<void> => {
    const worker = await take();
    const batch = takeBatch();
    if (batch !== null) {
      const [{ model, data }] = batch;
      const joined = new Float32Array(batch.length * data.length);
      for (const [row, one] of batch.entries()) joined.set(one.data, row * data.length);
      const dims = [batch.length, ...model.dims.slice(1)];
      await ask(worker, { name: model.name, input: model.input, dims, data: joined });
      for (const { resolve } of batch) resolve();
    }
    give(worker);
  };
  return {
    async run(model, data) {
      if (joins.size === 0) await runOn(model, model.dims, data);
      else
        await new Promise<void>((resolve, reject) => {
          queue.push({ model, data, resolve });
          pump().catch(reject);
        });
      return "wasm";
    },
    async offline(model, data, count, batch) {
      const runs: Promise<void>[] = [];
      for (let left = count; left > 0; left -= batch) {
        const rows = Math.min(batch, left);
        const length = model.dims.reduce((a, b) => a * b, 1);
        const joined = new Float32Array(rows * length);
        for (let row = 0; row < rows; row += 1) joined.set(data(), row * length);
        runs.push(runOn(model, [rows, ...model.dims.slice(1)], joined));
      }
      await Promise.all(runs);
      return "wasm";
    },
  };
}

async function bytesOf(name: string): Promise<ArrayBuffer> {
  const response = await fetch(`/corpus/peers/${name}/onnx/model.onnx`);
  if (!response.ok) throw new Error(`no model "${name}" for the peers`);
  return response.arrayBuffer();
}
