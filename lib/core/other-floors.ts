// Floors of comparisons: absolute tolerances of outputs, by the effect of the inputs' own rounding. The toolchain measures
// those of a golden. From them follow the floors of outputs that the golden does not hold, those of other shapes and
// inputs; before one of these refuses a GPU, its floor is measured on wasm for the very inputs. Imported by
// engine/known-answers.ts when the first is compared.
import { largestOf, MASK, middleOf, numbersOf, TOLERANCE } from "./compare-outputs.ts";
import type { Bounds, Tensors } from "./compare-outputs.ts";
import type { Tensor } from "./tensor.ts";

/** Relative change of an input, in both directions: eight units in the last place of float32. */
export const NUDGE: number = 2 ** -20;
/** Bound on an honest difference, as a multiple of what such a change causes. */
const SLACK = 100;
/**
 * Bound on what rounding may explain, as a share of an output's largest or usual value, since a discontinuity would explain
 * anything; and as a share of the slack, for sums of large values that are nearly zero.
 */
const SHARE = 0.1;
const SLACK_SHARE = 0.15;
/** Relative effect up to which the relative tolerance of the comparison suffices. */
const OWN = 1e-5;

/** Floors of known outputs, each with the middle of the output's magnitudes there, by the output's name. */
export type FloorScales = ReadonlyMap<string, readonly (readonly [floor: number, middle: number])[]>;

/**
 * Returns tensors with each float32 value changed by its rounding, up or down; null where there is none. Masks stay: a
 * model multiplies what differs from 1 by a huge number.
 */
export function nudged(tensors: Tensors): Tensors | null {
  const change = (x: number, i: number): number =>
    x === 1 || Math.abs(x) >= MASK ? x : x * (1 + (Math.imul(i, 0x9e3779b1) < 0 ? NUDGE : -NUDGE));
  const changed = Object.entries(tensors).flatMap(([name, tensor]): [string, Tensor][] =>
    tensor.dtype === "float32" ? [[name, { ...tensor, data: tensor.data.map(change) }]] : [],
  );
  return changed.length === 0 ? null : { ...tensors, ...Object.fromEntries(changed) };
}

/**
 * Returns the floor of each output in float32 that a change of the inputs affects: at least as much as the change
 * explains, at most a share of the largest value.
 * @param share - default: the relative bound of a comparison
 */
export function floorsOf(
  answer: Tensors,
  changed: Tensors,
  share: number = TOLERANCE.float32,
): Readonly<Record<string, number>> {
  const floors: Record<string, number> = {};
  for (const [name, tensor] of Object.entries(answer)) {
    const other = changed[name];
    if (tensor.dtype !== "float32" || other?.dtype !== "float32" || other.data.length !== tensor.data.length) continue;
    let [noise, largest, isMoved] = [0, 0, false];
    for (const [i, x] of tensor.data.entries()) {
      const size = Math.abs(x);
      if (!(size < MASK)) continue;
      largest = Math.max(largest, size);
      const effect = Math.abs((other.data[i] as number) - x);
      isMoved ||= effect > 0;
      if (effect > OWN * size) noise = Math.max(noise, effect);
    }
    const floor = Math.min(SLACK * Math.max(noise, NUDGE * middleOf(tensor.data)), share * largest);
    if (floor > 0 && isMoved) floors[name] = floor;
  }
  return floors;
}

/** Reads the floors of known outputs, from which those of outputs for other inputs follow. */
export function floorScales(known: readonly (Pick<Bounds, "floors"> & { readonly outputs: Tensors })[]): FloorScales {
  const scales = new Map<string, (readonly [floor: number, middle: number])[]>();
  for (const { outputs, floors = {} } of known)
    for (const [name, floor] of Object.entries(floors)) {
      const tensor = outputs[name];
      if (tensor !== undefined) scales.set(name, [...(scales.get(name) ?? []), [floor, middleOf(numbersOf(tensor))]]);
    }
  return scales;
}

/**
 * Returns the floors of outputs for other inputs than the known ones: as large as the known floor, and larger by as much
 * as the middle of the magnitudes is, up to the relative bound of the largest element. The middle is not moved by masks
 * and single huge values.
 */
export function floorsFor(scales: FloorScales, expected: Tensors): NonNullable<Bounds["floors"]> {
  const floors: Record<string, number> = {};
  for (const [name, list] of scales) {
    const tensor = expected[name];
    if (tensor === undefined) continue;
    const values = numbersOf(tensor);
    const most = TOLERANCE.float32 * largestOf(values);
    const middle = middleOf(values);
    const floorAt = ([floor, known]: readonly [number, number]): number =>
      known > 0 ? Math.max(floor, Math.min((floor * middle) / known, most)) : floor;
    floors[name] = Math.max(...list.map(floorAt));
  }
  return floors;
}

/**
 * Widens bounds by all that rounding may explain: what a change of the inputs does to the expected outputs themselves, up
 * to a share of their largest or usual value, and of outputs without a floor their usual size, since one may be nearly
 * zero by chance. An agreement within these bounds proves nothing.
 * @param usual - magnitudes of known outputs, by their names
 * @param changed - the expected outputs for nudged inputs; null where no input could be nudged
 * @param isHalf - whether the variant computes in float16
 */
export function widened(
  floors: Bounds["floors"],
  usual: ReadonlyMap<string, number>,
  expected: Tensors,
  changed: Tensors | null,
  isHalf: boolean,
): Pick<Bounds, "floors" | "scales"> {
  const effects = changed === null ? {} : floorsOf(expected, changed, Infinity);
  const tolerance = isHalf ? TOLERANCE.float16 : TOLERANCE.float32;
  const scales: Record<string, number> = {};
  const own: Record<string, number> = {};
  for (const [name, tensor] of Object.entries(expected)) {
    const size = usual.get(name) ?? 0;
    const effect = effects[name] ?? 0;
    const most = Math.max(SHARE * Math.max(size, largestOf(numbersOf(tensor))), SLACK_SHARE * effect);
    const measured = Math.min(effect, most);
    scales[name] = Math.max(size, measured / tolerance);
    const floor = floors?.[name];
    if (floor !== undefined) own[name] = Math.max(floor, measured);
  }
  return { floors: own, scales };
}
