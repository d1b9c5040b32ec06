// The benchmark of a text encoder, in the page: vectors of many texts by Selvedge, by two hand-written workers that sort
// the texts by length, and by transformers.js on the main thread, as its users have it. All have one thread a worker, the
// default of ONNX Runtime Web on two cores. The two peers use whichever of the batch sizes was fastest here.
import { env, pipeline } from "@huggingface/transformers";
import { createEngine } from "selvedge";
import type { Model } from "selvedge";
import type { TextsAsk } from "./texts-worker.ts";

/** Result of one measurement. */
export interface TextsTold {
  readonly value: number;
  readonly backend: string;
  readonly variant: string;
}

/** A program that computes vectors, and its file; "shipped" is the bundle's own choice. */
export interface Encoder {
  readonly who: "selvedge" | "raw two workers" | "transformers.js";
  readonly variant: "fp32" | "q8" | "shipped";
}

type Embed = (texts: readonly string[], batch: number) => Promise<readonly Float32Array[]>;

interface Peer {
  readonly embed: Embed;
  readonly variant: string;
  /** Batch sizes to choose from; one where it chooses by itself. */
  readonly batches: readonly number[];
}

const FOLDER = "/corpus/texts/minilm/";
const BUNDLE = "/corpus/minilm-wasm/bundle/bundle.json";
const GRAPHS = { fp32: "onnx/model.onnx", q8: "onnx/model_quantized.onnx" } as const;
const BATCHES = [1, 8, 32] as const;
/** Least cosine of a peer's vector and another's: of the same file, or of one in 8 bits. */
const SAME = 0.97;

const peers = new Map<string, Promise<Peer>>();
const bestBatches = new Map<string, number>();
const firstVectors = new Map<string, Float32Array>();

const bench = {
  /** Computes the vectors of all texts at once; returns texts per second. `slowBy` adds that share to the time. */
  async rate(encoder: Encoder, texts: readonly string[], slowBy: number): Promise<TextsTold> {
    const peer = await get(encoder);
    const batch = await bestBatch(encoder, peer, texts);
    const ms = await timed(peer, texts, batch);
    return { value: (1_000 * texts.length) / (ms * (1 + slowBy)), backend: "wasm", variant: peer.variant };
  },

  /** Loads a model anew and computes the vectors of texts; returns the longest stall of the main thread in ms. */
  async stall(encoder: Encoder, texts: readonly string[]): Promise<TextsTold> {
    let isRunning = true;
    let longestMs = 0;
    const watching = (async () => {
      for (let beforeMs = performance.now(); isRunning;) {
        await new Promise((resolve) => setTimeout(resolve, 4));
        const nowMs = performance.now();
        longestMs = Math.max(longestMs, nowMs - beforeMs);
        beforeMs = nowMs;
      }
    })();
    const { embed, variant } = await create(encoder);
    await embed(texts, 8);
    isRunning = false;
    await watching;
    return { value: longestMs, backend: "wasm", variant };
  },
};

/** The functions of the page, as `globalThis.bench`. */
export type TextsBench = typeof bench;

function get(encoder: Encoder): Promise<Peer> {
  const key = `${encoder.who} ${encoder.variant}`;
  const known = peers.get(key) ?? create(encoder);
  peers.set(key, known);
  return known;
}

function create({ who, variant }: Encoder): Promise<Peer> {
  if (who === "selvedge") return createSelvedge(variant);
  if (variant === "shipped") throw new Error(`${who} reads no bundles`);
  return who === "transformers.js" ? createTransformers(variant) : createWorkers(variant);
}

async function createSelvedge(variant: Encoder["variant"]): Promise<Peer> {
  const engine = await createEngine({ backends: ["wasm"] });
  const model: Model = await (variant === "shipped" ? engine.load(BUNDLE) : engine.load(FOLDER, { variant }));
  const embed: Embed = (texts) => model.embed(texts, { normalize: true });
  return { embed, variant: model.variant, batches: [0] };
}

async function createTransformers(variant: "fp32" | "q8"): Promise<Peer> {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = "/corpus/texts/";
  env.useBrowserCache = false;
  const { wasm } = env.backends.onnx;
  if (wasm === undefined) throw new Error("transformers.js has no wasm here");
  wasm.numThreads = 1;
  wasm.wasmPaths = "/transformers-ort/";
  const extract = await pipeline("feature-extraction", "minilm", { dtype: variant, device: "wasm" });
  const embed: Embed = async (texts, batch) => {
    const vectors: Float32Array[] = [];
    for (let at = 0; at < texts.length; at += batch) {
      const joined = await extract(texts.slice(at, at + batch), { pooling: "mean", normalize: true });
      const [rows = 0, width = 0] = joined.dims;
      const data = joined.data as Float32Array;
      for (let row = 0; row < rows; row += 1) vectors.push(data.slice(row * width, (row + 1) * width));
    }
    return vectors;
  };
  return { embed, variant, batches: BATCHES };
}

/** Two workers; each takes the next batch of the longest texts when it is free. */
async function createWorkers(variant: "fp32" | "q8"): Promise<Peer> {
  const ask = (worker: Worker, message: TextsAsk): Promise<readonly Float32Array[]> =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<readonly Float32Array[]>) => {
        resolve(data);
      };
      worker.onerror = (event) => {
        reject(new Error(event.message));
      };
      worker.postMessage(message);
    });
  const workers = [0, 1].map(() => new Worker(new URL("./texts-worker.ts", import.meta.url), { type: "module" }));
  await Promise.all(workers.map((worker) => ask(worker, { folder: FOLDER, graph: GRAPHS[variant] })));
  const embed: Embed = async (texts, batch) => {
    const order = texts.map((_, i) => i).sort((a, b) => (texts[b] ?? "").length - (texts[a] ?? "").length);
    const vectors: Float32Array[] = [];
    let next = 0;
    const work = async (worker: Worker): Promise<void> => {
      for (let rows; (rows = order.slice(next, next + batch)).length > 0;) {
        next += batch;
        const found = await ask(worker, { texts: rows.map((i) => texts[i] ?? "") });
        for (const [at, i] of rows.entries()) vectors[i] = found[at] ?? new Float32Array();
      }
    };
    await Promise.all(workers.map(work));
    return vectors;
  };
  return { embed, variant, batches: BATCHES };
}

/** Chooses the batch size of a peer with its first measurement, and checks that its vectors are those of the others. */
async function bestBatch({ who, variant }: Encoder, peer: Peer, texts: readonly string[]): Promise<number> {
  const key = `${who} ${variant} ${texts.length}`;
  const known = bestBatches.get(key);
  if (known !== undefined) return known;
  await peer.embed(texts.slice(0, 8), peer.batches[0] ?? 1);
  let [best, leastMs] = [0, Infinity];
  for (const batch of peer.batches) {
    const ms = await timed(peer, texts, batch);
    if (ms < leastMs) [best, leastMs] = [batch, ms];
  }
  bestBatches.set(key, best);
  return best;
}

async function timed(peer: Peer, texts: readonly string[], batch: number): Promise<number> {
  const startMs = performance.now();
  const vectors = await peer.embed(texts, batch);
  const ms = performance.now() - startMs;
  for (const [i, text] of texts.entries()) {
    const own = vectors[i] ?? new Float32Array();
    const other = firstVectors.get(text) ?? own;
    firstVectors.set(text, other);
    const cosine = own.reduce((sum, x, at) => sum + x * (other[at] ?? 0), 0);
    if (!(cosine >= SAME)) throw new Error(`the vectors of "${text}" have a cosine of ${cosine}`);
  }
  return ms;
}

Object.assign(globalThis, { bench });
