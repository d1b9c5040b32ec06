// Compresses a float32 model into every form that its targets need: read, simplify, make, measure, check, pack. Every
// requested form is written to `out`, whether it met its budget or not; the bundle holds those that passed. A form that
// cannot be made or run is named in the report and does not stop the others.
import { basename, join } from "node:path";
import type { BrowserName } from "./check/browser.ts";
import { Checker } from "./check/check.ts";
import { defaultFor, isKept, uncheckedOn } from "./choose-defaults.ts";
import { assetsOf, describe, withBatchAxis, withTypical } from "./bundle/describe.ts";
import type { Description } from "./bundle/describe.ts";
import { examine } from "./evaluate-form.ts";
import type { Examination } from "./evaluate-form.ts";
import type { Feed } from "./run/feeds.ts";
import { readModelAndFiles } from "./onnx/model-file.ts";
import { formsFor, TARGETS } from "./forms/forms.ts";
import type { Form, Target } from "./forms/forms.ts";
import { foldKnown } from "./simplify/fold-known-dims.ts";
import { makeForm, makeSparing } from "./make-form.ts";
import type { Made } from "./make-form.ts";
import { makeMetric, readLabels, sqnr } from "./run/metric.ts";
import type { Metric, Outputs } from "./run/metric.ts";
import { readModel } from "./onnx/model.ts";
import type { OnnxModel } from "./onnx/model.ts";
import type { CompressReport, FormReport } from "./report/report.ts";
import { narrowIds } from "./simplify/narrow-ids.ts";
import { OutFolder } from "./bundle/out-folder.ts";
import { packBundle, writePacked } from "./bundle/pack.ts";
import type { PackVariant } from "./bundle/pack.ts";
import { maskedForm, pruneForms } from "./forms/prune-forms.ts";
import type { PruneOutcome, PruneRequest } from "./forms/prune-forms.ts";
import type { Recipe } from "./recipe.ts";
import { References } from "./run/references.ts";
import { checkReplaceable } from "./bundle/replace-bundle.ts";
import { htmlReport } from "./report/html.ts";
import { markdownReport } from "./report/markdown.ts";
import { runReference, samplesFor } from "./evaluate-source.ts";
import { firstFeeds, samplesOf } from "./run/samples.ts";
import type { Samples } from "./run/samples.ts";
import { describeSearch } from "./report/search-report.ts";
import { makeScore } from "./run/score.ts";
import { search } from "./search/search.ts";
import type { SearchOutcome } from "./search/search.ts";
import { measureSensitivity } from "./run/sensitivity.ts";
import { openModel } from "./run/session.ts";
import { settleInputs } from "./simplify/drop-initializer-inputs.ts";
import { simplify } from "./simplify/simplify.ts";
import { splitLogSoftmax } from "./simplify/split-log-softmax.ts";

/** Options of `compress`. */
export interface CompressOptions {
  /** Output folder. */
  readonly out: string;
  /** Default all three. */
  readonly targets?: readonly Target[] | undefined;
  /** Path of .npy, .npz, JSON lines, a folder, or a module. Default: synthetic inputs. */
  readonly samples?: string | undefined;
  /** Path of the labels, one per sample. */
  readonly labels?: string | undefined;
  /** sqnr, top1, exact, perplexity, or a module's path. Default "top1" with labels, else "sqnr". */
  readonly metric?: string | undefined;
  /** Allowed loss of the metric, as "0.5%"; for sqnr the minimum ratio, as "30dB", or the allowed error energy. */
  readonly maxDrop?: string | undefined;
  /** Path of a bundle.json whose description of the model applies: names, preprocessing. */
  readonly bundle?: string | undefined;
  /** Names of the forms to make. Default: those that suit the targets. */
  readonly forms?: readonly string[] | undefined;
  /** Maximum number of samples to use. Default: as many as the model runs in a minute. */
  readonly limit?: number | undefined;
  /** Time limit for measuring the sensitivity of each weight. Default 10,000 ms; 0 skips it. */
  readonly sensitivityMs?: number | undefined;
  /** Also prunes units, by this share or these; adds the forms "pruned" and "pruned-int8". Default none. */
  readonly prune?: PruneRequest | undefined;
  /**
   * Sets the smallest weights to 0 to reduce the download only, as "50%" or "2:4"; adds the form "masked". Default
   * none.
   */
  readonly mask?: string | undefined;
  /**
   * Searches for the smallest and the fastest model within the budget; adds "searched" and "searched-fast". Default
   * off.
   */
  readonly search?: { readonly budgetMs?: number | undefined } | undefined;
  /** Checks the targets in this browser, driven by playwright-core, instead of in onnxruntime-node. Default none. */
  readonly browser?: BrowserName | undefined;
  /** Stops the work. Finished forms are packed, and the report says so. */
  readonly signal?: AbortSignal | undefined;
  /** Called with a line of text at each step. */
  readonly onProgress?: ((line: string) => void) | undefined;
}

/** Number of samples for calibration statistics. */
const CALIBRATION = 256;
/**
 * Maximum number of samples for reconstruction after pruning. More than a layer has units, or the fit would interpolate
 * them and generalize to nothing else. As many as the model runs in the time allowed, and no more than half: the metric
 * uses all of them.
 */
const FITTED = 8_192;
const FITTED_MS = 20_000;
const SENSITIVITY = { ms: 10_000, feeds: 4 } as const;
/** A simplified model's outputs equal the source's up to rounding. */
const SIMPLIFIED_DB = 60;

/** Returns what `compress` would make, as a recipe that can be passed back in. */
export async function planCompression(options: CompressOptions): Promise<Recipe> {
  const { samples, labels, maxDrop, bundle, limit, targets = TARGETS } = options;
  const { name } = await makeMetric(options.metric, { maxDrop, hasLabels: labels !== undefined });
  const metric = options.metric ?? name;
  const forms = formsFor(targets, options.forms).map((x) => x.id);
  const { prune, mask } = options;
  return { schema: "selvedge/recipe@1", targets, forms, samples, labels, metric, maxDrop, bundle, limit, prune, mask };
}

/**
 * Compresses a model file and writes forms, bundle and reports to `options.out`.
 * @throws SelvedgeError `model-invalid`; TypeError for a wrong option.
 * @example await compress("model.onnx", { out: "dist/model", targets: ["wasm"], samples: "samples.npz" })
 */
export async function compress(path: string, options: CompressOptions): Promise<CompressReport> {
  const { signal, onProgress = () => undefined, targets = TARGETS } = options;
  const started = performance.now();
  const notes: string[] = [];
  const forms = [...formsFor(targets, options.forms)];
  if (options.mask !== undefined) forms.push(maskedForm(options.mask, notes));
  const labels = options.labels === undefined ? undefined : readLabels(options.labels);
  onProgress(`reading ${path}`);
  const { model: source, files } = readModelAndFiles(path);
  const out = await openOut(options, [path, ...files], forms);
  const sourceBytes = source.byteLength;
  let described = await describe(source, path, options.bundle);
  const metric = await makeMetric(options.metric, {
    maxDrop: options.maxDrop,
    hasLabels: labels !== undefined,
    isCtc: described.outputs[0]?.decode?.op === "ctc",
  });
  const isStopped = (): boolean => signal?.aborted === true;
  const given = isStopped() ? samplesOf([]) : await samplesFor(path, described, source, options, notes);
  const asked = performance.now();
  const { samples, score: referenceScore, baseline } = await runReference(path, given, metric, labels, options, notes);
  const sampleMs = (performance.now() - asked) / Math.max(1, samples.n);
  const references = new References(path, samples);
  const feeds = await firstFeeds(samples, CALIBRATION);
  described = withTypical(described, feeds[0]);
  onProgress("simplifying");
  const simple = isStopped() ? source.write() : await simplified(source, path, feeds, targets, notes);
  if (options.bundle === undefined && !isStopped()) described = await settleBatch(described, simple, feeds);
  let pruning: PruneOutcome | null = null;
  if (options.prune !== undefined && !isStopped()) {
    onProgress("pruning");
    const most = Math.min(FITTED, FITTED_MS / sampleMs, samples.n / 2);
    const fitted = most > feeds.length ? await firstFeeds(samples, most) : feeds;
    const pruned = await pruneForms(simple, options.prune, { feeds: fitted, isMadeUp: samples.isMadeUp }, notes);
    forms.push(...pruned.forms);
    pruning = pruned.outcome;
  }
  let searched: SearchOutcome | null = null;
  if (options.search !== undefined && samples.n > 0 && !isStopped()) {
    const statePath = join(out.path, "search.json");
    await out.create();
    // Statistics of layers must not come from the held-out half of the samples.
    const first = feeds.slice(0, Math.max(1, Math.ceil(samples.n / 2)));
    const input = { references, metric, labels, simple, feeds: first, isMadeUp: samples.isMadeUp, targets, statePath };
    try {
      const found = await search({ ...input, budgetMs: options.search.budgetMs, signal, onProgress });
      forms.push(...found.forms);
      searched = found.outcome;
      notes.push(...describeSearch(searched, metric.name));
    } catch (error) {
      notes.push(`The search failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const { browser } = options;
  const checker = new Checker(simple, feeds, browser && { browser, model: described });
  const examination: Examination = { references, labels, metric, referenceScore, checker, targets, signal, onProgress };
  const reports: FormReport[] = [];
  const made = new Map<string, Made>();
  await out.create();
  const begun = performance.now();
  for (const [i, form] of forms.entries()) {
    if (isStopped()) break;
    const left = i === 0 ? "" : `, about ${secondsLeft(begun, i, forms.length)} s left`;
    onProgress(`[${i + 1}/${forms.length}] making ${form.id}${left}`);
    const formStarted = performance.now();
    try {
      const given = { feeds, isMadeUp: samples.isMadeUp };
      let one = await makeForm(form, simple, given, notes);
      await out.write(`${form.id}.onnx`, [one.bytes]);
      let report = await examine(one.form, one.bytes, examination);
      const better = report.isWithinBudget ? null : await makeSparing(form, simple, given, report, examination, notes);
      if (better !== null) {
        ({ made: one, report } = better);
        await out.write(`${form.id}.onnx`, [one.bytes]);
      }
      reports.push({ ...report, seconds: since(formStarted) });
      made.set(form.id, one);
    } catch (error) {
      if (isStopped()) break;
      reports.push({ ...notMade(form.id, error), seconds: since(formStarted) });
    }
  }
  await checker.close();
  const sensitivity = await sensitivityOf(simple, feeds, options, notes);
  const defaults = Object.fromEntries(targets.map((x) => [x, defaultFor(x, reports)]));
  const variants = reports
    .filter((x) => isKept(x, defaults, reports))
    .flatMap((x) => {
      const one = made.get(x.id);
      return one === undefined ? [] : [variantOf(one.form, one.bytes, x, metric, referenceScore, samples)];
    });
  onProgress("packing");
  const model = { ...described, ...(Object.keys(baseline).length > 0 && { baseline }) };
  const bundle = await pack(
    join(out.path, "bundle"),
    { model, variants, assets: await assetsOf(options.bundle) },
    notes,
  );
  const report: CompressReport = {
    schema: "selvedge/report@1",
    model: basename(path),
    sourceBytes,
    targets,
    metric: { name: metric.name, budget: metric.budget, reference: referenceScore },
    samples: { n: samples.n, isMadeUp: samples.isMadeUp },
    forms: reports,
    defaults,
    bundle,
    tensors: largest(readModel(simple)),
    sensitivity,
    ...(pruning !== null && { pruning }),
    ...(searched !== null && { search: searched }),
    notes: [...samples.notes, ...notes],
    isStopped: isStopped(),
    seconds: since(started),
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
  const encode = (text: string): Uint8Array[] => [new TextEncoder().encode(text)];
  await out.write("report.md", encode(markdownReport(report)));
  await out.write("report.html", encode(htmlReport(report)));
  await out.write("report.json", encode(`${JSON.stringify(report, null, 2)}\n`));
  return report;
}

/** Opens the output folder. Refuses it before the work begins if a result would overwrite an input. */
async function openOut(
  { out, samples, labels, prune, search }: CompressOptions,
  files: readonly string[],
  forms: readonly Form[],
): Promise<OutFolder> {
  const folder = new OutFolder(
    out,
    [...files, samples, labels].filter((x) => x !== undefined),
  );
  const ids = [...forms.map((x) => x.id), ...(prune ? ["pruned", "pruned-int8"] : [])];
  if (search !== undefined) ids.push("searched", "searched-fast");
  const reports = ["search.json", "report.md", "report.html", "report.json", "bundle"];
  folder.check([...ids.map((id) => `${id}.onnx`), ...reports]);
  await checkReplaceable(join(out, "bundle"));
  return folder;
}

/** Returns a model's simplified form, as bytes; the original where simplifying fails or changes the outputs. */
async function simplified(
  source: OnnxModel,
  path: string,
  feeds: readonly Feed[],
  targets: readonly Target[],
  notes: string[],
): Promise<Uint8Array<ArrayBuffer>> {
  const whole = source.write();
  try {
    const model = readModel(whole);
    model.transform(settleInputs(), simplify());
    const isForGpu = targets.some((x) => x !== "wasm");
    if (isForGpu) model.transform(splitLogSoftmax());
    await foldKnown(model);
    if (isForGpu) model.transform(narrowIds());
    const bytes = model.write();
    const few = feeds.slice(0, 4);
    const [was, now] = [await runAll(path, few, {}), await runAll(bytes, few, {})];
    const ratio = sqnr(now.map((outputs, i) => ({ outputs, reference: was[i] ?? {} })));
    if (few.length === 0 || ratio >= SIMPLIFIED_DB) return bytes;
    notes.push(
      `Simplifying changed the outputs (${ratio.toFixed(1)} dB), so the forms are made from the original model.`,
    );
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    notes.push(`The model could not be simplified (${reason}), so the forms are made from the original model.`);
  }
  return whole;
}

async function settleBatch(described: Description, bytes: Uint8Array, feeds: readonly Feed[]): Promise<Description> {
  const model = await openModel(bytes, "cpu");
  try {
    return await withBatchAxis(described, feeds.slice(0, 16), model);
  } finally {
    await model.release();
  }
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

async function sensitivityOf(
  simple: Uint8Array,
  feeds: readonly Feed[],
  { sensitivityMs = SENSITIVITY.ms, signal, onProgress = () => undefined }: CompressOptions,
  notes: string[],
): Promise<CompressReport["sensitivity"]> {
  if (sensitivityMs === 0 || signal?.aborted === true || feeds.length === 0) return [];
  onProgress(`measuring the sensitivity of each weight, ${Math.ceil(sensitivityMs / 1000)} s at most`);
  try {
    return await measureSensitivity(simple, feeds.slice(0, SENSITIVITY.feeds), { budgetMs: sensitivityMs, signal });
  } catch (error) {
    notes.push(
      `The sensitivity of the weights could not be measured: ${error instanceof Error ? error.message : String(error)}`,
    );
    return [];
  }
}

async function pack(
  directory: string,
  input: Parameters<typeof packBundle>[0],
  notes: string[],
): Promise<CompressReport["bundle"]> {
  if (input.variants.length === 0) return null;
  let packed: Awaited<ReturnType<typeof packBundle>>;
  try {
    packed = await packBundle(input);
  } catch (error) {
    notes.push(`No bundle was written: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
  const { identity, chunkBytes, wireBytes } = await writePacked(directory, packed);
  return { identity, variants: input.variants.map((x) => x.id), bytes: chunkBytes, wireBytes };
}

function variantOf(
  form: Form,
  bytes: Uint8Array<ArrayBuffer>,
  report: FormReport,
  metric: Metric,
  reference: number | null,
  samples: Samples,
): PackVariant {
  const at = (target: Target): FormReport["checks"][number] | undefined =>
    report.checks.find((x) => x.target === target);
  const webgpu = (at("webgpu") ?? at("webgpu-f16"))?.assignment;
  const wasm = at("wasm");
  const unchecked = uncheckedOn(report, form.needs);
  return {
    id: form.id,
    needs: form.needs,
    ...(form.session === undefined ? {} : { session: form.session }),
    files: [{ path: "model.onnx", bytes, isModel: true }],
    ...(report.score !== null &&
      reference !== null && {
        score: makeScore(metric.name, report.score, reference, samples.n, metric.isMean === true),
      }),
    ...(wasm?.speed === undefined ? {} : { speed: { wasm: wasm.speed } }),
    assignment: { ...(webgpu && { webgpu }), ...(wasm?.assignment && { wasm: wasm.assignment }) },
    ...(unchecked.length > 0 && { unchecked }),
  };
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

function largest({ graph }: OnnxModel): CompressReport["tensors"] {
  return graph.proto.initializer
    .map(({ name, rawData }) => ({ name, bytes: rawData.length }))
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 20);
}

function since(start: number): number {
  return Number(((performance.now() - start) / 1000).toFixed(1));
}

function secondsLeft(begun: number, done: number, all: number): number {
  return Math.ceil(((performance.now() - begun) / 1000 / done) * (all - done));
}
