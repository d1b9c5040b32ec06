// What a run costs: an online estimate of ms by model, variant and backend, and by how many rows run together. One cell
// for each power of two, since cost is no straight line: what a batch saves ends where the cores, or the caches, are full.
// Out of it comes how many rows are to run together: sizes are doubled for as long as a row gets cheaper by it. So where
// batching pays it grows by itself, and where it does not (convolutions on wasm) it is tried again once in a while.

/** What was seen of one size: ms a row, and whether more than once. */
type Cell = readonly [rowMs: number, isSure: boolean];

/** A row must get cheaper by this, or the batch does not grow; by less where all of it is through within two frames. */
const PAYS = 0.95;
const PAYS_SHORT = 0.98;
const SHORT_MS = 33;
/** What it takes to hand a batch over and its answers back, in ms, on cores that others want too: part of a row's cost. */
const HANDOVER_MS = 0.4;
/** How much a new measurement weighs. */
const WEIGHT = 0.2;
/**
 * After so many runs the next size is tried again: the load of a machine changes. Sooner where that is as short, and was
 * not clearly worse: what kept it from being used may have been one bad moment.
 */
const RETRY = 200;
const RETRY_SHORT = 25;
const NEAR = 1.25;
/** The cost of a row where so many rows ran out of memory: never tried again. */
const TOO_MANY_MS = 1e9;
/** How many models are remembered. */
const KEPT = 64;
const NOTHING: readonly null[] = [];

/** The estimate of one engine. */
export class Estimate {
  #curves: Map<string, (Cell | null)[]> = new Map();
  #runs = 0;

  /** Reads what `save` wrote, if anything; `runs` counts towards the next retry. */
  constructor(saved: string | null = null, runs: number = 0) {
    this.#runs = runs;
    try {
      this.#curves = new Map(JSON.parse(saved ?? "[]") as [string, (Cell | null)[]][]);
      // Sizes that were never run are holes, not values.
      for (const cells of this.#curves.values())
        for (const size of cells.keys()) if (cells[size] === null) Reflect.deleteProperty(cells, size);
    } catch {
      // Somebody else wrote it: it is learned again.
    }
  }

  /** Counts the runs towards the next retry. */
  get runs(): number {
    return this.#runs;
  }

  /** Writes what is known of the last `kept` models, to be kept across page loads. */
  save(kept: number = KEPT): string {
    return JSON.stringify([...this.#curves].slice(-kept));
  }

  /** Gives the ms that so many rows take together; undefined where nothing is known of the model there. */
  ms(key: string, rows: number): number | undefined {
    const cells = this.#curves.get(key);
    if (cells === undefined) return undefined;
    const size = Math.log2(rows);
    let low = Math.floor(size);
    const high = cells[low + 1];
    while (low > 0 && !cells[low]) low -= 1;
    const cell = cells[low];
    if (!cell) return undefined;
    // Between two sizes that are known; past the last as if a larger batch gained nothing.
    return rows * (high && low + 1 > size ? cell[0] + (size - low) * (high[0] - cell[0]) : cell[0]);
  }

  /** Tells whether so many rows were measured more than once. */
  isSure(key: string, rows: number): boolean {
    return this.#curves.get(key)?.[Math.round(Math.log2(rows))]?.[1] === true;
  }

  /** Forgets what is known of a model there. */
  forget(key: string): void {
    this.#curves.delete(key);
  }

  /** Takes a measurement in; Infinity where there was not enough memory for so many rows. */
  learn(key: string, rows: number, ms: number): void {
    const cells = this.#curves.get(key) ?? [];
    this.#curves.set(key, cells);
    const size = Math.round(Math.log2(rows));
    const row = Math.min(ms / rows, TOO_MANY_MS);
    if (row === TOO_MANY_MS) {
      cells[size] = [row, true];
      return;
    }
    const [before, isSure] = cells[size] ?? [row, false];
    // The first run of a size also pays for buffers and shaders; and one hiccup must not look like a new truth.
    cells[size] = [
      isSure ? before + WEIGHT * (Math.min(row, 3 * before) - before) : Math.min(before, row),
      cells[size] !== undefined,
    ];
    const next = cells[size + 1];
    if (!next || next[0] === TOO_MANY_MS) return;
    const isShort = next[0] * 2 ** (size + 1) < SHORT_MS && next[0] < NEAR * row;
    if (++this.#runs % (isShort ? RETRY_SHORT : RETRY) === 0) cells[size + 1] = [next[0], false];
  }

  /**
   * Tells how many of the rows that are there should run together; twice what was tried so far where that may pay. A size
   * that does not pay is passed by where a larger one is known to: it may have been measured at a bad moment.
   */
  rows(key: string, available: number): number {
    const cells = this.#curves.get(key) ?? NOTHING;
    let before = Infinity;
    for (let size = 0, rows = 1; ; size += 1, rows *= 2) {
      const cell = cells[size];
      const isSure = cell?.[1] === true;
      if (isSure && !paysFrom(cells, rows, available, before)) return rows / 2;
      if (rows >= available) return available;
      if (!isSure) return rows;
      before = Math.min(before, costOf(cell, rows));
    }
  }
}

/** Tells whether any size from so many rows on, of which there are enough, makes a row cheaper. */
function paysFrom(cells: readonly (Cell | null)[], from: number, available: number, before: number): boolean {
  for (let size = Math.log2(from), rows = from; rows <= available; size += 1, rows *= 2) {
    const cell = cells[size];
    if (cell?.[1] !== true) continue;
    const pays = rows * cell[0] < SHORT_MS ? PAYS_SHORT : PAYS;
    if (costOf(cell, rows) < pays * before) return true;
  }
  return false;
}

/** What one of so many rows costs, its part of the handing over included. */
function costOf([rowMs]: Cell, rows: number): number {
  return rowMs + HANDOVER_MS / rows;
}
