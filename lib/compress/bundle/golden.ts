// A variant's golden input and output: one sample, and this variant's output for it on onnxruntime-node's CPU. A device
// with a different output computes wrongly. The output is from one machine: another CPU may round the last bits
// differently, so comparisons need a tolerance: beside a relative one, an absolute one of each output, measured by the
// effect of the inputs' own rounding. One that is taken from the largest value would be blind where that is a mask, or one
// huge logit.
import type { PackVariant } from "./pack.ts";
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

/** Makes a variant's golden files; undefined where a tensor holds strings or an output is larger than 1 MiB. */
export async function makeGolden(
  bytes: Uint8Array,
  session: Readonly<Record<string, string>> | undefined,
  feed: Feed,
): Promise<PackVariant["golden"]> {
  const model = await openModel(bytes, "cpu", session);
  try {
    const inputs = writeSafetensors(feed);
    const answer = await model.runTensors(feed);
    const floors = Object.entries(floorsOf(answer, await model.runTensors(nudged(feed))));
    const metadata = Object.fromEntries(floors.map(([name, floor]) => [name, String(floor)]));
    const outputs = inputs === null ? null : writeSafetensors(answer, metadata);
    if (inputs === null || outputs === null || Math.max(inputs.length, outputs.length) > MAX_BYTES) return undefined;
    return {
      inputs: { path: "golden-inputs.safetensors", bytes: inputs },
      outputs: { path: "golden-outputs.safetensors", bytes: outputs },
    };
  } finally {
    await model.release();
  }
}

/** Returns inputs with each float32 value changed by a little, up or down. */
function nudged(feed: Feed): Feed {
  const nudge = (tensor: Tensor): Tensor =>
    tensor.dtype === "float32"
      ? { ...tensor, data: tensor.data.map((x, i) => x * (1 + ((i * 2_654_435_761) & 8 ? NUDGE : -NUDGE))) }
      : tensor;
  return Object.fromEntries(Object.entries(feed).map(([name, tensor]) => [name, nudge(tensor)]));
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
