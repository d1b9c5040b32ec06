// A list sorted by deadline, then by order of arrival: steps join it near the end and leave it near the start, so that an
// array is enough. Finding a place takes O(log n) comparisons.

/** An item of a line. */
interface Due {
  readonly id: number;
  readonly step: { readonly dueMs: number };
}

/** Keeps items by deadline. */
export class Line<T extends Due> {
  readonly #items: T[] = [];

  /** Counts the items. */
  get size(): number {
    return this.#items.length;
  }

  /** Returns the item at a place, the earliest deadline at 0. */
  at(index: number): T | undefined {
    return this.#items[index];
  }

  /** Adds an item. */
  add(item: T): void {
    this.#items.splice(this.#find(item.step.dueMs, item.id), 0, item);
  }

  /** Removes an item. */
  remove({ step: { dueMs }, id }: T): void {
    const at = this.#find(dueMs, id);
    if (at === 0) this.#items.shift();
    else this.#items.splice(at, 1);
  }

  /** Returns the place of the first item that is due at a time or later. */
  from(dueMs: number): number {
    return this.#find(dueMs, -Infinity);
  }

  /** Returns the place of the first item that is due then, of that id or a later one; or later. */
  #find(dueMs: number, id: number): number {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const item = this.#items[middle] as T;
      const itsMs = item.step.dueMs;
      if (itsMs < dueMs || (itsMs === dueMs && item.id < id)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
