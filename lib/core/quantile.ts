// The one definition of a quantile, by nearest rank: of n values, the k-th smallest, where k is the smallest rank with
// k / n >= q. It is always a value that occurred, so a p99 of 50 requests is the slowest of them. Interpolation would
// show a latency that no request had.

/** Returns the smallest value with at least a share `q` of all values at or below it; undefined for no values. */
export function quantile(values: readonly number[], q: number): number | undefined {
  const count = values.length;
  // The division decides, as in the definition: rounding lifts 0.07 · 100 above 7.
  let rank = Math.max(1, Math.ceil(q * count) - 1);
  while (rank < count && rank / count < q) rank += 1;
  return [...values].sort((a, b) => a - b)[rank - 1];
}
