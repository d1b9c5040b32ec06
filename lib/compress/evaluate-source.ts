// The reference of a compression: the given samples, or synthetic inputs, and the source model's outputs for them,
// computed once for its own score and for the bundle's summary statistics.
import { TensorSummaries } from "./run/tensor-summary.ts";
import type { Baseline } from "./run/tensor-summary.ts";
import { assetsOf, smallestTable } from "./bundle/describe.ts";
import type { Description } from "./bundle/describe.ts";
import type { PackFile } from "./bundle/pack.ts";
import { every } from "./evaluate-form.ts";
import { hintsFor } from "./run/model-hints.ts";
import { declaredSizes, syntheticSets } from "./run/synthetic-inputs.ts";
import { AnswerCounts, checkLabel, checkLabelCount, checkNumbers } from "./run/check-samples.ts";
import type { Metric, Outputs, Tally } from "./run/metric.ts";
import type { OnnxModel } from "./onnx/model.ts";
import type { OnnxSource } from "./onnx/written-model.ts";
import { describeNonFinite, REPAIR_NON_FINITE } from "./onnx/non-finite.ts";
import type { NonFiniteWeight } from "./onnx/non-finite.ts";
import { References } from "./run/references.ts";
import { sampleReaders } from "./run/text-samples.ts";
import { firstFeeds, openSamples, samplesOf } from "./run/samples.ts";
import type { Samples } from "./run/samples.ts";
import { isCrash, openTrial, tryModel } from "./run/trial.ts";
import { positionsOf, splitSamples } from "./run/split.ts";
import type { Split } from "./run/split.ts";
import { partOf } from "./run/tally.ts";

/**
 * Without a limit, a set of samples is cut off once the source model took this long for it; never below the minimum.
 */
const PATIENCE = { ms: 60_000, least: 32, most: 100_000 } as const;
/** Options of `compress` that determine which samples are used, and how many. */
export interface SampleOptions {
  /** Path of the model as given, beside which configuration files may lie. Default the path that is run. */
  readonly given?: string | undefined;
  readonly samples?: string | undefined;
  readonly bundle?: string | undefined;
  /** Files that the description refers to, as a tokenizer. Default those of `bundle`. */
  readonly assets?: readonly PackFile[] | undefined;
  readonly limit?: number | undefined;
  /** The model's weights with NaN or infinities. Default none. */
  readonly nonFinite?: readonly NonFiniteWeight[] | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((line: string) => void) | undefined;
}

/** Opens the given samples, or makes synthetic inputs with which the model runs. */
export async function samplesFor(
  path: string,
  { inputs, outputs, exampleDims: typical = {} }: Description,
  source: OnnxModel,
  options: SampleOptions,
  notes: string[],
): Promise<Samples> {
  if (options.samples !== undefined) {
    const readers = sampleReaders(inputs, textsOf(options.assets ?? (await assetsOf(options.bundle))));
    const given = await openSamples(options.samples, inputs, options.limit ?? PATIENCE.most, readers);
    const [feed] = await firstFeeds(given, 1);
    await tryModel(path, { path: options.given ?? path, feed });
    return given;
  }
  const others = declaredSizes(outputs);
  const hints = { typical, others, bound: smallestTable(source), ...hintsFor(options.given ?? path, source) };
  return synthesizeSamples(path, inputs, hints, notes, options);
}

function textsOf(assets: readonly PackFile[]): Record<string, string> {
  return Object.fromEntries(assets.map((x) => [x.path, new TextDecoder().decode(x.bytes)]));
}

/** Number of synthetic inputs: as many as the model runs in the time, and as fit into memory. */
const SYNTHETIC = { least: 8, most: 32, ms: 10_000, values: 2 ** 26 } as const;
/** Number of guesses to which a model answers all alike: it will to the others, too. */
const CONSTANT_MOST = 6;

/**
 * Makes synthetic inputs with which a model runs; none where it runs with no guess.
 * @throws TypeError where its weights hold NaN, and so does every answer; SelvedgeError `model-invalid` where ONNX
 * Runtime crashes on it
 */
export async function synthesizeSamples(
  source: OnnxSource,
  inputs: Description["inputs"],
  hints: Parameters<typeof syntheticSets>[1],
  notes: string[] = [],
  { signal, nonFinite = [] }: Pick<SampleOptions, "signal" | "nonFinite"> = {},
): Promise<Samples> {
  const model = await openTrial(source);
  let reason: string | null = null;
  let [constant, isAlwaysNaN] = [0, true];
  try {
    for (const make of syntheticSets(inputs, hints)) {
      if (signal?.aborted === true) return samplesOf([]);
      if (constant >= CONSTANT_MOST) break;
      try {
        for (const feed of make(1)) await model.run(feed);
        const feeds = make(4);
        const started = performance.now();
        const answers: Outputs[] = [];
        for (const feed of feeds) answers.push(await model.run(feed));
        const each = Math.max(1e-3, (performance.now() - started) / feeds.length);
        // Such inputs, as a bound below another, tell nothing: any form would pass.
        if (answers.slice(1).every((x) => isSameAnswer(x, answers[0] ?? {}))) {
          constant++;
          isAlwaysNaN &&= answers.every(isAllNaN);
          continue;
        }
        const values = Object.values(feeds[0] ?? {}).reduce((sum, x) => sum + x.data.length, 1);
        const most = Math.min(SYNTHETIC.ms / each, SYNTHETIC.values / values, SYNTHETIC.most);
        return samplesOf(make(Math.max(SYNTHETIC.least, Math.floor(most))), true);
      } catch (error) {
        if (isCrash(error)) throw error;
        reason = error instanceof Error ? error.message : String(error);
      }
    }
  } finally {
    await model.release();
  }
  isAlwaysNaN &&= constant > 0;
  if (isAlwaysNaN && nonFinite.length > 0) throw new TypeError(`model: ${answersNaN(nonFinite)}`);
  notes.push(constant > 0 ? whyConstant(isAlwaysNaN ? "NaN" : "the same", reason) : whyNoneRan(reason));
  return samplesOf([]);
}

function whyConstant(answer: string, reason: string | null): string {
  if (reason === null)
    return `The model answers ${answer} to all synthetic inputs, so nothing was measured; give --samples.`;
  return `The model answers ${answer} to all synthetic inputs on which it runs, so nothing was measured; give --samples. It ran on no others, the last error: ${reason}`;
}

function whyNoneRan(reason: string | null): string {
  const last = reason ?? "every guess of the open sizes has too many values; give --shape";
  return `The model ran on none of the synthetic inputs, so nothing was measured; give --samples, or --shape with sizes that it takes. Last error: ${last}`;
}

/** Whether all values of two answers are equal, among them some that are no whole numbers, as classes are. */
function isSameAnswer(a: Outputs, b: Outputs): boolean {
  const pairs = Object.entries(b).map(
    ([name, { data }]) => [Array.from(data), Array.from(a[name]?.data ?? [])] as const,
  );
  const isFloat = pairs.some(([x]) => x.some((value) => !Number.isInteger(value)));
  return isFloat && pairs.every(([x, y]) => x.length === y.length && x.every((value, i) => Object.is(value, y[i])));
}

/** Result of running the source model over the samples. */
export interface ReferenceRun {
  readonly references: References;
  readonly split: Split;
  /** Its own score over the held-out samples; null without samples. */
  readonly score: number | null;
  /** The same, to score forms on the same draws; its positions are those among the held-out samples. */
  readonly tally: Tally;
  readonly baseline: Baseline;
}

/**
 * Runs the source model over the samples, for its own score and the bundle's summary statistics, and splits them; at
 * most `fittedMost` are fitted to.
 * @throws TypeError for samples or labels that do not fit, and for a model that answers at chance
 */
export async function runReference(
  path: string,
  given: Samples,
  metric: Metric,
  labels: readonly (readonly number[])[] | undefined,
  {
    limit,
    signal,
    fittedMost,
    nonFinite = [],
    onProgress = () => undefined,
  }: SampleOptions & { readonly fittedMost: number },
  notes: string[],
): Promise<ReferenceRun> {
  checkLabelCount(labels, given.n, limit !== undefined && given.n >= limit);
  const [tally, summaries, answers] = [metric.start(), new TensorSummaries(), new AnswerCounts()];
  const references = new References(path, given);
  if (given.n === 0) return nothing(references, metric);
  onProgress(`running the model on ${given.n} samples`);
  const started = performance.now();
  const tell = every(5_000, (i) => onProgress(`running the model: ${i} of ${given.n} samples`));
  let n = 0;
  let isSilent = labels === undefined;
  let isAlwaysNaN = true;
  for await (const { feed, reference } of references.each()) {
    checkNumbers(feed, n);
    const label = labels?.[n];
    checkLabel(label, reference, n, metric);
    tally.add({ outputs: reference, reference, feed, label });
    answers.add(label, reference);
    isSilent &&= isAllZero(reference);
    isAlwaysNaN &&= isAllNaN(reference);
    summaries.add(feed, reference);
    tell(++n);
    const isLate = limit === undefined && n >= PATIENCE.least && performance.now() - started > PATIENCE.ms;
    if (isLate || signal?.aborted === true) break;
  }
  isAlwaysNaN &&= signal?.aborted !== true;
  if (isAlwaysNaN && nonFinite.length > 0) throw new TypeError(`model: ${answersNaN(nonFinite)}`);
  if (isAlwaysNaN && !given.isSynthetic)
    throw new TypeError(
      `samples: the model answers NaN to all ${n} of them, so nothing can be measured: check that they are prepared as the model was trained`,
    );
  if (isSilent && signal?.aborted !== true) {
    if (!given.isSynthetic)
      throw new TypeError(
        `samples: the model answers 0 to all ${n} of them, so nothing can be measured: give samples that it answers otherwise`,
      );
    notes.push("The model answers 0 to all synthetic inputs, so nothing was measured; give --samples.");
    return nothing(new References(path, samplesOf([])), metric);
  }
  if (n < given.n && signal?.aborted !== true)
    notes.push(`The first ${n} of ${given.n} samples were used, which took a minute; --limit ${given.n} uses all.`);
  references.cutTo(n);
  // Too few answers tell nothing of labels and order.
  if (signal?.aborted !== true) answers.check(await tally.value(), n, metric);
  const split = splitSamples(n, fittedMost);
  const held = partOf(tally, positionsOf(n, split.isScored));
  return { references, split, score: await held.value(), tally: held, baseline: summaries.value() };
}

function nothing(references: References, metric: Metric): ReferenceRun {
  return { references, split: splitSamples(0), score: null, tally: metric.start(), baseline: {} };
}

/** Whether an answer has float32 numbers, and no number of any type other than 0: every form would equal it. */
function isAllZero(outputs: Outputs): boolean {
  const all = Object.values(outputs).map((x) => x.data);
  const hasFloats = all.some((data) => data instanceof Float32Array && data.length > 0);
  return hasFloats && all.every((data) => Array.prototype.every.call(data, (x) => x === 0));
}

/** Whether an answer has float32 numbers, and each of them is NaN. */
function isAllNaN(outputs: Outputs): boolean {
  const floats = Object.values(outputs).flatMap(({ data }) => (data instanceof Float32Array ? [data] : []));
  return floats.some((data) => data.length > 0) && floats.every((data) => data.every(Number.isNaN));
}

function answersNaN(weights: readonly NonFiniteWeight[]): string {
  return `it answers NaN to every input, since of its weights ${describeNonFinite(weights)}: ${REPAIR_NON_FINITE}`;
}
