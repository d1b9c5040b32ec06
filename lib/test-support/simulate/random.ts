// Seeded random numbers: equal seeds give equal sequences.

/**
 * Random numbers from a seed. The algorithm is Mulberry32 (Tommy Ettinger, public domain): 32 bits of state, plenty for
 * tests.
 */
export class Random {
  #state = 0;

  constructor(seed: number) {
    this.reset(seed);
  }

  /** Restarts from a seed. */
  reset(seed: number): void {
    this.#state = seed >>> 0;
  }

  /** Returns a number in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Returns a number in [0, max). */
  upTo(max: number): number {
    return this.next() * max;
  }

  /** Returns an integer in [0, n). */
  whole(n: number): number {
    return Math.floor(this.next() * n);
  }

  /** Returns true with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** Returns an element of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[this.whole(list.length)] as T;
  }
}
