// Triangular filters over the frequencies of a Fourier transform, on any scale.

/** A filter: its weights from a frequency on. */
export interface Band {
  /** Index of the first frequency. */
  readonly first: number;
  readonly weights: Float64Array;
}

/**
 * Makes triangles of height 1, each from one edge over the next to the one after it.
 * @param edges - two more than bands, ascending
 * @param places - the frequencies on the scale of the edges, ascending
 */
export function triangles(edges: readonly number[], places: Float64Array): Band[] {
  return edges.slice(2).map((high, band) => {
    const [low = 0, centre = 0] = edges.slice(band);
    const all = places.map((x) => Math.max(0, Math.min((x - low) / (centre - low), (high - x) / (high - centre))));
    const first = Math.max(
      0,
      all.findIndex((x) => x > 0),
    );
    const count = all.subarray(first).findIndex((x) => x === 0);
    return { first, weights: all.slice(first, count === -1 ? undefined : first + count) };
  });
}

/** Returns the weighted sum of powers. */
export function applyBand({ first, weights }: Band, powers: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < weights.length; k += 1) sum += (weights[k] as number) * (powers[first + k] as number);
  return sum;
}
