// Bootstrap interval of a ratio: rounds are resampled with replacement and the ratio is recomputed each time; the
// middle 95 % of the results is its interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
// 13). Both subjects of a round are drawn together, since a slowdown of the machine affects both.
import { quantile } from "../../../lib/core/quantile.ts";
import type { Random } from "../../../lib/test-support/random.ts";

/** Fewer rounds do not show their distribution. */
const ROUNDS_MIN = 5;
const DRAWS = 500;
const TAIL = 0.025;

/**
 * Returns the ends of the interval of `ratio`, a function of the drawn rounds; null if rounds are few, or if a ratio is
 * undefined.
 */
export function intervalOf(
  rounds: number,
  ratio: (drawn: readonly number[]) => number,
  random: Random,
): readonly [low: number, high: number] | null {
  if (rounds < ROUNDS_MIN) return null;
  const ratios = Array.from({ length: DRAWS }, () =>
    ratio(Array.from({ length: rounds }, () => random.whole(0, rounds - 1))),
  );
  const [low = Number.NaN, high = Number.NaN] = [TAIL, 1 - TAIL].map((share) => quantile(ratios, share));
  return ratios.every(Number.isFinite) ? [low, high] : null;
}
