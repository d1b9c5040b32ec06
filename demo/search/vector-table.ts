// Vectors of one model in int8, compared exactly: every row by its cosine to the query. A row's scale is 1 / its length,
// so the cosine needs no float32 copy; 100,000 rows of 384 numbers take 38 MB. Of more rows than that the sign bits, 48
// bytes a row, choose some by their Hamming distance, and those alone are compared in int8: the best 100 of 120,000
// synthetic rows around 200 topics take 10 ms in place of 103 (Node 20, least of 60 each), with the same first ten in all 60.

/** A row and its cosine to the query. */
export interface Neighbour {
  readonly id: number;
  readonly cosine: number;
}

/** Rows up to which all are compared in int8. */
const EXACT_MAX = 100_000;
/** Rows that the sign bits choose, for each that is asked for. */
const CHOSEN = 20;

/** A table of vectors of one width by id. */
export class VectorTable {
  readonly #width: number;
  readonly #ids: number[] = [];
  readonly #rows: Map<number, number> = new Map();
  readonly #exactMax: number;
  readonly #bitWords: number;
  #numbers = new Int8Array();
  #scales = new Float32Array();
  #bits = new Uint32Array();

  constructor(width: number, exactMax: number = EXACT_MAX) {
    this.#width = width;
    this.#exactMax = exactMax;
    this.#bitWords = Math.ceil(width / 32);
  }

  /** Number of vectors. */
  get size(): number {
    return this.#ids.length;
  }

  /** Sets the vector of an id. */
  set(id: number, vector: Int8Array): void {
    this.#check(vector);
    const row = this.#rows.get(id) ?? this.#ids.length;
    if (row === this.#ids.length) {
      this.#ids.push(id);
      this.#rows.set(id, row);
      if (row === this.#scales.length) this.#grow();
    }
    this.#numbers.set(vector, row * this.#width);
    const length = Math.hypot(...vector);
    this.#scales[row] = length === 0 ? 0 : 1 / length;
    this.#bits.set(this.#signsOf(vector), row * this.#bitWords);
  }

  /** Removes a vector; the last row takes its place. */
  delete(id: number): void {
    const row = this.#rows.get(id);
    const last = this.#ids.pop();
    if (row === undefined || last === undefined) {
      if (last !== undefined) this.#ids.push(last);
      return;
    }
    this.#rows.delete(id);
    if (last === id) return;
    const from = this.#ids.length;
    this.#ids[row] = last;
    this.#rows.set(last, row);
    this.#numbers.copyWithin(row * this.#width, from * this.#width, (from + 1) * this.#width);
    this.#scales.copyWithin(row, from, from + 1);
    this.#bits.copyWithin(row * this.#bitWords, from * this.#bitWords, (from + 1) * this.#bitWords);
  }

  /** Returns the `count` vectors nearest to a query of length 1, the nearest first; of equal ones the lower id. */
  nearest(query: Float32Array, count: number): Neighbour[] {
    this.#check(query);
    const best: Neighbour[] = [];
    for (const row of this.#rowsFor(query, count)) {
      const id = this.#ids[row] ?? 0;
      const cosine = this.#cosine(row, query);
      if (best.length === count && cosine < (best.at(-1)?.cosine ?? -Infinity)) continue;
      const next = { id, cosine };
      let at = best.length;
      while (at > 0 && compare(next, best[at - 1] ?? next) < 0) at -= 1;
      best.splice(at, 0, next);
      if (best.length > count) best.pop();
    }
    return best;
  }

  /** Returns the rows to compare exactly: all of a small table, else those whose signs differ least from the query's. */
  #rowsFor(query: Float32Array, count: number): Iterable<number> {
    const { size } = this;
    if (size <= this.#exactMax) return this.#ids.keys();
    const signs = this.#signsOf(query);
    const distances = new Uint16Array(size);
    const perDistance = new Uint32Array(this.#width + 1);
    for (let row = 0, at = 0; row < size; row += 1) {
      let distance = 0;
      for (const word of signs) distance += bitCount(word ^ (this.#bits[at++] ?? 0));
      distances[row] = distance;
      perDistance[distance] = (perDistance[distance] ?? 0) + 1;
    }
    let [most, rows] = [0, perDistance[0] ?? 0];
    while (rows < CHOSEN * count && most < this.#width) rows += perDistance[++most] ?? 0;
    const chosen: number[] = [];
    for (let row = 0; row < size; row += 1) if ((distances[row] ?? 0) <= most) chosen.push(row);
    return chosen;
  }

  #signsOf(vector: ArrayLike<number>): Uint32Array {
    const signs = new Uint32Array(this.#bitWords);
    for (let i = 0; i < vector.length; i += 1)
      if ((vector[i] ?? 0) > 0) signs[i >> 5] = (signs[i >> 5] ?? 0) | (1 << (i & 31));
    return signs;
  }

  #cosine(row: number, query: Float32Array): number {
    const numbers = this.#numbers;
    const from = row * this.#width;
    let sum = 0;
    for (let i = 0; i < query.length; i += 1) sum += (query[i] ?? 0) * (numbers[from + i] ?? 0);
    return sum * (this.#scales[row] ?? 0);
  }

  #grow(): void {
    const rows = Math.max(64, 2 * this.#scales.length);
    const [numbers, scales] = [this.#numbers, this.#scales];
    this.#numbers = new Int8Array(rows * this.#width);
    this.#numbers.set(numbers);
    this.#scales = new Float32Array(rows);
    this.#scales.set(scales);
    const bits = this.#bits;
    this.#bits = new Uint32Array(rows * this.#bitWords);
    this.#bits.set(bits);
  }

  #check({ length }: ArrayLike<number>): void {
    if (length !== this.#width) throw new RangeError(`expected a vector of ${this.#width} numbers, got ${length}`);
  }
}

function bitCount(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

function compare(a: Neighbour, b: Neighbour): number {
  return b.cosine - a.cosine || a.id - b.id;
}
