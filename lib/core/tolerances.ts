// Absolute tolerances of a model's outputs: |Δ| may be as large as a hundred times what the rounding of the inputs changes.
// The toolchain measures that for a golden. For other inputs the golden's count, and before a GPU is refused wasm measures
// the effect for the very inputs, several times, since it may be nearly nothing by chance. Imported by
// engine/known-answers.ts when the first such output is compared.
import { largestOf, MASK, middleOf, numbersOf, TOLERANCE } from "./compare-outputs.ts";
import type { Bounds, Tensors } from "./compare-outputs.ts";
import type { Tensor } from "./tensor.ts";

/** Relative change of an input, in both directions: eight units in the last place of float32. */
export const NUDGE: number = 2 ** -20;
/** Absolute tolerance of an output, as a multiple of what one such change causes. */
const TOLERANCE_FACTOR = 100;
/** Number of changes that are tried, and the difference that rounding explains as a multiple of their largest effect. */
export const NUDGE_COUNT = 4;
const ROUNDING_FACTOR = 16;
/** Relative effect up to which the relative tolerance of the comparison suffices. */
const PROPORTIONAL_MAX = 1e-5;

/**
 * Returns tensors with each float32 value changed by its rounding, up or down; null where there is none. Masks stay: a
 * model multiplies what differs from 1 by a huge number.
 * @param round - which of several changes. Default: 0
 */
export function nudged(tensors: Tensors, round = 0): Tensors | null {
  const start = Math.imul(round, 0x9e3779b1);
  const change = (x: number, i: number): number => {
    const hash = Math.imul(i ^ start, 0x85ebca6b);
    const isUp = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) < 0;
    return x === 1 || Math.abs(x) >= MASK ? x : x * (1 + (isUp ? NUDGE : -NUDGE));
  };
  const changed = Object.entries(tensors).flatMap(([name, tensor]): [string, Tensor][] =>
    tensor.dtype === "float32" ? [[name, { ...tensor, data: tensor.data.map(change) }]] : [],
  );
  return changed.length === 0 ? null : { ...tensors, ...Object.fromEntries(changed) };
}

/**
 * Returns the largest effect of a change of the inputs on each output in float32, beyond what is in proportion. An element
 * that is a mask, or that the change makes one, has none: it would allow any error of the others.
 */
export function effectsOf(answer: Tensors, changed: Tensors): ReadonlyMap<string, number> {
  const effects = new Map<string, number>();
  for (const [name, tensor] of Object.entries(answer)) {
    const other = changed[name];
    if (tensor.dtype !== "float32" || other?.dtype !== "float32" || other.data.length !== tensor.data.length) continue;
    for (const [i, x] of tensor.data.entries()) {
      const y = other.data[i] as number;
      const effect = Math.abs(y - x);
      if (!(Math.max(Math.abs(x), Math.abs(y)) < MASK) || effect === 0) continue;
      effects.set(name, Math.max(effects.get(name) ?? 0, effect > PROPORTIONAL_MAX * Math.abs(x) ? effect : 0));
    }
  }
  return effects;
}

/** Returns the absolute tolerance of each output that a change of the inputs affects; at most the relative one. */
export function floorsOf(answer: Tensors, changed: Tensors): Readonly<Record<string, number>> {
  const floors = [...effectsOf(answer, changed)].map(([name, effect]): [string, number] => {
    const values = numbersOf(answer[name] as Tensor);
    return [
      name,
      Math.min(TOLERANCE_FACTOR * Math.max(effect, NUDGE * middleOf(values)), TOLERANCE.float32 * largestOf(values)),
    ];
  });
  return Object.fromEntries(floors.filter(([, floor]) => floor > 0));
}

/** Returns the absolute tolerances of outputs for other inputs than the known ones, which count at least. */
export function floorsFor(known: readonly Pick<Bounds, "floors">[], expected: Tensors): Record<string, number> {
  const floors: Record<string, number> = {};
  for (const { floors: own = {} } of known)
    for (const [name, floor] of Object.entries(own)) {
      const tensor = expected[name];
      if (tensor === undefined) continue;
      floors[name] = Math.max(floor, floors[name] ?? TOLERANCE_FACTOR * NUDGE * middleOf(numbersOf(tensor)));
    }
  return floors;
}

/**
 * Returns the largest difference of an output that rounding explains.
 * @param effect - the largest effect of some changes of the inputs
 * @param usual - a magnitude of which the output, nearly zero by chance, may be off by its relative tolerance
 */
export function roundingOf(effect = 0, usual = 0, isHalf: boolean): number {
  return Math.max(ROUNDING_FACTOR * effect, TOLERANCE[isHalf ? "float16" : "float32"] * usual);
}
