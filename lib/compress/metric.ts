// How good a form is beside the float32 model, over the samples: higher is better, always.
import { readFileSync } from "node:fs";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Tensor } from "../tensor.ts";
import { readNpy } from "./npy.ts";

/** Outputs of one run, by name, as numbers. */
export type Outputs = Readonly<Record<string, { readonly dims: readonly number[]; readonly data: ArrayLike<number> }>>;

/** What a metric sees of one sample. */
export interface Measured {
  readonly outputs: Outputs;
  /** The float32 model's outputs. */
  readonly reference: Outputs;
  readonly feed: Readonly<Record<string, Tensor>>;
  /** What is right for this sample, where labels were given. */
  readonly label: readonly number[] | undefined;
}

/** Scores all samples. */
export interface Metric {
  readonly name: string;
  score(samples: readonly Measured[]): number;
  /** Tells whether a score is good enough beside the reference's own. */
  passes(score: number, reference: number): boolean;
  /** Says what `passes` asks for. */
  readonly budget: string;
}

/** Stands for "no error at all", which JSON has no number for. */
export const EXACT_DB = 200;
const SQNR_DB = 30;

/**
 * Makes a metric by its name (with `isCtc`, "exact" compares what the first output reads), or from a module that exports `score(samples)`.
 * @throws TypeError where it is unknown, or `maxDrop` is in another unit.
 */
export async function makeMetric(
  name: string | undefined,
  options: { maxDrop?: string | undefined; hasLabels: boolean; isCtc?: boolean },
): Promise<Metric> {
  const chosen = name ?? (options.hasLabels ? "top1" : "sqnr");
  if (chosen === "sqnr") {
    const least =
      options.maxDrop === undefined
        ? SQNR_DB
        : Number(/^(\d+(?:\.\d+)?) ?dB$/i.exec(options.maxDrop)?.[1] ?? Number.NaN);
    if (!(least > 0)) throw new TypeError(`maxDrop: for sqnr it is the least ratio, as "30dB", not ${options.maxDrop}`);
    return { name: "sqnr", score: sqnr, passes: (score) => score >= least, budget: `at least ${least} dB` };
  }
  const drop = share(options.maxDrop ?? "0.5%");
  const budget = `at most ${(drop * 100).toFixed(2)} % below float32`;
  const points = (score: number, reference: number): boolean => score >= reference - drop - 1e-9;
  const relative = (score: number, reference: number): boolean =>
    score >= reference - Math.abs(reference) * drop - 1e-9;
  switch (chosen) {
    case "top1":
      return { name: "top1", score: (x) => mean(x.map(top1)), passes: points, budget };
    case "exact":
      return {
        name: "exact",
        score: (x) => mean(x.map((y) => exact(y, options.isCtc ?? false))),
        passes: points,
        budget,
      };
    case "perplexity":
      if (!options.hasLabels) throw new TypeError("metric: perplexity needs labels, the right class at each position");
      return { name: "negative-perplexity", score: negativePerplexity, passes: relative, budget };
    default: {
      if (!/\.m?[jt]s$/.test(chosen))
        throw new TypeError(`metric: "${chosen}" is none of sqnr, top1, exact, perplexity, or a module`);
      const module = (await import(pathToFileURL(resolve(chosen)).href)) as { score?: unknown };
      if (typeof module.score !== "function") throw new TypeError(`metric: ${chosen} exports no function "score"`);
      return { name: "module", score: module.score as Metric["score"], passes: relative, budget };
    }
  }
}

/** Reads labels, one list for each sample: .npy by its first axis, or a line of whole numbers each. */
export function readLabels(path: string): number[][] {
  if (extname(path) === ".npy") {
    const { dims, data } = readNpy(new Uint8Array(readFileSync(path)), path);
    const length = dims.slice(1).reduce((a, b) => a * b, 1);
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
      if (values.some((x) => !Number.isInteger(x)))
        throw new TypeError(`labels: "${line}" is no list of whole numbers`);
      return values;
    });
}

/** Gives the ratio of signal to error over all outputs and samples, in dB: the worst output's. */
export function sqnr(samples: readonly Pick<Measured, "outputs" | "reference">[]): number {
  const names = Object.keys(samples[0]?.reference ?? {});
  const ratios = names.map((name) => {
    let [signal, noise] = [0, 0];
    for (const { outputs, reference } of samples) {
      const [now, was] = [outputs[name], reference[name]];
      if (now === undefined || was === undefined || now.data.length !== was.data.length) return -EXACT_DB;
      for (let i = 0; i < was.data.length; i++) {
        const [a, b] = [was.data[i] ?? 0, now.data[i] ?? 0];
        if (Object.is(a, b) || a === b) signal += Number.isFinite(a) ? a * a : 0;
        else {
          signal += a * a;
          noise += (a - b) ** 2;
        }
      }
    }
    if (noise === 0) return EXACT_DB;
    const ratio = 10 * Math.log10(signal / noise);
    return Number.isNaN(ratio) ? -EXACT_DB : Math.max(-EXACT_DB, Math.min(EXACT_DB, ratio));
  });
  return ratios.length === 0 ? -EXACT_DB : Math.min(...ratios);
}

function top1({ outputs, reference, label }: Measured): number {
  const now = winners(outputs);
  const right = label ?? winners(reference);
  return mean(now.map((x, i) => (x === right[i % right.length] ? 1 : 0)));
}

function exact({ outputs, reference, label }: Measured, isCtc: boolean): number {
  // What is read is the same where repeats and blanks (class 0) differ.
  const read = (x: Outputs): number[] =>
    isCtc ? winners(x).filter((y, i, all) => y !== 0 && y !== all[i - 1]) : winners(x);
  const [now, right] = [read(outputs), label ?? read(reference)];
  return right.length === now.length && right.every((x, i) => x === now[i]) ? 1 : 0;
}

function negativePerplexity(samples: readonly Measured[]): number {
  let [sum, count] = [0, 0];
  for (const { outputs, label = [] } of samples) {
    const { dims, data } = first(outputs);
    const classes = dims.at(-1) ?? 1;
    for (const [i, right] of label.entries()) {
      let peak = -Infinity;
      for (let c = 0; c < classes; c++) peak = Math.max(peak, data[i * classes + c] ?? 0);
      let total = 0;
      for (let c = 0; c < classes; c++) total += Math.exp((data[i * classes + c] ?? 0) - peak);
      sum += peak + Math.log(total) - (data[i * classes + right] ?? 0);
      count++;
    }
  }
  return -Math.exp(sum / count);
}

/** Lists the index of the largest value along the last axis of the first output. */
function winners(outputs: Outputs): number[] {
  const { dims, data } = first(outputs);
  const classes = dims.at(-1) ?? 1;
  return Array.from({ length: data.length / classes }, (_, row) => {
    let best = 0;
    for (let c = 1; c < classes; c++) if ((data[row * classes + c] ?? 0) > (data[row * classes + best] ?? 0)) best = c;
    return best;
  });
}

function first(outputs: Outputs): Outputs[string] {
  const [output] = Object.values(outputs);
  if (output === undefined) throw new TypeError("the model has no output");
  return output;
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function share(text: string): number {
  const value = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  if (value === null) throw new TypeError(`maxDrop: "${text}" is no share, as "0.5%"`);
  return Number(value[1]) / (value[2] === "%" ? 100 : 1);
}
