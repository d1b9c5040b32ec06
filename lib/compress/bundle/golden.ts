// A variant's golden: synthetic inputs, and this variant's outputs for them on onnxruntime-node's CPU; of a recurrent state
// two steps, of a float16 variant also inputs as large as the samples' largest. A device with a different output computes
// wrongly. The output is from one machine: another CPU may round the last bits
// differently, so comparisons need a tolerance: beside a relative one, an absolute one of each output, measured by the
// effect of the inputs' own rounding. One that is taken from the largest value would be blind where that is a mask, or one
// huge logit.
import type { Bundle, GoldenRun } from "../../core/bundle.ts";
import { smallestTable } from "./describe.ts";
import { modelOf } from "./pack.ts";
import type { PackFile, PackModel, PackVariant } from "./pack.ts";
import { readModel } from "../onnx/model.ts";
import { Scratch, writeModel } from "../onnx/written-model.ts";
import type { ModelSource } from "../onnx/written-model.ts";
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

/** Relative change of an input, in both directions: eight units in the last place of float32. */
const NUDGE = 2 ** -20;
/** Bound on an honest difference, as a multiple of what such a change causes. */
const SLACK = 100;
/** Relative effect up to which the relative tolerance of the comparison suffices. */
const OWN = 1e-5;
/** Bound of a floor, as a share of an output's largest value. */
const FLOOR_MAX = 1e-3;
/** Magnitude of a mask, which sets no scale. */
const MASK = 1e30;

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
    const { source } = await writeModel(model, scratch);
    const made = await goldenOf(source, smallestTable(model), variant, description, typical);
    if (typeof made !== "string") return { ...variant, golden: made };
    onMissing(made);
    return variant;
  } finally {
    await scratch.close();
  }
}

async function goldenOf(
  source: ModelSource,
  bound: number,
  { session, needs }: Pick<PackVariant, "session" | "needs">,
  description: Pick<Bundle["model"], "inputs" | "outputs" | "baseline">,
  typical: Readonly<Record<string, number>>,
): Promise<NonNullable<PackVariant["golden"]> | string> {
  const small = Object.fromEntries(Object.entries(typical).map(([name, size]) => [name, Math.min(size, SMALL)]));
  const largest = needs.includes("shader-f16") ? largestOf(description) : null;
  const more = { states: statesOf(description), largest };
  let why = "no inputs could be made up";
  for (const sizes of [typical, small]) {
    let guesses = 0;
    for (const [feed] of syntheticInputs(description.inputs, { typical: sizes, bound })) {
      const golden = feed && (await makeGolden(source, session?.wasm, feed, more).catch(messageOf));
      if (typeof golden === "object") return golden;
      guesses += 1;
      why = golden ?? "an input or output holds text, or is larger than 1 MiB";
      if (golden === undefined || guesses === GUESSES) break;
    }
  }
  return why;
}

function messageOf(error: unknown): string {
  return `it does not run on made-up inputs (${error instanceof Error ? error.message : String(error)})`;
}

/** Further runs of a golden. */
interface More {
  /** The input that each output feeds at the next step: a second step is one of the runs. Default: none. */
  readonly states?: Readonly<Record<string, string>>;
  /** Largest magnitude of each input, for a run with values as large; null for none. Default: null. */
  readonly largest?: Readonly<Record<string, number>> | null;
}

/** Makes a variant's golden files; undefined where a tensor holds strings or an output is larger than 1 MiB. */
export async function makeGolden(
  source: ModelSource,
  session: Readonly<Record<string, string>> | undefined,
  feed: Feed,
  { states = {}, largest = null }: More = {},
): Promise<PackVariant["golden"]> {
  const model = await openModel(source, "cpu", { [MATMUL_LEVEL]: "1", ...session });
  const run = async (input: Feed): Promise<Feed> => model.runTensors(input);
  try {
    const [input, answer] = await loudEnough(feed, run);
    const runs = [await filesOf("golden", input, answer, run)];
    if (Object.keys(states).length > 0) {
      const own = new Set(Object.values(states));
      const others = Object.fromEntries(Object.entries(input).filter(([name]) => !own.has(name)));
      const left = Object.entries(states).map(([output, state]) => [state, answer[output] as Tensor] as const);
      const full = { ...others, ...Object.fromEntries(left) };
      // A model may refuse what the first step left, or a large input: the first golden stands alone then.
      const answered = await run(full).catch(() => null);
      const again = async (nudged: Feed): Promise<Feed> => run({ ...full, ...nudged });
      runs.push(answered && (await filesOf("golden-step", others, answered, again).catch(() => null)));
    }
    const loud = largest === null ? null : enlarged(input, largest);
    const loudAnswer = loud && (await run(loud).catch(() => null));
    if (loud && loudAnswer && isFinite(loudAnswer))
      runs.push(await filesOf("golden-large", loud, loudAnswer, run).catch(() => null));
    const [first, ...next] = runs.filter((x) => x !== null);
    if (first === undefined || runs[0] === null) return undefined;
    return next.length === 0 ? first : { ...first, next };
  } finally {
    await model.release();
  }
}

/** Returns an input with an answer that stands out from rounding, and the answer. */
async function loudEnough(feed: Feed, run: (feed: Feed) => Promise<Feed>): Promise<readonly [Feed, Feed]> {
  let [input, answer] = [feed, await run(feed)];
  for (const factor of AMPLITUDES) {
    if (!isFaint(answer)) break;
    const louder = scaled(feed, () => factor);
    const next = await run(louder);
    if (!isFaint(next)) [input, answer] = [louder, next];
  }
  return [input, answer];
}

/** Returns the files of a run with its answer and the absolute tolerances of it; null where they can't be written. */
async function filesOf(
  name: string,
  input: Feed,
  answer: Feed,
  run: (feed: Feed) => Promise<Feed>,
): Promise<GoldenRun<PackFile> | null> {
  const inputs = writeSafetensors(input);
  if (inputs === null || inputs.length > MAX_BYTES) return null;
  const nudged = scaled(input, (i) => 1 + (Math.imul(i, 0x9e3779b1) < 0 ? NUDGE : -NUDGE));
  const floors = Object.entries(floorsOf(answer, await run(nudged)));
  const outputs = writeSafetensors(answer, Object.fromEntries(floors.map(([port, x]) => [port, String(x)])));
  if (outputs === null || outputs.length > MAX_BYTES) return null;
  return {
    inputs: { path: `${name}-inputs.safetensors`, bytes: inputs },
    outputs: { path: `${name}-outputs.safetensors`, bytes: outputs },
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

/** Returns inputs with each float32 value multiplied by a factor, by its index. */
function scaled(feed: Feed, factor: (i: number) => number): Feed {
  const scale = (tensor: Tensor): Tensor =>
    tensor.dtype === "float32" ? { ...tensor, data: tensor.data.map((x, i) => x * factor(i)) } : tensor;
  return Object.fromEntries(Object.entries(feed).map(([name, tensor]) => [name, scale(tensor)]));
}

/**
 * Returns the absolute tolerance of each output in float32 that a change of the inputs affects: at least as much as the
 * change explains, at most a thousandth of the largest value.
 */
export function floorsOf(answer: Feed, changed: Feed): Readonly<Record<string, number>> {
  const floors: Record<string, number> = {};
  for (const [name, tensor] of Object.entries(answer)) {
    const other = changed[name];
    if (tensor.dtype !== "float32" || other?.dtype !== "float32" || other.data.length !== tensor.data.length) continue;
    let [noise, largest] = [0, 0];
    for (const [i, x] of tensor.data.entries()) {
      const size = Math.abs(x);
      if (!(size < MASK)) continue;
      largest = Math.max(largest, size);
      const effect = Math.abs((other.data[i] as number) - x);
      if (effect > OWN * size) noise = Math.max(noise, effect);
    }
    const floor = Math.min(Math.max(SLACK * noise, NUDGE * SLACK * medianOf(tensor.data)), FLOOR_MAX * largest);
    if (floor > 0 && String(tensor.data) !== String(other.data)) floors[name] = floor;
  }
  return floors;
}

/** Returns the middle of the sizes of values that are no masks. */
function medianOf(values: Float32Array): number {
  const sizes = values
    .map(Math.abs)
    .filter((x) => x < MASK)
    .sort();
  return sizes[sizes.length >> 1] ?? 0;
}
