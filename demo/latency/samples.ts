// Histogram of a series of times. Pure.

/**
 * Counts samples in bins of equal ratio between two bounds, since times span decades. The outer bins also count
 * outliers.
 */
export function histogram(samples: readonly number[], min: number, max: number, bins: number): number[] {
  const counts = Array.from({ length: bins }, () => 0);
  const span = Math.log(max / min);
  for (const sample of samples) {
    const at = span > 0 ? Math.floor((Math.log(sample / min) / span) * bins) : 0;
    const bin = Math.min(bins - 1, Math.max(0, at));
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return counts;
}
