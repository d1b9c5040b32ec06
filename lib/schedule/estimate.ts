// What a run costs: an online estimate of ms by model, variant and backend, and by how many rows run together. One cell
// for each power of two, since cost is no straight line: what a batch saves ends where the cores, or the caches, are full.
// Out of it comes how many rows are to run together: sizes are doubled for as long as a row gets cheaper by it. So where
// batching pays it grows by itself, and where it does not (convolutions on wasm) one try in a hundred is what it costs.

/** What was seen of one size. */
interface Cell {
  /** Cost of a row, in ms. */
  row: number;
  /** How often it was seen, up to what changes the weight of the next. */
  seen: number;
}

interface Curve {
  readonly cells: (Cell | undefined)[];
  runs: number;
}

/** A row must get cheaper by this, or the batch does not grow. */
const PAYS = 0.95;
/** How much a new measurement weighs. */
const WEIGHT = 0.2;
/** After so many runs the next size is tried again: the load of a machine changes. */
const RETRY = 200;

/** The estimate of one engine. */
export class Estimate {
  readonly #curves: Map<string, Curve> = new Map();

  /** Gives the ms that so many rows take together; undefined where nothing is known of the model there. */
  ms(key: string, rows: number): number | undefined {
    const cells = this.#curves.get(key)?.cells ?? [];
    const size = Math.log2(rows);
    const low = cells[Math.floor(size)];
    const high = cells[Math.ceil(size)];
    if (low && high) return rows * (low.row + (size % 1) * (high.row - low.row));
    for (let below = Math.floor(size); below >= 0; below -= 1) {
      const cell = cells[below];
      if (cell) return rows * cell.row; // as if a larger batch gained nothing
    }
    const above = cells.findIndex((cell) => cell !== undefined);
    return above < 0 ? undefined : 2 ** above * (cells[above] as Cell).row; // as if a smaller one did
  }

  /** Takes a measurement in. */
  learn(key: string, rows: number, ms: number): void {
    const curve = this.#curves.get(key) ?? { cells: [], runs: 0 };
    this.#curves.set(key, curve);
    const size = Math.round(Math.log2(rows));
    const row = ms / rows;
    const cell = curve.cells[size];
    if (cell === undefined) curve.cells[size] = { row, seen: 1 };
    // The first run of a size also pays for buffers and shaders.
    else if (cell.seen === 1) Object.assign(cell, { row: Math.min(cell.row, row), seen: 2 });
    // One hiccup must not look like a new truth.
    else cell.row += WEIGHT * (Math.min(row, 3 * cell.row) - cell.row);
    const next = curve.cells[size + 1];
    curve.runs += 1;
    if (next !== undefined && curve.runs % RETRY === 0) next.seen = 1;
  }

  /** Tells how many of the rows that are there should run together; twice what was tried so far where that may pay. */
  rows(key: string, available: number): number {
    const curve = this.#curves.get(key);
    if (curve === undefined) return 1;
    for (let size = 0; 2 ** size <= available; size += 1) {
      const cell = curve.cells[size];
      if (cell === undefined || cell.seen < 2) return 2 ** size;
      const before = curve.cells[size - 1];
      if (before === undefined || cell.row < PAYS * before.row) continue;
      return 2 ** (size - 1);
    }
    return available;
  }

  /** Writes what is known, to be kept across page loads. */
  save(): string {
    const sizes = ({ cells }: Curve): (number | null)[] =>
      Array.from(cells, (cell) => (cell ? Number(cell.row.toPrecision(3)) : null));
    return JSON.stringify([...this.#curves].slice(-KEPT).map(([key, curve]) => [key, sizes(curve)]));
  }

  /** Reads what was written; what can't be read is not known. */
  restore(text: string | null): void {
    try {
      for (const [key, rows] of JSON.parse(text ?? "[]") as [string, (number | null)[]][]) {
        const cells = rows.map((row) => (Number(row) > 0 ? { row: Number(row), seen: 2 } : undefined));
        this.#curves.set(key, { cells, runs: 0 });
      }
    } catch {
      // Another version wrote it, or somebody else: it is learned again.
    }
  }
}

/** How many models are remembered. */
const KEPT = 64;
