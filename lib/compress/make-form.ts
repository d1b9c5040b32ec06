// Makes one form of the simplified model: with the samples' statistics, or without where they make it worse. A form
// that missed its budget is made again without the layers with the largest error. Forms for wasm alone have ONNX
// Runtime's graph passes applied ahead.
import { examine } from "./evaluate-form.ts";
import type { Examination } from "./evaluate-form.ts";
import type { Feed } from "./run/feeds.ts";
import type { Form, MakeOptions } from "./forms/forms.ts";
import { nameDims } from "./simplify/name-dims.ts";
import { readModel } from "./onnx/model.ts";
import { optimizeAhead } from "./simplify/ort-optimize.ts";
import type { OnnxModel } from "./onnx/model.ts";
import type { FormReport } from "./report/report.ts";
import { measureHarm, spareLayers } from "./quantize/exclude-layers.ts";

/**
 * Parameters of excluding layers: how it is measured, the minimum quality of the outputs, and the required improvement.
 */
const SPARING = {
  ms: 20_000,
  feeds: 4,
  db: [
    [33, 6],
    [40, 14],
  ],
} as const;

/** A form that was made. */
export interface Made {
  /** Includes the session entries that its bytes need. */
  readonly form: Form;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Inputs for making forms. */
export interface Given extends MakeOptions {
  readonly feeds: readonly Feed[];
}

/**
 * Makes a form that missed its budget again, up to twice, without the layers with the largest error; null where that
 * does not help.
 */
export async function makeSparing(
  form: Form,
  simple: Uint8Array<ArrayBuffer>,
  given: Given,
  { sqnrDb, score }: Pick<FormReport, "sqnrDb" | "score">,
  examination: Examination,
  notes: string[],
): Promise<{ made: Made; report: Omit<FormReport, "seconds"> } | null> {
  if (form.canSpare !== true || sqnrDb === null || given.feeds.length === 0) return null;
  const { metric, onProgress } = examination;
  onProgress(`${form.id} missed its budget: measuring the error of each layer`);
  const harms = await measureHarm(readModel(simple), given.feeds.slice(0, SPARING.feeds), { budgetMs: SPARING.ms });
  let before = 0;
  for (const [leastDb, more] of SPARING.db) {
    const spared = spareLayers(harms, Math.max(leastDb, sqnrDb + more));
    if (spared.size <= before) continue;
    before = spared.size;
    const count = `${spared.size} of ${harms.length} layers`;
    onProgress(`making ${form.id} again, with ${count} excluded`);
    const made = await makeForm(form, simple, { ...given, isSpared: (name) => spared.has(name) }, notes);
    const report = await examine(made.form, made.bytes, examination);
    if (!report.isWithinBudget) continue;
    const was = `${metric.name} ${(score ?? 0).toFixed(metric.name === "sqnr" ? 1 : 4)}`;
    notes.push(
      `${form.id}: the inputs of ${count} are not quantized; with all quantized it missed its budget (${was}).`,
    );
    return { made, report };
  }
  return null;
}

/** Makes a form; where statistics over the samples make it worse, without them. */
export async function makeForm(
  form: Form,
  simple: Uint8Array<ArrayBuffer>,
  given: Given,
  notes: string[],
): Promise<Made> {
  const bytes = await makeBytes(form, simple, given, notes);
  const ahead = form.needs.includes("wasm") ? await optimizeAhead(bytes, form.session?.wasm) : null;
  if (ahead === null) return { form, bytes };
  return { form: { ...form, session: { ...form.session, wasm: ahead.session } }, bytes: ahead.bytes };
}

async function makeBytes(
  form: Form,
  simple: Uint8Array<ArrayBuffer>,
  { feeds, ...options }: Given,
  notes: string[],
): Promise<Uint8Array<ArrayBuffer>> {
  const model = readModel(simple);
  try {
    await form.make(model, feeds, options);
    return await written(model, feeds);
  } catch (error) {
    if (feeds.length === 0) throw error;
    const plain = readModel(simple);
    await form.make(plain, [], { ...options, isMadeUp: true });
    notes.push(`${form.id} was made without the samples: ${error instanceof Error ? error.message : String(error)}.`);
    return written(plain, feeds);
  }
}

async function written(model: OnnxModel, feeds: readonly Feed[]): Promise<Uint8Array<ArrayBuffer>> {
  await nameDims(model, feeds);
  return model.write();
}
