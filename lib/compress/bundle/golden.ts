// A variant's golden input and output: one sample, and this variant's output for it on onnxruntime-node's CPU. A device
// with a different output computes wrongly. The output is from one machine: another CPU may round the last bits
// differently, so comparisons need a tolerance: beside a relative one, an absolute one of each output, measured by the
// effect of the inputs' own rounding. One that is taken from the largest value would be blind where that is a mask, or one
// huge logit.
import type { BundleInput } from "../../core/bundle.ts";
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
const AMPLITUDES = [1, 8, 64] as const;
/** Size of a symbolic dim where a golden of usual sizes is too large. */
const SMALL = 64;
/** Number of guesses of an input's open sizes. */
const GUESSES = 8;

/** Adds to a variant the golden of a synthetic input. Returns it as it was where none can be made. */
export async function withGolden<File extends PackFile | PackModel>(
  variant: PackVariant<File>,
  inputs: readonly BundleInput[],
  typical: Readonly<Record<string, number>> = {},
): Promise<PackVariant<File>> {
  const [file] = variant.files;
  if (file === undefined) return variant;
  const scratch = new Scratch();
  try {
    const model = modelOf(file) ?? readModel("bytes" in file ? file.bytes : new Uint8Array());
    const { source } = await writeModel(model, scratch);
    return { ...variant, ...(await goldenOf(source, smallestTable(model), variant, inputs, typical)) };
  } finally {
    await scratch.close();
  }
}

async function goldenOf(
  source: ModelSource,
  bound: number,
  { session }: Pick<PackVariant, "session">,
  inputs: readonly BundleInput[],
  typical: Readonly<Record<string, number>>,
): Promise<Pick<PackVariant, "golden">> {
  const small = Object.fromEntries(Object.entries(typical).map(([name, size]) => [name, Math.min(size, SMALL)]));
  for (const sizes of [typical, small]) {
    let guesses = 0;
    for (const [feed] of syntheticInputs(inputs, { typical: sizes, bound })) {
      const golden = feed && (await makeGolden(source, session?.wasm, feed).catch(() => null));
      if (golden) return { golden };
      guesses += 1;
      if (golden === undefined || guesses === GUESSES) break; // too large, or not to be written
    }
  }
  return {};
}

/** Makes a variant's golden files; undefined where a tensor holds strings or an output is larger than 1 MiB. */
export async function makeGolden(
  source: ModelSource,
  session: Readonly<Record<string, string>> | undefined,
  feed: Feed,
): Promise<PackVariant["golden"]> {
  const inputBytes = writeSafetensors(feed);
  if (inputBytes === null || inputBytes.length > MAX_BYTES) return undefined;
  const model = await openModel(source, "cpu", session);
  try {
    const tried = AMPLITUDES.map((factor) => scaled(feed, () => factor));
    let [input, answer] = [feed, await model.runTensors(feed)];
    for (const louder of isFaint(answer) ? tried.slice(1) : []) {
      const next = await model.runTensors(louder);
      if (!isFaint(next)) [input, answer] = [louder, next];
      if (!isFaint(answer)) break;
    }
    const nudged = scaled(input, (i) => 1 + (Math.imul(i, 0x9e3779b1) < 0 ? NUDGE : -NUDGE));
    const floors = Object.entries(floorsOf(answer, await model.runTensors(nudged)));
    const inputs = writeSafetensors(input);
    const outputs = writeSafetensors(answer, Object.fromEntries(floors.map(([name, x]) => [name, String(x)])));
    if (inputs === null || outputs === null || outputs.length > MAX_BYTES) return undefined;
    return {
      inputs: { path: "golden-inputs.safetensors", bytes: inputs },
      outputs: { path: "golden-outputs.safetensors", bytes: outputs },
    };
  } finally {
    await model.release();
  }
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
