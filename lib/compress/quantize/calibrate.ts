// Chooses each activation's 8-bit range from the distribution of its values over samples. Covering the extremes makes
// the step coarse for the sake of a few values; clipping costs accuracy too. "mse" balances the two, "percentile" clips
// a fixed share.
//
// A value that 8 bits would represent poorly gets no range: its consumers stay float32. The known case is an additive
// mask of −10,000 next to scores near 0: all scores fall into one step. The error does not show it, since it is small
// relative to the mask; the small number of histogram bins in use does. `crowded` returns the bin to examine.
import type { Histogram, ValueRange } from "../run/statistics.ts";

/** Method of choosing a range. */
export type Calibration = "mse" | "percentile" | "min-max";

/** Options of `chooseStep`. */
export interface StepOptions {
  /** Default "mse". */
  readonly calibration?: Calibration;
  /** Percentage of the values that "percentile" keeps within the range. Default 99.99. */
  readonly percentile?: number;
  /** Minimum signal-to-noise ratio of a value in 8 bits, in dB; below it the value gets no range. Default 20. */
  readonly minDb?: number;
}

/** Defaults of `chooseStep`. */
export const STEP_DEFAULTS: Required<StepOptions> = { calibration: "mse", percentile: 99.99, minDb: 20 };

/** Affine quantization to unsigned 8 bits: value ≈ (code − zero) · scale. */
export interface QuantizationStep {
  /** Difference in value between two codes that follow each other. */
  readonly scale: number;
  /** Code of the value 0, from 0 to 255. */
  readonly zero: number;
}

const CODES = 255;
/** Factors by which "mse" tries to shrink each end of the range. */
const DRAWN: readonly number[] = [1, 0.95, 0.9, 0.85, 0.8, 0.74, 0.68, 0.62, 0.55, 0.48, 0.4, 0.32, 0.24, 0.16, 0.1];

/** Returns the quantization parameters for a value, or undefined where 8 bits would represent it too poorly. */
export function chooseStep(histogram: Histogram, options: StepOptions = {}): QuantizationStep | undefined {
  const { calibration, percentile, minDb } = { ...STEP_DEFAULTS, ...options };
  const whole: ValueRange = { min: Math.min(0, histogram.min), max: Math.max(0, histogram.max) };
  if (!(whole.max > whole.min) || !Number.isFinite(whole.max - whole.min)) return undefined;
  let range = whole;
  if (calibration === "percentile") range = cutShare(histogram, percentile);
  else if (calibration === "mse") range = leastError(histogram, whole);
  const { energy, error } = errorOf(histogram, range);
  // The variance counts, not the offset: a value that hardly changes is represented well by any step.
  if (!(10 * Math.log10(energy / error) >= minDb)) return undefined;
  const scale = Math.fround((range.max - range.min) / CODES);
  return scale < 2 ** -126 ? undefined : { scale, zero: Math.round(Math.abs(range.min) / scale) };
}

/** Histogram bins: with fewer in use, 8 bits have only a handful of codes for all values. */
const CROWDED_PARTS = 24;

/** Returns the fullest bin of a histogram whose values concentrate in few bins; undefined where they are spread out. */
export function crowded({ min, max, counts }: Histogram): ValueRange | undefined {
  if (counts.reduce((used, x) => used + (x > 0 ? 1 : 0), 0) >= CROWDED_PARTS) return undefined;
  const width = (max - min) / counts.length;
  const fullest = counts.indexOf(Math.max(...counts));
  return { min: min + fullest * width, max: min + (fullest + 1) * width };
}

function leastError(histogram: Histogram, whole: ValueRange): ValueRange {
  let best = whole;
  let least = errorOf(histogram, whole).error;
  for (const low of whole.min < 0 ? DRAWN : [1])
    for (const high of whole.max > 0 ? DRAWN : [1]) {
      const range = { min: whole.min * low, max: whole.max * high };
      const { error } = errorOf(histogram, range);
      if (error < least) [best, least] = [range, error];
    }
  return best;
}

function cutShare({ min, max, counts }: Histogram, percentile: number): ValueRange {
  const total = counts.reduce((a, b) => a + b, 0);
  const cut = (total * (100 - percentile)) / 200;
  const width = (max - min) / counts.length;
  const end = (order: readonly number[]): number => {
    let seen = 0;
    return order.find((i) => (seen += counts[i] ?? 0) > cut) ?? 0;
  };
  const parts = [...counts.keys()];
  const [low, high] = [end(parts), end([...parts].reverse())];
  return { min: Math.min(0, min + low * width), max: Math.max(0, min + (high + 1) * width) };
}

/** Returns the variance of a value, and the energy of its 8-bit quantization error over a range. */
function errorOf({ min, max, counts }: Histogram, range: ValueRange): { energy: number; error: number } {
  const width = (max - min) / counts.length;
  const within = ((range.max - range.min) / CODES) ** 2 / 12;
  let [total, sum, squares, error] = [0, 0, 0, 0];
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] ?? 0;
    if (count === 0) continue;
    const value = min + (i + 0.5) * width;
    const off = Math.max(0, value - range.max, range.min - value);
    total += count;
    sum += count * value;
    squares += count * value * value;
    error += count * (off > width ? off * off : within);
  }
  return { energy: Math.max(squares - (sum * sum) / total, squares * 1e-3), error };
}
