// How sure a ratio is: rounds are drawn again, with replacement, and the ratio is computed anew each time; the middle 95 %
// of what comes out is its interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Both
// subjects of a round are drawn together, since what slowed the machine slowed both.
import type { Random } from "../corpus/random.ts";

/** Fewer rounds tell nothing of how they spread. */
const ROUNDS_MIN = 5;
const DRAWS = 500;
const TAIL = 0.025;

/** Gives the ends of the interval of `ratio`, which is told the rounds that were drawn; null where rounds are few, or it is none at times. */
export function intervalOf(
  rounds: number,
  ratio: (drawn: readonly number[]) => number,
  random: Random,
): readonly [low: number, high: number] | null {
  if (rounds < ROUNDS_MIN) return null;
  const ratios = Array.from({ length: DRAWS }, () =>
    ratio(Array.from({ length: rounds }, () => random.whole(0, rounds - 1))),
  ).sort((a, b) => a - b);
  const [low = Number.NaN, high = Number.NaN] = [TAIL, 1 - TAIL].map((share) => ratios[Math.floor(share * DRAWS)]);
  return ratios.every(Number.isFinite) ? [low, high] : null;
}
