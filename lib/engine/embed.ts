// Vectors of many texts: sorted by length, so that a batch is padded little, and run on all lanes at once. Padding is
// harmless where the attention mask excludes it, which the bundle's pooling does. A variant that mixes rows runs each
// alone: all-MiniLM-L6-v2 in dynamic int8 has a cosine of 0.97 to its own answer in a batch with a long text. Imported with the first call.
import type { BundleInput } from "../core/bundle.ts";
import type { Inputs } from "./inputs.ts";
import type { RunOptions } from "./options.ts";
import type { RunResult } from "./result.ts";

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
  { dims, deadlineMs, ...options }: RunOptions & { readonly dims?: number | undefined },
): Promise<Float32Array[]> {
  const input = model.inputs.find((x) => x.text !== undefined)?.name;
  if (input === undefined) throw new TypeError(`embed: ${model.name} takes no texts: its tokenizer.json is missing`);
  const wrong = Array.isArray(texts) ? texts.findIndex((x) => typeof x !== "string") : 0;
  if (wrong !== -1) throw new TypeError(`embed: expected an array of texts; number ${wrong} is none`);
  if (dims !== undefined && !(Number.isInteger(dims) && dims >= 1))
    throw new RangeError(`dims: expected a whole number from 1, got ${String(dims)}`);
  const vectors: Float32Array[] = [];
  const waiting = batchesOf(texts, mayBatch ? ROWS_MAX : 1).values();
  const stop = new AbortController();
  const beganMs = now();
  const worker = async (): Promise<void> => {
    for (const rows of waiting) {
      stop.signal.throwIfAborted();
      // The deadline is that of the call, not of each run.
      const leftMs = deadlineMs === undefined ? undefined : Math.max(1, Math.round(deadlineMs - (now() - beganMs)));
      const ran = await model.run({ [input]: rows.map((i) => texts[i] ?? "") }, { ...options, deadlineMs: leftMs });
      const found = vectorsOf(ran, model.name);
      for (const [at, i] of rows.entries()) vectors[i] = shortened(found[at] ?? new Float32Array(), dims);
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
