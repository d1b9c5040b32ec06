// A list sorted by deadline, then by order of arrival. Finding a position takes O(log n) comparisons; items are kept in
// chunks, so that adding and removing moves few of them however long the list is.

/** An item of a line. */
interface Due {
  readonly id: number;
  readonly step: { readonly dueMs: number };
}

/** A chunk is split at twice this size. */
const CHUNK = 256;

/** Keeps items by deadline. */
export class Line<T extends Due> {
  readonly #chunks: T[][] = [];
  #size = 0;

  /** Number of items. */
  get size(): number {
    return this.#size;
  }

  /** Returns the item at a position; the earliest deadline is at 0. */
  at(place: number): T | undefined {
    let left = place;
    for (const chunk of this.#chunks) {
      if (left < chunk.length) return chunk[left];
      left -= chunk.length;
    }
    return undefined;
  }

  /** Adds an item. */
  add(item: T): void {
    this.#size += 1;
    const { dueMs } = item.step;
    // An item due after all others goes to the end of the last chunk.
    const at = Math.max(0, Math.min(this.#chunkOf(dueMs, item.id), this.#chunks.length - 1));
    const chunk = this.#chunks[at];
    if (chunk === undefined) {
      this.#chunks.push([item]);
      return;
    }
    chunk.splice(placeIn(chunk, dueMs, item.id), 0, item);
    if (chunk.length >= 2 * CHUNK) this.#chunks.splice(at + 1, 0, chunk.splice(CHUNK));
  }

  /** Removes an item. */
  remove({ step: { dueMs }, id }: T): void {
    this.#size -= 1;
    const at = this.#chunkOf(dueMs, id);
    const chunk = this.#chunks[at] as T[];
    chunk.splice(placeIn(chunk, dueMs, id), 1);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }

  /** Returns the position of the first item that is due at a time or later. */
  from(dueMs: number): number {
    const at = this.#chunkOf(dueMs, -Infinity);
    let before = 0;
    for (const { length } of this.#chunks.slice(0, at)) before += length;
    return before + placeIn(this.#chunks[at] ?? [], dueMs, -Infinity);
  }

  /**
   * Returns the position of the first chunk whose last item is due at that time with that id or a later one, or is due
   * later.
   */
  #chunkOf(dueMs: number, id: number): number {
    return firstFrom(this.#chunks.length, (i) => isFrom((this.#chunks[i] as T[]).at(-1) as T, dueMs, id));
  }
}

function placeIn(chunk: readonly Due[], dueMs: number, id: number): number {
  return firstFrom(chunk.length, (i) => isFrom(chunk[i] as Due, dueMs, id));
}

/** Whether an item is due at that time with that id or a later one, or is due later. */
function isFrom({ step, id: own }: Due, dueMs: number, id: number): boolean {
  const itsMs = step.dueMs;
  return itsMs > dueMs || (itsMs === dueMs && own >= id);
}

/** Returns the first index below `count` from which on a condition holds. */
function firstFrom(count: number, holds: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
