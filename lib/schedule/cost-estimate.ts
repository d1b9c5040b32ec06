// Cost of runs, learned online: the last 16 durations by model, variant, lane kind and batch size (more where the clock
// is too coarse to distinguish them). Sizes are powers of two, since cost is not linear: batching gains nothing past the
// point where the cores, or the caches, are full. The median estimates the duration of a run, a high quantile its
// latest start, and the minimum decides whether it can be in time at all: after a slow while the first short run counts at
// once. Samples age: those older than a minute (or eight runs) count only while there are no newer ones.
//
// The batch size follows from the medians: it doubles for as long as a row gets cheaper. So batches grow by themselves
// where batching pays; where it does not (convolutions on wasm) the next size is retried once in a while.

/** A duration of one row, and when it was measured. */
type Sample = readonly [rowMs: number, atMs: number];

/** Durations of one batch size, the newest last, and the cost of a row estimated from them. */
interface Cell {
  readonly samples: readonly Sample[];
  readonly rowMs: number;
  readonly highMs: number;
  readonly leastMs: number;
  /** Standard error of `rowMs` by the clock's resolution; 0 where the clock is fine beside the runs. */
  readonly errorMs: number;
}

/** A batch size that ran out of memory: not used until a time. */
interface Limit {
  readonly rows: number;
  readonly untilMs: number;
  /** The length of the back-off. */
  readonly ms: number;
}

/** The form in which an estimate is stored; data of another version is ignored. */
interface Saved {
  readonly version: typeof VERSION;
  readonly models: readonly (readonly [key: string, cells: readonly (readonly Sample[] | null)[]])[];
  readonly limits: readonly (readonly [key: string, limit: Limit])[];
  /** Resolution of the clock in ticks, in traces only: a later page may have another clock. */
  readonly clockTicks?: number;
}

const VERSION = 2;
/**
 * A larger batch must lower a row's cost by this factor; less suffices where the whole batch takes less than two
 * frames.
 */
const PAYS = 0.95;
const PAYS_SHORT = 0.98;
const SHORT_MS = 33;
/** Cost of sending a batch and returning its answers, in ms, while the cores are busy: part of a row's cost. */
const HANDOVER_MS = 0.4;
/** Maximum number of sizes of a model, powers of two, in a stored estimate: far more than rows fit into memory. */
const SIZES_MAX = 32;
/** Number of samples that a size keeps; of older ones only the few that a median needs. */
const SAMPLES = 16;
/** Resolution of the clock, as a share of a run, from which the clock counts as coarse beside it. */
const COARSE = 0.2;
/** Number of samples where the clock is coarse beside the runs: only the mean of many is meaningful. */
const COARSE_SAMPLES = 128;
/** Unit in which the resolution of the clock is determined, in ms. */
const TICK_MS = 1e-3;
/**
 * A sample is old after a minute, or after so many runs where those take longer: else too few were left for a quantile.
 */
const OLD_MS = 60_000;
const OLD_RUNS = 8;
const OLD_SAMPLES = 3;
const LESS = 2 / 3;
const HIGH = 0.9;
/**
 * Runs after which the next size is retried, since the load of a machine changes. Sooner where it is as short and was
 * not clearly worse: one bad moment may have ruled it out.
 */
const RETRY = 200;
const RETRY_SHORT = 25;
const NEAR = 1.25;
/** Minimum time for which a size that ran out of memory is not used; doubled each time. */
const LIMIT_MIN_MS = 45_000;
const LIMIT_MAX_MS = 300_000;
/** Number of models that are stored, and kept in memory. */
const STORED = 64;
const KEPT = 1_024;
const NOTHING: readonly undefined[] = [];

/** Estimates of one engine. */
export class Estimate {
  /** By model, variant and lane kind, the most recently used last. */
  readonly #curves: Map<string, (Cell | undefined)[]> = new Map();
  /** By the same key and the shape of inputs. */
  readonly #limits: Map<string, Limit> = new Map();
  #runs = 0;
  /** Greatest common divisor of all readings, in ticks: the resolution of the clock. 0 before the first. */
  #clockTicks = 0;

  /** Reads the text that `save` wrote, if any; `runs` counts towards the next retry. */
  constructor(saved: string | null = null, runs: number = 0) {
    this.#runs = runs;
    const { models, limits, clockTicks = 0 } = parseEstimate(saved) ?? { models: [], limits: [] };
    this.#clockTicks = clockTicks;
    for (const [key, cells] of models)
      this.#curves.set(
        key,
        cells.map((samples, size) => (samples === null ? undefined : cellOf(samples, this.#stepMs(2 ** size)))),
      );
    for (const [key, limit] of limits) this.#limits.set(key, limit);
  }

  /** Number of runs so far, by which retries are scheduled. */
  get runs(): number {
    return this.#runs;
  }

  /** Returns the text to store for later pages: the costs of the models that ran last. */
  save(): string {
    return this.#text([...this.#curves].slice(-STORED), ({ samples, rowMs, highMs }) =>
      (samples.length > 1 ? [rowMs, rowMs, highMs] : [rowMs]).map((ms) => [Number(ms.toPrecision(4)), 0]),
    );
  }

  /** Returns all estimates for a trace, including those that `save` omits. */
  saveWhole(): string {
    const whole = { limits: [...this.#limits], clockTicks: this.#clockTicks };
    return this.#text([...this.#curves], ({ samples }) => samples, whole);
  }

  /** Resolution of the clock as a row's share of a batch, in ms. */
  #stepMs(rows: number): number {
    return (this.#clockTicks * TICK_MS) / rows;
  }

  #text(
    curves: readonly (readonly [string, readonly (Cell | undefined)[]])[],
    samplesOf: (cell: Cell) => readonly Sample[],
    more: Omit<Saved, "version" | "models"> = { limits: [] },
  ): string {
    const models = curves.map(([key, cells]) => {
      return [key, Array.from(cells, (cell) => (cell ? samplesOf(cell) : null))] as const;
    });
    return JSON.stringify({ version: VERSION, models, ...more } satisfies Saved);
  }

  /** Returns the estimated ms of a batch of so many rows; undefined where the model never ran there. */
  ms(key: string, rows: number): number | undefined {
    return this.#between(key, rows, "rowMs");
  }

  /** Returns the high quantile of the ms of a batch of so many rows; undefined where the model never ran there. */
  highMs(key: string, rows: number): number | undefined {
    return this.#between(key, rows, "highMs");
  }

  /** Returns the least ms of a batch of so many rows in the last runs; undefined where the model never ran there. */
  leastMs(key: string, rows: number): number | undefined {
    return this.#between(key, rows, "leastMs");
  }

  #between(key: string, rows: number, what: "rowMs" | "highMs" | "leastMs"): number | undefined {
    const cells = this.#curves.get(key);
    if (cells === undefined) return undefined;
    const size = Math.log2(rows);
    const low = Math.floor(size);
    const [cell, high] = [cells[low], cells[low + 1]];
    // Interpolates between two known sizes; past the last one, as if a larger batch gained nothing.
    if (cell && high) return rows * (cell[what] + (size - low) * (high[what] - cell[what]));
    const near = cell ?? high ?? cells.slice(0, low).reverse().find(Boolean) ?? cells.find(Boolean);
    return near && rows * near[what];
  }

  /** Whether so many rows were measured more than once. */
  isSure(key: string, rows: number): boolean {
    return isSure(this.#curves.get(key)?.[Math.round(Math.log2(rows))]);
  }

  /** Removes the costs of a model on a lane kind. */
  delete(key: string): void {
    this.#curves.delete(key);
  }

  /** Records a measurement; Infinity where memory did not suffice for so many rows of that shape. */
  learn(key: string, rows: number, ms: number, now: number = 0, shape: string | null = null): void {
    if (ms === Infinity) {
      this.#limit(`${key} ${shape}`, rows, now);
      return;
    }
    const limit = this.#limits.get(`${key} ${shape}`);
    if (limit !== undefined && limit.rows <= rows) this.#limits.delete(`${key} ${shape}`);
    const cells = this.#curves.get(key) ?? [];
    this.#curves.delete(key);
    this.#curves.set(key, cells);
    if (this.#curves.size > KEPT) for (const oldest of [...this.#curves.keys()].slice(0, 1)) this.delete(oldest);
    const size = Math.round(Math.log2(rows));
    const row = ms / rows;
    const [first, ...more] = cells[size]?.samples ?? [];
    // The first run of a size also pays for buffers and shaders.
    const before = first !== undefined && more.length === 0 ? [[Math.min(first[0], row), first[1]] as const] : null;
    const samples: Sample[] = [...(before ?? cells[size]?.samples ?? []), [row, now]];
    // Two samples far below all earlier ones, which a coarse clock may show as 0: a disturbance is over.
    const least = Math.min(...samples.slice(0, -2).map(([ms]) => ms));
    if (samples.length > OLD_SAMPLES && samples.slice(-2).every(([ms]) => ms < LESS * least))
      samples.splice(0, samples.length - 2);
    const oldMs = Math.max(OLD_MS, OLD_RUNS * ms);
    const isKept = ([, atMs]: Sample, i: number): boolean => now - atMs < oldMs || i >= samples.length - OLD_SAMPLES;
    this.#setClock(greatestDivisor(this.#clockTicks, Math.round(ms / TICK_MS)));
    cells[size] = cellOf(samples.filter(isKept), this.#stepMs(2 ** size));
    const next = cells[size + 1];
    if (!next) return;
    const isShort = next.rowMs * 2 ** (size + 1) < SHORT_MS && next.rowMs < NEAR * row;
    if (++this.#runs % (isShort ? RETRY_SHORT : RETRY) === 0) cells[size + 1] = cellOf([[next.rowMs, now]], 0);
  }

  /** Sets the resolution of the clock, and computes all costs again where it is finer than was known. */
  #setClock(ticks: number): void {
    if (ticks === this.#clockTicks) return;
    this.#clockTicks = ticks;
    for (const cells of this.#curves.values())
      for (const [size, cell] of cells.entries())
        if (cell !== undefined) cells[size] = cellOf(cell.samples, this.#stepMs(2 ** size));
  }

  #limit(key: string, rows: number, now: number): void {
    for (const [each, { untilMs }] of this.#limits) if (untilMs + LIMIT_MAX_MS < now) this.#limits.delete(each);
    const before = this.#limits.get(key);
    const isLive = before !== undefined && before.untilMs > now;
    // Smaller sizes that fail meanwhile belong to the same shortage of memory.
    const longer = before === undefined ? LIMIT_MIN_MS : Math.min(2 * before.ms, LIMIT_MAX_MS);
    const ms = isLive ? before.ms : longer;
    this.#limits.set(key, { rows: isLive ? Math.min(rows, before.rows) : rows, untilMs: now + ms, ms });
  }

  /**
   * Returns the batch size in rows, at most `available`; twice the largest tried so far where that may pay. A size that
   * does not pay is skipped where a larger one is known to pay: it may have been measured at a bad moment.
   */
  rows(key: string, available: number, shape: string | null = null, now: number = 0): number {
    const cells = this.#curves.get(key) ?? NOTHING;
    const limit = this.#limits.get(`${key} ${shape}`);
    const most =
      limit !== undefined && limit.untilMs > now
        ? Math.min(available, Math.max(1, 2 ** (Math.ceil(Math.log2(limit.rows)) - 1)))
        : available;
    let before = Infinity;
    for (let size = 0, rows = 1; ; size += 1, rows *= 2) {
      const cell = cells[size];
      if (isSure(cell) && !paysFrom(cells, rows, most, before)) return rows / 2;
      if (rows >= most) return most;
      if (!isSure(cell)) return rows;
      before = Math.min(before, costOf(cell, rows));
    }
  }
}

/** Returns a cell of samples, the oldest first; `stepMs` is the clock's resolution for a row. */
function cellOf(samples: readonly Sample[], stepMs: number): Cell {
  const last = meanOf(samples.slice(-COARSE_SAMPLES), stepMs);
  // No run takes 0 ms: the clock is too coarse for it, whatever its resolution.
  if (last.rowMs === 0 || stepMs > COARSE * last.rowMs) return last;
  const kept = samples.slice(-SAMPLES);
  const sorted = sortedMs(kept);
  const rowMs = sorted[(sorted.length - 1) >> 1] as number;
  return { samples: kept, rowMs, highMs: highOf(sorted), leastMs: sorted[0] as number, errorMs: 0 };
}

/**
 * Returns a cell for a clock that is coarse beside the runs (1 ms, or 100 ms in browsers that resist fingerprinting):
 * only the mean of many readings is right then.
 */
function meanOf(samples: readonly Sample[], stepMs: number): Cell {
  const sorted = sortedMs(samples);
  const count = sorted.length;
  // An outlier counts as one step above the others.
  const largest = Math.min(sorted[count - 1] as number, (sorted[count - 2] ?? Infinity) + stepMs);
  const rowMs = sorted.slice(0, -1).reduce((a, b) => a + b, largest) / count;
  const errorMs = stepMs / (2 * Math.sqrt(count));
  return { samples, rowMs, highMs: Math.min(highOf(sorted), 2 * rowMs), leastMs: rowMs, errorMs };
}

function sortedMs(samples: readonly Sample[]): number[] {
  return samples.map(([ms]) => ms).sort((a, b) => a - b);
}

/**
 * Returns a high quantile without the largest sample, which may be an outlier: including it, no run would meet its
 * deadline and nothing would be learned. Not core/quantile.ts, which the page would have to load: 77 bytes.
 */
function highOf(sorted: readonly number[]): number {
  const count = sorted.length;
  return sorted[Math.max(0, Math.min(Math.ceil(HIGH * count) - 1, count - 2))] as number;
}

/** Returns the greatest common divisor of two integers by Euclid's algorithm; the other one where one is 0. */
function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

function isSure(cell: Cell | undefined): cell is Cell {
  return cell !== undefined && cell.samples.length > 1;
}

/** Whether any size from so many rows on, with enough rows available, makes a row cheaper. */
function paysFrom(cells: readonly (Cell | undefined)[], from: number, available: number, before: number): boolean {
  for (let size = Math.log2(from), rows = from; rows <= available; size += 1, rows *= 2) {
    const cell = cells[size];
    if (!isSure(cell)) continue;
    const pays = rows * cell.rowMs < SHORT_MS ? PAYS_SHORT : PAYS;
    if (costOf(cell, rows) - cell.errorMs < pays * before) return true;
  }
  return false;
}

/** Cost of a row in a batch of so many, including its share of the handover. */
function costOf({ rowMs }: Cell, rows: number): number {
  return rowMs + HANDOVER_MS / rows;
}

/** Parses a stored estimate; null where it has another version or is invalid. */
export function parseEstimate(text: string | null): Saved | null {
  try {
    const saved = JSON.parse(text ?? "null") as Partial<Saved> | null;
    if (saved?.version !== VERSION) return null;
    const { models = [], limits = [], clockTicks = 0 } = saved;
    const isCost = (x: unknown): boolean => typeof x === "number" && x >= 0 && x < Infinity;
    const isCell = (x: readonly Sample[] | null): boolean =>
      x === null ||
      (x.length > 0 && x.length <= COARSE_SAMPLES && x.every(([ms, atMs]) => isCost(ms) && Number.isFinite(atMs)));
    const isRight =
      models.every(([key, cells]) => typeof key === "string" && cells.length <= SIZES_MAX && cells.every(isCell)) &&
      limits.every(([key, { rows, untilMs, ms }]) => typeof key === "string" && [rows, untilMs, ms].every(isCost)) &&
      isCost(clockTicks);
    return isRight ? { version: VERSION, models, limits, clockTicks } : null;
  } catch {
    return null; // written by other code
  }
}
