// Floors of a golden's comparison for outputs that it does not hold: those of other shapes and inputs. Imported by
// engine/known-answers.ts when the first is compared.
import { largestOf, MASK, numbersOf, TOLERANCE } from "./compare-outputs.ts";
import type { Bounds, Tensors } from "./compare-outputs.ts";

/** Number of an output's elements that are read for the middle of its magnitudes. */
const SAMPLES = 1_024;

/** Floors of known outputs, each with the middle of the output's magnitudes there, by the output's name. */
export type FloorScales = ReadonlyMap<string, readonly (readonly [floor: number, middle: number])[]>;

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

/** Returns the middle of the magnitudes of some values, zeros and masks left out; 0 where there are no others. */
function middleOf(values: ArrayLike<number>): number {
  const step = Math.max(1, values.length / SAMPLES);
  const sizes: number[] = [];
  for (let at = 0; at < values.length; at += step) {
    const size = Math.abs(values[Math.floor(at)] as number);
    if (size > 0 && size < MASK) sizes.push(size);
  }
  return sizes.sort((a, b) => a - b)[(sizes.length - 1) >> 1] ?? 0;
}
