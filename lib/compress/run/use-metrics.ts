// Metrics that fit a model's use, each against the float32 model: agreement of the best class for classifiers,
// Kullback-Leibler divergence for the logits of language models, cosine of pooled outputs for embeddings. The ratio of
// signal to error over raw hidden states refuses forms that lose nothing in such a use.
import { join } from "node:path";
import type { BundleOutput } from "../../core/bundle.ts";
import { poolingPath, readSentence } from "../../source/sentence.ts";
import type { PoolingMode } from "../../source/sentence.ts";
import type { MeasuredSample, Outputs, Tally } from "./metric.ts";
import { readBeside } from "./read-beside.ts";
import { meanTally, sumTally } from "./tally.ts";

/** The use of a model, as far as its files tell. */
export interface ModelUse {
  readonly metric: "cosine" | "kl" | "agreement";
  readonly pooling?: PoolingMode;
  /** Whether the outputs are classes already, or other whole numbers: they agree where they are equal. */
  readonly isWhole?: boolean;
}

/**
 * Finds out what a model is used for: embeddings, where the pooling file of sentence-transformers lies beside it or one
 * folder up; else by an output named "logits". Null where there is neither.
 */
export function useOf(path: string, outputs: readonly BundleOutput[]): ModelUse | null {
  const modules = readBeside(path, "modules.json");
  const pooling = readBeside(path, poolingPath(modules) ?? join("1_Pooling", "config.json"));
  const sentence = readSentence({ modules, pooling, length: null, prompts: null });
  if (sentence !== null) {
    const isMax = /^(pooling_mode_)?max/.test(sentence.unsupported ?? "");
    return { metric: "cosine", pooling: sentence.pooling ?? (isMax ? "max" : "mean") };
  }
  const logits = outputs.find((x) => /logits/i.test(x.name));
  if (logits === undefined) return useOfWhole(outputs);
  if (logits.dims.length === 3) return { metric: "kl" };
  return logits.dims.length === 2 ? { metric: "agreement" } : null;
}

/** Returns the use of a model that answers in whole numbers alone, as after ArgMax; null for another. */
export function useOfWhole(outputs: readonly BundleOutput[]): ModelUse | null {
  const isWhole = outputs.length > 0 && outputs.every(({ dtype }) => /^u?int|^bool/.test(dtype));
  return isWhole ? { metric: "agreement", isWhole } : null;
}

/** Starts the share of values that equal float32's, each output counting alike. */
function equalTally(): Tally {
  return meanTally(({ outputs, reference }) => {
    const shares = Object.entries(reference).map(([name, { data: was }]) => {
      const { data } = outputs[name] ?? { data: [] };
      if (data.length !== was.length) return 0;
      const same = Array.from(was).filter((x, i) => x === data[i]).length;
      return was.length === 0 ? 1 : same / was.length;
    });
    return shares.reduce((a, b) => a + b, 0) / Math.max(1, shares.length);
  });
}

/**
 * Starts the share of positions whose best class is float32's; positions of padding do not count. With `isWhole`, that
 * of equal values.
 */
export function agreementTally(isWhole = false): Tally {
  if (isWhole) return equalTally();
  return meanTally(({ outputs, reference, feed }) => {
    const [now, was] = [logitsOf(outputs), logitsOf(reference)];
    const classes = was.dims.at(-1) ?? 1;
    let [same, count] = [0, 0];
    for (const row of rowsOf(was, feed)) {
      count++;
      if (bestClass(now.data, row, classes) === bestClass(was.data, row, classes)) same++;
    }
    return count === 0 ? 1 : same / count;
  });
}

/** Starts the divergence from float32's distribution, in nats a position, negated so that more is better. */
export function negativeKl(): Tally {
  return sumTally(
    ({ outputs, reference, feed }: MeasuredSample) => {
      const [now, was] = [logitsOf(outputs), logitsOf(reference)];
      const classes = was.dims.at(-1) ?? 1;
      let [sum, count] = [0, 0];
      for (const row of rowsOf(was, feed)) {
        sum += divergence(was.data, now.data, row * classes, classes);
        count++;
      }
      return [sum, count];
    },
    ([sum = 0, count = 0]) => (count === 0 ? 0 : -sum / count),
  );
}

/** Starts the mean cosine between the pooled outputs and float32's. */
export function cosineTally(pooling: PoolingMode = "mean"): Tally {
  return meanTally(({ outputs, reference, feed }) => {
    const [now, was] = [pooled(outputs, feed, pooling), pooled(reference, feed, pooling)];
    let [product, a, b] = [0, 0, 0];
    for (const [i, x] of was.entries()) {
      const y = now[i] ?? 0;
      product += x * y;
      a += x * x;
      b += y * y;
    }
    const cosine = product / Math.sqrt(a * b);
    return a === 0 && b === 0 ? 1 : Number.isNaN(cosine) ? 0 : cosine;
  });
}

/** The logits among the outputs: that of this name, else the first. */
function logitsOf(outputs: Outputs): Outputs[string] {
  const found = Object.entries(outputs).find(([name]) => /logits/i.test(name))?.[1] ?? Object.values(outputs)[0];
  if (found === undefined) throw new TypeError("the model has no output");
  return found;
}

/** Lists the rows along the last axis that are no padding by the attention mask, where it has a value for each. */
function rowsOf({ dims }: Outputs[string], feed: MeasuredSample["feed"]): number[] {
  const rows = dims.slice(0, -1).reduce((a, b) => a * b, 1);
  const mask = maskOf(feed, rows);
  return Array.from({ length: rows }, (_, i) => i).filter((i) => mask === undefined || Number(mask[i]) !== 0);
}

function maskOf(feed: MeasuredSample["feed"], length: number): ArrayLike<unknown> | undefined {
  const data = Object.entries(feed).find(([name]) => /attention_mask/i.test(name))?.[1].data;
  return data?.length === length ? data : undefined;
}

/** Returns the class with the largest value in a row of logits; -1 where one is NaN: it is no answer. */
export function bestClass(data: ArrayLike<number>, row: number, classes: number): number {
  let [at, most] = [0, -Infinity];
  for (let c = 0; c < classes; c++) {
    const value = data[row * classes + c] ?? 0;
    if (Number.isNaN(value)) return -1;
    if (value > most) [at, most] = [c, value];
  }
  return at;
}

/** Kullback-Leibler divergence of softmax(b) from softmax(a), over `n` logits from `from`. */
function divergence(a: ArrayLike<number>, b: ArrayLike<number>, from: number, n: number): number {
  const [left, right] = [logSum(a, from, n), logSum(b, from, n)];
  let sum = 0;
  for (let i = from; i < from + n; i++) {
    const log = (a[i] ?? 0) - left;
    sum += Math.exp(log) * (log - ((b[i] ?? 0) - right));
  }
  return Math.max(0, sum);
}

function logSum(data: ArrayLike<number>, from: number, n: number): number {
  let peak = -Infinity;
  for (let i = from; i < from + n; i++) peak = Math.max(peak, data[i] ?? 0);
  let total = 0;
  for (let i = from; i < from + n; i++) total += Math.exp((data[i] ?? 0) - peak);
  return peak + Math.log(total);
}

/** Pools the outputs of the tokens, one vector a sequence; an output without a token axis stays as it is. */
function pooled(outputs: Outputs, feed: MeasuredSample["feed"], pooling: PoolingMode): number[] {
  const names = ["sentence_embedding", "last_hidden_state", "token_embeddings"];
  const name = names.find((x) => outputs[x] !== undefined) ?? Object.keys(outputs)[0] ?? "";
  const { dims, data } = outputs[name] ?? { dims: [], data: [] };
  if (dims.length !== 3) return Array.from(data);
  const [batch = 1, length = 0, width = 0] = dims;
  const mask = maskOf(feed, batch * length);
  const isToken = (row: number): boolean => mask === undefined || Number(mask[row]) !== 0;
  const vectors = Array.from({ length: batch }, (_, item) => {
    const rows = Array.from({ length }, (_, i) => item * length + i).filter(isToken);
    const used = pooling === "cls" ? [item * length] : pooling === "last" ? rows.slice(-1) : rows;
    const at = (row: number, c: number): number => data[row * width + c] ?? 0;
    const weightOf = (i: number): number => (pooling === "weighted-mean" ? i + 1 : 1);
    return Array.from({ length: width }, (_, c) =>
      pooling === "max"
        ? used.reduce((most, row) => Math.max(most, at(row, c)), -Infinity)
        : used.reduce((sum, row, i) => sum + weightOf(i) * at(row, c), 0) / Math.max(1, used.length),
    );
  });
  return vectors.flat();
}
