// A variant's score as stated in its bundle: the value, its 95 % interval, and the reference's.
import type { Score, ScoreValue } from "../../core/bundle.ts";
import type { Interval } from "./interval.ts";

/** The 97.5th percentile of the normal distribution. */
const Z = 1.959964;

/**
 * Makes a score. `isShare` means that the value is the mean of per-sample scores between 0 and 1; then it has Wilson's
 * interval (E. B. Wilson, 1927), which stays within 0 to 1 and is wide enough for partially right answers too, since no
 * such mean has more variance than one of zeros and ones. Else it has the given interval, if any.
 */
export function makeScore(
  name: string,
  value: number,
  reference: number,
  n: number,
  isShare: boolean,
  interval: Interval | null = null,
): Score {
  // As wide as the form's own interval, which is for another set of samples.
  const count = interval === null ? n : n / 2;
  const estimate = (x: number): ScoreValue => (isShare && n > 0 ? { value: x, ...wilson(x, count) } : { value: x });
  const own = interval === null ? estimate(value) : { value, low: interval.low, high: interval.high };
  return { name, n, ...own, ...(interval && { interval: interval.method }), reference: estimate(reference) };
}

/** Returns the 95 % interval of a share observed over `n` samples, to six digits. */
export function wilson(share: number, n: number): { low: number; high: number } {
  const z2 = Z ** 2 / n;
  const centre = (share + z2 / 2) / (1 + z2);
  const half = (Z * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n))) / (1 + z2);
  const round = (x: number): number => Math.round(Math.min(1, Math.max(0, x)) * 1e6) / 1e6;
  return { low: Math.min(share, round(centre - half)), high: Math.max(share, round(centre + half)) };
}
