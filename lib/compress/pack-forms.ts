// The last step of a compression: packs the forms that passed as variants of a bundle.
import { join } from "node:path";
import { withGolden } from "./bundle/golden.ts";
import { writeBundle } from "./bundle/pack.ts";
import type { WrittenBundle, PackModel, PackVariant } from "./bundle/pack.ts";
import type { Variant } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { defaultFor, isKept, uncheckedOn } from "./choose-defaults.ts";
import type { Target } from "./forms/forms.ts";
import type { FormResult } from "./make-form.ts";
import type { CompressReport, FormReport } from "./report/report.ts";
import { readModelFile } from "./onnx/model-file.ts";
import { modelMixesRows } from "./onnx/rows-mix.ts";
import { makeScore } from "./run/score.ts";
import type { SimplifiedSource } from "./simplify-source.ts";

/** The bundle, the forms with the bytes that it sends for each, and the form that each target gets. */
export interface PackedForms {
  /** Null, with the reason among the notes, where nothing could be packed. */
  readonly bundle: CompressReport["bundle"];
  readonly reports: readonly FormReport[];
  readonly defaults: CompressReport["defaults"];
}

/** Chooses the default of each target, and packs the forms into `out/bundle`. */
export async function packForms(job: SimplifiedSource, results: readonly FormResult[]): Promise<PackedForms> {
  const reports = results.map((x) => x.report);
  const defaultsOf = (among: readonly FormReport[]): CompressReport["defaults"] =>
    Object.fromEntries(job.targets.map((x) => [x, defaultFor(x, among)]));
  const defaults = defaultsOf(reports);
  const packed = await pack(job, results, defaults);
  if (packed === null) return { bundle: null, reports, defaults };
  // The bundle's chunks are compressed better than the estimate, so what a page chooses is known only now.
  const sizes = new Map(packed.variants.map((x) => [x.id, x.wireBytes]));
  const sent = reports.map((x) => ({ ...x, brotliBytes: sizes.get(x.id) ?? x.brotliBytes }));
  return { bundle: packed.bundle, reports: sent, defaults: defaultsOf(sent.filter((x) => sizes.has(x.id))) };
}

async function pack(
  job: SimplifiedSource,
  results: readonly FormResult[],
  defaults: CompressReport["defaults"],
): Promise<{ bundle: CompressReport["bundle"]; variants: readonly Variant[] } | null> {
  const { description, baseline, out, notes, assets } = job;
  job.onProgress("packing");
  const reports = results.map((x) => x.report);
  const variants = results.filter((x) => isKept(x.report, defaults, reports)).flatMap((x) => variantsOf(x, job));
  // Without a target that passed, a bundle would look like a result.
  if (variants.length === 0 || Object.values(defaults).every((x) => x === null)) return null;
  const model = { ...description, ...(Object.keys(baseline).length > 0 && { baseline }) };
  const checked: PackVariant<PackModel>[] = [];
  for (const variant of variants)
    checked.push(
      await withGolden(variant, model, model.exampleDims, (why) =>
        notes.push(`${variant.id} has no golden, so a page does not check what a GPU computes with it: ${why}.`),
      ),
    );
  let packed: WrittenBundle;
  try {
    packed = await writeBundle(join(out.path, "bundle"), { model, variants: checked, assets });
  } catch (error) {
    if (!isSelvedgeError(error)) throw error;
    notes.push(`No bundle was written: ${error.message}`);
    return null;
  }
  const { bundle, identity, chunkBytes, wireBytes } = packed;
  const ids = variants.map((x) => x.id);
  return { bundle: { identity, variants: ids, bytes: chunkBytes, wireBytes }, variants: bundle.variants };
}

/** Describes a form as a variant; none where it could not be made. */
function variantsOf(
  { made, report }: FormResult,
  { metric, referenceScore, split, out }: SimplifiedSource,
): PackVariant<PackModel>[] {
  if (made === null) return [];
  const { form } = made;
  const model = readModelFile(join(out.path, report.file));
  const at = (target: Target): FormReport["checks"][number] | undefined =>
    report.checks.find((x) => x.target === target);
  const webgpu = (at("webgpu") ?? at("webgpu-f16"))?.assignment;
  const wasm = at("wasm");
  const unchecked = uncheckedOn(report, form.needs);
  const variant: PackVariant<PackModel> = {
    id: form.id,
    needs: form.needs,
    ...(form.session === undefined ? {} : { session: form.session }),
    mixesRows: modelMixesRows(model),
    files: [{ path: "model.onnx", model }],
    ...(report.score !== null &&
      referenceScore !== null && {
        score: makeScore(
          metric.name,
          report.score,
          referenceScore,
          split.scored,
          metric.isMean === true,
          report.interval,
        ),
      }),
    ...(wasm?.speed === undefined ? {} : { speed: { wasm: wasm.speed } }),
    assignment: { ...(webgpu && { webgpu }), ...(wasm?.assignment && { wasm: wasm.assignment }) },
    ...(unchecked.length > 0 && { unchecked }),
  };
  return [variant];
}
