// A binary heap that knows the positions of its items: removing any item, or updating its order, costs O(log n). Each
// item stores its position in a field, so that it can be in several heaps.

/** A heap whose first item precedes all others by `isBefore`. */
export class Heap<K extends string, T extends Record<K, number>> {
  readonly #field: K;
  readonly #isBefore: (a: T, b: T) => boolean;
  readonly #items: T[] = [];

  /** `field` is the name of the field for positions, which is -1 for items that are not in the heap. */
  constructor(field: K, isBefore: (a: T, b: T) => boolean) {
    this.#field = field;
    this.#isBefore = isBefore;
  }

  /** Returns the first item without removing it. */
  first(): T | undefined {
    return this.#items[0];
  }

  /**
   * Returns the first item that is not in `passed`; the cost depends on the size of `passed`, not on that of the heap.
   */
  firstBut(passed: ReadonlySet<T>): T | undefined {
    const places = [0];
    for (;;) {
      let best = 0;
      for (const [i, at] of places.entries()) {
        const [item, first] = [this.#items[at], this.#items[places[best] as number]];
        if (item !== undefined && (first === undefined || (i !== best && this.#isBefore(item, first)))) best = i;
      }
      const at = places[best] as number;
      const item = this.#items[at];
      if (item === undefined || !passed.has(item)) return item;
      places.splice(best, 1, 2 * at + 1, 2 * at + 2);
    }
  }

  /** Adds an item, or moves it to its new position if it is in the heap. */
  put(item: T): void {
    const at: number = item[this.#field];
    this.#sift(item, at < 0 ? this.#items.length : at);
  }

  /** Removes an item if it is in the heap. */
  remove(item: T): void {
    const at: number = item[this.#field];
    if (at < 0) return;
    const last = this.#items.pop() as T;
    (item as Record<K, number>)[this.#field] = -1;
    if (last !== item) this.#sift(last, at);
  }

  /**
   * Moves children up from a position along a path to a leaf, then the item up from there: one comparison per level, since
   * most belong there.
   */
  #sift(item: T, from: number): void {
    let at = from;
    for (let down = 2 * at + 1; down < this.#items.length; down = 2 * at + 1) {
      const right = this.#items[down + 1];
      if (right !== undefined && this.#isBefore(right, this.#items[down] as T)) down += 1;
      this.#place(this.#items[down] as T, at);
      at = down;
    }
    for (let up = (at - 1) >> 1; at > 0 && this.#isBefore(item, this.#items[up] as T); up = (at - 1) >> 1) {
      this.#place(this.#items[up] as T, at);
      at = up;
    }
    this.#place(item, at);
  }

  #place(item: T, at: number): void {
    this.#items[at] = item;
    (item as Record<K, number>)[this.#field] = at;
  }
}
