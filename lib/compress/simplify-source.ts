// The second step of a compression: simplifies the model that was read. The original stays where that fails, or changes
// the outputs.
import { withBatchAxis } from "./bundle/describe.ts";
import type { Description } from "./bundle/describe.ts";
import { rethrowDiskFull } from "./onnx/disk-full.ts";
import { writeModel } from "./onnx/written-model.ts";
import type { OnnxModel } from "./onnx/model.ts";
import type { OnnxSource, WrittenModel } from "./onnx/written-model.ts";
import type { CompressSource } from "./read-source.ts";
import type { Feed } from "./run/feeds.ts";
import { EXACT_DB, sqnr } from "./run/metric.ts";
import { openModel, runAll } from "./run/session.ts";
import { cutSelection, withoutOutputs } from "./simplify/cut-selection.ts";
import { dropInitializerInputs } from "./simplify/drop-initializer-inputs.ts";
import { legalize } from "./simplify/legalize.ts";
import { foldKnown } from "./simplify/fold-known-dims.ts";
import { narrowIds } from "./simplify/narrow-ids.ts";
import { simplify } from "./simplify/simplify.ts";
import { splitLogSoftmax } from "./simplify/split-log-softmax.ts";

/** A simplified model's outputs equal the source's up to rounding. */
const SIMPLIFIED_DB = 60;

/** A compression whose model is simplified. */
export interface SimplifiedSource extends CompressSource {
  /** The model that all forms are made from. */
  readonly simple: WrittenModel;
  /**
   * Returns a form as it is written: with the selection behind it, where the model was cut before one; where it is
   * observed, the values that the selection reads are outputs too.
   */
  complete(form: OnnxModel, isObserved?: boolean): OnnxModel;
  /** Outputs behind the selection; none where the model was not cut. */
  readonly behind: readonly string[];
}

/** Simplifies the model, and finds out whether the result takes several samples at once. */
export async function simplifySource(source: CompressSource): Promise<SimplifiedSource> {
  source.onProgress("simplifying");
  const { scratch, scored, feeds, checked } = source;
  const asIs = (form: OnnxModel): OnnxModel => form;
  if (source.isStopped())
    return { ...source, simple: await writeModel(source.model, scratch), complete: asIs, behind: [] };
  const whole = await simplified(source);
  const cut = scored && cutSelection(whole.model, scored);
  const complete = cut?.join ?? (scored === null ? asIs : (form: OnnxModel) => withoutOutputs(form, scored));
  const behind = cut?.behind ?? [];
  const simple = cut === null ? whole : await writeModel(cut.head, scratch);
  if (source.options.bundle !== undefined) return { ...source, simple, complete, behind };
  const completed = scored === null ? simple : await writeModel(complete(simple.model), scratch);
  const description = await batchable(source.description, completed.source, [...feeds.slice(0, 8), ...checked]);
  return { ...source, simple, complete, behind, description };
}

async function simplified(source: CompressSource): Promise<WrittenModel> {
  const { model: original, notes, scratch } = source;
  let why = "";
  for (const isRecordKept of [true, false]) {
    const model = original.copy();
    // Exporters record shapes of inner values, and who opens the batch of a finished model leaves those of one row in it.
    if (!isRecordKept && !dropRecordedShapes(model)) break;
    try {
      const { written, rewritten, ratio } = await simplifyCopy(model, source);
      if (ratio >= SIMPLIFIED_DB) {
        notes.push(...rewritten);
        if (!isRecordKept)
          notes.push("The model records shapes of inner values that do not hold in every run: they were left out.");
        return written;
      }
      why = `Simplifying changed the outputs (${ratio.toFixed(1)} dB)`;
    } catch (error) {
      rethrowDiskFull(error);
      why = `The model could not be simplified (${error instanceof Error ? error.message : String(error)})`;
    }
  }
  notes.push(`${why}, so the forms are made from the original model.`);
  return writeModel(original, scratch);
}

/** Removes the recorded shapes of inner values; returns whether there were any. */
function dropRecordedShapes({ graph }: OnnxModel): boolean {
  let isDropped = false;
  for (const { proto } of graph.all()) {
    isDropped ||= proto.valueInfo.length > 0;
    proto.valueInfo = [];
  }
  graph.changed();
  return isDropped;
}

/** Simplifies a model in place; its outputs equal the source's where the ratio is high, or where there are no samples. */
async function simplifyCopy(
  model: OnnxModel,
  { path, targets, feeds, rows, scratch }: CompressSource,
): Promise<{ written: WrittenModel; rewritten: readonly string[]; ratio: number }> {
  model.transform(dropInitializerInputs(), simplify());
  const isForGpu = targets.some((x) => x !== "wasm");
  const rewritten: string[] = [];
  if (isForGpu) model.transform(splitLogSoftmax(), legalize(rewritten));
  await foldKnown(model);
  if (isForGpu) model.transform(narrowIds());
  const written = await writeModel(model, scratch);
  const few = feeds.slice(0, 4);
  if (few.length === 0) return { written, rewritten, ratio: EXACT_DB };
  const was = [...(await runAll(path, few)), ...(rows === null ? [] : [rows.reference])];
  const now = await runAll(written.source, [...few, ...(rows === null ? [] : [rows.feed])]);
  const ratio = sqnr(now.map((outputs, i) => ({ outputs, reference: was[i] ?? {} })));
  return { written, rewritten, ratio };
}

async function batchable(described: Description, source: OnnxSource, feeds: readonly Feed[]): Promise<Description> {
  const model = await openModel(source, "cpu");
  try {
    return await withBatchAxis(described, feeds, model);
  } finally {
    await model.release();
  }
}
