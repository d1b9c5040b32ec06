// The second step of a compression: simplifies the model that was read. The original stays where that fails, or changes
// the outputs.
import { withBatchAxis } from "./bundle/describe.ts";
import type { Description } from "./bundle/describe.ts";
import { rethrowDiskFull } from "./onnx/disk-full.ts";
import { writeModel } from "./onnx/written-model.ts";
import type { ModelSource, WrittenModel } from "./onnx/written-model.ts";
import type { Source } from "./read-source.ts";
import type { Feed } from "./run/feeds.ts";
import { sqnr } from "./run/metric.ts";
import { openModel, runAll } from "./run/session.ts";
import { dropInitializerInputs } from "./simplify/drop-initializer-inputs.ts";
import { legalize } from "./simplify/legalize.ts";
import { foldKnown } from "./simplify/fold-known-dims.ts";
import { narrowIds } from "./simplify/narrow-ids.ts";
import { simplify } from "./simplify/simplify.ts";
import { splitLogSoftmax } from "./simplify/split-log-softmax.ts";

/** A simplified model's outputs equal the source's up to rounding. */
const SIMPLIFIED_DB = 60;

/** A compression whose model is simplified. */
export interface Job extends Source {
  /** The model that all forms are made from. */
  readonly simple: WrittenModel;
}

/** Simplifies the model, and finds out whether the result takes several samples at once. */
export async function simplifySource(source: Source): Promise<Job> {
  source.onProgress("simplifying");
  if (source.isStopped()) return { ...source, simple: await writeModel(source.model, source.scratch) };
  const simple = await simplified(source);
  if (source.options.bundle !== undefined) return { ...source, simple };
  return {
    ...source,
    simple,
    description: await batchable(source.description, simple.source, [...source.feeds.slice(0, 8), ...source.checked]),
  };
}

async function simplified({ path, model: original, targets, feeds, notes, scratch }: Source): Promise<WrittenModel> {
  try {
    const model = original.copy().transform(dropInitializerInputs(), simplify());
    const isForGpu = targets.some((x) => x !== "wasm");
    const rewritten: string[] = [];
    if (isForGpu) model.transform(splitLogSoftmax(), legalize(rewritten));
    await foldKnown(model);
    if (isForGpu) model.transform(narrowIds());
    const written = await writeModel(model, scratch);
    const few = feeds.slice(0, 4);
    const [was, now] = [await runAll(path, few), await runAll(written.source, few)];
    const ratio = sqnr(now.map((outputs, i) => ({ outputs, reference: was[i] ?? {} })));
    if (few.length === 0 || ratio >= SIMPLIFIED_DB) {
      notes.push(...rewritten);
      return written;
    }
    notes.push(
      `Simplifying changed the outputs (${ratio.toFixed(1)} dB), so the forms are made from the original model.`,
    );
  } catch (error) {
    rethrowDiskFull(error);
    const reason = error instanceof Error ? error.message : String(error);
    notes.push(`The model could not be simplified (${reason}), so the forms are made from the original model.`);
  }
  return writeModel(original, scratch);
}

async function batchable(described: Description, source: ModelSource, feeds: readonly Feed[]): Promise<Description> {
  const model = await openModel(source, "cpu");
  try {
    return await withBatchAxis(described, feeds, model);
  } finally {
    await model.release();
  }
}
