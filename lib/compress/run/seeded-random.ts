// Random numbers of the toolchain: the same on every machine, so that a bundle made again is the same. (The tests'
// generator, test-support/random.ts, is not in the package.)

/** The prime 2³¹ − 1. */
const MODULUS = 2_147_483_647;
/** Multiplier by which samples are split and resampled (Park, Miller & Stockmeyer, 1993). */
const MULTIPLIER = 48_271;
/** The earlier one (1988), of typical inputs and summaries: bundles hold numbers made by it, and identities follow them. */
export const EARLIER_MULTIPLIER = 16_807;

/** Lehmer's generator (Park & Miller, "Random number generators: good ones are hard to find", 1988). */
export class SeededRandom {
  #state: number;
  readonly #multiplier: number;

  /** @param seed - an integer from 1 to 2³¹ − 2 */
  constructor(seed: number, multiplier: number = MULTIPLIER) {
    this.#state = seed;
    this.#multiplier = multiplier;
  }

  /** Returns an integer from 1 to 2³¹ − 2. */
  integer(): number {
    this.#state = (this.#state * this.#multiplier) % MODULUS;
    return this.#state;
  }

  /** Returns a number between 0 and 1. */
  next(): number {
    return this.integer() / MODULUS;
  }
}
