// Metrics of a form against the float32 model, over the samples: higher is always better.
import { readFileSync } from "node:fs";
import { extname } from "node:path";
import type { DecodeSpec } from "../../core/decode-spec.ts";
import type { Tensor } from "../../core/tensor.ts";
import { importModule } from "./import-module.ts";
import { readNpy } from "./npy.ts";
import { meanTally, sumTally } from "./tally.ts";
import { agreementTally, bestClass, cosineTally, negativeKl } from "./use-metrics.ts";
import type { ModelUse } from "./use-metrics.ts";

/** Outputs of one run, by name, as numbers. */
export type Outputs = Readonly<Record<string, { readonly dims: readonly number[]; readonly data: ArrayLike<number> }>>;

/** One sample as a metric sees it. */
export interface MeasuredSample {
  readonly outputs: Outputs;
  /** The float32 model's outputs. */
  readonly reference: Outputs;
  readonly feed: Readonly<Record<string, Tensor>>;
  /** Expected result of this sample, where labels were given. */
  readonly label: readonly number[] | undefined;
}

/** Accumulates a score sample by sample. */
export interface Tally {
  add(sample: MeasuredSample): void;
  /** Scores the samples added so far, or those at the given positions, in which one may occur several times. */
  value(positions?: readonly number[]): number | Promise<number>;
  /** The score of each sample, where the metric is their mean. */
  readonly scores?: readonly number[];
}

/** Scores samples. */
export interface Metric {
  readonly name: string;
  /** Starts a score. */
  start(): Tally;
  /** Whether a score is good enough relative to the reference's own. */
  passes(score: number, reference: number): boolean;
  /** Describes the condition of `passes`. */
  readonly budget: string;
  /** Whether one sample may differ whatever the budget: fewer could not tell such a form from one within it. */
  readonly mayDifferOnce?: boolean;
  /** Whether a score is the mean of per-sample scores. Default false. */
  readonly isMean?: boolean;
}

/** Stands for "no error at all": JSON has no infinity. */
export const EXACT_DB = 200;
const SQNR_DB = 30;
/**
 * Share of answers that may differ from float32's by default. They differ both ways: a language model whose int8 form
 * picks another next token in 1.7 % of all places is right as often as float32.
 */
const AGREEMENT_DROP = "2%";
/** The same of whole numbers beside floats, or one sample's of at least so many. */
export const MAY_DIFFER = 0.02;
const ONE_OF = 10;
/** Divergence in nats that a form may have by default: a perplexity up to about 5 % higher. */
const KL_NATS = 0.05;

/**
 * Makes a metric by its name (with the step `ctc` of the first output, "exact" compares the text that it decodes to), or
 * from a module that exports `score(samples)`, which gets all samples at once. Without a name: top1 with labels, else the
 * metric of the model's use, else sqnr, as where `maxDrop` is in dB.
 * @throws TypeError where it is unknown, or `maxDrop` is in another unit.
 */
export async function makeMetric(
  name: string | undefined,
  options: { maxDrop?: string | undefined; hasLabels: boolean; decode?: DecodeSpec | undefined; use?: ModelUse | null },
): Promise<Metric> {
  const { use } = options;
  const byUse = use == null || /dB$/i.test(options.maxDrop ?? "") ? "sqnr" : use.metric;
  const chosen = name ?? (options.hasLabels ? "top1" : byUse);
  if (chosen === "sqnr") return sqnrMetric(options.maxDrop);
  if (chosen === "kl") return klMetric(options.maxDrop);
  const drop = share(options.maxDrop ?? (chosen === "agreement" ? AGREEMENT_DROP : "0.5%"), chosen);
  const budget = `at most ${(drop * 100).toFixed(2)} % below float32`;
  const points = (score: number, reference: number): boolean => score >= reference - drop - 1e-9;
  const relative = (score: number, reference: number): boolean =>
    score >= reference - Math.abs(reference) * drop - 1e-9;
  switch (chosen) {
    case "top1":
      return { name: "top1", start: () => meanTally(top1), passes: points, budget, isMean: true };
    case "agreement":
      return {
        ...{ name: "agreement", passes: points, isMean: true, mayDifferOnce: true },
        start: () => agreementTally(use?.isWhole),
        budget: `${budget}, or one sample`,
      };
    case "cosine":
      return { name: "cosine", start: () => cosineTally(use?.pooling), passes: points, budget };
    case "exact":
      return {
        name: "exact",
        start: () => meanTally((x) => exact(x, options.decode)),
        passes: points,
        budget,
        isMean: true,
      };
    case "perplexity":
      if (!options.hasLabels)
        throw new TypeError("metric: perplexity needs --labels, the correct class at each position of each sample");
      return { name: "negative-perplexity", start: negativePerplexity, passes: relative, budget };
    default:
      return { name: "module", start: await moduleTally(chosen), passes: relative, budget };
  }
}

/** Divergence of the logits; `maxDrop` is the most in nats. */
function klMetric(maxDrop: string | undefined): Metric {
  const most = maxDrop === undefined ? KL_NATS : share(maxDrop, "kl");
  const passes = (score: number): boolean => score >= -most - 1e-9;
  return { name: "negative-kl", start: negativeKl, passes, budget: `at most ${most} nats from float32` };
}

/** Signal-to-noise ratio; `maxDrop` is the minimum ratio, or the share of the signal's energy that may be error. */
function sqnrMetric(maxDrop: string | undefined): Metric {
  const least = leastRatio(maxDrop);
  const text = `at least ${Number(least.toFixed(1))} dB`;
  const told = maxDrop?.includes("%") === true ? `${text} (error below ${maxDrop} of the outputs' energy)` : text;
  return { name: "sqnr", start: sqnrTally, passes: (score) => score >= least, budget: told };
}

function leastRatio(maxDrop: string | undefined): number {
  if (maxDrop === undefined) return SQNR_DB;
  const decibels = /^(\d+(?:\.\d+)?) ?dB$/i.exec(maxDrop)?.[1];
  if (decibels !== undefined && Number(decibels) > 0) return Number(decibels);
  const energy = /^\d+(?:\.\d+)? ?%$/.test(maxDrop) ? share(maxDrop, "sqnr") : Number.NaN;
  if (energy > 0 && energy < 1) return -10 * Math.log10(energy);
  throw new TypeError(
    `maxDrop: for sqnr, expected a minimum ratio such as "30dB", or an allowed error energy such as "0.5%" (23 dB), got "${maxDrop}"`,
  );
}

async function moduleTally(path: string): Promise<() => Tally> {
  if (!/\.m?[jt]s$/.test(path))
    throw new TypeError(
      `metric: "${path}" is not one of sqnr, top1, exact, perplexity, agreement, kl, cosine, or the path of a module such as "./metric.js"`,
    );
  const { score } = await importModule(path, "metric");
  if (typeof score !== "function") throw new TypeError(`metric: ${path} exports no function "score"`);
  return () => {
    const all: MeasuredSample[] = [];
    return {
      add: (x) => void all.push(x),
      value: async (positions) => {
        const picked = positions === undefined ? all : positions.flatMap((i) => all[i] ?? []);
        const given: unknown = await (score as (samples: readonly MeasuredSample[]) => unknown)(picked);
        if (typeof given === "number" && !Number.isNaN(given)) return given;
        throw new TypeError(`metric: score of ${path} returned ${String(given)}, which is not a number`);
      },
    };
  };
}

/** Reads labels, one list per sample: .npy by its first axis, or a line of integers each. */
export function readLabels(path: string): number[][] {
  if (extname(path) === ".npy") {
    const { dims, data } = readNpy(new Uint8Array(readFileSync(path)), path);
    const length = dims.slice(1).reduce((a, b) => a * b, 1);
    const bad = Array.from(data, Number).find((x) => !Number.isInteger(x));
    if (bad !== undefined)
      throw new TypeError(
        `labels: ${path} holds ${bad}; a label is the number of a class, counted from 0: store whole numbers, one class for each sample`,
      );
    return Array.from({ length: dims[0] ?? 0 }, (_, i) => Array.from({ length }, (_, j) => data[i * length + j] ?? 0));
  }
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((x) => x.trim() !== "")
    .map((line) => {
      const values = line
        .trim()
        .split(/[\s,]+/)
        .map(Number);
      if (values.some((x) => !Number.isInteger(x))) throw new TypeError(`labels: "${line}" is not a list of integers`);
      return values;
    });
}

/** Returns the signal-to-noise ratio over all outputs and samples, in dB, as `sqnrTally` does. */
export function sqnr(samples: readonly Pick<MeasuredSample, "outputs" | "reference">[]): number {
  const tally = sqnrTally();
  for (const { outputs, reference } of samples) tally.add({ outputs, reference });
  return tally.value();
}

/**
 * Starts a signal-to-noise ratio: that of the worst output. Outputs of whole numbers, as classes and masks, have no
 * noise but values that differ: beside others they count only where more of them differ than `agreement` allows.
 */
export function sqnrTally(): ReturnType<typeof sumTally<Pick<MeasuredSample, "outputs" | "reference">>> {
  return sumTally(
    ({ outputs, reference }) =>
      Object.entries(reference).flatMap(([name, was]) => {
        const now = outputs[name];
        return now?.data.length === was.data.length && now.dims.join() === was.dims.join()
          ? [...errorOf(was.data, now.data), ...differencesOf(was.data, now.data), 1]
          : [0, Number.NaN, Infinity, was.data.length, 0, 1];
      }),
    (sums) => {
      const all = Array.from({ length: sums.length / 6 }, (_, i) => {
        const [signal = 0, noise = 0, differing = 0, count = 0, fractions = 0, n = 1] = sums.subarray(6 * i);
        const most = Math.max(MAY_DIFFER, n < ONE_OF ? 0 : 1 / n) * count;
        return { ratio: ratioOf(signal, noise), isWhole: fractions === 0, isAlike: differing <= most };
      });
      const others = all.filter((x) => !x.isWhole);
      const isOthersAlone = others.length > 0 && all.every((x) => !x.isWhole || x.isAlike);
      const ratios = (isOthersAlone ? others : all).map((x) => x.ratio);
      return ratios.length === 0 ? -EXACT_DB : Math.min(...ratios);
    },
  );
}

function ratioOf(signal: number, noise: number): number {
  if (noise === 0) return EXACT_DB;
  const ratio = 10 * Math.log10(signal / noise);
  return Number.isNaN(ratio) ? -EXACT_DB : Math.max(-EXACT_DB, Math.min(EXACT_DB, ratio));
}

/** Counts the values that differ, all values, and those that are no whole numbers. */
function differencesOf(
  was: ArrayLike<number>,
  now: ArrayLike<number>,
): [differing: number, count: number, fractions: number] {
  let [differing, fractions] = [0, 0];
  for (let i = 0; i < was.length; i++) {
    if (was[i] !== now[i]) differing++;
    if (!Number.isInteger(was[i])) fractions++;
  }
  return [differing, was.length, fractions];
}

/** Magnitude of a mask, whose energy would hide every other value. */
const MASK = 1e30;
/** Relative difference up to which two masks are equal: that of their rounding. */
const MASK_ROUNDING = 1e-5;

/** Returns the energy of the values and of their error. Masks and values that are not finite count in neither. */
function errorOf(was: ArrayLike<number>, now: ArrayLike<number>): [signal: number, noise: number] {
  let [signal, noise] = [0, 0];
  for (let i = 0; i < was.length; i++) {
    const a = was[i] ?? 0;
    const b = now[i] ?? 0;
    if (Math.abs(a) < MASK) {
      signal += a * a;
      noise += (a - b) ** 2;
    } else if (!isSameMask(a, b)) {
      noise = Infinity;
    }
  }
  return [signal, noise];
}

/** Whether a mask, or a value that is not finite, is the same in a form. */
function isSameMask(a: number, b: number): boolean {
  return Object.is(a, b) || (Math.abs(a) < Infinity && Math.abs(a - b) <= Math.abs(a) * MASK_ROUNDING);
}

/** Makes a metric that is the mean of a per-sample score; it may lose `drop`. */
export function meanMetric(name: string, drop: number, score: (sample: MeasuredSample) => number): Metric {
  return {
    name,
    start: () => meanTally(score),
    passes: (now, reference) => now >= reference - drop - 1e-9,
    budget: `at most ${(drop * 100).toFixed(2)} points below float32`,
    isMean: true,
  };
}

function top1({ outputs, reference, label }: MeasuredSample): number {
  const now = winners(outputs);
  const right = label ?? winners(reference);
  return mean(now.map((x, i) => (x === right[i % right.length] ? 1 : 0)));
}

function exact({ outputs, reference, label }: MeasuredSample, decode: DecodeSpec | undefined): number {
  const blank = decode?.op === "ctc" ? (decode.blank ?? 0) : undefined;
  // The decoded text is the same where only repeats and blanks differ.
  const read = (x: Outputs): number[] =>
    blank === undefined ? winners(x) : winners(x).filter((y, i, all) => y !== blank && y !== all[i - 1]);
  const [now, right] = [read(outputs), label ?? read(reference)];
  return right.length === now.length && right.every((x, i) => x === now[i]) ? 1 : 0;
}

function negativePerplexity(): Tally {
  return sumTally(
    ({ outputs, label = [] }: MeasuredSample) => {
      let sum = 0;
      const { dims, data } = first(outputs);
      const classes = dims.at(-1) ?? 1;
      for (const [i, right] of label.entries()) {
        if (!(right >= 0 && right < classes) || (i + 1) * classes > data.length)
          throw new TypeError(`labels: position ${i} is class ${right}, but the output has dims [${dims.join(", ")}]`);
        let peak = -Infinity;
        for (let c = 0; c < classes; c++) peak = Math.max(peak, data[i * classes + c] ?? 0);
        let total = 0;
        for (let c = 0; c < classes; c++) total += Math.exp((data[i * classes + c] ?? 0) - peak);
        sum += peak + Math.log(total) - (data[i * classes + right] ?? 0);
      }
      return [sum, label.length];
    },
    ([sum = 0, count = 0]) => -Math.exp(sum / count),
  );
}

/** @internal Returns the argmax along the last axis of the first output; -1 where a value is NaN. */
export function winners(outputs: Outputs): number[] {
  const { dims, data } = first(outputs);
  const classes = dims.at(-1) ?? 1;
  return Array.from({ length: data.length / classes }, (_, row) => bestClass(data, row, classes));
}

function first(outputs: Outputs): Outputs[string] {
  const [output] = Object.values(outputs);
  if (output === undefined) throw new TypeError("the model has no output");
  return output;
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function share(text: string, metric: string): number {
  const value = /^(\d+(?:\.\d+)?) ?(%?)$/.exec(text);
  if (value === null) throw new TypeError(`maxDrop: for ${metric}, expected a share such as "0.5%", got "${text}"`);
  return Number(value[1]) / (value[2] === "%" ? 100 : 1);
}
