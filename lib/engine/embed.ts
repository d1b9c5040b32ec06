// Vectors of many texts: sorted by length, so that a batch is padded little, and run on all lanes at once. Without an
// attention mask, each text runs alone, since a mean would include the padding. A variant that mixes rows runs each
// alone: all-MiniLM-L6-v2 in dynamic int8 has a cosine of 0.97 to its own answer in a batch with a long text. The vectors
// of a call are of one variant: those of two don't compare. Imported with the first call.
import type { BundleInput, TextSpec } from "../core/bundle.ts";
import { WITHOUT_PROMPT } from "../core/bundle.ts";
import type { BackendName, Placement } from "../core/device.ts";
import { codeOf, SelvedgeError } from "../core/errors.ts";
import { halfToNumber } from "../core/half.ts";
import type { Tensor } from "../core/tensor.ts";
import { CHARACTERS_MAX, CHARACTERS_ON_WASM, isPaddingHarmless, runByLength } from "../core/length-batches.ts";
import { whyNoTexts } from "../core/why-no-texts.ts";
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
  /**
   * How the vectors of a text's tokens become one, for a model that does not declare it: their mean, the first, or the
   * last. Each text is then a run of its own. Default: as the model declares.
   */
  readonly pooling?: "mean" | "cls" | "last" | undefined;
  /** Whether vectors are scaled to length 1. Default: as the model declares. */
  readonly normalize?: boolean | undefined;
}

/** Type of the numbers in vectors. */
export type Precision = "float32" | "int8" | "binary";

/** Vectors by their precision. */
export interface Vectors {
  /** The numbers as computed. */
  readonly float32: Float32Array;
  /** Numbers from -127 to 127, scaled by the largest. */
  readonly int8: Int8Array;
  /** A bit for each number, eight to a byte. */
  readonly binary: Uint8Array;
}

/** The part of an answer that `embed` uses. */
type EmbedRun = Pick<RunResult, "outputs" | "decoded"> & { readonly info: Pick<RunResult["info"], "variant"> };

/** The part of a model that `embed` uses. */
export interface EmbedModel {
  readonly name: string;
  readonly inputs: readonly BundleInput[];
  readonly backend: BackendName;
  run(inputs: Inputs, options: RunOptions): Promise<EmbedRun>;
}

/** How texts are run. */
export interface EmbedHow {
  readonly inFlight: number;
  readonly mayBatch: boolean;
  readonly now: () => number;
}

/**
 * Computes the vector of each text, in their order.
 * @param how - number of runs at once, whether a run may have several texts, and the clock in ms
 * @throws TypeError for a model that takes no texts, one that declares no pooling without `pooling`, and one that does
 * with it; RangeError for `dims`
 */
export async function embedTexts(
  model: EmbedModel,
  { inFlight, mayBatch, now }: EmbedHow,
  texts: readonly string[],
  { dims, prompt, precision = "float32", pooling, normalize, ...options }: EmbedOptions,
): Promise<Vectors[Precision][]> {
  const port = model.inputs.find((x) => x.text !== undefined);
  const { name: input, text } = port ?? {};
  if (port === undefined || input === undefined || text === undefined)
    throw new TypeError(`embed: ${model.name} takes no texts: ${whyNoTexts(model.inputs)}`);
  const wrong = Array.isArray(texts) ? texts.findIndex((x) => typeof x !== "string") : 0;
  if (wrong !== -1) throw new TypeError(`embed: expected an array of texts; number ${wrong} is none`);
  if (dims !== undefined && !(Number.isInteger(dims) && dims >= 1))
    throw new RangeError(`dims: expected a whole number from 1, got ${String(dims)}`);
  const convert = CONVERSIONS[precision] as ((vector: Float32Array) => Vectors[Precision]) | undefined;
  if (convert === undefined)
    throw new TypeError(`precision: expected ${Object.keys(CONVERSIONS).join(", ")}, got ${precision}`);
  if (pooling !== undefined && !POOLINGS.includes(pooling))
    throw new TypeError(`pooling: expected ${POOLINGS.join(", ")}, got ${pooling}`);
  const read = (ran: EmbedRun): readonly Float32Array[] =>
    pooling === undefined ? vectorsOf(ran, model.name, text) : pooled(ran, pooling, model);
  const before = promptOf(prompt, text, model.name);
  if (before !== "" && text.unsupported === WITHOUT_PROMPT)
    throw new TypeError(
      `prompt: ${model.name} leaves the prompt out of its pooling (${WITHOUT_PROMPT}), which is not supported: embed without one, by { text: "" }`,
    );
  const rows = texts.map((x) => before + x);
  const runs = {
    isShared: mayBatch && pooling === undefined && isPaddingHarmless(port),
    charactersMax: charactersMax(model, rows, inFlight, options),
    ...{ inFlight, now, signal: options.signal },
  };
  const startMs = now();
  /** Where two variants answered, as where a server helps out, or a GPU is lost. */
  let mixed: SelvedgeError | null = null;
  /** Runs all texts, with a placement of their own where one is given. */
  const runAll = async (own?: Placement): Promise<Vectors[Precision][]> => {
    const vectors: Vectors[Precision][] = [];
    let variant: string | null = null;
    const { deadlineMs: given } = options;
    // A wrong deadline is left for the run to refuse.
    const deadlineMs = own === undefined || given === undefined ? given : Math.max(1, given - (now() - startMs));
    await runByLength(rows, { ...runs, deadlineMs }, async (batch, limits) => {
      const placement = own ?? options.placement;
      const asked = { ...options, ...limits, ...(placement && { placement }) };
      const ran = await model.run({ [input]: batch.map((i) => rows[i] ?? "") }, asked);
      variant ??= ran.info.variant;
      if (ran.info.variant !== variant) {
        const text = `embed: two variants of ${model.name} answered, "${variant}" and "${ran.info.variant}", whose vectors don't compare: name one as \`variant\` of the load.`;
        throw (mixed ??= new SelvedgeError("wrong-result", text, { variants: [variant, ran.info.variant] }));
      }
      const found = read(ran);
      for (const [at, i] of batch.entries()) {
        const whole = found[at];
        if (whole === undefined)
          throw new SelvedgeError(
            "wrong-result",
            `embed: ${model.name} answered ${batch.length} texts with ${found.length} vectors. Its first axis is not one row a text: export it with a dynamic batch axis.`,
          );
        const vector = shortened(whole, dims);
        // Neither bytes nor bits can say it; float32 vectors hold it.
        if (precision !== "float32" && vector.some(Number.isNaN))
          throw new SelvedgeError(
            "wrong-result",
            `embed: a vector of ${model.name} holds NaN: the model overflowed. Load another variant, as one in float32.`,
            { reason: "nan" },
          );
        vectors[i] = convert(normalize === true ? scaled(vector) : vector);
      }
    });
    return vectors;
  };
  return runAll().catch(async (error: unknown) => {
    if (error !== mixed) throw error;
    // Once more on one side: this device, or the servers where it can't.
    const { placement = "auto" } = options;
    if (placement !== "auto") return runAll(placement);
    return runAll("local").catch((again: unknown) => {
      if (options.signal?.aborted === true || codeOf(again) === "deadline-exceeded") throw again;
      return runAll("remote").catch(() => {
        throw again;
      });
    });
  });
}

/** Returns the bound on the characters of a batch: elsewhere than on wasm large ones, so that each lane has one. */
function charactersMax(
  { backend }: EmbedModel,
  rows: readonly string[],
  inFlight: number,
  { placement }: RunOptions,
): number {
  if (backend === "wasm" && placement !== "remote") return CHARACTERS_ON_WASM;
  const all = rows.reduce((sum, x) => sum + x.length, 0);
  // Two for each lane are under way.
  const lanes = inFlight / 2;
  return lanes <= 1 ? CHARACTERS_MAX : Math.min(CHARACTERS_MAX, Math.max(CHARACTERS_ON_WASM, all / lanes));
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

const POOLINGS = ["mean", "cls", "last"];
/** Names of outputs that hold a vector per text. Another output of two axes may be logits, or a head's input. */
const EMBEDDINGS = /^(?:(?:l2norm_)?(?:sentence|text)_emb(?:ed(?:ding)?s?)?|embeddings?|dense_vecs)$/;
/** Names of outputs that hold a vector per token. */
const TOKENS = ["last_hidden_state", "token_embeddings", "hidden_states"];

/** Returns one vector per row: pooled by the bundle's step, or by the graph itself. */
function vectorsOf({ decoded, outputs }: EmbedRun, name: string, { unsupported }: TextSpec): readonly Float32Array[] {
  for (const rows of Object.values(decoded)) {
    const vectors = rows.flatMap((x) => (x.kind === "vector" ? [x.vector] : []));
    if (vectors.length > 0) return vectors;
  }
  for (const [output, tensor] of Object.entries(outputs)) {
    const [rows = 0, width = 0] = tensor.dims;
    const data = tensor.dims.length === 2 && EMBEDDINGS.test(output) ? numbersOf(tensor) : null;
    if (data !== null) return Array.from({ length: rows }, (_, i) => data.slice(i * width, (i + 1) * width));
  }
  if (unsupported !== undefined)
    throw new TypeError(
      `embed: ${name} makes its vectors by "${unsupported}", which is not supported: run it with model.run, and compute that part from its outputs`,
    );
  throw new TypeError(
    `embed: ${name} declares no pooling of its tokens' vectors: pass \`pooling\` and \`normalize\` as its model card says, as embed(texts, { pooling: "mean", normalize: true })`,
  );
}

/** Returns the numbers of an output; null for one of whole numbers or texts. */
function numbersOf({ dtype, data }: Tensor): Float32Array | null {
  return dtype === "float32" ? data : dtype === "float16" ? Float32Array.from(data, halfToNumber) : null;
}

/** Pools the tokens of one text, which has no padding. */
function pooled({ outputs }: EmbedRun, mode: string, { name, inputs }: EmbedModel): readonly Float32Array[] {
  const found = TOKENS.find((x) => outputs[x]?.dims.length === 3);
  const tensor = found === undefined ? undefined : outputs[found];
  const data = tensor === undefined ? null : numbersOf(tensor);
  if (tensor === undefined || data === null)
    throw new TypeError(
      `pooling: ${name} has no output of token vectors (${TOKENS.join(", ")}), only ${Object.keys(outputs).join(", ") || "decoded ones"}: leave \`pooling\` out`,
    );
  const axes = inputs.find((x) => x.text !== undefined);
  if (axes?.dims.some((x, axis) => axis !== axes.batchAxis && typeof x === "number") === true)
    throw new TypeError(`pooling: ${name} pads every text to one length: add the step "pool" to its bundle`);
  const [, tokens = 0, width = 0] = tensor.dims;
  const first = mode === "last" ? tokens - 1 : 0;
  const end = mode === "cls" ? 1 : tokens;
  const sums = new Float64Array(width);
  for (let token = first; token < end; token += 1)
    for (let i = 0; i < width; i += 1) sums[i] = (sums[i] ?? 0) + (data[token * width + i] ?? 0);
  return [Float32Array.from(sums, (x) => x / (end - first))];
}

/** Keeps the first numbers and scales them to length 1. */
function shortened(vector: Float32Array, dims: number | undefined): Float32Array {
  if (dims === undefined || dims >= vector.length) return vector;
  return scaled(vector.slice(0, dims));
}

/** Scales a vector to length 1; one of zeros stays. */
function scaled(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
  return length === 0 ? vector : vector.map((x) => x / length);
}
