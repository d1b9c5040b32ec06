// `selvedge/ai-sdk`: models of an engine as embedding and reranking models of the AI SDK (`ai` 7, specification v4), for
// `embed`, `embedMany` and `rerank`. Imports nothing of the AI SDK, which the app loads: the types here are the part of its
// specification that is used; the code of docs/ai-sdk.md is compiled against its own. All texts of a call go to the engine at once, which sorts, batches and runs them on all lanes, so a call has no bound
// on their number, and calls may be parallel.
import type { Model, Port, RunOptions, RunResult } from "selvedge";
import { CHARACTERS_ON_WASM, isPaddingHarmless, runByLength } from "../core/length-batches.ts";
import { whyNoTexts } from "../core/why-no-texts.ts";

/** Options of an AI SDK model; a call overrides them by `providerOptions: { selvedge: { … } }`. */
export interface AiSdkOptions {
  /** Name in the AI SDK's logs and telemetry. Default: the model's own, `"model"` for one that is still being loaded. */
  readonly modelId?: string | undefined;
  /** Deadline of a call in ms, after which it rejects with `deadline-exceeded`. Default: none. */
  readonly deadlineMs?: number | undefined;
  /** Priority of the call's requests. Default `"normal"`. */
  readonly priority?: RunOptions["priority"];
}

/** Options of `embeddingModel`. */
export interface EmbeddingOptions extends AiSdkOptions {
  /** Numbers to keep of each vector, for a model trained for that. Default: all. */
  readonly dims?: number | undefined;
}

/** A loaded model, or the promise of one. */
export type ModelLike = Model | PromiseLike<Model>;

/** The part of a call that both kinds of models read. */
export interface AiSdkCall {
  /** Aborts the call, which rejects with the signal's reason. */
  readonly abortSignal?: AbortSignal | undefined;
  /** Options of the call by provider; those of `selvedge` are read. */
  readonly providerOptions?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
}

/** An `EmbeddingModelV4` of the AI SDK. */
export interface AiSdkEmbeddingModel {
  /** Version of the AI SDK's interface. */
  readonly specificationVersion: "v4";
  /** `selvedge`. */
  readonly provider: string;
  /** Name of the model, or the option `modelId`. */
  readonly modelId: string;
  /** Infinity: the engine batches. */
  readonly maxEmbeddingsPerCall: number;
  /** True. */
  readonly supportsParallelCalls: boolean;
  /** Computes the vector of each value, in their order; called by the AI SDK. */
  doEmbed(
    call: AiSdkCall & { readonly values: readonly string[] },
  ): Promise<{ embeddings: number[][]; warnings: never[] }>;
}

/** A `RerankingModelV4` of the AI SDK. */
export interface AiSdkRerankingModel {
  /** Version of the AI SDK's interface. */
  readonly specificationVersion: "v4";
  /** `selvedge`. */
  readonly provider: string;
  /** Name of the model, or the option `modelId`. */
  readonly modelId: string;
  /** Sorts documents by their score for a query; called by the AI SDK. */
  doRerank(call: AiSdkRerankCall): Promise<{ ranking: { index: number; relevanceScore: number }[]; warnings: never[] }>;
}

/** A call of `doRerank`. */
export interface AiSdkRerankCall extends AiSdkCall {
  /** Texts, or objects, which are ranked as their JSON. */
  readonly documents: { readonly values: readonly (string | object)[] };
  /** The text that documents are compared with. */
  readonly query: string;
  /** Number of documents to return. Default: all. */
  readonly topN?: number | undefined;
}

const PROVIDER = "selvedge";
/** Runs of one call at once: more of them would fill the queue. */
const IN_FLIGHT = 16;
/** Options that a call may override. */
const PER_CALL = ["deadlineMs", "priority", "dims"] as const;

/**
 * Makes an embedding model of the AI SDK of a model that declares tokenizer and pooling, as a repository of
 * sentence-transformers does. A call rejects as `model.embed` does, with the signal's reason where it is aborted.
 * @example
 * const model = embeddingModel(await engine.load({ repo: "sentence-transformers/all-MiniLM-L6-v2" }));
 * const { embeddings } = await embedMany({ model, values: ["a cat", "a dog"] });
 */
export function embeddingModel(model: ModelLike, options: EmbeddingOptions = {}): AiSdkEmbeddingModel {
  return {
    specificationVersion: "v4",
    provider: PROVIDER,
    modelId: idOf(model, options),
    maxEmbeddingsPerCall: Infinity,
    supportsParallelCalls: true,
    async doEmbed({ values, abortSignal, providerOptions }) {
      const asked = { ...options, ...perCall(providerOptions) };
      const { dims } = asked;
      const loaded = await loadedIn(model, abortSignal);
      const vectors = await loaded.embed(values, { ...runOptions(asked), signal: abortSignal, dims });
      return { embeddings: vectors.map((x) => Array.from(x)), warnings: [] };
    },
  };
}

/**
 * Makes a reranking model of the AI SDK of a cross-encoder: a text classifier of pairs with one score, or two classes of
 * which the second counts. Scores are 0 to 1. Documents that are objects are read as JSON.
 * A call rejects as `model.run` does; TypeError for a model that takes no texts, or whose output is no score.
 * @example
 * const model = rerankingModel(await engine.load({ repo: "cross-encoder/ms-marco-MiniLM-L6-v2" }));
 * const { ranking } = await rerank({ model, query: "rain", documents: ["sunny", "a wet day"], topN: 1 });
 */
export function rerankingModel(model: ModelLike, options: AiSdkOptions = {}): AiSdkRerankingModel {
  return {
    specificationVersion: "v4",
    provider: PROVIDER,
    modelId: idOf(model, options),
    async doRerank({ documents, query, topN, abortSignal, providerOptions }) {
      const asked = { ...options, ...perCall(providerOptions) };
      const loaded = await loadedIn(model, abortSignal);
      const texts = documents.values.map((x) => (typeof x === "string" ? x : JSON.stringify(x)));
      const scores = await scoresOf(loaded, query, texts, { ...runOptions(asked), signal: abortSignal });
      const ranking = scores.map((relevanceScore, index) => ({ index, relevanceScore }));
      const rank = ({ relevanceScore: x }: { readonly relevanceScore: number }): number => (Number.isNaN(x) ? -1 : x);
      ranking.sort((a, b) => rank(b) - rank(a)); // NaN comes last
      return { ranking: ranking.slice(0, topN), warnings: [] };
    },
  };
}

function idOf(model: ModelLike, { modelId }: AiSdkOptions): string {
  return modelId ?? ("name" in model ? model.name : "model");
}

/** Waits for a model until the call is aborted. */
async function loadedIn(model: ModelLike, signal: AbortSignal | undefined): Promise<Model> {
  signal?.throwIfAborted();
  if ("name" in model || signal === undefined) return model;
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    const stop = (): void => {
      signal.removeEventListener("abort", abort);
    };
    model.then(resolve, reject).then(stop, stop);
  });
}

function runOptions({ deadlineMs, priority }: AiSdkOptions): RunOptions {
  return { deadlineMs, priority };
}

/**
 * Reads the options of a call; the engine checks their values.
 * @throws TypeError for an unknown one
 */
function perCall(given: AiSdkCall["providerOptions"]): EmbeddingOptions {
  const own = given?.[PROVIDER] ?? {};
  const other = Object.keys(own).find((x) => !PER_CALL.some((known) => known === x));
  if (other !== undefined)
    throw new TypeError(`providerOptions.selvedge: there is no "${other}", only ${PER_CALL.join(", ")}`);
  return own;
}

/**
 * Scores each document. Batches hold documents of similar length, one each where rows change each other's answers. The
 * first error cancels the rest.
 */
async function scoresOf(
  model: Model,
  query: string,
  documents: readonly string[],
  options: RunOptions,
): Promise<number[]> {
  const inputs: readonly (Port & { readonly text?: object })[] = model.inputs;
  const input = inputs.find((x) => x.text !== undefined);
  if (input === undefined) throw new TypeError(`rerank: ${model.name} takes no texts: ${whyNoTexts(inputs)}`);
  const { mayBatch }: Partial<Model> = model;
  const isShared = (mayBatch ?? true) && isPaddingHarmless(input);
  const charactersMax = model.backend === "wasm" ? CHARACTERS_ON_WASM : undefined;
  const how = { ...options, isShared, charactersMax, inFlight: IN_FLIGHT, now: () => performance.now() };
  const scores: number[] = [];
  const texts = documents.map((x) => query + x);
  await runByLength(texts, how, async (rows, limits) => {
    const pairs = rows.map((i) => ({ text: query, pair: documents[i] ?? "" }));
    const given = isShared ? pairs : (pairs[0] ?? "");
    const { outputs } = await model.run({ [input.name]: given }, { ...options, ...limits });
    for (const [at, x] of scoresIn(outputs, rows.length, model.name).entries()) scores[rows[at] ?? 0] = x;
  });
  return scores;
}

/** Returns the score of each row: of one logit its sigmoid, of two the share of the second. */
function scoresIn(outputs: RunResult["outputs"], rows: number, name: string): number[] {
  for (const { dtype, dims, data } of Object.values(outputs)) {
    const [count, width = 0] = dims;
    if (dtype !== "float32" || dims.length !== 2 || count !== rows || width > 2) continue;
    return Array.from({ length: rows }, (_, row) => {
      const [first = 0, second] = data.subarray(row * width, (row + 1) * width);
      return 1 / (1 + Math.exp(second === undefined ? -first : first - second));
    });
  }
  throw new TypeError(`rerank: ${name} has no output of one score or two classes for a pair: use a cross-encoder`);
}
