// The reference of a compression: the given samples, or synthetic inputs, and the source model's outputs for them,
// computed once for its own score and for the bundle's summary statistics.
import { TensorSummaries } from "./run/tensor-summary.ts";
import type { Baseline } from "./run/tensor-summary.ts";
import { readersOf, smallestTable } from "./bundle/describe.ts";
import type { Description } from "./bundle/describe.ts";
import { every } from "./evaluate-form.ts";
import { syntheticInputs } from "./run/synthetic-inputs.ts";
import type { Metric } from "./run/metric.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { References } from "./run/references.ts";
import { openSamples, samplesOf } from "./run/samples.ts";
import type { Samples } from "./run/samples.ts";
import { openModel } from "./run/session.ts";

/**
 * Without a limit, a set of samples is cut off once the source model took this long for it; never below the minimum.
 */
const PATIENCE = { ms: 60_000, least: 32, most: 100_000 } as const;
/** Options of `compress` that determine which samples are used, and how many. */
export interface SampleOptions {
  readonly samples?: string | undefined;
  readonly bundle?: string | undefined;
  readonly limit?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((line: string) => void) | undefined;
}

/** Opens the given samples, or makes synthetic inputs with which the model runs. */
export async function samplesFor(
  path: string,
  { inputs, exampleDims: typical = {} }: Description,
  source: OnnxModel,
  options: SampleOptions,
  notes: string[],
): Promise<Samples> {
  if (options.samples !== undefined)
    return openSamples(
      options.samples,
      inputs,
      options.limit ?? PATIENCE.most,
      await readersOf(options.bundle, inputs),
    );
  return synthesizeSamples(path, inputs, { typical, bound: smallestTable(source) }, notes);
}

/** Makes synthetic inputs with which a model runs; none where it runs with no guess. */
export async function synthesizeSamples(
  path: string,
  inputs: Description["inputs"],
  hints: Parameters<typeof syntheticInputs>[1],
  notes: string[] = [],
): Promise<Samples> {
  const model = await openModel(path, "cpu");
  let reason = "";
  try {
    for (const feeds of syntheticInputs(inputs, hints))
      try {
        for (const feed of feeds) await model.run(feed);
        return samplesOf(feeds, true);
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
  } finally {
    await model.release();
  }
  notes.push(
    `The model ran on none of the synthetic inputs, so nothing was measured; give --samples. Last error: ${reason}`,
  );
  return samplesOf([]);
}

/** Runs the source model over the samples, for its own score and the bundle's summary statistics. */
export async function runReference(
  path: string,
  given: Samples,
  metric: Metric,
  labels: readonly (readonly number[])[] | undefined,
  { limit, signal, onProgress = () => undefined }: SampleOptions,
  notes: string[],
): Promise<{ references: References; score: number | null; baseline: Baseline }> {
  if (labels !== undefined && labels.length < given.n)
    throw new TypeError(`labels: expected one for each of the ${given.n} samples, got ${labels.length}`);
  const [tally, summaries] = [metric.start(), new TensorSummaries()];
  const references = new References(path, given);
  if (given.n === 0) return { references, score: null, baseline: {} };
  onProgress(`running the model on ${given.n} samples`);
  const started = performance.now();
  const tell = every(5_000, (i) => onProgress(`running the model: ${i} of ${given.n} samples`));
  let n = 0;
  for await (const { feed, reference } of references.each()) {
    tally.add({ outputs: reference, reference, feed, label: labels?.[n] });
    summaries.add(feed, reference);
    tell(++n);
    const isLate = limit === undefined && n >= PATIENCE.least && performance.now() - started > PATIENCE.ms;
    if (isLate || signal?.aborted === true) break;
  }
  if (n < given.n && signal?.aborted !== true)
    notes.push(`The first ${n} of ${given.n} samples were used, which took a minute; --limit ${given.n} uses all.`);
  references.cutTo(n);
  return { references, score: await tally.value(), baseline: summaries.value() };
}
