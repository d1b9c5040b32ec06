// What many things that come and go are found by, each by its number. A Map whose values can be let go: V8 gives a Map that
// lives long a new table after so many changes, and until its next full collection the old ones keep all that was in them,
// with all that can be reached from there. So a table keeps a cell for each thing, and who takes it out empties the cell.

/** Finds things by their number. */
export class Table<T extends object> {
  readonly #cells: Map<number, { value: T | undefined }> = new Map();

  /** Counts what is there. */
  get size(): number {
    return this.#cells.size;
  }

  get(id: number): T | undefined {
    return this.#cells.get(id)?.value;
  }

  has(id: number): boolean {
    return this.#cells.has(id);
  }

  set(id: number, value: T): void {
    this.#cells.set(id, { value });
  }

  /** Takes a thing out; tells whether it was there. */
  delete(id: number): boolean {
    const cell = this.#cells.get(id);
    if (cell === undefined) return false;
    cell.value = undefined;
    return this.#cells.delete(id);
  }

  /** Gives what is there, in the order in which it came. */
  *values(): Generator<T, void, undefined> {
    for (const { value } of this.#cells.values()) if (value !== undefined) yield value;
  }
}
