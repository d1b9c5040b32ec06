// Compresses a float32 model into every form that its targets need: read, simplify, make, measure, check, pack. Every
// requested form is written to `out`, whether it met its budget or not; the bundle holds those that passed. A form that
// cannot be made or run is named in the report and does not stop the others.
//
// The model is decoded once. Steps hand it on as it is, with its bytes where ONNX Runtime loads it, and copy it before
// they change it.
import { basename, join } from "node:path";
import { keepGeneration } from "./bundle/keep-generation.ts";
import type { OutFolder } from "./bundle/out-folder.ts";
import { readOwnOptions } from "./bundle/own-description.ts";
import type { CompressOptions } from "./compress-options.ts";
import { formsFor, TARGETS } from "./forms/forms.ts";
import { listForms } from "./list-forms.ts";
import { makeForms, secondsSince } from "./make-form.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { LARGE_BYTES, rawLength } from "./onnx/stored-bytes.ts";
import { snapshotOf } from "./onnx/hub-cache.ts";
import { packForms } from "./pack-forms.ts";
import { readSource } from "./read-source.ts";
import { isFolder, openRepository } from "./repository.ts";
import type { CompressSource } from "./read-source.ts";
import type { Recipe } from "./recipe.ts";
import { htmlReport } from "./report/html.ts";
import { markdownReport } from "./report/markdown.ts";
import type { CompressReport } from "./report/report.ts";
import { makeMetric } from "./run/metric.ts";
import { measureSensitivity } from "./run/sensitivity.ts";
import { simplifySource } from "./simplify-source.ts";
import type { SimplifiedSource } from "./simplify-source.ts";

const SENSITIVITY = { ms: 10_000, feeds: 4 } as const;

/** Returns what `compress` would make, as a recipe that can be passed back in. */
export async function planCompression(options: CompressOptions): Promise<Recipe> {
  const { samples, labels, maxDrop, bundle, limit, targets = TARGETS } = options;
  readOwnOptions(options);
  const hasLabels = labels !== undefined;
  await makeMetric(options.metric, { maxDrop, hasLabels });
  // Without labels the metric follows from the model's use, when the plan is run.
  const metric = options.metric ?? (hasLabels ? "top1" : undefined);
  const forms = formsFor(targets, options.forms).map((x) => x.id);
  const { prune, mask, repository, image, classes, top, logits, shape } = options;
  return {
    schema: "selvedge/recipe@1",
    ...{
      targets,
      forms,
      samples,
      labels,
      metric,
      maxDrop,
      bundle,
      repository,
      image,
      classes,
      top,
      logits,
      limit,
      prune,
      mask,
      shape,
    },
  };
}

/**
 * Compresses a model file, or the only graph of a folder in the Hugging Face layout, and writes forms, bundle and reports to `options.out`.
 * @throws SelvedgeError `model-invalid`; TypeError for a wrong option.
 * @example await compress("model.onnx", { out: "dist/model", targets: ["wasm"], samples: "samples.npz" })
 */
export async function compress(path: string, options: CompressOptions): Promise<CompressReport> {
  if (isFolder(path)) return compressOnly(path, options);
  const started = performance.now();
  const source = await readSource(path, options);
  try {
    return await compressSource(path, source, started);
  } finally {
    await source.scratch.close();
  }
}

/** Compresses the only graph of a repository. */
async function compressOnly(folder: string, options: CompressOptions): Promise<CompressReport> {
  const [only, second] = openRepository(folder).graphs;
  if (only !== undefined && second === undefined)
    return compress(only.path, { ...options, repository: options.repository ?? folder });
  throw new TypeError(`model: ${folder} holds several graphs: give the path of one, or call compressRepository`);
}

/** A graph of a repository, and the report of its compression. */
export interface GraphReport {
  /** As `model` or `encoder_model`. */
  readonly base: string;
  /** Report of that graph alone. */
  readonly report: CompressReport;
}

/**
 * Compresses each float graph of a folder in the Hugging Face layout, described by its files. One graph is written to
 * `options.out`, several to a folder of their names in it; those that `decoder_model_merged` holds are left out.
 * @throws as `compress`
 */
export async function compressRepository(folder: string, options: CompressOptions): Promise<GraphReport[]> {
  const { graphs } = openRepository(folder);
  const reports: GraphReport[] = [];
  for (const { base, path } of graphs) {
    const out = graphs.length === 1 ? options.out : join(options.out, base);
    const repository = options.repository ?? folder;
    reports.push({ base, report: await compress(path, { ...options, repository, out }) });
    if (options.signal?.aborted === true) break;
  }
  return reports;
}

async function compressSource(path: string, source: CompressSource, started: number): Promise<CompressReport> {
  const job = await simplifySource(source);
  const { forms, pruning, searched } = await listForms(job);
  const results = await makeForms(job, forms);
  const sensitivity = await sensitivityOf(job);
  const { bundle, reports, defaults } = await packForms(job, results);
  const { metric, referenceScore, references, split, notes, options } = job;
  const kept =
    options.repository === undefined ? null : await keepGeneration(snapshotOf(options.repository), job.out.path);
  const { n, isSynthetic, notes: sampleNotes } = references.samples;
  const report: CompressReport = {
    schema: "selvedge/report@1",
    model: basename(path),
    sourceBytes: job.sourceBytes,
    targets: job.targets,
    metric: { name: metric.name, budget: metric.budget, reference: referenceScore },
    samples: { n, fitted: split.fitted, scored: split.scored, isSynthetic },
    forms: reports,
    defaults,
    bundle,
    tensors: largest(job.simple.model).map(withNode(job.model)),
    sensitivity: sensitivity.map(withNode(job.model)),
    ...(pruning !== null && { pruning }),
    ...(searched !== null && { search: searched }),
    notes: [...sampleNotes, ...notes, ...(kept === null ? [] : [`${kept}.`])],
    isStopped: job.isStopped(),
    seconds: secondsSince(started),
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
  await writeReports(job.out, report);
  return report;
}

async function writeReports(out: OutFolder, report: CompressReport): Promise<void> {
  const encode = (text: string): Uint8Array[] => [new TextEncoder().encode(text)];
  await out.write("report.md", encode(markdownReport(report)));
  await out.write("report.html", encode(htmlReport(report)));
  await out.write("report.json", encode(`${JSON.stringify(report, null, 2)}\n`));
}

async function sensitivityOf({
  simple,
  feeds,
  options,
  notes,
  ...job
}: SimplifiedSource): Promise<CompressReport["sensitivity"]> {
  const { sensitivityMs = SENSITIVITY.ms, signal } = options;
  if (sensitivityMs === 0 || job.isStopped() || feeds.length === 0) return [];
  if (simple.byteLength >= LARGE_BYTES) {
    notes.push("The sensitivity of the weights was not measured: the model is larger than 128 MiB.");
    return [];
  }
  job.onProgress(`measuring the sensitivity of each weight, ${Math.ceil(sensitivityMs / 1000)} s at most`);
  try {
    return await measureSensitivity(simple.model, feeds.slice(0, SENSITIVITY.feeds), {
      budgetMs: sensitivityMs,
      signal,
    });
  } catch (error) {
    notes.push(
      `The sensitivity of the weights could not be measured: ${error instanceof Error ? error.message : String(error)}`,
    );
    return [];
  }
}

function largest({ graph }: OnnxModel): CompressReport["tensors"] {
  return graph.proto.initializer
    .map((x) => ({ name: x.name, bytes: rawLength(x) }))
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 20);
}

/** Adds the path of the node that uses a tensor whose name an exporter generated, such as `onnx::MatMul_1130`. */
function withNode<Row extends { readonly name: string }>({ graph }: OnnxModel): (row: Row) => Row & { node?: string } {
  return (row) => {
    const node = /^(onnx::|_v_|val_)|^\d+$/.test(row.name) ? graph.consumers(row.name)[0]?.name : undefined;
    return node === undefined || node === "" ? row : { ...row, node };
  };
}
