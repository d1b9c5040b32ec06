// A binary heap of things that may leave it from anywhere: a thing that is gone stays where it lies until it surfaces,
// or until half of the heap is gone. So whatever happens to a thing costs O(log n), and memory follows what waits.

/** What a heap holds: `gone` once it waits no more, and never waiting again. */
export interface Leaving {
  gone: boolean;
}

/** Gives the first by an order that does not change while things wait. */
export class Heap<T extends Leaving> {
  readonly #isBefore: (a: T, b: T) => boolean;
  #items: T[] = [];
  #size = 0;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  /** Counts what waits. */
  get size(): number {
    return this.#size;
  }

  /** Adds a thing. */
  push(item: T): void {
    this.#size += 1;
    let at = this.#items.push(item) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!this.#swaps(at, up)) return;
      at = up;
    }
  }

  /** Takes note that one thing is gone, wherever it lies. */
  left(): void {
    this.#size -= 1;
    if (this.#items.length < 2 * this.#size + 64) return;
    this.#items = this.#items.filter((item) => !item.gone);
    // Whatever is sorted is a heap.
    this.#items.sort((a, b) => (this.#isBefore(a, b) ? -1 : 1));
  }

  /** Gives the first of what waits and leaves it there. */
  first(): T | undefined {
    while (this.#items[0]?.gone === true) {
      const last = this.#items.pop() as T;
      if (this.#items.length === 0) break;
      this.#items[0] = last;
      for (let at = 0, down = 1; down < this.#items.length; at = down, down = 2 * at + 1) {
        const right = this.#items[down + 1];
        if (right !== undefined && this.#isBefore(right, this.#items[down] as T)) down += 1;
        if (!this.#swaps(down, at)) break;
      }
    }
    return this.#items[0];
  }

  /** Swaps two where the first of them comes before the other. */
  #swaps(from: number, to: number): boolean {
    const a = this.#items[from] as T;
    const b = this.#items[to] as T;
    if (!this.#isBefore(a, b)) return false;
    this.#items[from] = b;
    this.#items[to] = a;
    return true;
  }
}
