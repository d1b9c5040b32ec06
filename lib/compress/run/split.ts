// Splits the samples into a part that forms are fitted to (scales, rounding, pruning) and a held-out part that scores
// them. A score over samples that the weights were fitted to is too good, the more so the fewer there are.
import type { Samples } from "./samples.ts";
import { SeededRandom } from "./seeded-random.ts";

/** The two parts of a set of samples. */
export interface Split {
  /** Number of samples that forms are fitted to. */
  readonly fitted: number;
  /** Number of held-out samples, which score them. */
  readonly scored: number;
  /** Whether forms may be fitted to the sample at this position. */
  isFitted(index: number): boolean;
  /** Whether the sample at this position scores forms. */
  isScored(index: number): boolean;
}

/** Number of held-out samples below which a score is too uncertain to decide. */
export const SCORED_LEAST = 16;

/**
 * Splits `n` samples at random, with a fixed seed, since samples are often ordered by class or in time: half of them,
 * at most `most`, are fitted to. A single sample is in both parts.
 */
export function splitSamples(n: number, most: number = Infinity): Split {
  const fitted = n === 1 ? 1 : Math.min(most, Math.floor(n / 2));
  const order = shuffled(n);
  const isIn = new Uint8Array(n);
  for (const index of order.slice(0, fitted)) isIn[index] = 1;
  const isFitted = (index: number): boolean => isIn[index] === 1;
  const isScored = n === 1 ? (index: number): boolean => index === 0 : (index: number): boolean => isIn[index] === 0;
  return { fitted, scored: n === 1 ? 1 : n - fitted, isFitted, isScored };
}

/** Returns the positions that a predicate holds for, below `n`. */
export function positionsOf(n: number, isIn: (index: number) => boolean): number[] {
  return Array.from({ length: n }, (_, i) => i).filter(isIn);
}

/** Selects some of the samples by their position. */
export function selectSamples(samples: Samples, count: number, isIn: (index: number) => boolean): Samples {
  return {
    ...samples,
    n: count,
    async *each() {
      let [i, left] = [0, count];
      if (left === 0) return;
      for await (const feed of samples.each()) {
        if (!isIn(i++)) continue;
        yield feed;
        if (--left === 0) return;
      }
    },
  };
}

/** Returns 0 … n − 1 in a random order, always the same (Fisher and Yates). */
function shuffled(n: number): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  const random = new SeededRandom(11);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return order;
}
