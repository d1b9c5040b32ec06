// From a float32 model to every form that its targets need, each measured, checked and written: read, simplify, make,
// measure, check, pack. Every form asked for is written to `out`, whether it met its budget or not; the bundle holds what
// passed. The model is read once; each form is made from the simplified one, whose weights are views into its bytes.
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import type { Bundle } from "../bundle.ts";
import { parseBundle } from "../bundle-schema.ts";
import { Checker } from "./check.ts";
import type { Check } from "./check.ts";
import { readModelFile, writeWhole } from "./files.ts";
import { formsFor, TARGETS } from "./forms.ts";
import type { Form, Target } from "./forms.ts";
import { foldConstants } from "./infer.ts";
import { describePorts } from "./inspect.ts";
import { makeMetric, readLabels } from "./metric.ts";
import type { Metric, Outputs } from "./metric.ts";
import { readModel, tensorBorders } from "./onnx.ts";
import type { OnnxModel } from "./onnx.ts";
import { writeBundle } from "./pack.ts";
import type { PackFile, PackVariant } from "./pack.ts";
import { prune } from "./prune.ts";
import type { CompressReport, FormReport } from "./outcome.ts";
import { htmlReport, markdownReport } from "./report.ts";
import { readSamples } from "./samples.ts";
import type { Feed, Samples } from "./samples.ts";
import { openModel } from "./session.ts";
import { simplify } from "./simplify.ts";
import { elementCount } from "./weights.ts";
import { joinPieces } from "./wire.ts";

/** Options of `compress`. */
export interface CompressOptions {
  /** Folder that is written to. */
  readonly out: string;
  /** Default all three. */
  readonly targets?: readonly Target[];
  /** Path of .npy, .npz, JSON lines, a folder, or a module. Default: inputs are made up. */
  readonly samples?: string | undefined;
  /** Path of the labels, one for each sample. */
  readonly labels?: string | undefined;
  /** sqnr, top1, exact, perplexity, or a module's path. Default "top1" with labels, else "sqnr". */
  readonly metric?: string | undefined;
  /** Share that the metric may lose, as "0.5%"; for sqnr the least ratio, as "30dB". */
  readonly maxDrop?: string | undefined;
  /** Path of a bundle.json whose model is described the same: names, preprocessing. */
  readonly bundle?: string | undefined;
  /** Names of the forms to make. Default those that suit the targets. */
  readonly forms?: readonly string[] | undefined;
  /** Bounds the samples that are used. Default 256. */
  readonly limit?: number;
  /** Only tells what would be made. Default false. */
  readonly dryRun?: boolean;
  /** Ends the work after the form at hand; what is done is packed. */
  readonly signal?: AbortSignal;
  /** Is told each step. */
  readonly onProgress?: (line: string) => void;
}

/** What a run would make, without making it. */
export interface Plan {
  readonly schema: "selvedge/recipe@1";
  readonly targets: readonly Target[];
  readonly forms: readonly string[];
  readonly metric: string;
  readonly budget: string;
}

/** Tells what `compress` would make. */
export async function planCompression(options: CompressOptions): Promise<Plan> {
  const targets = options.targets ?? TARGETS;
  const metric = await makeMetric(options.metric, {
    maxDrop: options.maxDrop,
    hasLabels: options.labels !== undefined,
  });
  const forms = formsFor(targets, options.forms).map((x) => x.id);
  return { schema: "selvedge/recipe@1", targets, forms, metric: metric.name, budget: metric.budget };
}

/**
 * Compresses a model file and writes forms, bundle and reports to `options.out`.
 * @throws SelvedgeError `model-invalid`; TypeError for a wrong option.
 * @example await compress("model.onnx", { out: "dist/model", targets: ["wasm"], samples: "samples.npz" })
 */
export async function compress(path: string, options: CompressOptions): Promise<CompressReport> {
  const { out, signal, onProgress = () => undefined, limit = 256 } = options;
  const targets = options.targets ?? TARGETS;
  const forms = formsFor(targets, options.forms);
  const labels = options.labels === undefined ? undefined : readLabels(options.labels);
  onProgress(`reading ${path}`);
  const source = readModelFile(path);
  const described = await describe(source, path, options.bundle);
  const metric = await makeMetric(options.metric, {
    maxDrop: options.maxDrop,
    hasLabels: labels !== undefined,
    isCtc: described.outputs[0]?.decode?.op === "ctc",
  });
  const samples = await readSamples(options.samples, described.inputs, {
    limit,
    typical: described.typical ?? {},
    bound: smallestTable(source),
  });
  if (labels !== undefined && labels.length < samples.feeds.length)
    throw new TypeError(`labels: there are ${labels.length} for ${samples.feeds.length} samples`);
  onProgress(`running the model on ${samples.feeds.length} samples`);
  const reference = await runAll(path, samples.feeds, {});
  const sourceBytes = source.byteLength;
  onProgress("simplifying");
  const simple = await simplified(source);
  const scoreOf = (outputs: readonly Outputs[]): number =>
    metric.score(
      outputs.map((x, i) => ({
        outputs: x,
        reference: reference[i] ?? {},
        feed: samples.feeds[i] ?? {},
        label: labels?.[i],
      })),
    );
  const referenceScore = scoreOf(reference);
  const checker = new Checker(simple, samples.feeds);
  const reports: FormReport[] = [];
  const made = new Map<string, PackVariant>();
  const started = performance.now();
  await mkdir(out, { recursive: true });
  for (const [i, form] of forms.entries()) {
    if (signal?.aborted === true) break;
    const left =
      i === 0 ? "" : `, about ${Math.ceil(((performance.now() - started) / i / 1000) * (forms.length - i))} s left`;
    onProgress(`[${i + 1}/${forms.length}] ${form.id}${left}`);
    const model = readModel(simple);
    await form.make(model, samples.feeds);
    const bytes = form.id === "f32" ? simple : model.write();
    await writeWhole(join(out, `${form.id}.onnx`), [bytes]);
    const report = await examine(form, bytes, {
      checker,
      samples,
      targets,
      metric,
      referenceScore,
      scoreOf,
      reference,
    });
    reports.push(report);
    made.set(form.id, variantOf(form, bytes, report, metric, referenceScore, samples));
  }
  const defaults = Object.fromEntries(targets.map((x) => [x, defaultFor(x, reports)]));
  const report: CompressReport = {
    schema: "selvedge/report@1",
    model: basename(path),
    sourceBytes,
    targets,
    metric: { name: metric.name, budget: metric.budget, reference: referenceScore },
    samples: { n: samples.feeds.length, isMadeUp: samples.isMadeUp },
    forms: reports,
    defaults,
    tensors: largest(readModel(simple)),
    notes: samples.isMadeUp ? ["The inputs were made up: give samples to know what accuracy is."] : [],
    isStopped: reports.length < forms.length,
  };
  const kept = reports.filter((x) => isKept(x, defaults)).flatMap((x) => made.get(x.id) ?? []);
  if (kept.length > 0)
    await writeBundle(join(out, "bundle"), { model: described, variants: kept, assets: assetsOf(options.bundle) });
  const encode = (text: string): Uint8Array[] => [new TextEncoder().encode(text)];
  await writeWhole(join(out, "report.json"), encode(`${JSON.stringify(report, null, 2)}\n`));
  await writeWhole(join(out, "report.md"), encode(markdownReport(report)));
  await writeWhole(join(out, "report.html"), encode(htmlReport(report)));
  return report;
}

/** Gives a model's simplified form, as bytes. */
async function simplified(model: OnnxModel): Promise<Uint8Array<ArrayBuffer>> {
  model.transform(simplify());
  await foldConstants(model);
  model.transform(prune());
  return model.write();
}

/** Runs a model on onnxruntime-node's CPU, on every feed. */
export async function runAll(
  source: Uint8Array | string,
  feeds: readonly Feed[],
  extra: Readonly<Record<string, string>>,
): Promise<Outputs[]> {
  const model = await openModel(source, "cpu", extra);
  try {
    const outputs: Outputs[] = [];
    for (const feed of feeds) outputs.push(await model.run(feed));
    return outputs;
  } finally {
    await model.release();
  }
}

interface Examination {
  readonly checker: Checker;
  readonly samples: Samples;
  readonly targets: readonly Target[];
  readonly metric: Metric;
  readonly referenceScore: number;
  readonly scoreOf: (outputs: readonly Outputs[]) => number;
  readonly reference: readonly Outputs[];
}

async function examine(form: Form, bytes: Uint8Array, on: Examination): Promise<FormReport> {
  const expected = await runAll(bytes, on.samples.feeds, form.session?.wasm ?? {});
  const score = on.scoreOf(expected);
  const sqnr = await makeMetric("sqnr", { hasLabels: false });
  const sqnrDb = sqnr.score(
    expected.map((x, i) => ({ outputs: x, reference: on.reference[i] ?? {}, feed: {}, label: undefined })),
  );
  const isWithinBudget = form.id === "f32" || on.metric.passes(score, on.referenceScore);
  const checks = await on.checker.check(
    { form, bytes, expected },
    form.targets.filter((x) => on.targets.includes(x)),
  );
  // A quick setting: what a host that compresses on the fly would send, within a few percent of the best.
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 22 } };
  const brotliBytes = brotliCompressSync(bytes, quality).length;
  return {
    id: form.id,
    file: `${form.id}.onnx`,
    bytes: bytes.length,
    brotliBytes,
    score,
    isWithinBudget,
    sqnrDb,
    checks,
  };
}

function variantOf(
  form: Form,
  bytes: Uint8Array<ArrayBuffer>,
  report: FormReport,
  metric: Metric,
  reference: number,
  samples: Samples,
): PackVariant {
  const at = (target: Target): Check | undefined => report.checks.find((x) => x.target === target);
  const webgpu = (at("webgpu") ?? at("webgpu-f16"))?.assignment;
  const wasm = at("wasm");
  return {
    id: form.id,
    needs: form.needs,
    ...(form.session === undefined ? {} : { session: form.session }),
    files: [{ path: "model.onnx", bytes, borders: tensorBorders(bytes) }],
    metric: { name: metric.name, value: report.score, reference, n: samples.feeds.length },
    ...(wasm?.speed === undefined ? {} : { speed: { wasm: wasm.speed } }),
    assignment: { ...(webgpu && { webgpu }), ...(wasm?.assignment && { wasm: wasm.assignment }) },
  };
}

/** A form slower than this beside float32 replaces nothing; the rest is noise of the clock. */
const SLOWER = 1.05;
/** Among forms about as fast as the fastest, the smallest is taken. */
const SIMILAR = 1.15;

/** Chooses a target's form: within budget, checked, not slower; the fastest, and among the similar the smallest. */
function defaultFor(target: Target, reports: readonly FormReport[]): string | null {
  const able = reports.filter((x) => {
    const check = x.checks.find((y) => y.target === target);
    return x.isWithinBudget && check?.verdict === "passed" && (check.speed ?? 1) <= SLOWER;
  });
  const speed = (x: FormReport): number => x.checks.find((y) => y.target === target)?.speed ?? 1;
  const fastest = Math.min(...able.map(speed));
  const similar = able.filter((x) => speed(x) <= fastest * SIMILAR);
  return similar.sort((a, b) => a.bytes - b.bytes)[0]?.id ?? null;
}

/** A form goes into the bundle if it kept its budget and failed nowhere; where nothing was checked, so that it is there. */
function isKept(report: FormReport, defaults: CompressReport["defaults"]): boolean {
  if (Object.values(defaults).includes(report.id) || report.id === "f32") return true;
  const isSlow = report.checks.some((x) => (x.speed ?? 1) > SLOWER);
  return report.isWithinBudget && !isSlow && report.checks.every((x) => x.verdict !== "failed");
}

/** Describes a model as a bundle does: from a bundle.json that is given, else from the model itself. */
async function describe(model: OnnxModel, path: string, bundle: string | undefined): Promise<Bundle["model"]> {
  if (bundle !== undefined) return parseBundle(JSON.parse(readFileSync(bundle, "utf8")) as unknown).model;
  const { inputs, outputs } = await describePorts(model);
  const word = basename(path, ".onnx")
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+/, "");
  return {
    name: word === "" ? "model" : word.slice(0, 64),
    version: "1",
    licence: "unknown",
    inputs,
    outputs,
  };
}

/** Reads the label tables and the like of the bundle that describes the model, for the new one. */
function assetsOf(bundle: string | undefined): PackFile[] {
  if (bundle === undefined) return [];
  const { assets = [] } = parseBundle(JSON.parse(readFileSync(bundle, "utf8")) as unknown);
  const chunk = (sha256: string): Uint8Array => readFileSync(join(dirname(bundle), "chunks", sha256));
  return assets.map(({ path, chunks }) => ({ path, bytes: joinPieces(chunks.map((x) => chunk(x.sha256))) }));
}

/** Gives the number of rows of the smallest table that is looked up: made-up indices stay below it. */
function smallestTable({ graph }: OnnxModel): number {
  const rows = graph.nodes
    .filter((x) => x.opType === "Gather")
    .map((x) => graph.constant(x.input[0] ?? ""))
    .filter((x) => x !== undefined && x.dims.length === 2 && elementCount(x) >= 64)
    .map((x) => Number(x?.dims[0]));
  return Math.min(256, ...rows);
}

function largest({ graph }: OnnxModel): CompressReport["tensors"] {
  return graph.proto.initializer
    .map(({ name, rawData }) => ({ name, bytes: rawData.length }))
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 20);
}
