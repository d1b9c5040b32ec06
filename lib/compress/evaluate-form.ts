// Evaluates one form: its score over the samples, whether it meets its budget, its transfer size, and the check of each
// target.
import { pipeline } from "node:stream/promises";
import { constants, createBrotliCompress } from "node:zlib";
import { CHECK_FEEDS } from "./check/check.ts";
import type { CheckResult, Checker, CheckInput } from "./check/check.ts";
import { deviceBytes } from "./check/device-bytes.ts";
import type { CompressOptions } from "./compress-options.ts";
import type { MadeForm, Target } from "./forms/forms.ts";
import { countBytes, modelPieces } from "./onnx/encode.ts";
import { rethrowDiskFull } from "./onnx/disk-full.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { randomOutputs } from "./onnx/random-outputs.ts";
import { Scratch, writeModel } from "./onnx/written-model.ts";
import { partsOf, StoredBytes } from "./onnx/stored-bytes.ts";
import type { FileSlice } from "./onnx/stored-bytes.ts";
import type { Feed } from "./run/feeds.ts";
import { sqnrTally } from "./run/metric.ts";
import { isTooFew, scoreHeldOut } from "./run/interval.ts";
import type { HeldOut } from "./run/interval.ts";
import type { Metric, Outputs, Tally } from "./run/metric.ts";
import type { FormReport } from "./report/report.ts";
import type { References } from "./run/references.ts";
import { openModel } from "./run/session.ts";
import { positionsOf } from "./run/split.ts";
import type { Split } from "./run/split.ts";
import { runTwoRows } from "./run/two-rows.ts";
import type { TwoRows } from "./run/two-rows.ts";
import { weightWidths } from "./run/weight-widths.ts";
import type { WorkPart } from "./time-left.ts";

/** Inputs of an evaluation. */
export interface EvaluateContext {
  readonly references: References;
  readonly labels: readonly (readonly number[])[] | undefined;
  readonly metric: Metric;
  readonly referenceScore: number | null;
  /** The source model's tally over the held-out samples. */
  readonly referenceTally: Tally;
  /** Two of the held-out samples as one batch; null where the model takes one row alone. */
  readonly rows: TwoRows | null;
  readonly split: Split;
  readonly checker: Checker;
  /** The first held-out samples, on which backends are compared. */
  readonly checked: readonly Feed[];
  /** Returns a form as it is written, or observed (simplify-source.ts); the same one where nothing was cut off. */
  complete(form: OnnxModel, isObserved?: boolean): OnnxModel;
  /** Outputs behind the part that was cut off. */
  readonly behind: readonly string[];
  readonly options: Pick<CompressOptions, "browser">;
  readonly targets: readonly Target[];
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (line: string) => void;
  /** Called when a part of the evaluation is done. */
  mark(part: WorkPart): void;
}

/**
 * Evaluates a form. Failures are recorded in the report, not thrown, except for an abort. One that is only tried is not
 * checked on its targets where it missed its budget.
 */
export async function evaluateForm(
  made: MadeForm,
  on: EvaluateContext,
  { isTrial = false }: { readonly isTrial?: boolean } = {},
): Promise<Omit<FormReport, "seconds">> {
  const scratch = new Scratch();
  try {
    const model = on.complete(made.model);
    const whole = model === made.model ? made : { form: made.form, ...(await writeModel(model, scratch)) };
    return await evaluate(made, whole, on, { isTrial, scratch });
  } finally {
    await scratch.close();
  }
}

/** Scores a form, and checks it as it is written. */
async function evaluate(
  made: MadeForm,
  whole: MadeForm,
  on: EvaluateContext,
  { isTrial, scratch }: { readonly isTrial: boolean; readonly scratch: Scratch },
): Promise<Omit<FormReport, "seconds">> {
  const { form, model, byteLength } = whole;
  const targets = form.targets.filter((x) => on.targets.includes(x));
  const common = {
    id: form.id,
    file: `${form.id}.onnx`,
    needs: form.needs,
    bytes: byteLength,
    brotliBytes: await wireBytes(model),
    deviceBytes: targets.some((x) => x !== "wasm") ? deviceBytes(model) : null,
    widths: weightWidths(model),
  };
  let expected: Outputs[] = [];
  let expectedRows: Outputs | undefined;
  let measured: Omit<FormScore, "first" | "rows" | "rowsLoss"> = {
    score: null,
    interval: null,
    lossError: null,
    sqnrDb: null,
  };
  if (on.references.samples.n > 0)
    try {
      const { first, rows, rowsLoss, ...rest } = await measure(made, on);
      measured = rest;
      [expected, expectedRows] = [first, rows];
      if (rowsLoss !== null) {
        const why = `it computes a batch of two samples otherwise than each alone: ${rowsLoss}`;
        return { ...common, ...measured, why, isWithinBudget: false, checks: [] };
      }
    } catch (error) {
      on.signal?.throwIfAborted();
      rethrowDiskFull(error);
      const why = `it does not run: ${error instanceof Error ? error.message : String(error)}`;
      return { ...common, ...measured, why, isWithinBudget: false, checks: [] };
    }
  on.mark("measure");
  const { score } = measured;
  const slack = on.metric.mayDifferOnce === true ? 1 / Math.max(1, on.split.scored) : 0;
  const isClose = score !== null && on.referenceScore !== null && on.metric.passes(score + slack, on.referenceScore);
  // Nothing is fitted to synthetic inputs, and they show no accuracy however many they are.
  const { isSynthetic } = on.references.samples;
  const tooFew = form.id !== "f32" && score !== null && !isSynthetic && isTooFew(on.split.scored);
  const isWithinBudget = form.id === "f32" || (isClose && !tooFew);
  const scored = { ...common, ...measured, isWithinBudget, ...(tooFew && { isTooFewToTell: true }) };
  if (isTrial && !isWithinBudget) return { ...scored, checks: [] };
  on.onProgress(`checking ${form.id} on ${targets.join(", ")}`);
  const checks: CheckResult[] = [];
  const input = whole === made ? { ...made, expected, expectedRows } : await toCheck(made, whole, on, scratch);
  for (const part of ["webgpu", "wasm"] as const) {
    const these = targets.filter((x) => (x === "wasm") === (part === "wasm"));
    checks.push(...(await on.checker.check(input, these)));
    if (these.length > 0) on.mark(part);
  }
  on.signal?.throwIfAborted();
  return { ...scored, checks };
}

/**
 * Runs a form as it is checked, whose outputs are others than those that were scored. The selection is the same in all
 * forms and is checked with float32's; another form's may keep other values for its rounding alone, so there the values
 * that it reads are compared.
 */
async function toCheck(
  { form, model }: MadeForm,
  whole: MadeForm,
  { checked, rows, behind, options, complete }: EvaluateContext,
  scratch: Scratch,
): Promise<CheckInput> {
  // A page knows no outputs but the model's.
  const isObserved = form.id !== "f32" && options.browser === undefined;
  const made = isObserved ? { form, ...(await writeModel(complete(model, true), scratch)) } : whole;
  const session = await openModel(made.source, "cpu", form.session?.wasm ?? {});
  try {
    const expected: Outputs[] = [];
    for (const feed of checked) expected.push(await session.run(feed));
    // The part that was cut off may take one row alone.
    const expectedRows = rows === null ? undefined : await session.run(rows.feed).catch(() => undefined);
    return { ...made, expected, expectedRows, ...(isObserved && { uncompared: behind }) };
  } finally {
    await session.release();
  }
}

interface FormScore {
  readonly score: number | null;
  readonly interval: HeldOut["interval"];
  readonly lossError: number | null;
  readonly sqnrDb: number | null;
  readonly first: Outputs[];
  /** Outputs of two rows; undefined without them. */
  readonly rows: Outputs | undefined;
  /** How far two rows are off where these are computed otherwise than one by one; null where not. */
  readonly rowsLoss: string | null;
}

/**
 * Scores a form over the held-out samples, one at a time, and runs it on two at once; also returns its first outputs, to
 * check backends against.
 */
async function measure(
  { form, source, model: whole }: MadeForm,
  { references, labels, metric, referenceTally, rows, split, signal, onProgress }: EvaluateContext,
): Promise<FormScore> {
  const model = await openModel(source, "cpu", form.session?.wasm ?? {});
  const [tally, ratio, first]: [ReturnType<Metric["start"]>, ReturnType<typeof sqnrTally>, Outputs[]] = [
    metric.start(),
    sqnrTally(),
    [],
  ];
  const n = split.scored;
  const tell = every(5_000, (i) => onProgress(`measuring ${form.id}: ${i} of ${n} held-out samples`));
  const positions = positionsOf(references.samples.n, split.isScored);
  let i = 0;
  let together: Awaited<ReturnType<typeof runTwoRows>> | null = null;
  try {
    for await (const { feed, reference } of references.each(split.isScored)) {
      signal?.throwIfAborted();
      const outputs = await model.run(feed);
      tally.add({ outputs, reference, feed, label: labels?.[positions[i] ?? 0] });
      ratio.add({ outputs, reference });
      if (first.length < CHECK_FEEDS) first.push(outputs);
      tell(++i);
    }
    together = rows === null ? null : await runTwoRows(model, rows, randomOutputs(whole));
  } finally {
    await model.release();
  }
  const all = Array.from({ length: i }, (_, at) => at);
  const score = await scoreHeldOut(metric, tally, referenceTally, all);
  return {
    ...score,
    sqnrDb: ratio.value(),
    first,
    rows: together?.outputs,
    rowsLoss: together?.loss ?? null,
  };
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

/** Bytes that are compressed at once of a weight on disk. */
const SAMPLE_BYTES = 2 ** 18;

/** Returns the compressed size of a model; of weights on disk, estimated from parts of them. */
async function wireBytes({ proto }: OnnxModel): Promise<number> {
  const pieces = modelPieces(proto);
  const taken = pieces.flatMap(sampled);
  return Math.round(((await compressedBytes(taken)) * countBytes(pieces)) / Math.max(1, countBytes(taken)));
}

/**
 * Returns the compressed size with a fast brotli setting, as a host that compresses on the fly sends it; within a few
 * percent of the best.
 */
export async function compressedBytes(pieces: readonly FileSlice[]): Promise<number> {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 22 };
  let length = 0;
  // Counted by a sink: a pipeline that ends in the compressor may resolve before its last output is read.
  await pipeline(partsOf(pieces), createBrotliCompress({ params }), async (parts: AsyncIterable<Uint8Array>) => {
    for await (const part of parts) length += part.length;
  });
  return length;
}

/** Takes an eighth of a weight that stays on disk, from all over it: all of a large model would take minutes. */
function sampled(piece: FileSlice): FileSlice[] {
  if (!(piece instanceof StoredBytes)) return [piece];
  const { path, start, length } = piece;
  const count = Math.ceil(length / (8 * SAMPLE_BYTES));
  return Array.from({ length: count }, (_, i) => {
    const from = i * 8 * SAMPLE_BYTES;
    return new StoredBytes(path, start + from, Math.min(SAMPLE_BYTES, length - from));
  });
}
