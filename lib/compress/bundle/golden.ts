// A variant's golden: synthetic inputs, and this variant's outputs for them on onnxruntime-node's CPU; of a recurrent state
// two steps, of a float16 variant also inputs as large as the samples' largest. A device with a different output computes
// wrongly. The output is from one machine: another CPU may round the last bits differently, so comparisons need a tolerance:
// beside a relative one, an absolute one of each output, measured by the effect of the rounding of inputs and looked-up
// rows. One that is taken from the largest value would be blind where that is a mask, or one huge logit.
import type { Bundle, GoldenRun } from "../../core/bundle.ts";
import { smallestTable } from "./describe.ts";
import { modelOf } from "./pack.ts";
import type { PackFile, PackModel, PackVariant } from "./pack.ts";
import { floorsOf, nudged } from "../../core/tolerances.ts";
import { readModel } from "../onnx/model.ts";
import { nudgeLookups } from "../onnx/nudge-lookups.ts";
import { Scratch, writeModel } from "../onnx/written-model.ts";
import type { OnnxSource } from "../onnx/written-model.ts";
import { syntheticInputs } from "../run/synthetic-inputs.ts";
import type { Feed } from "../run/feeds.ts";
import type { Tensor } from "../../core/tensor.ts";
import { writeSafetensors } from "./safetensors.ts";
import { openModel } from "../run/session.ts";

/** Maximum size of an output; a larger one would cost more than the check is worth. */
const MAX_BYTES = 2 ** 20;

/**
 * Session entry of the precision of products with weights behind DequantizeLinear. By default ONNX Runtime 1.30 rounds their
 * inputs to 8 bits in Node, an error of 0.4 %, and not in browsers; 1 is float32.
 */
const MATMUL_LEVEL = "session.qdq_matmulnbits_accuracy_level";

/** Below this largest value an output shows too little: rounding may be as large. */
const FAINT = 1e-3;
/** Factors of an input, tried in turn where an output is faint: noise may give a detector nothing to see. */
const AMPLITUDES = [8, 64] as const;
/** Magnitude of a large input where no samples say it: normalized images and features reach three to four. */
const LARGE = 4;
/** Size of a symbolic dim where a golden of usual sizes is too large. */
const SMALL = 64;
/** Number of guesses of an input's open sizes. */
const GUESSES = 8;

/**
 * Adds to a variant the golden of a synthetic input. Returns it as it was where none can be made.
 * @param onMissing - called with the reason where none can be made
 */
export async function withGolden<File extends PackFile | PackModel>(
  variant: PackVariant<File>,
  description: Pick<Bundle["model"], "inputs" | "outputs" | "baseline">,
  typical: Readonly<Record<string, number>> = {},
  onMissing: (why: string) => void = () => undefined,
): Promise<PackVariant<File>> {
  const [file] = variant.files;
  if (file === undefined) return variant;
  const scratch = new Scratch();
  try {
    const model = modelOf(file) ?? readModel("bytes" in file ? file.bytes : new Uint8Array());
    const written = await writeModel(model, scratch);
    const other = nudgeLookups(written.model);
    const nudgedSource = other && (await writeModel(other, scratch)).source;
    const sources = { source: written.source, nudgedSource };
    const made = await goldenOf(sources, smallestTable(model), variant, description, typical);
    if (typeof made !== "string") return { ...variant, golden: made };
    onMissing(made);
    return variant;
  } finally {
    await scratch.close();
  }
}

async function goldenOf(
  { source, nudgedSource }: { readonly source: OnnxSource; readonly nudgedSource: OnnxSource | null },
  bound: number,
  { session, needs }: Pick<PackVariant, "session" | "needs">,
  description: Pick<Bundle["model"], "inputs" | "outputs" | "baseline">,
  typical: Readonly<Record<string, number>>,
): Promise<NonNullable<PackVariant["golden"]> | string> {
  const small = Object.fromEntries(Object.entries(typical).map(([name, size]) => [name, Math.min(size, SMALL)]));
  const largest = needs.includes("shader-f16") ? largestOf(description) : null;
  const more = { states: statesOf(description), largest, nudgedSource };
  let why = "no synthetic inputs fit it";
  for (const sizes of [typical, small]) {
    let guesses = 0;
    for (const [feed, ...others] of syntheticInputs(description.inputs, { typical: sizes, bound })) {
      const golden = feed && (await makeGolden(source, session?.wasm, feed, { ...more, others }).catch(messageOf));
      if (typeof golden === "object") return golden;
      guesses += 1;
      why = golden ?? "an input or output holds text, or is larger than 1 MiB";
      if (golden === undefined || guesses === GUESSES) break;
    }
  }
  return why;
}

function messageOf(error: unknown): string {
  return `it does not run on synthetic inputs (${error instanceof Error ? error.message : String(error)})`;
}

/** Options of a golden. */
interface More {
  /** The input that each output feeds at the next step: a second step is one of the runs. Default: none. */
  readonly states?: Readonly<Record<string, string>>;
  /** Largest magnitude of each input, for a run with values as large; null for none. Default: null. */
  readonly largest?: Readonly<Record<string, number>> | null;
  /** The model with nudged lookups (onnx/nudge-lookups.ts); null where it looks nothing up. Default: null. */
  readonly nudgedSource?: OnnxSource | null;
  /** Inputs to take where the answer to the first ones shows too little. Default: none. */
  readonly others?: readonly Feed[];
}

/** A run of a golden. */
interface FilesRun {
  readonly name: string;
  /** The inputs that are written. A second step is without the state, which the step before leaves. */
  readonly inputs: Feed;
  /** All inputs. */
  readonly full: Feed;
  readonly answer: Feed;
}

type RunModel = (feed: Feed) => Promise<Feed>;

/** Makes a variant's golden files; undefined where a tensor holds strings or an output is larger than 1 MiB. */
export async function makeGolden(
  source: OnnxSource,
  session: Readonly<Record<string, string>> | undefined,
  feed: Feed,
  more: More = {},
): Promise<PackVariant["golden"]> {
  const { nudgedSource = null } = more;
  const { runs, changed } = await withModel(source, session, async (run) => {
    const runs = await runsOf(feed, run, more);
    return { runs, changed: nudgedSource === null ? await nudgedAnswers(runs, run) : null };
  });
  if (runs.length === 0) return undefined;
  // Without them the bound is relative.
  const nudge = async (): Promise<Feed[]> =>
    withModel(nudgedSource ?? source, session, (run) => nudgedAnswers(runs, run)).catch(() => []);
  const others = changed ?? (await nudge());
  const [first, ...next] = runs.map((run, i) => filesOf(run, floorsOf(run.answer, others[i] ?? {})));
  return first && (next.length === 0 ? first : { ...first, next });
}

/** Loads a model on the CPU while `use` runs it. */
async function withModel<T>(
  source: OnnxSource,
  session: Readonly<Record<string, string>> | undefined,
  use: (run: RunModel) => Promise<T>,
): Promise<T> {
  const model = await openModel(source, "cpu", { [MATMUL_LEVEL]: "1", ...session });
  try {
    return await use((feed) => model.runTensors(feed));
  } finally {
    await model.release();
  }
}

/** Returns the runs of a golden; none where the first one can't be written. */
async function runsOf(
  feed: Feed,
  run: RunModel,
  { states = {}, largest = null, others = [] }: More,
): Promise<FilesRun[]> {
  const [input, answer] = await loudEnough(feed, others, run);
  const runs: FilesRun[] = [{ name: "golden", inputs: input, full: input, answer }];
  if (!isWritable(runs[0] as FilesRun)) return [];
  if (Object.keys(states).length > 0) {
    const own = new Set(Object.values(states));
    const inputs = Object.fromEntries(Object.entries(input).filter(([name]) => !own.has(name)));
    const left = Object.entries(states).map(([output, state]) => [state, answer[output] as Tensor] as const);
    const full = { ...inputs, ...Object.fromEntries(left) };
    // A model may refuse what the first step left, or a large input: the first golden stands alone then.
    const next = await run(full).catch(() => null);
    if (next !== null) runs.push({ name: "golden-step", inputs, full, answer: next });
  }
  const loud = largest === null ? null : enlarged(input, largest);
  const loudAnswer = loud && (await run(loud).catch(() => null));
  if (loud && loudAnswer && isFinite(loudAnswer))
    runs.push({ name: "golden-large", inputs: loud, full: loud, answer: loudAnswer });
  return runs.filter(isWritable);
}

function isWritable({ inputs, answer }: FilesRun): boolean {
  return [inputs, answer].every((tensors) => (writeSafetensors(tensors)?.length ?? Infinity) <= MAX_BYTES);
}

/** Returns the answers to inputs that are changed by their rounding; none for a run that the model refuses. */
async function nudgedAnswers(runs: readonly FilesRun[], run: RunModel): Promise<Feed[]> {
  const answers: Feed[] = [];
  for (const { full } of runs) answers.push(await run(nudged(full) ?? full).catch(() => ({})));
  return answers;
}

/** Returns an input with an answer that stands out from rounding, and the answer. */
async function loudEnough(feed: Feed, others: readonly Feed[], run: RunModel): Promise<readonly [Feed, Feed]> {
  const answer = await run(feed);
  if (!isFaint(answer)) return [feed, answer];
  for (const next of [...AMPLITUDES.map((factor) => scaled(feed, factor)), ...others]) {
    const louder = await run(next);
    if (!isFaint(louder)) return [next, louder];
  }
  return [feed, answer];
}

/** Returns the files of a run, with the absolute tolerances of its answer. */
function filesOf({ name, inputs, answer }: FilesRun, floors: Readonly<Record<string, number>>): GoldenRun<PackFile> {
  const texts = Object.fromEntries(Object.entries(floors).map(([port, x]) => [port, String(x)]));
  return {
    inputs: { path: `${name}-inputs.safetensors`, bytes: writeSafetensors(inputs) ?? new Uint8Array() },
    outputs: { path: `${name}-outputs.safetensors`, bytes: writeSafetensors(answer, texts) ?? new Uint8Array() },
  };
}

/** Returns the input that each output feeds at the next step. */
export function statesOf({ outputs }: Pick<Bundle["model"], "outputs">): Readonly<Record<string, string>> {
  return Object.fromEntries(outputs.flatMap(({ name, feeds }) => (feeds === undefined ? [] : [[name, feeds]])));
}

/** Returns the largest magnitude of each input over the samples, where these were summarized. */
function largestOf({ inputs, baseline = {} }: Pick<Bundle["model"], "inputs" | "baseline">): Record<string, number> {
  return Object.fromEntries(
    inputs.map(({ name }) => {
      const { min, max } = baseline[name] ?? {};
      const known = Math.max(Math.abs(Number(min)), Math.abs(Number(max)));
      return [name, known > 0 ? known : LARGE];
    }),
  );
}

/** Returns inputs whose float32 values reach the largest magnitudes; null where they do already. */
function enlarged(feed: Feed, largest: Readonly<Record<string, number>>): Feed | null {
  let isLarger = false;
  const entries = Object.entries(feed).map(([name, tensor]): [string, Tensor] => {
    if (tensor.dtype !== "float32") return [name, tensor];
    const factor = (largest[name] ?? 0) / tensor.data.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
    if (!(factor > 1 && factor < Infinity)) return [name, tensor];
    isLarger = true;
    return [name, { ...tensor, data: tensor.data.map((x) => x * factor) }];
  });
  return isLarger ? Object.fromEntries(entries) : null;
}

/** Whether all values are finite: inputs beyond what the reference computes say nothing about a GPU. */
function isFinite(answer: Feed): boolean {
  return Object.values(answer).every(
    ({ dtype, data }) =>
      (dtype !== "float32" || data.every(Number.isFinite)) &&
      (dtype !== "float16" || data.every((bits) => (bits & 0x7c00) !== 0x7c00)),
  );
}

/** Whether an output of float32 has no value that stands out from rounding, or one that is not finite. */
function isFaint(answer: Feed): boolean {
  return Object.values(answer).some(
    ({ dtype, data }) =>
      dtype === "float32" && (!data.some((x) => Math.abs(x) >= FAINT) || data.some((x) => Number.isNaN(x))),
  );
}

/** Returns inputs with each float32 value multiplied by a factor. */
function scaled(feed: Feed, factor: number): Feed {
  const scale = (tensor: Tensor): Tensor =>
    tensor.dtype === "float32" ? { ...tensor, data: tensor.data.map((x) => x * factor) } : tensor;
  return Object.fromEntries(Object.entries(feed).map(([name, tensor]) => [name, scale(tensor)]));
}
