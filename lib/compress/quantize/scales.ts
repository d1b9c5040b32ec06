// Quantization grids: scales and zero points. Rows of values are divided into blocks of columns; each block has a scale
// and, where it reduces the error enough, a zero point: w ≈ (code − zero) · scale, with integer codes from −2^(bits−1).
// One block per row is a per-channel scale.
//
// Scales are searched, not taken from the extremes: at 4 bits, clipping the largest values a little loses less than a
// coarse step for all others. Errors may be weighted by the magnitude of each input of a layer.
import { nearestHalf } from "../onnx/float16.ts";

/** Rows of values to be quantized; `at` reads without a copy, whatever the storage order. */
export interface ValueRows {
  /** Number of rows. */
  readonly rows: number;
  /** Number of values per row. */
  readonly columns: number;
  /** Returns one value. */
  at(row: number, column: number): number;
}

/** Options for quantizing rows. */
export interface GridOptions {
  /** Bits per code. */
  readonly bits: 4 | 8;
  /** Number of columns that share a scale. */
  readonly block: number;
  /** Whether blocks may have zero points, where they reduce the error enough. Default false. */
  readonly hasZeros?: boolean;
  /** Whether scales are rounded to float16, where it represents them well. Default false. */
  readonly isHalf?: boolean;
  /**
   * Whether compressed size counts: scales are multiples of one step, where that makes them little larger, and none is
   * much finer than the spread of the values, since codes that fill their range do not compress. Default false.
   */
  readonly isSnapped?: boolean;
  /** Whether the lowest code is excluded, so that the range is symmetric and the scale positive. Default false. */
  readonly isEven?: boolean;
  /** A weight for each column's squared error. Default 1. */
  readonly importance?: ArrayLike<number> | undefined;
}

/** Scales and zero points: rows × blocks of each. */
export interface Grid {
  /** Bits per code. */
  readonly bits: 4 | 8;
  /** Number of columns that share a scale. */
  readonly block: number;
  /** The lowest code. */
  readonly low: number;
  /** The highest code. */
  readonly high: number;
  /** One scale per row and block, row by row. */
  readonly scales: Float32Array;
  /** Absent where every zero point is 0. */
  readonly zeros?: Int8Array;
  /** Sum of weighted squared errors of rounding to nearest. */
  readonly error: number;
}

/** A weight's grid, and the code of each of its values: a row for each output. */
export interface Rounded {
  /** Scales and zero points. */
  readonly grid: Grid;
  /** Codes, rows × columns. */
  readonly codes: Int8Array;
}

/** Candidate fractions of the full range for a scale to cover; the best is used. */
const SHRINK: Readonly<Record<4 | 8, readonly number[]>> = {
  4: [1, 0.97, 0.94, 0.91, 0.88, 0.85, 0.81, 0.77, 0.72, 0.66],
  8: [1, 0.94, 0.88, 0.8, 0.7, 0.6],
};
/** Zero points must lower the error to this fraction to be worth their bytes. */
const ZEROS_PAY = 0.9;
/**
 * The highest code corresponds to at least this many standard deviations, in rows long enough for a meaningful
 * estimate.
 */
const SPREAD = { deviations: 2.75, columns: 32 } as const;
/** Normal numbers only: a subnormal scale has too few bits to bound the error, and some GPUs flush it to 0. */
const SCALE_MIN = 2 ** -126;

/** Finds the scales, and zero points where they are worth it, of minimal error. */
export function fitGrid(rows: ValueRows, options: GridOptions): Grid {
  const plain = fit(rows, options, false);
  if (options.isSnapped === true) plain.scales.set(snapScales(plain.scales));
  // At 8 bits a zero point gains next to nothing.
  if (options.hasZeros !== true || options.bits === 8) return plain;
  const shifted = fit(rows, options, true);
  return shifted.error < plain.error * ZEROS_PAY ? shifted : plain;
}

/** Number of steps of the largest snapped scale. */
export const SCALE_STEPS = 255;
/** Scales of fewer steps would grow too much: by a half step on average. */
const STEPS_MIN = 20;

/**
 * Rounds scales up to multiples of one step, so that a byte holds each and nothing is clipped. Returns them unchanged
 * where one is too small for that.
 */
export function snapScales(scales: Float32Array): Float32Array {
  const least = scales.reduce((most, x) => Math.max(most, x), 0) / SCALE_STEPS;
  // A step of few bits, so that its multiples are exact.
  const unit = 2 ** (Math.floor(Math.log2(least)) - 10);
  const step = Math.ceil(least / unit) * unit;
  if (!scales.every((x) => x >= step * STEPS_MIN && x < Infinity)) return scales;
  return Float32Array.from(scales, (x) => Math.min(SCALE_STEPS, Math.ceil(x / step)) * step);
}

/** Returns the code nearest to each value: rows × columns. */
export function roundRows({ rows, columns, at }: ValueRows, { block, low, high, scales, zeros }: Grid): Int8Array {
  const codes = new Int8Array(rows * columns);
  const blocks = Math.ceil(columns / block);
  for (let row = 0; row < rows; row++)
    for (let b = 0; b < blocks; b++) {
      const i = row * blocks + b;
      const [scale, zero] = [scales[i] ?? 1, zeros?.[i] ?? 0];
      const end = Math.min(columns, (b + 1) * block);
      for (let column = b * block; column < end; column++)
        codes[row * columns + column] = clamped(at(row, column) / scale + zero, low, high);
    }
  return codes;
}

/** Returns the code nearest to a number of steps. */
export function nearest(steps: number, { low, high }: Pick<Grid, "low" | "high">): number {
  return clamped(steps, low, high);
}

// Comparisons are several times as fast as Math.min and Math.max, and a fit calls this twenty times for each weight.
function clamped(steps: number, low: number, high: number): number {
  const code = Math.round(steps);
  return code < low ? low : code > high ? high : code;
}

function fit({ rows, columns, at }: ValueRows, options: GridOptions, hasZeros: boolean): Grid {
  const { bits, block, importance, isEven = false } = options;
  const blocks = Math.ceil(columns / block);
  const high = 2 ** (bits - 1) - 1;
  const low = isEven ? -high : -high - 1;
  const scales = new Float32Array(rows * blocks);
  const zeros = new Int8Array(hasZeros ? rows * blocks : 0);
  const weights = new Float64Array(Math.min(block, columns));
  const cost = new Float64Array(weights.length).fill(1);
  const on = { ...options, low, high, hasZeros };
  let error = 0;
  for (let row = 0; row < rows; row++)
    for (let b = 0; b < blocks; b++) {
      const length = Math.min(block, columns - b * block);
      for (let i = 0; i < length; i++) {
        weights[i] = at(row, b * block + i);
        if (importance !== undefined) cost[i] = importance[b * block + i] ?? 1;
      }
      const best = bestStep(weights, cost, length, on);
      error += best.error;
      scales[row * blocks + b] = best.scale;
      if (hasZeros) zeros[row * blocks + b] = best.zero;
    }
  return { bits, block, low, high, scales, error, ...(hasZeros ? { zeros } : {}) };
}

/** Finds the scale and zero point of minimal error for one block. */
function bestStep(
  weights: Float64Array,
  cost: Float64Array,
  length: number,
  on: GridOptions & Pick<Grid, "low" | "high">,
): { scale: number; zero: number; error: number } {
  let [least, most, energy] = [0, 0, 0];
  for (let i = 0; i < length; i++) {
    const weight = weights[i] ?? 0;
    // Non-finite values propagate, so that the weight is left unquantized.
    if (!Number.isFinite(weight)) return { scale: Number.NaN, zero: 0, error: 0 };
    if (weight < least) least = weight;
    if (weight > most) most = weight;
    energy += weight * weight;
  }
  if (least === 0 && most === 0) return { scale: 1, zero: 0, error: 0 };
  const { low, high } = on;
  let wide = Math.max(most, -least) / high;
  // Without a zero point the extreme value uses the one extra step that the range has on its negative side.
  if (on.hasZeros === true) wide = (most - least) / (high - low);
  else if (on.isEven !== true) wide = (most > -least ? -most : -least) / -low;
  const isBounded = on.isSnapped === true && length >= SPREAD.columns;
  const finest = isBounded ? (SPREAD.deviations * Math.sqrt(energy / length)) / high : -Infinity;
  const zero = on.hasZeros === true ? clamped(low - least / wide, low, high) : 0;
  let best = 1;
  let bestError = Number.POSITIVE_INFINITY;
  for (const shrink of SHRINK[on.bits]) {
    const step = Math.max(wide * shrink, finest);
    const scale = on.isHalf === true ? nearestHalf(step) : Math.fround(step);
    if (Math.abs(scale) < SCALE_MIN) continue;
    const error = errorOf(weights, cost, length, scale, zero, low, high, bestError);
    if (error < bestError) [best, bestError] = [scale, error];
  }
  return Number.isFinite(bestError) ? { scale: best, zero, error: bestError } : { scale: SCALE_MIN, zero: 0, error: 0 };
}

/** Returns the error of a block with one scale; a part of it where that exceeds the bound. */
function errorOf(
  weights: Float64Array,
  cost: Float64Array,
  length: number,
  scale: number,
  zero: number,
  low: number,
  high: number,
  bound: number,
): number {
  let error = 0;
  for (let i = 0; i < length && error < bound; i++) {
    const weight = weights[i] ?? 0;
    const off = weight - (clamped(weight / scale + zero, low, high) - zero) * scale;
    error += off * off * (cost[i] ?? 1);
  }
  return error;
}
