// Vectors of many texts: sorted by length, so that a batch is padded little, and run on all lanes at once. Padding is
// harmless where the attention mask excludes it, which the bundle's pooling does. A variant that mixes rows runs each
// alone: all-MiniLM-L6-v2 in dynamic int8 has a cosine of 0.97 to its own answer in a batch with a long text. Imported with the first call.
import type { BundleInput, TextSpec } from "../core/bundle.ts";
import type { Inputs } from "./inputs.ts";
import type { RunOptions } from "./options.ts";
import type { RunResult } from "./result.ts";

/** Options of `embed` beside those of a run. */
export interface EmbedOptions extends RunOptions {
  /** The first numbers that are kept, for a model trained for that (Matryoshka); scaled to length 1. Default: all. */
  readonly dims?: number | undefined;
  /**
   * Name of a prompt of the model, as `query`, or the text itself as `{ text }`; it is put before each text. Default: the
   * prompt that the model names for every text, or none.
   */
  readonly prompt?: string | { readonly text: string } | undefined;
  /**
   * Type of the vectors. `int8`: scaled so that the largest number is ±127, which keeps the direction (cosine) and not the
   * length. `binary`: the sign bits, eight numbers a byte, the first the highest bit; compared by Hamming distance.
   * Default `float32`.
   */
  readonly precision?: Precision | undefined;
}

/** Type of the numbers in vectors. */
export type Precision = "float32" | "int8" | "binary";

/** Vectors by their precision. */
export interface Vectors {
  readonly float32: Float32Array;
  readonly int8: Int8Array;
  readonly binary: Uint8Array;
}

/** The part of a model that `embed` uses. */
export interface EmbedModel {
  readonly name: string;
  readonly inputs: readonly BundleInput[];
  run(inputs: Inputs, options: RunOptions): Promise<Pick<RunResult, "outputs" | "decoded">>;
}

/** How texts are run. */
export interface EmbedHow {
  readonly inFlight: number;
  readonly mayBatch: boolean;
  readonly now: () => number;
}

/** Bounds on a batch: rows, and characters with the padding. */
const ROWS_MAX = 32;
const CHARACTERS_MAX = 16_384;

/**
 * Computes the vector of each text, in their order.
 * @param how - number of runs at once, whether a run may have several texts, and the clock in ms
 * @throws TypeError for a model that takes no texts or declares no pooling, RangeError for `dims`
 */
export async function embedTexts(
  model: EmbedModel,
  { inFlight, mayBatch, now }: EmbedHow,
  texts: readonly string[],
  { dims, prompt, precision = "float32", deadlineMs, ...options }: EmbedOptions,
): Promise<Vectors[Precision][]> {
  const { name: input, text } = model.inputs.find((x) => x.text !== undefined) ?? {};
  if (input === undefined || text === undefined)
    throw new TypeError(`embed: ${model.name} takes no texts: its tokenizer.json is missing`);
  const wrong = Array.isArray(texts) ? texts.findIndex((x) => typeof x !== "string") : 0;
  if (wrong !== -1) throw new TypeError(`embed: expected an array of texts; number ${wrong} is none`);
  if (dims !== undefined && !(Number.isInteger(dims) && dims >= 1))
    throw new RangeError(`dims: expected a whole number from 1, got ${String(dims)}`);
  const convert = CONVERSIONS[precision] as ((vector: Float32Array) => Vectors[Precision]) | undefined;
  if (convert === undefined)
    throw new TypeError(`precision: expected ${Object.keys(CONVERSIONS).join(", ")}, got ${precision}`);
  const before = promptOf(prompt, text, model.name);
  const vectors: Vectors[Precision][] = [];
  const waiting = batchesOf(texts, mayBatch ? ROWS_MAX : 1).values();
  const stop = new AbortController();
  const beganMs = now();
  const worker = async (): Promise<void> => {
    for (const rows of waiting) {
      stop.signal.throwIfAborted();
      // The deadline is that of the call, not of each run.
      const leftMs = deadlineMs === undefined ? undefined : Math.max(1, Math.round(deadlineMs - (now() - beganMs)));
      const inputs = { [input]: rows.map((i) => before + (texts[i] ?? "")) };
      const ran = await model.run(inputs, { ...options, deadlineMs: leftMs });
      const found = vectorsOf(ran, model.name);
      for (const [at, i] of rows.entries()) vectors[i] = convert(shortened(found[at] ?? new Float32Array(), dims));
    }
  };
  try {
    await Promise.all(Array.from({ length: inFlight }, worker));
  } catch (error) {
    stop.abort(error);
    throw error;
  }
  return vectors;
}

/** Returns the text that is put before each text. */
function promptOf(prompt: EmbedOptions["prompt"], { prompts = {}, prompt: usual }: TextSpec, name: string): string {
  if (typeof prompt === "object") return prompt.text;
  const word = prompt ?? usual;
  if (word === undefined) return "";
  const text = Object.hasOwn(prompts, word) ? prompts[word] : undefined;
  if (text !== undefined) return text;
  const known = Object.keys(prompts);
  throw new TypeError(
    `prompt: ${name} has no prompt "${word}", ${known.length === 0 ? "and no other" : `only ${known.join(", ")}`}; { text } gives one`,
  );
}

/** Conversions of a vector by precision. */
const CONVERSIONS: { readonly [P in Precision]: (vector: Float32Array) => Vectors[P] } = {
  float32: (vector) => vector,
  int8: (vector) => {
    const largest = vector.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    return Int8Array.from(vector, (x) => (largest === 0 ? 0 : Math.round((x * 127) / largest)));
  },
  binary: (vector) => {
    const bits = new Uint8Array(Math.ceil(vector.length / 8));
    for (const [i, x] of vector.entries()) if (x > 0) bits[i >> 3] = (bits[i >> 3] ?? 0) | (128 >> (i & 7));
    return bits;
  },
};

/** Returns the indices of the texts by batch of at most so many rows, the longest texts first. */
export function batchesOf(texts: readonly string[], rowsMax: number = ROWS_MAX): number[][] {
  const lengthOf = (i: number): number => (texts[i] ?? "").length;
  const order = texts.map((_, i) => i).sort((a, b) => lengthOf(b) - lengthOf(a));
  const batches: number[][] = [];
  for (const i of order) {
    const last = batches.at(-1);
    const [longest] = last ?? [];
    // The first of a batch is its longest, to which the others are padded.
    const isFull =
      last === undefined || last.length >= rowsMax || (last.length + 1) * lengthOf(longest ?? i) > CHARACTERS_MAX;
    if (isFull) batches.push([i]);
    else last.push(i);
  }
  return batches;
}

/** Returns one vector per row: pooled by the bundle's step, or by the graph itself. */
function vectorsOf(
  { decoded, outputs }: Pick<RunResult, "outputs" | "decoded">,
  name: string,
): readonly Float32Array[] {
  for (const rows of Object.values(decoded)) {
    const vectors = rows.flatMap((x) => (x.kind === "vector" ? [x.vector] : []));
    if (vectors.length > 0) return vectors;
  }
  for (const { dtype, dims, data } of Object.values(outputs)) {
    const [rows = 0, width = 0] = dims;
    if (dtype === "float32" && dims.length === 2)
      return Array.from({ length: rows }, (_, i) => data.slice(i * width, (i + 1) * width));
  }
  throw new TypeError(
    `embed: ${name} declares no pooling of its tokens' vectors: add the step "pool" to its bundle, or 1_Pooling/config.json to its repository`,
  );
}

/** Keeps the first numbers and scales them to length 1. */
function shortened(vector: Float32Array, dims: number | undefined): Float32Array {
  if (dims === undefined || dims >= vector.length) return vector;
  const first = vector.slice(0, dims);
  const length = Math.hypot(...first);
  return length === 0 ? first : first.map((x) => x / length);
}
