// Evaluates one form: its score over the samples, whether it meets its budget, its transfer size, and the check of each
// target.
import { brotliCompress, constants } from "node:zlib";
import { promisify } from "node:util";
import { CHECK_FEEDS } from "./check/check.ts";
import type { Checker } from "./check/check.ts";
import { deviceBytes } from "./check/device-bytes.ts";
import type { MadeForm, Target } from "./forms/forms.ts";
import { sqnrTally } from "./run/metric.ts";
import type { Metric, Outputs } from "./run/metric.ts";
import type { FormReport } from "./report/report.ts";
import type { References } from "./run/references.ts";
import { openModel } from "./run/session.ts";

const brotli = promisify(brotliCompress);

/** Inputs of an evaluation. */
export interface EvaluateContext {
  readonly references: References;
  readonly labels: readonly (readonly number[])[] | undefined;
  readonly metric: Metric;
  readonly referenceScore: number | null;
  readonly checker: Checker;
  readonly targets: readonly Target[];
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (line: string) => void;
}

/** Evaluates a form. Failures are recorded in the report, not thrown, except for an abort. */
export async function evaluateForm(made: MadeForm, on: EvaluateContext): Promise<Omit<FormReport, "seconds">> {
  const { form, model, bytes } = made;
  const targets = form.targets.filter((x) => on.targets.includes(x));
  const common = {
    id: form.id,
    file: `${form.id}.onnx`,
    needs: form.needs,
    bytes: bytes.length,
    brotliBytes: await wireBytes(bytes),
    deviceBytes: targets.some((x) => x !== "wasm") ? deviceBytes(model) : null,
  };
  let expected: Outputs[] = [];
  let measured: { score: number | null; sqnrDb: number | null } = { score: null, sqnrDb: null };
  if (on.references.samples.n > 0)
    try {
      const { score, sqnrDb, first } = await measure(made, on);
      measured = { score, sqnrDb };
      expected = first;
    } catch (error) {
      on.signal?.throwIfAborted();
      const why = `it does not run: ${error instanceof Error ? error.message : String(error)}`;
      return { ...common, ...measured, why, isWithinBudget: false, checks: [] };
    }
  on.onProgress(`checking ${form.id} on ${targets.join(", ")}`);
  const checks = await on.checker.check({ ...made, expected }, targets);
  on.signal?.throwIfAborted();
  const { score } = measured;
  const isWithinBudget =
    form.id === "f32" || (score !== null && on.referenceScore !== null && on.metric.passes(score, on.referenceScore));
  return { ...common, ...measured, isWithinBudget, checks };
}

/** Scores a form over all samples, one at a time; also returns its first outputs, to check backends against. */
async function measure(
  { form, bytes }: MadeForm,
  { references, labels, metric, signal, onProgress }: EvaluateContext,
): Promise<{ score: number; sqnrDb: number; first: Outputs[] }> {
  const model = await openModel(bytes, "cpu", form.session?.wasm ?? {});
  const [tally, ratio, first]: [ReturnType<Metric["start"]>, ReturnType<typeof sqnrTally>, Outputs[]] = [
    metric.start(),
    sqnrTally(),
    [],
  ];
  const { n } = references.samples;
  const tell = every(5_000, (i) => onProgress(`measuring ${form.id}: ${i} of ${n} samples`));
  let i = 0;
  try {
    for await (const { feed, reference } of references.each()) {
      signal?.throwIfAborted();
      const outputs = await model.run(feed);
      tally.add({ outputs, reference, feed, label: labels?.[i] });
      ratio.add({ outputs, reference });
      if (first.length < CHECK_FEEDS) first.push(outputs);
      tell(++i);
    }
  } finally {
    await model.release();
  }
  return { score: await tally.value(), sqnrDb: ratio.value(), first };
}

/** Calls back at most once per interval. */
export function every(ms: number, tell: (count: number) => void): (count: number) => void {
  let last = performance.now();
  return (count) => {
    if (performance.now() - last < ms) return;
    last = performance.now();
    tell(count);
  };
}

/**
 * Compressed size with a fast brotli setting, as a host that compresses on the fly sends it; within a few percent of
 * the best.
 */
async function wireBytes(bytes: Uint8Array): Promise<number> {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 22 };
  return (await brotli(bytes, { params })).length;
}
