// Vectors of one model in int8, compared exactly: every row by its cosine to the query. A row's scale is 1 / its length,
// so the cosine needs no float32 copy; 100,000 rows of 384 numbers take 38 MB.

/** A row and its cosine to the query. */
export interface Neighbour {
  readonly id: number;
  readonly cosine: number;
}

/** A table of vectors of one width by id. */
export class VectorTable {
  readonly #width: number;
  readonly #ids: number[] = [];
  readonly #rows: Map<number, number> = new Map();
  #numbers = new Int8Array();
  #scales = new Float32Array();

  constructor(width: number) {
    this.#width = width;
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
  }

  /** Returns the `count` vectors nearest to a query of length 1, the nearest first; of equal ones the lower id. */
  nearest(query: Float32Array, count: number): Neighbour[] {
    this.#check(query);
    const best: Neighbour[] = [];
    for (const [row, id] of this.#ids.entries()) {
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
  }

  #check({ length }: ArrayLike<number>): void {
    if (length !== this.#width) throw new RangeError(`expected a vector of ${this.#width} numbers, got ${length}`);
  }
}

function compare(a: Neighbour, b: Neighbour): number {
  return b.cosine - a.cosine || a.id - b.id;
}
