// The first step of a compression: reads the model, its description, the samples and their labels, and runs the model
// over the samples. A wrong option is refused here, before anything takes long.
import { join } from "node:path";
import { withTypical } from "./bundle/describe.ts";
import type { Description } from "./bundle/describe.ts";
import { OutFolder } from "./bundle/out-folder.ts";
import { describeWith, readOwnOptions } from "./bundle/own-description.ts";
import type { PackFile } from "./bundle/pack.ts";
import { checkReplaceable } from "./bundle/replace-bundle.ts";
import type { CompressOptions } from "./compress-options.ts";
import { runReference, samplesFor } from "./evaluate-source.ts";
import { formsFor, TARGETS } from "./forms/forms.ts";
import type { Form, Target } from "./forms/forms.ts";
import { maskedForm } from "./forms/prune-forms.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { openSource } from "./open-source.ts";
import type { Feed } from "./run/feeds.ts";
import { makeMetric, readLabels } from "./run/metric.ts";
import type { Metric } from "./run/metric.ts";
import type { References } from "./run/references.ts";
import { requirePackages } from "./run/optional-peers.ts";
import { withObservedDims } from "./run/observed-dims.ts";
import { firstFeeds, holdsImages, samplesOf } from "./run/samples.ts";
import { resolveShapes } from "./run/shape-option.ts";
import type { Baseline } from "./run/tensor-summary.ts";

/** Number of samples for calibration statistics. */
const CALIBRATION = 256;

/** All that a compression starts from. */
export interface Source {
  /** Path of a file that runs as `model` does. */
  readonly path: string;
  readonly options: CompressOptions;
  readonly targets: readonly Target[];
  readonly out: OutFolder;
  /** The model as read; never changed. */
  readonly model: OnnxModel;
  readonly description: Description;
  /** Files that the description refers to, as labels. */
  readonly assets: readonly PackFile[];
  /** Forms that the options name, or that suit the targets. */
  readonly forms: readonly Form[];
  readonly metric: Metric;
  readonly labels: readonly (readonly number[])[] | undefined;
  /** The samples, with the model's outputs. */
  readonly references: References;
  readonly referenceScore: number | null;
  readonly baseline: Baseline;
  /** Time of one run of the model. */
  readonly sampleMs: number;
  /** The first samples, for calibration. */
  readonly feeds: readonly Feed[];
  /** Notes for the report; every step adds its own. */
  readonly notes: string[];
  /** Removes what reading left in a temporary folder. */
  close(): Promise<void>;
  isStopped(): boolean;
  onProgress(line: string): void;
}

/**
 * Reads all that a compression starts from.
 * @throws SelvedgeError `model-invalid`; TypeError for a wrong option.
 */
export async function readSource(path: string, options: CompressOptions): Promise<Source> {
  const { signal, onProgress = () => undefined, targets = TARGETS } = options;
  const notes: string[] = [];
  const forms = [...formsFor(targets, options.forms)];
  if (options.mask !== undefined) forms.push(maskedForm(options.mask, notes));
  const labels = options.labels === undefined ? undefined : readLabels(options.labels);
  const own = readOwnOptions(options);
  requirePackages(packagesFor(options));
  onProgress(`reading ${path}`);
  const { model, files, runnable, notes: readNotes, close } = await openSource(path);
  notes.push(...readNotes);
  const out = await openOut(options, [path, ...files], forms);
  const { description: described, assets } = await describeWith(model, path, options.bundle, own);
  const metric = await makeMetric(options.metric, {
    maxDrop: options.maxDrop,
    hasLabels: labels !== undefined,
    isCtc: described.outputs[0]?.decode?.op === "ctc",
  });
  const isStopped = (): boolean => signal?.aborted === true;
  const sized = withShapes(described, options);
  const given = isStopped() ? samplesOf([]) : await samplesFor(runnable, sized, model, options, notes);
  const started = performance.now();
  const { references, score, baseline } = await runReference(runnable, given, metric, labels, options, notes);
  const { samples } = references;
  const sampleMs = (performance.now() - started) / Math.max(1, samples.n);
  const feeds = await firstFeeds(samples, CALIBRATION);
  const outputs = withObservedDims(described.outputs, model, await references.first(), notes);
  return {
    ...{ path: runnable, options, targets, out, model, assets, forms, metric, labels, references, baseline, sampleMs },
    ...{ feeds, notes, close, referenceScore: score, isStopped, onProgress },
    description: withTypical({ ...described, outputs }, feeds[0]),
  };
}

/** Adds the sizes of `--shape` to a description, for synthetic inputs. */
function withShapes(description: Description, { shape, samples }: CompressOptions): Description {
  if (shape === undefined || shape.length === 0) return description;
  if (samples !== undefined)
    throw new TypeError("shape: --samples have shapes of their own: leave one of the two options out");
  const exampleDims = { ...description.exampleDims, ...resolveShapes(shape, description.inputs) };
  return { ...description, exampleDims };
}

/** Lists the optional packages that a compression needs: all are named before it begins. */
export function packagesFor({ samples, browser }: CompressOptions): string[] {
  return [
    "onnxruntime-node",
    ...(samples !== undefined && holdsImages(samples) ? ["sharp"] : []),
    ...(browser === undefined ? [] : ["playwright-core"]),
  ];
}

/** Opens the output folder. Refuses it before the work begins if a result would overwrite an input. */
async function openOut(
  { out, samples, labels, classes, prune, search }: CompressOptions,
  files: readonly string[],
  forms: readonly Form[],
): Promise<OutFolder> {
  const folder = new OutFolder(
    out,
    [...files, samples, labels, classes].filter((x) => x !== undefined),
  );
  const ids = [...forms.map((x) => x.id), ...(prune ? ["pruned", "pruned-int8"] : [])];
  if (search !== undefined) ids.push("searched", "searched-fast");
  const reports = ["search.json", "report.md", "report.html", "report.json", "bundle"];
  folder.check([...ids.map((id) => `${id}.onnx`), ...reports]);
  await checkReplaceable(join(out, "bundle"));
  return folder;
}
