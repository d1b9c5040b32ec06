// The quantile of all demo pages, by nearest rank as lib/core/quantile.ts defines it. A copy, since the demo imports only
// what the package exports, and that is no statistics.

/** Returns the smallest value with at least a share `q` of all values at or below it; undefined for no values. */
export function quantile(values: readonly number[], q: number): number | undefined {
  return [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(q * values.length) - 1)];
}
