// Short-lived objects by numeric id: a Map whose values can be released. V8 reallocates the table of a long-lived Map
// after some number of changes. Until its next full collection the old tables retain all their values, and everything
// reachable from those. So the table holds a cell for each value, and removal empties the cell.

/** A map from ids to objects. */
export class IdMap<T extends object> {
  readonly #cells: Map<number, { value: T | undefined }> = new Map();

  /** Number of objects. */
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

  /** Removes an object; returns whether it was there. */
  delete(id: number): boolean {
    const cell = this.#cells.get(id);
    if (cell === undefined) return false;
    cell.value = undefined;
    return this.#cells.delete(id);
  }

  /** Returns the objects in insertion order. */
  *values(): Generator<T, void, undefined> {
    for (const { value } of this.#cells.values()) if (value !== undefined) yield value;
  }
}
