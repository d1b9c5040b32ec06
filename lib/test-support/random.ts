// Seeded random numbers for tests, benchmarks and the models' test data: equal seeds give equal sequences on every
// machine. Not for secrets.

/** Random numbers from a seed. The algorithm is Mulberry32 (Tommy Ettinger, public domain), with 32 bits of state. */
export class Random {
  #state = 0;

  constructor(seed: number | string) {
    this.reset(seed);
  }

  /** Restarts from a seed; a text counts by its hash (FNV-1a). */
  reset(seed: number | string): void {
    this.#state = typeof seed === "number" ? seed >>> 0 : hashOf(seed);
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

  /** Returns a number in [low, high). */
  between(low: number, high: number): number {
    return low + this.upTo(high - low);
  }

  /** Returns an integer in [0, n). */
  below(n: number): number {
    return Math.floor(this.upTo(n));
  }

  /** Returns an integer in [low, high], both included. */
  whole(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** Returns true with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /**
   * Returns an item of a list.
   * @throws RangeError for an empty list
   */
  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError("pick: the list is empty");
    return list[this.below(list.length)] as T;
  }
}

function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  return hash >>> 0;
}
