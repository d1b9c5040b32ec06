// Comparison of a GPU's outputs with known ones.
import { halfToNumber } from "./half.ts";
import type { Tensor } from "./tensor.ts";

/** Bounds on |Δ| / |reference|, by the precision that a variant computes in. */
export const TOLERANCE = { float32: 1e-3, float16: 2e-2 } as const;
/** Share of an integer output's elements that may differ: near ties round either way. */
const INTEGERS_OFF = 0.01;
/** Bound on |Δ| where a reference is all zeros. */
const FLOOR = 1e-6;
/** Magnitude from which a reference counts as a mask, as −3.4e38: it sets no scale for other elements. */
export const MASK = 1e30;
/** Number of an output's elements that are read for the middle of its magnitudes. */
const SAMPLES = 1_024;
/** Tensors by name. */
export type Tensors = Readonly<Record<string, Tensor>>;

/** Bounds of a comparison beside the relative one. */
export interface Bounds {
  /** Names of outputs whose values are random: only their dims are compared. Default: none. */
  readonly random?: readonly string[] | undefined;
  /** Absolute tolerance of each output in float32. Default: the relative one, of the largest element. */
  readonly floors?: Readonly<Record<string, number>> | undefined;
  /** Largest |Δ| of each output that rounding explains, where that is more (tolerances.ts). Default: none. */
  readonly rounding?: Readonly<Record<string, number>> | undefined;
}

/** The comparison of one output. */
export interface Compared {
  readonly name: string;
  /** Sentence on a wrong output; null for a right one. */
  readonly fault: string | null;
  /** Error as a share of the reference; null where it has none: an output that was not compared as numbers. */
  readonly error: number | null;
  /** Bound on the error. */
  readonly tolerance: number;
}

/** Returns what is wrong with outputs in comparison to the expected ones; null where nothing is. */
export function faultOf(outputs: Tensors, expected: Tensors, isHalf: boolean, bounds: Bounds = {}): string | null {
  for (const { fault } of compare(outputs, expected, isHalf, bounds)) if (fault !== null) return fault;
  return null;
}

/**
 * Whether an agreement with outputs proves anything: each of floats has a value that is finite and not 0. Kernels that give
 * zeros, or nothing at all, agree with others.
 */
export function isTelling(expected: Tensors, random: readonly string[]): boolean {
  return Object.entries(expected).every(([name, tensor]) => {
    if (!tensor.dtype.startsWith("float") || tensor.data.length === 0 || random.includes(name)) return true;
    return Array.prototype.some.call(numbersOf(tensor), (x) => x !== 0 && Number.isFinite(x));
  });
}

/** Iterates over the comparisons of outputs with the expected ones. */
export function* compare(
  outputs: Tensors,
  expected: Tensors,
  isHalf: boolean,
  bounds: Bounds = {},
): Generator<Compared> {
  for (const [name, reference] of Object.entries(expected)) {
    const isCoarse = isHalf || reference.dtype === "float16";
    const tolerance = isCoarse ? TOLERANCE.float16 : TOLERANCE.float32;
    const floor = isCoarse ? undefined : bounds.floors?.[name];
    const rounding = bounds.rounding?.[name];
    const [fault, error = null] = compareOne(name, outputs[name], reference, { ...bounds, tolerance, floor, rounding });
    yield { name, fault, error, tolerance };
  }
}

type OneBounds = Pick<Bounds, "random"> & {
  readonly tolerance: number;
  readonly floor: number | undefined;
  readonly rounding: number | undefined;
};

function compareOne(
  name: string,
  output: Tensor | undefined,
  reference: Tensor,
  { random, tolerance, floor, rounding = 0 }: OneBounds,
): readonly [fault: string | null, error?: number | null] {
  if (output === undefined) return [`no output "${name}"`];
  if (String(output.dims) !== String(reference.dims))
    return [`"${name}" has dims ${output.dims.join("×")} in place of ${reference.dims.join("×")}`];
  if (reference.dtype === "string" || random?.includes(name) === true) return [null];
  const [values, wanted] = [numbersOf(output), numbersOf(reference)];
  if (areIndices(reference)) {
    const off = countOff(values, wanted);
    return [off > INTEGERS_OFF * wanted.length ? `"${name}" differs in ${off} of ${wanted.length}` : null];
  }
  const largest = largestOf(wanted);
  const own = floor === undefined ? largest : floor / tolerance;
  const size = Math.max(own, rounding / tolerance, FLOOR / TOLERANCE.float32);
  const error = errorOf(values, wanted, size, Math.max(size, largest));
  if (typeof error === "string") return [`"${name}" ${error}`];
  return [error > tolerance ? `error ${Number(error.toPrecision(2))} above ${tolerance}` : null, error];
}

/** Whether elements are indices, classes or flags, of which a near one is as wrong as any; 16-bit integers are samples. */
function areIndices({ dtype }: Tensor): boolean {
  return !dtype.startsWith("float") && !dtype.endsWith("16");
}

function countOff(values: ArrayLike<number>, reference: ArrayLike<number>): number {
  let off = 0;
  for (let i = 0; i < reference.length; i += 1) if (values[i] !== reference[i]) off += 1;
  return off;
}

/**
 * Returns the largest |Δ| as a share of the reference, which counts as large as `size` at least; a phrase on a value that is
 * not finite although its reference is, or the reverse.
 * @param largest - the least number that stands for infinity
 */
function errorOf(
  values: ArrayLike<number>,
  reference: ArrayLike<number>,
  size: number,
  largest: number,
): number | string {
  if (values.length !== reference.length) return "is not finite";
  let error = 0;
  for (let i = 0; i < reference.length; i += 1) {
    const wanted = reference[i] as number;
    const value = values[i] as number;
    if (!Number.isFinite(wanted)) {
      if (!Number.isNaN(wanted) && !(value * Math.sign(wanted) >= largest)) return "is not infinite";
      continue;
    }
    if (!Number.isFinite(value)) return "is not finite";
    error = Math.max(error, Math.abs(value - wanted) / Math.max(size, Math.abs(wanted)));
  }
  return error;
}

/** Returns the largest magnitude of values, masks left out. */
export function largestOf(values: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < values.length; i += 1) {
    const size = Math.abs(values[i] as number);
    if (size < MASK && size > largest) largest = size;
  }
  return largest;
}

/** Returns the middle of the magnitudes of some values, zeros and masks left out; 0 where there are no others. */
export function middleOf(values: ArrayLike<number>): number {
  const step = Math.max(1, values.length / SAMPLES);
  const sizes: number[] = [];
  for (let at = 0; at < values.length; at += step) {
    const size = Math.abs(values[Math.floor(at)] as number);
    if (size > 0 && size < MASK) sizes.push(size);
  }
  return sizes.sort((a, b) => a - b)[(sizes.length - 1) >> 1] ?? 0;
}

/** Returns a tensor's elements as numbers. */
export function numbersOf({ dtype, data }: Tensor): ArrayLike<number> {
  if (dtype === "float16") return Float64Array.from(data, halfToNumber);
  return dtype.endsWith("int64")
    ? Float64Array.from<bigint | number | string>(data, Number)
    : (data as ArrayLike<number>);
}
