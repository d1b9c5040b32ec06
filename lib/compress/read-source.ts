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
import { describeNonFinite, nonFiniteWeights, REPAIR_NON_FINITE } from "./onnx/non-finite.ts";
import type { NonFiniteWeight } from "./onnx/non-finite.ts";
import type { NodeProto } from "./onnx/onnx.gen.js";
import { describeDropouts, EXPORT_FOR_INFERENCE, trainingDropouts } from "./onnx/random-outputs.ts";
import { writeModel } from "./onnx/written-model.ts";
import type { Scratch } from "./onnx/written-model.ts";
import { openSource } from "./open-source.ts";
import type { OpenedModel } from "./open-source.ts";
import { rowAxis } from "./quantize/quantize-weights.ts";
import { classFolders, classLabels } from "./run/class-folders.ts";
import type { Feed } from "./run/feeds.ts";
import { makeMetric, readLabels } from "./run/metric.ts";
import type { Metric, Tally } from "./run/metric.ts";
import type { References } from "./run/references.ts";
import { requirePackages } from "./run/optional-peers.ts";
import { withObservedDims } from "./run/observed-dims.ts";
import { firstFeeds, holdsImages, samplesOf } from "./run/samples.ts";
import type { Samples } from "./run/samples.ts";
import { runAll } from "./run/session.ts";
import { resolveShapes } from "./run/shape-option.ts";
import { selectSamples } from "./run/split.ts";
import type { Split } from "./run/split.ts";
import type { Baseline } from "./run/tensor-summary.ts";
import { answerTwoRows } from "./run/two-rows.ts";
import type { TwoRows } from "./run/two-rows.ts";
import { useOf, useOfWhole } from "./run/use-metrics.ts";
import { addOutputs, cutSelection, selectionOf } from "./simplify/cut-selection.ts";
import type { CutModel } from "./simplify/cut-selection.ts";
import { CHECK_FEEDS } from "./check/check.ts";

/** Number of samples for calibration statistics. */
const CALIBRATION = 256;

/** All that a compression starts from. */
export interface CompressSource {
  /** Path of a file that runs as `model` does. */
  readonly path: string;
  readonly options: CompressOptions;
  readonly targets: readonly Target[];
  readonly out: OutFolder;
  /** The model as read, with `scored` as further outputs; never changed. */
  readonly model: OnnxModel;
  /** Size of the model as read. */
  readonly sourceBytes: number;
  /** Weights that take no fewer than 16 bits, since they hold NaN or infinities. */
  readonly nonFinite: readonly NonFiniteWeight[];
  /** Values by which forms are scored in place of the outputs behind a selection; null where nothing selects. */
  readonly scored: readonly string[] | null;
  readonly description: Description;
  /** Files that the description refers to, as labels. */
  readonly assets: readonly PackFile[];
  /** Forms that the options name, or that suit the targets. */
  readonly forms: readonly Form[];
  readonly metric: Metric;
  readonly labels: readonly (readonly number[])[] | undefined;
  /** The samples, with the model's outputs. */
  readonly references: References;
  /** The model's score over the held-out samples. */
  readonly referenceScore: number | null;
  /** The same, to score forms on the same draws. */
  readonly referenceTally: Tally;
  /** Which samples forms are fitted to, and which score them. */
  readonly split: Split;
  readonly baseline: Baseline;
  /** Time of one run of the model. */
  readonly sampleMs: number;
  /** The first samples that forms may be fitted to, for calibration. */
  readonly feeds: readonly Feed[];
  /** All samples that forms may be fitted to. */
  readonly fitted: Samples;
  /** The first held-out samples, on which backends are compared. */
  readonly checked: readonly Feed[];
  /** Two of them as one batch, with the model's outputs; null where it takes one row alone. */
  readonly rows: TwoRows | null;
  /** Notes for the report; every step adds its own. */
  readonly notes: string[];
  /** Holds large models until the compression ends. */
  readonly scratch: Scratch;
  isStopped(): boolean;
  onProgress(line: string): void;
}

/**
 * Reads all that a compression starts from.
 * @throws SelvedgeError `model-invalid`; TypeError for a wrong option.
 */
export async function readSource(path: string, options: CompressOptions): Promise<CompressSource> {
  const { onProgress = () => undefined, targets = TARGETS } = options;
  const notes: string[] = [];
  const forms = [...formsFor(targets, options.forms)];
  if (options.mask !== undefined) forms.push(maskedForm(options.mask, notes));
  if (options.labels !== undefined && options.samples === undefined)
    throw new TypeError("labels: they belong to samples; add --samples");
  const given = options.labels === undefined ? undefined : readLabels(options.labels);
  for (const { id, targets: its } of forms)
    if (targets.length > 0 && its.every((x) => !targets.includes(x)))
      throw new TypeError(
        `forms: ${id} is for ${its.join(" and ")}, and the targets are ${targets.join(", ")}: add --targets ${its.at(-1) ?? ""}, or leave ${id} out`,
      );
  const own = readOwnOptions(options);
  requirePackages(packagesFor(options));
  onProgress(`reading ${path}`);
  const opened = await openSource(path);
  notes.push(...opened.notes);
  try {
    return await readOpened(path, options, opened, { forms, own, given, notes });
  } catch (error) {
    await opened.scratch.close();
    throw error;
  }
}

/** Facts that the options state, before a model was read. */
interface Stated {
  readonly forms: readonly Form[];
  readonly own: ReturnType<typeof readOwnOptions>;
  /** Labels of a file. */
  readonly given: CompressSource["labels"];
  readonly notes: string[];
}

async function readOpened(
  path: string,
  options: CompressOptions,
  { model, files, runnable, scratch }: OpenedModel,
  { forms, own, given, notes }: Stated,
): Promise<CompressSource> {
  const { signal, onProgress = () => undefined, targets = TARGETS } = options;
  const out = await openOut(options, [path, ...files.map((x) => x.file)], forms);
  const { description: described, assets } = await describeWith(model, path, options, own);
  const labels = given ?? labelsByFolder(options, described, assets);
  const use = options.samples === undefined ? useOfWhole(described.outputs) : useOf(path, described.outputs);
  const hasLabels = labels !== undefined;
  // Another metric reads the outputs themselves.
  const isBySignal =
    ["sqnr", undefined].includes(options.metric) && !hasLabels && (use === null || use.isWhole === true);
  const cut = isBySignal ? cutSelection(model) : null;
  const metric = await makeMetric(options.metric, {
    maxDrop: options.maxDrop,
    hasLabels,
    decode: described.outputs[0]?.decode,
    use: cut === null ? use : null,
  });
  if (isBySignal) notes.push(...selectionNote(model, cut));
  const sourceBytes = model.byteLength;
  const head = cut === null ? runnable : ((await writeModel(cut.head, scratch, 0)).source as string);
  const nonFinite = nonFiniteWeights(model, (graph, tensor) => rowAxis(graph, tensor) !== undefined);
  notes.push(...nonFiniteNote(nonFinite), ...trainingNote(trainingDropouts(model)));
  const isStopped = (): boolean => signal?.aborted === true;
  const sized = withShapes(described, options);
  const opened = isStopped()
    ? samplesOf([])
    : await samplesFor(runnable, sized, model, { ...options, given: path, assets, nonFinite }, notes);
  const started = performance.now();
  // Pruning and the search need more samples than statistics do.
  const fittedMost = options.prune === undefined && options.search === undefined ? CALIBRATION : Infinity;
  const run = await runReference(head, opened, metric, labels, { ...options, fittedMost, nonFinite }, notes);
  const { references, split, score: referenceScore, tally: referenceTally, baseline } = run;
  const { samples } = references;
  const sampleMs = (performance.now() - started) / Math.max(1, samples.n);
  const fitted = selectSamples(samples, split.fitted, split.isFitted);
  const feeds = await firstFeeds(fitted, CALIBRATION);
  const checked = await firstFeeds(selectSamples(samples, split.scored, split.isScored), CHECK_FEEDS);
  const rows = await answerTwoRows(head, described.inputs, checked);
  const [first] = cut === null ? [await references.first()] : await runAll(runnable, checked.slice(0, 1));
  const alone = withObservedDims(described.outputs, model, first, notes);
  const outputs = withObservedDims(alone, model, rows?.reference, notes, options.bundle === undefined);
  const scored = cut?.read.filter((name) => !model.graph.isOutput(name)) ?? null;
  addOutputs(model, scored ?? []);
  return {
    ...{
      path: runnable,
      sourceBytes,
      nonFinite,
      scored,
      options,
      targets,
      out,
      model,
      assets,
      forms,
      metric,
      labels,
      references,
      baseline,
      sampleMs,
    },
    ...{ feeds, fitted, checked, rows, split, referenceScore, referenceTally, notes, scratch, isStopped, onProgress },
    description: withTypical({ ...described, outputs }, feeds[0]),
  };
}

/** Returns a note on a model whose outputs depend on a selection: by which values its forms are scored. */
function selectionNote(model: OnnxModel, cut: CutModel | null): string[] {
  const selection = selectionOf(model);
  if (selection === null) return [];
  const quoted = (names: readonly string[]): string => names.map((x) => `"${x}"`).join(", ");
  const operators = selection.operators.join(" and ");
  const change = `The smallest error may change what ${operators} selects, and with it ${quoted(selection.behind)}`;
  return cut === null
    ? [`${change}: a form that selects otherwise counts as wrong. Give --metric, a module that compares the outputs.`]
    : [`${change}: forms are scored by the values that it selects from (${quoted(cut.read)}).`];
}

/** Returns a note on weights that no form stores in 8 or 4 bits. */
function nonFiniteNote(weights: readonly NonFiniteWeight[]): string[] {
  if (weights.length === 0) return [];
  return [
    `Of the model's weights, ${describeNonFinite(weights)}: these take no 8 or 4 bits. Repair the model: ${REPAIR_NON_FINITE}.`,
  ];
}

/** Returns a note on values that the model drops in every run. */
function trainingNote(dropouts: readonly NodeProto[]): string[] {
  if (dropouts.length === 0) return [];
  return [`${describeDropouts(dropouts)}, and answers differ from run to run: ${EXPORT_FOR_INFERENCE}.`];
}

/** Returns the labels of samples that lie in class folders; undefined where they do not. */
function labelsByFolder(
  { samples }: CompressOptions,
  { outputs }: Description,
  assets: readonly PackFile[],
): number[][] | undefined {
  const folders = samples === undefined ? null : classFolders(samples);
  if (folders === null) return undefined;
  const decode = outputs.map((x) => x.decode).find((x) => x?.op === "labels");
  const table = decode !== undefined && "asset" in decode ? assets.find((x) => x.path === decode.asset) : undefined;
  const names = table && new TextDecoder().decode(table.bytes).trimEnd().split("\n");
  const classes = outputs[0]?.dims.at(-1);
  return classLabels(folders, names, typeof classes === "number" ? classes : undefined);
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
  if (ids.includes("int8")) ids.push("mixed");
  if (search !== undefined) ids.push("searched", "searched-fast");
  const reports = ["search.json", "report.md", "report.html", "report.json", "bundle"];
  folder.check([...ids.map((id) => `${id}.onnx`), ...reports]);
  await checkReplaceable(join(out, "bundle"));
  return folder;
}
