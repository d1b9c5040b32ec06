// The last step of a compression: packs the forms that passed as variants of a bundle.
import { join } from "node:path";
import { packBundle, writePacked } from "./bundle/pack.ts";
import type { PackVariant } from "./bundle/pack.ts";
import { isKept, uncheckedOn } from "./choose-defaults.ts";
import type { Target } from "./forms/forms.ts";
import type { FormResult } from "./make-form.ts";
import type { CompressReport, FormReport } from "./report/report.ts";
import { makeScore } from "./run/score.ts";
import type { Job } from "./simplify-source.ts";

/** Packs the forms into `out/bundle`; null, with the reason among the notes, where nothing could be packed. */
export async function packForms(
  job: Job,
  results: readonly FormResult[],
  defaults: CompressReport["defaults"],
): Promise<CompressReport["bundle"]> {
  const { description, baseline, out, notes, assets } = job;
  job.onProgress("packing");
  const reports = results.map((x) => x.report);
  const variants = results.filter((x) => isKept(x.report, defaults, reports)).flatMap((x) => variantsOf(x, job));
  // Without a target that passed, a bundle would look like a result.
  if (variants.length === 0 || Object.values(defaults).every((x) => x === null)) return null;
  const model = { ...description, ...(Object.keys(baseline).length > 0 && { baseline }) };
  let packed: Awaited<ReturnType<typeof packBundle>>;
  try {
    packed = await packBundle({ model, variants, assets });
  } catch (error) {
    notes.push(`No bundle was written: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
  const { identity, chunkBytes, wireBytes } = await writePacked(join(out.path, "bundle"), packed);
  return { identity, variants: variants.map((x) => x.id), bytes: chunkBytes, wireBytes };
}

/** Describes a form as a variant; none where it could not be made. */
function variantsOf({ made, report }: FormResult, { metric, referenceScore, references }: Job): PackVariant[] {
  if (made === null) return [];
  const { form, bytes } = made;
  const at = (target: Target): FormReport["checks"][number] | undefined =>
    report.checks.find((x) => x.target === target);
  const webgpu = (at("webgpu") ?? at("webgpu-f16"))?.assignment;
  const wasm = at("wasm");
  const unchecked = uncheckedOn(report, form.needs);
  const variant: PackVariant = {
    id: form.id,
    needs: form.needs,
    ...(form.session === undefined ? {} : { session: form.session }),
    files: [{ path: "model.onnx", bytes, isModel: true }],
    ...(report.score !== null &&
      referenceScore !== null && {
        score: makeScore(metric.name, report.score, referenceScore, references.samples.n, metric.isMean === true),
      }),
    ...(wasm?.speed === undefined ? {} : { speed: { wasm: wasm.speed } }),
    assignment: { ...(webgpu && { webgpu }), ...(wasm?.assignment && { wasm: wasm.assignment }) },
    ...(unchecked.length > 0 && { unchecked }),
  };
  return [variant];
}
