// Peer of the benchmark of texts: tokenizer, ONNX Runtime Web and mean pooling in a hand-written worker.
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-web/wasm";

/** Request of the page: load a repository's graph, or compute the vectors of texts. */
export type TextsAsk = { readonly folder: string; readonly graph: string } | { readonly texts: readonly string[] };

/** Tokens of a text that sentence-transformers reads of this model. */
const TOKENS_MAX = 256;
const WIDTH = 384;

let tokenizer: Tokenizer | null = null;
let session: ort.InferenceSession | null = null;

self.onmessage = async ({ data }: MessageEvent<TextsAsk>) => {
  if ("folder" in data) {
    const json = async (name: string): Promise<object> => (await fetch(data.folder + name)).json() as Promise<object>;
    tokenizer = new Tokenizer(await json("tokenizer.json"), await json("tokenizer_config.json"));
    ort.env.wasm.wasmPaths = { wasm: "/onnxruntime-web/ort-wasm-simd-threaded.wasm" };
    ort.env.wasm.numThreads = 1;
    const bytes = await (await fetch(data.folder + data.graph)).arrayBuffer();
    session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 4 });
    self.postMessage(null);
    return;
  }
  const vectors = await embed(data.texts);
  self.postMessage(vectors, { transfer: vectors.map((x) => x.buffer) });
};

async function embed(texts: readonly string[]): Promise<Float32Array<ArrayBuffer>[]> {
  if (tokenizer === null || session === null) throw new Error("there is no model");
  const rows: number[][] = [];
  for (const text of texts) {
    const { ids } = tokenizer.encode(text);
    rows.push(ids.length > TOKENS_MAX ? [...ids.slice(0, TOKENS_MAX - 1), ...ids.slice(-1)] : ids);
  }
  const length = Math.max(...rows.map((x) => x.length));
  const ids = new BigInt64Array(rows.length * length);
  const mask = new BigInt64Array(rows.length * length);
  for (const [row, tokens] of rows.entries())
    for (const [at, id] of tokens.entries()) {
      ids[row * length + at] = BigInt(id);
      mask[row * length + at] = 1n;
    }
  const dims = [rows.length, length];
  const { last_hidden_state: hidden } = await session.run({
    input_ids: new ort.Tensor("int64", ids, dims),
    attention_mask: new ort.Tensor("int64", mask, dims),
    token_type_ids: new ort.Tensor("int64", new BigInt64Array(ids.length), dims),
  });
  const values = hidden?.data as Float32Array;
  const vectors = rows.map((tokens, row) => {
    const vector = new Float32Array(WIDTH);
    for (let at = row * length; at < row * length + tokens.length; at += 1)
      for (let i = 0; i < WIDTH; i += 1) vector[i] = (vector[i] ?? 0) + (values[at * WIDTH + i] ?? 0);
    const norm = Math.hypot(...vector);
    return vector.map((x) => x / norm);
  });
  hidden?.dispose();
  return vectors;
}
