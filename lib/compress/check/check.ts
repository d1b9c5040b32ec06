// Checks a form on its targets: that it loads, that its operators run on the backend, that its outputs match those of
// the same form on onnxruntime-node's CPU, and how its latency compares with float32 where other kernels run. A target
// that this machine cannot check is `unchecked`: that is no failure of the form, but never makes it a default. A batch
// of two samples is compared after single ones, and left out where it alone does not run: twice the memory, or the time.
import type { Assignment, Bundle } from "../../core/bundle.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import { hasAdapter, runInChildProcess } from "../run/child-process.ts";
import type { RunAttempt } from "../run/child-process.ts";
import { straysFromLog } from "../../core/assignment-log.ts";
import { assignmentInNode, assignmentOf } from "./assignment-node.ts";
import { CheckBrowser } from "./browser.ts";
import type { BrowserName, BrowserRun } from "./browser.ts";
import type { Form, Target } from "../forms/forms.ts";
import { sqnr } from "../run/metric.ts";
import type { Outputs } from "../run/metric.ts";
import { packBundle } from "../bundle/pack.ts";
import { randomOutputs } from "../onnx/random-outputs.ts";
import { Scratch, writeModel } from "../onnx/written-model.ts";
import type { OnnxSource, WrittenModel } from "../onnx/written-model.ts";
import { costFromLog, costOf, fixFor, timeOnCpu, whyTooCostly } from "../run/placement-cost.ts";
import type { PlacementCost } from "../run/placement-cost.ts";
import { openModel } from "../run/session.ts";
import type { LoadedModel } from "../run/session.ts";
import { loadedGraph } from "./loaded-graph.ts";
import { nameShapeNodes } from "./shape-arithmetic.ts";
import { measureRatio, PROCESS_CLOCKS } from "./time-ratio.ts";
import type { Feed } from "../run/feeds.ts";

/**
 * Latency ratio to float32 above which a form counts as slower and is never a default; below it lies measurement noise.
 */
export const SLOWER = 1.05;

/** Result of checking one form on one target. */
export interface CheckResult {
  /** Backend that it was checked on. */
  readonly target: Target;
  /** "unchecked" where this machine cannot check it. */
  readonly verdict: "passed" | "failed" | "unchecked";
  /** Reason where it did not pass. */
  readonly why?: string;
  /** Nodes by where they ran; absent where that is not known. */
  readonly assignment?: Assignment;
  /**
   * Signal-to-noise ratio against the same form on onnxruntime-node's CPU, in dB; on WebGPU that of the worst sample.
   */
  readonly parityDb?: number;
  /**
   * Latency relative to float32 on the same backend: 1 where the same kernels run. Absent on WebGPU, since the adapter
   * here may be a software renderer, and where it was not stable.
   */
  readonly speed?: number;
  /** Reason why the latency is not known. */
  readonly speedNote?: string;
  /** Reason why a batch of two samples was not compared, where it did not run there and single samples did. */
  readonly rowsNote?: string;
}

/** The form to check, with what the checks need. */
export interface CheckInput extends WrittenModel {
  readonly form: Pick<Form, "id" | "needs" | "session">;
  /** The form's outputs on onnxruntime-node's CPU, one per feed. */
  readonly expected: readonly Outputs[];
  /** The same of the batch of two samples; undefined where it was not run. */
  readonly expectedRows?: Outputs | undefined;
  /** Outputs that are not compared. Default: random ones alone. */
  readonly uncompared?: readonly string[];
}

/** A browser to check in, and the bundle's description of the model. */
export interface InBrowser {
  readonly browser: BrowserName;
  readonly model: Bundle["model"];
}

/** Number of samples on which a form's outputs are compared; a software adapter is slow. */
export const CHECK_FEEDS = 8;
/** A kernel with a data race is wrong in some runs only, so fast models run more often. */
const WEBGPU_FEEDS = { count: 2, ms: 2_000 };
/** Runs of a profile: the shortest time of each operator counts. */
const PROFILED_RUNS = 3;
/** Backends round differently; below this ratio something is computed differently. */
const PARITY_DB = 20;
/** A second run of a form: its log, and the cost of what runs on the CPU. */
interface Recheck {
  readonly log: readonly string[];
  readonly cost: PlacementCost;
}

/**
 * Removes shape arithmetic from the operators that run on the CPU, and says whether the rest costs more than a GPU can
 * save. Runs the form once more for it, with node names, which forms do not have.
 */
async function withoutShapes(
  { model, source, form }: CheckInput,
  feed: Feed | undefined,
  counted: Assignment,
  scratch: Scratch,
  again: (named: WrittenModel) => Promise<Recheck>,
): Promise<{ assignment: Assignment; why?: string | undefined }> {
  if (counted.cpu === 0) return { assignment: counted };
  const named = model.copy();
  const known = nameShapeNodes(named);
  const { log, cost } = await again(await writeModel(named, scratch));
  const strays = straysFromLog(log).filter((x) => !known.has(x.node));
  const shape = counted.shape + counted.cpu - strays.length;
  const assignment = { ...counted, shape, cpu: strays.length };
  if (strays.length === 0 || feed === undefined) return { assignment };
  const operators = strays.map((x) => x.operator);
  const why = whyTooCostly(cost, await timeOnCpu(source, feed, form.session?.wasm), operators);
  return { assignment, why: why && `${why}${fixFor(model.graph, operators)}` };
}

/** Checks forms of one model. */
export class Checker {
  /** The float32 form, once it was checked and where it lies in memory; else the model that it is made of. */
  #reference: OnnxSource;
  readonly #feeds: readonly Feed[];
  readonly #rows: Feed | undefined;
  readonly #where: InBrowser | undefined;
  readonly #scratch = new Scratch();
  #browser: Promise<CheckBrowser> | null = null;
  #adapter: Promise<boolean> | null = null;
  /** The graph that a load of float32 leaves. */
  #loaded: Promise<string | null> | null = null;

  /** Takes the float32 form to compare latency with, the samples, two of them as a batch, and the browser to check in. */
  constructor(
    reference: OnnxSource,
    feeds: readonly Feed[],
    { rows, where }: { readonly rows?: Feed | undefined; readonly where?: InBrowser | undefined } = {},
  ) {
    this.#reference = reference;
    this.#feeds = feeds.slice(0, CHECK_FEEDS);
    this.#rows = rows;
    this.#where = where;
  }

  /** Closes the browser, if one was started, and removes temporary files. */
  async close(): Promise<void> {
    await this.#scratch.close();
    await this.#browser?.then(
      (x) => x.close(),
      () => undefined,
    );
    this.#browser = null;
  }

  /** Checks a form on some targets; WebGPU with and without float16 is one check. */
  async check(input: CheckInput, targets: readonly Target[]): Promise<CheckResult[]> {
    const checks: CheckResult[] = [];
    let onGpu: CheckResult | undefined;
    for (const target of targets) {
      if (target === "wasm") checks.push(await this.#checkOn(input, target));
      else {
        onGpu ??= await this.#checkOn(input, target);
        checks.push({ ...onGpu, target });
      }
    }
    return checks;
  }

  async #checkOn(whole: CheckInput, target: Target): Promise<CheckResult> {
    const random = [...randomOutputs(whole.model), ...(whole.uncompared ?? [])];
    const expectedRows = whole.expectedRows && without(whole.expectedRows, random);
    const input = { ...whole, expected: whole.expected.map((x) => without(x, random)), expectedRows };
    if (input.expected.length > 0 && input.expected.every((x) => Object.keys(x).length === 0))
      return { target, verdict: "unchecked", why: "every output is random: there is nothing to compare" };
    if (this.#feeds.length === 0)
      return { target, verdict: "unchecked", why: "the model runs on no available sample; give --samples" };
    try {
      if (this.#where !== undefined) return await this.#inBrowser(input, target, this.#where);
      return target === "wasm" ? await this.#onWasm(input) : await this.#onWebGpu(input, target);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const isMissing = isSelvedgeError(error) && ("package" in error.details || error.details["isLate"] === true);
      // An adapter without float16 cannot load a form that needs it; the float32 form did load.
      const isBeyond = target !== "wasm" && input.form.needs.includes("shader-f16");
      return { target, verdict: isMissing || isBeyond ? "unchecked" : "failed", why };
    }
  }

  async #onWasm(input: CheckInput): Promise<CheckResult> {
    const { source, form } = input;
    const extra = form.session?.wasm ?? {};
    const assignment = await assignmentInNode(source, "wasm", extra);
    const ran = await runOnWasm(source, extra, this.#feeds, this.#rowsFor(input));
    const parityDb = sqnr(pairsOf(ran, input));
    const told = { target: "wasm", assignment, parityDb, ...noteOf(ran) } as const;
    if (parityDb < PARITY_DB)
      return { ...told, verdict: "failed", why: `its outputs on wasm deviate: SQNR ${parityDb.toFixed(1)} dB` };
    return { ...told, ...(await this.#time(form, source)), verdict: "passed" };
  }

  async #onWebGpu(input: CheckInput, target: Target): Promise<CheckResult> {
    const { source, form } = input;
    this.#adapter ??= hasAdapter();
    if (!(await this.#adapter)) return { target, verdict: "unchecked", why: "this machine has no WebGPU adapter" };
    const feeds = this.#feeds;
    const first = { ...WEBGPU_FEEDS, last: this.#rowsFor(input) };
    const run = await runInChildProcess(source, "webgpu", form.session?.webgpu ?? {}, feeds, first);
    const counted = assignmentOf(run, "webgpu");
    const again = async (named: WrittenModel): Promise<Recheck> => {
      const enough = { count: PROFILED_RUNS, ms: 0, isProfiled: true };
      const session = form.session?.webgpu ?? {};
      const { exit, log, profile } = await runInChildProcess(
        named.source,
        "webgpu",
        session,
        Array.from({ length: PROFILED_RUNS }, () => feeds.slice(0, 1)).flat(),
        enough,
      );
      if (exit !== 0) throw new Error("its first run on WebGPU succeeded, its second failed");
      return { log: log.split("\n"), cost: costOf(profile) };
    };
    const { assignment, why } = await withoutShapes(input, feeds[0], counted, this.#scratch, again);
    const parityDb = worstParity(pairsOf(run, input));
    const told = { target, assignment, parityDb, ...noteOf(run) };
    const off = `its outputs on WebGPU deviate: SQNR ${parityDb.toFixed(1)} dB`;
    if (why !== undefined) return { ...told, verdict: "failed", why };
    if (parityDb < PARITY_DB) return { ...told, verdict: "failed", why: off };
    return { ...told, verdict: "passed" };
  }

  async #inBrowser(input: CheckInput, target: Target, { browser, model }: InBrowser): Promise<CheckResult> {
    this.#browser ??= CheckBrowser.start(browser);
    const started = await this.#browser;
    const backend = target === "wasm" ? "wasm" : "webgpu";
    this.#adapter ??= started.hasWebGpu();
    if (backend === "webgpu" && !(await this.#adapter))
      return { target, verdict: "unchecked", why: `${started.name} has no WebGPU on this machine` };
    const { id, needs, session } = input.form;
    const run = async (written: WrittenModel, last?: Feed): Promise<BrowserRun> => {
      const files = [{ path: "model.onnx", bytes: written.model.write(), isModel: true }];
      const variant = { id, needs, ...(session && { session }), files };
      const bundle = await packBundle({ model, variants: [variant] }, { compress: false });
      return started.run(bundle, id, backend, this.#feeds.slice(0, WEBGPU_FEEDS.count), last);
    };
    const ran = await run(input, this.#rowsFor(input));
    const counted = ran.assignment;
    const where = `on ${backend} in ${started.name}`;
    if (counted === null)
      return { target, verdict: "failed", why: `its log does not show what runs on the CPU ${where}` };
    const again = async (named: WrittenModel): Promise<Recheck> => {
      const { log } = await run(named);
      return { log, cost: costFromLog(log) };
    };
    const { assignment, why } = await withoutShapes(input, this.#feeds[0], counted, this.#scratch, again);
    const parityDb = (backend === "webgpu" ? worstParity : sqnr)(pairsOf(ran, input));
    const told = { target, assignment, parityDb, ...noteOf(ran) };
    if (why !== undefined) return { ...told, verdict: "failed", why: `${why}, ${where}` };
    if (parityDb < PARITY_DB)
      return { ...told, verdict: "failed", why: `its outputs deviate ${where}: SQNR ${parityDb.toFixed(1)} dB` };
    if (backend === "webgpu") return { ...told, verdict: "passed" };
    return { ...told, ...(await this.#time(input.form, input.source)), verdict: "passed" };
  }

  /** The batch of two samples, where it is known what the form answers to it. */
  #rowsFor({ expectedRows }: CheckInput): Feed | undefined {
    return expectedRows === undefined ? undefined : this.#rows;
  }

  /** Returns the latency of a form relative to float32 on wasm: 1 where both run the same kernels. */
  async #time(
    { id, session }: CheckInput["form"],
    source: OnnxSource,
  ): Promise<Pick<CheckResult, "speed" | "speedNote">> {
    const [feed] = this.#feeds;
    // The file of a large form is gone once the form was evaluated.
    if (id === "f32" && typeof source !== "string") [this.#reference, this.#loaded] = [source, null];
    if (id === "f32" || feed === undefined) return { speed: 1 };
    const extra = session?.wasm ?? {};
    this.#loaded ??= loadedGraph(this.#reference);
    const loaded = await this.#loaded;
    if (loaded !== null && (await loadedGraph(source, extra)) === loaded) return { speed: 1 };
    const reference = await openReference(this.#reference, feed);
    if (typeof reference === "string") return { speedNote: reference };
    try {
      const form = await openModel(source, "wasm", extra);
      try {
        const busy = (): number => PROCESS_CLOCKS.busy() + form.busyMs() + reference.busyMs();
        const runs = [form, reference].map((x) => () => x.run(feed)) as [OneRun, OneRun];
        const measured = await measureRatio(...runs, { ...PROCESS_CLOCKS, busy });
        return "ratio" in measured ? { speed: measured.ratio } : { speedNote: measured.why };
      } finally {
        await form.release();
      }
    } finally {
      await reference.release();
    }
  }
}

type OneRun = () => Promise<Outputs>;

/** Loads float32 on wasm and runs it once; returns the reason where it does neither, which is no fault of a form. */
async function openReference(source: OnnxSource, feed: Feed): Promise<LoadedModel | string> {
  let model: LoadedModel | undefined;
  try {
    model = await openModel(source, "wasm");
    await model.run(feed);
    return model;
  } catch (error) {
    await model?.release();
    return `not known: float32 does not run on wasm (${error instanceof Error ? error.message : String(error)})`;
  }
}

function without(outputs: Outputs, names: readonly string[]): Outputs {
  return Object.fromEntries(Object.entries(outputs).filter(([name]) => !names.includes(name)));
}

/** Outputs of a form on a backend: of single samples, and of two as a batch, which may fail. */
interface CheckedRun {
  readonly outputs: readonly Outputs[];
  readonly last?: RunAttempt;
}

interface Pair {
  readonly outputs: Outputs;
  readonly reference: Outputs;
}

/** Runs a form on wasm, on the batch last: it takes more memory, which WebAssembly may not have. */
async function runOnWasm(
  source: OnnxSource,
  extra: Readonly<Record<string, string>>,
  feeds: readonly Feed[],
  rows: Feed | undefined,
): Promise<CheckedRun> {
  const model = await openModel(source, "wasm", extra);
  try {
    const outputs: Outputs[] = [];
    for (const feed of feeds) outputs.push(await model.run(feed));
    if (rows === undefined) return { outputs };
    const last = await model.run(rows).then(
      (x) => ({ outputs: x }),
      (error: unknown) => ({ why: error instanceof Error ? error.message : String(error) }),
    );
    return { outputs, last };
  } finally {
    await model.release();
  }
}

/** Pairs the outputs with those on the CPU. */
function pairsOf({ outputs, last }: CheckedRun, { expected, expectedRows = {} }: CheckInput): Pair[] {
  const pairs = outputs.map((x, i) => ({ outputs: x, reference: expected[i] ?? {} }));
  return last !== undefined && "outputs" in last
    ? [...pairs, { outputs: last.outputs, reference: expectedRows }]
    : pairs;
}

function noteOf({ last }: CheckedRun): Pick<CheckResult, "rowsNote"> {
  return last !== undefined && "why" in last ? { rowsNote: last.why } : {};
}

/** Parity of the worst sample: a race corrupts one, and an average over many correct samples would hide it. */
function worstParity(pairs: readonly Pair[]): number {
  return Math.min(...pairs.map((x) => sqnr([x])));
}
