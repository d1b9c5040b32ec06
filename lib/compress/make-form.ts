// The middle of a compression: makes, measures and checks the forms, one at a time.
//
// A form is made of the simplified model: with the samples' statistics, or without where they make it worse. A form
// that missed its budget is made again without the layers with the largest error, then with its most sensitive weights
// in more bits (raise-weights.ts). Forms for wasm alone have ONNX Runtime's graph passes applied ahead.
import { Checker } from "./check/check.ts";
import { defaultFor } from "./choose-defaults.ts";
import { evaluateForm, every } from "./evaluate-form.ts";
import type { EvaluateContext } from "./evaluate-form.ts";
import type { Feed } from "./run/feeds.ts";
import type { SampleFeeds } from "./run/statistics.ts";
import { isPlain } from "./forms/forms.ts";
import type { Form, MadeForm, MakeOptions } from "./forms/forms.ts";
import { needsOf } from "./forms/needs-of.ts";
import { nameDims } from "./simplify/name-dims.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { describeNonFinite } from "./onnx/non-finite.ts";
import { rethrowDiskFull } from "./onnx/disk-full.ts";
import { Scratch, writeModel } from "./onnx/written-model.ts";
import type { WrittenModel } from "./onnx/written-model.ts";
import { optimizeAhead } from "./simplify/ort-optimize.ts";
import type { FormReport } from "./report/report.ts";
import { raisedSets, Sensitivity } from "./raise-weights.ts";
import type { Raised } from "./raise-weights.ts";
import { inWords, TimeLeft } from "./time-left.ts";
import type { WorkPart } from "./time-left.ts";
import { hasWeights, NARROW_LEAST, weightWidths, WIDE_MOST, wideShare } from "./run/weight-widths.ts";
import type { WeightWidths } from "./run/weight-widths.ts";
import type { SimplifiedSource } from "./simplify-source.ts";
import { KeptRounding } from "./quantize/kept-rounding.ts";
import { measureLayerErrors, excludeLayers } from "./quantize/exclude-layers.ts";
import { productShare } from "./quantize/choose-8-bit.ts";

/**
 * Parameters of excluding layers: how it is measured, the minimum quality of the outputs, and the required improvement.
 */
const EXCLUSION = {
  ms: 20_000,
  feeds: 4,
  db: [
    [33, 6],
    [40, 14],
  ],
} as const;

/** A form that was made, or the reason why it was not, as the report names it. */
export interface FormResult {
  readonly report: FormReport;
  /** Null where it could not be made. Its bytes are in the output folder alone: of all forms they are several models. */
  readonly made: Pick<MadeForm, "form"> | null;
}

/** Inputs for making a form. */
export interface FormInputs extends MakeOptions {
  readonly feeds: readonly Feed[];
  /** Where a large form is written. */
  readonly scratch: Scratch;
  readonly signal?: AbortSignal | undefined;
}

/** A compression whose forms share the weights that they round alike. */
interface FormJob extends SimplifiedSource {
  readonly kept: KeptRounding;
}

/** Makes, measures and checks each form, and writes it to the output folder; stops after the current one on an abort. */
export async function makeForms(source: SimplifiedSource, forms: readonly Form[]): Promise<FormResult[]> {
  const scratch = new Scratch();
  const kept = new KeptRounding(scratch);
  try {
    return await makeAll({ ...source, kept }, forms);
  } finally {
    kept.close();
    await scratch.close();
  }
}

async function makeAll(job: FormJob, forms: readonly Form[]): Promise<FormResult[]> {
  const { simple, description, checked, rows, feeds, options, out, onProgress } = job;
  const { browser, signal } = options;
  const where = browser && { browser, model: description };
  const checker = new Checker(simple.source, checked, { rows: rows?.feed, where });
  const checkedOn = ({ targets }: Form): Form["targets"] => targets.filter((x) => job.targets.includes(x));
  // int4 is left out of a model without products as soon as it is made.
  const isLeftOut = ({ id }: Form): boolean => id === "int4" && productShare(simple.model) < NARROW_LEAST;
  const left = forms.map((x) => ({ id: x.id, targets: isLeftOut(x) ? [] : checkedOn(x) }));
  const clock = new TimeLeft(left, isPlain(simple.model, job.references.samples.isSynthetic));
  const mark = (part: WorkPart): void => clock.mark(part);
  const context: EvaluateContext = { ...job, checker, signal, mark };
  const sensitivity = new Sensitivity(simple.model, feeds, signal);
  const results: FormResult[] = [];
  await out.create();
  const make = async (form: Form, work: () => Promise<Evaluated | null>): Promise<void> => {
    const started = performance.now();
    clock.started(form.id);
    try {
      const evaluated = await work();
      if (evaluated === null) return;
      const { report, form } = evaluated;
      results.push({ report: { ...report, seconds: secondsSince(started) }, made: { form } });
    } catch (error) {
      rethrowDiskFull(error);
      if (!job.isStopped())
        results.push({ report: { ...notMade(form.id, error), seconds: secondsSince(started) }, made: null });
    } finally {
      clock.done();
    }
  };
  for (const [i, form] of forms.entries()) {
    if (job.isStopped()) break;
    onProgress(`[${i + 1}/${forms.length}] making ${form.id}${clock.text()}`);
    await make(form, () => makeWithinBudget(form, job, context, sensitivity, clock));
  }
  const mixed = mixedOf(forms, results, job);
  const isWide = results.some(
    ({ report: { id, widths } }) => id === "int8" && widths !== undefined && isTooWide(widths),
  );
  if (mixed !== null && !job.isStopped()) await make(mixed, () => makeMixed(mixed, job, context, sensitivity, isWide));
  await checker.close();
  return results;
}

/** A form and its evaluation; its model is in the output folder. */
interface Evaluated {
  readonly form: Form;
  readonly report: Omit<FormReport, "seconds">;
}

/** Makes and evaluates a form; again without its worst layers, or with weights in more bits, where it missed its budget. */
async function makeWithinBudget(
  form: Form,
  job: FormJob,
  context: EvaluateContext,
  sensitivity: Sensitivity,
  clock: TimeLeft,
): Promise<Evaluated | null> {
  const first = await withForm(form, job, {}, async (made) => {
    clock.mark("make");
    const why = whyNoInt4(form, weightWidths(made.model));
    if (why !== null && job.options.forms?.includes(form.id) === true) throw new Error(why);
    if (why !== null) {
      job.notes.push(`${form.id} is left out: ${why}.`);
      return null;
    }
    await job.out.writeModel(`${form.id}.onnx`, job.complete(made.model));
    return { form: made.form, report: named(await evaluateForm(made, context), job) };
  });
  clock.evaluated();
  if (first === null) return null;
  const { report } = first;
  const isMissed = report.score !== null && report.why === undefined && report.isTooFewToTell !== true;
  if (report.isWithinBudget || !isMissed) return first;
  const better =
    (await makeWithExclusions(form, job, report, context)) ??
    (await makeRaised(form, job, context, report, await rowsFor(form, sensitivity, job)));
  const { widths } = better?.report ?? {};
  if (better === null || (widths !== undefined && whyNoInt4(form, widths) !== null)) return first;
  return { ...better, report: named(better.report, job) };
}

/** Explains why int4 is none where next to no weight has 4 bits: it would be int8 under another name. */
function whyNoInt4({ id }: Form, widths: WeightWidths): string | null {
  if (id !== "int4" || widths[4] >= NARROW_LEAST) return null;
  const share = widths[4] === 0 ? "none" : `${(widths[4] * 100).toFixed(1)} %`;
  return `${share} of its weights take 4 bits (those of products alone can); int8 is about as small`;
}

/**
 * Makes a form and hands it to `use`; its files are deleted then. A trial of a large model takes as much disk as the
 * model, and a form takes up to eight trials.
 */
async function withForm<T>(
  form: Form,
  { simple, feeds, references, notes, options: { signal }, onProgress, kept }: FormJob,
  options: MakeOptions,
  use: (made: MadeForm) => Promise<T>,
): Promise<T> {
  const scratch = new Scratch();
  try {
    const { isSynthetic } = references.samples;
    const between = progressOf(form.id, onProgress, signal);
    const given = { isSynthetic, between, kept, ...options, feeds, scratch, signal };
    return await use(await makeForm(form, simple.model, given, notes));
  } finally {
    await scratch.close();
  }
}

/** Time between two lines on the progress of one form. */
const TELL_MS = 10_000;

/** Returns what is called between the parts of a large form: it says how far the form is, and rejects on an abort. */
function progressOf(
  id: string,
  onProgress: (line: string) => void,
  signal: AbortSignal | undefined,
): NonNullable<MakeOptions["between"]> {
  const started = performance.now();
  const tell = every(TELL_MS, (percent) => {
    const left = ((performance.now() - started) / 1000) * (100 / percent - 1);
    onProgress(`making ${id}: ${percent} % of the weights, about ${inWords(left)} left`);
  });
  return async (share) => {
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    const percent = Math.round(share * 100);
    if (percent > 0 && percent < 100) tell(percent);
  };
}

/** Makes a form and evaluates it; writes it to the output folder and returns it where it is within its budget. */
function attempt(
  form: Form,
  job: FormJob,
  options: MakeOptions,
  context: EvaluateContext,
  { isTrial }: { readonly isTrial: boolean },
): Promise<Evaluated | null> {
  return withForm(form, job, options, async (made) => {
    const report = await evaluateForm(made, context, { isTrial });
    if (!report.isWithinBudget) return null;
    await job.out.writeModel(`${form.id}.onnx`, job.complete(made.model));
    return { form: made.form, report };
  });
}

/** Refuses a form that is named after fewer bits than most of its weights have. */
function named(
  report: Omit<FormReport, "seconds">,
  { simple, nonFinite }: SimplifiedSource,
): Omit<FormReport, "seconds"> {
  const { id, widths, bytes } = report;
  if (bitsOfName(id) === null || widths === undefined || !isTooWide(widths)) return report;
  const share = (wideShare(widths) * 100).toFixed(0);
  const because = nonFinite.length === 0 ? "" : `: ${describeNonFinite(nonFinite)}`;
  const why = hasWeights(simple.model)
    ? `${share} % of its weights are stored in 16 bits or more, so it is no ${id}${because}`
    : "the model has no weights to store in fewer bits: none of its layers reads one of 256 values or more";
  return bytes === 0 ? report : { ...report, isWithinBudget: false, why };
}

/** Whether a form has so many weights in 16 bits or more that it is named after no fewer. */
function isTooWide(widths: WeightWidths): boolean {
  return wideShare(widths) > WIDE_MOST;
}

/** Bits that a form's name promises; null where it promises none. */
function bitsOfName(id: string): 4 | 8 | null {
  if (id === "int4") return 4;
  return ["int8", "int8-dynamic", "int8-static"].includes(id) ? 8 : null;
}

async function rowsFor(
  { id }: Form,
  sensitivity: Sensitivity,
  { onProgress }: SimplifiedSource,
): ReturnType<Sensitivity["rows"]> {
  if (bitsOfName(id) === null && id !== "mixed") return [];
  onProgress(`${id} missed its budget: measuring which weights need more bits`);
  return sensitivity.rows();
}

/** Makes a form that missed its budget again, with more and more bits for its weights; null where that does not help. */
async function makeRaised(
  form: Form,
  job: FormJob,
  context: EvaluateContext,
  { widths, score }: Pick<FormReport, "widths" | "score">,
  rows: Awaited<ReturnType<Sensitivity["rows"]>>,
  isWide = false,
): Promise<Evaluated | null> {
  const { notes, metric, onProgress } = job;
  const bits = form.id === "mixed" ? "mixed" : bitsOfName(form.id);
  if (bits === null || (rows.length === 0 && !isWide)) return null;
  const sets = raisedSets(rows, bits, widths ?? null);
  // A form that is too wide for its name may be within the budget as it is.
  for (const raised of isWide ? [new Map<string, 8 | 16>(), ...sets] : sets) {
    if (job.isStopped()) return null;
    const count = countsOf(raised, rows.length);
    onProgress(`making ${form.id} again, with ${count}`);
    const given = {
      isLeft: (name: string) => raised.get(name) === 16,
      ...(bits === 4 && { has8Bits: (name: string) => raised.has(name) }),
    };
    const made = await attempt(form, job, given, context, { isTrial: true });
    if (made === null) continue;
    const before = score === null ? "" : `; before, it had ${metric.name} ${shortNumber(score)}`;
    if (raised.size > 0) notes.push(`${form.id}: ${count}, the most sensitive, to stay within the budget${before}.`);
    return made;
  }
  return null;
}

/** Describes how many of the weights are stored in how many bits: "3 of 74 weights in 8 bits and 1 in 16". */
function countsOf(raised: Raised, weights: number): string {
  const counts = [8, 16].map((bits) => ({ bits, count: [...raised.values()].filter((x) => x === bits).length }));
  const texts = counts
    .filter(({ bits, count }) => count > 0 || (bits === 16 && raised.size === 0))
    .map(({ bits, count }, i) => `${count} ${i === 0 ? `of ${weights} weights ` : ""}in ${bits} bits`);
  return texts.join(" and ");
}

/** The form to make where some target would get float32 alone: int8 with as many weights in 16 bits as it takes. */
function mixedOf(
  forms: readonly Form[],
  results: readonly FormResult[],
  { targets, feeds }: SimplifiedSource,
): Form | null {
  const int8 = forms.find((x) => x.id === "int8");
  const reports = results.map((x) => x.report);
  const isMissed = reports.some((x) => x.id === "int8" && !x.isWithinBudget && x.score !== null);
  const isTooFew = reports.some((x) => x.isTooFewToTell === true);
  if (int8 === undefined || !isMissed || isTooFew || feeds.length === 0) return null;
  const isBare = targets.some((x) => ["f32", null].includes(defaultFor(x, reports)));
  return isBare ? { ...int8, id: "mixed" } : null;
}

async function makeMixed(
  form: Form,
  job: FormJob,
  context: EvaluateContext,
  sensitivity: Sensitivity,
  isWide: boolean,
): Promise<Evaluated | null> {
  return makeRaised(form, job, context, { score: null }, await sensitivity.rows(), isWide);
}

/**
 * Makes a form that missed its budget again, up to twice, without the layers with the largest error; null where that
 * does not help.
 */
async function makeWithExclusions(
  form: Form,
  job: FormJob,
  { sqnrDb, score }: Pick<FormReport, "sqnrDb" | "score">,
  context: EvaluateContext,
): Promise<Evaluated | null> {
  const { simple, feeds, metric, notes, onProgress } = job;
  if (form.canExclude !== true || sqnrDb === null || feeds.length === 0) return null;
  onProgress(`${form.id} missed its budget: measuring the error of each layer`);
  const errors = await measureLayerErrors(simple.model, feeds.slice(0, EXCLUSION.feeds), { budgetMs: EXCLUSION.ms });
  let before = 0;
  for (const [leastDb, more] of EXCLUSION.db) {
    const excluded = excludeLayers(errors, Math.max(leastDb, sqnrDb + more));
    if (excluded.size <= before) continue;
    before = excluded.size;
    const count = `${excluded.size} of ${errors.length} layers`;
    onProgress(`making ${form.id} again, with ${count} excluded`);
    const isExcluded = (name: string): boolean => excluded.has(name);
    const made = await attempt(form, job, { isExcluded }, context, { isTrial: false });
    if (made === null) continue;
    const was = `${metric.name} ${(score ?? 0).toFixed(metric.name === "sqnr" ? 1 : 4)}`;
    notes.push(
      `${form.id}: the inputs of ${count} are not quantized; with all quantized it missed its budget (${was}).`,
    );
    return made;
  }
  return null;
}

/** Makes a form; where statistics over the samples make it worse, without them. */
export async function makeForm(base: Form, simple: OnnxModel, given: FormInputs, notes: string[]): Promise<MadeForm> {
  const made = await makeModel(base, simple, given, notes);
  const form = { ...base, needs: needsOf(made.model, base.needs) };
  const ahead = form.needs.includes("wasm") ? await optimizeAhead(made, given.scratch, form.session?.wasm) : null;
  if (ahead === null) return { form, ...made };
  const { session, ...optimized } = ahead;
  return { form: { ...form, session: { ...form.session, wasm: session } }, ...optimized };
}

async function makeModel(
  form: Form,
  simple: OnnxModel,
  { feeds, scratch, signal, ...options }: FormInputs,
  notes: string[],
): Promise<WrittenModel> {
  const model = simple.copy();
  try {
    await form.make(model, stoppable(feeds, options.between), options);
    return await written(model, feeds, scratch);
  } catch (error) {
    rethrowDiskFull(error);
    if (feeds.length === 0 || signal?.aborted === true) throw error;
    const plain = simple.copy();
    await form.make(plain, [], { ...options, isSynthetic: true, kept: undefined });
    notes.push(`${form.id} was made without the samples: ${error instanceof Error ? error.message : String(error)}.`);
    return written(plain, feeds, scratch);
  }
}

/** Returns the samples such that `between` is awaited before each: it rejects to stop. */
function stoppable(feeds: readonly Feed[], between: MakeOptions["between"]): SampleFeeds {
  return {
    async *[Symbol.asyncIterator]() {
      for (const feed of feeds) {
        await between?.(0);
        yield feed;
      }
    },
  };
}

async function written(model: OnnxModel, feeds: readonly Feed[], scratch: Scratch): Promise<WrittenModel> {
  await nameDims(model, feeds);
  return writeModel(model, scratch);
}

function notMade(id: string, error: unknown): Omit<FormReport, "seconds"> {
  const why = `it could not be made: ${error instanceof Error ? error.message : String(error)}`;
  const nothing = {
    needs: [],
    bytes: 0,
    brotliBytes: 0,
    deviceBytes: null,
    score: null,
    sqnrDb: null,
    isWithinBudget: false,
    checks: [],
  };
  return { id, file: `${id}.onnx`, ...nothing, why };
}

/** Returns the seconds since a time, to one decimal. */
export function secondsSince(start: number): number {
  return Number(((performance.now() - start) / 1000).toFixed(1));
}

function shortNumber(value: number): string {
  return value.toFixed(Math.abs(value) < 10 ? 4 : 1);
}
