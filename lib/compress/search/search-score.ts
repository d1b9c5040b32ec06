// Scores of candidates in a search: on the first half of the samples during the search, on the held-out half at its
// end. Where a metric is a mean over samples, candidates are compared with the source model sample by sample, and the
// loss has an interval.
import type { Form } from "../forms/forms.ts";
import type { Metric } from "../run/metric.ts";
import type { References } from "../run/references.ts";
import { openModel } from "../run/session.ts";
import { positionsOf } from "../run/split.ts";

/** Inputs for scoring. */
export interface Judge {
  readonly references: References;
  readonly metric: Metric;
  readonly labels: readonly (readonly number[])[] | undefined;
}

/** A candidate's result against the source model, over some samples. */
export interface Verdict {
  /** Number of samples scored. */
  readonly n: number;
  /** The candidate's score. */
  readonly score: number;
  /** The source model's score over the same samples. */
  readonly reference: number;
  /** Whether the score is within the budget; false for no samples. */
  readonly isPassed: boolean;
  /** Mean loss per sample, with the bounds of its 95 % interval; null for a metric that is no mean over samples. */
  readonly loss: { readonly mean: number; readonly low: number; readonly high: number } | null;
}

/** Number of samples before a clearly failing model is rejected early, and between two such checks. */
const GLANCE = 128;

/**
 * Scores a model over the samples at the positions that `isIn` selects. With `isHasty` a model whose loss exceeds the budget by its whole interval
 * is rejected early: a search meets many of those.
 */
export async function judge(
  bytes: Uint8Array,
  session: Form["session"],
  { references, metric, labels }: Judge,
  isIn: (index: number) => boolean,
  { isHasty = false }: { readonly isHasty?: boolean } = {},
): Promise<Verdict> {
  const [now, was] = [metric.start(), metric.start()];
  const losses: number[] = [];
  const model = await openModel(bytes, "cpu", session?.wasm ?? {});
  const positions = positionsOf(references.samples.n, isIn);
  let n = 0;
  try {
    for await (const { feed, reference } of references.each(isIn)) {
      const label = labels?.[positions[n] ?? 0];
      const outputs = await model.run(feed);
      const samples = [outputs, reference].map((x) => ({ outputs: x, reference, feed, label }));
      const [mine, its] = samples;
      if (mine === undefined || its === undefined) continue;
      now.add(mine);
      was.add(its);
      n++;
      if (metric.isMean !== true) continue;
      const [a, b] = [metric.start(), metric.start()];
      a.add(mine);
      b.add(its);
      losses.push((await b.value()) - (await a.value()));
      if (isHasty && n % GLANCE === 0 && isHopeless(metric, losses, await was.value())) break;
    }
  } finally {
    await model.release();
  }
  const [score, reference] = [await now.value(), await was.value()];
  return { n, score, reference, isPassed: n > 0 && metric.passes(score, reference), loss: interval(losses) };
}

function isHopeless(metric: Metric, losses: readonly number[], reference: number): boolean {
  const { low } = interval(losses) ?? { low: 0 };
  return !metric.passes(reference - low, reference);
}

/** Returns the mean of paired differences and its 95 % interval. */
export function interval(losses: readonly number[]): Verdict["loss"] {
  if (losses.length === 0) return null;
  const mean = losses.reduce((a, b) => a + b, 0) / losses.length;
  const variance = losses.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, losses.length - 1);
  const half = 1.96 * Math.sqrt(variance / losses.length);
  return { mean, low: mean - half, high: mean + half };
}
