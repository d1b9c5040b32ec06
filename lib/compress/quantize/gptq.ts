// Rounds a layer's weights so that the error of its outputs, not of the weights, is minimal: the error of one weight is
// compensated by the weights of correlated inputs. Correlations come from the moments of the layer's inputs.
//
// Frantar et al., GPTQ (2022), in the equivalent form of Chee et al., QuIP (2023): with H = M · D · Mᵀ the error is Σ
// D[k] · (Σ_{i ≥ k} e[i] · M[i, k])², so columns are rounded from the last to the first, each including the error of
// the later ones. Columns with the largest inputs come first ("act order"); blocks and their scales are unchanged.
import type { MatMul } from "../run/matmul.ts";
import { nearest } from "./scales.ts";
import type { Grid, ValueRows } from "./scales.ts";
import type { Moments } from "../run/input-moments.ts";

/** Options of `roundByMoments`. */
export interface RoundOptions {
  /** Whether the mean error will be corrected elsewhere, by the bias. Default false. */
  readonly isCentred?: boolean;
  /** Share of the mean energy that is added to each input's own, as damping. Default 0.01. */
  readonly damping?: number;
  /** Number of further passes over all columns, each column rounded again given the codes of the others. Default 1. */
  readonly sweeps?: number;
}

/** Defaults of `roundByMoments`. */
export const ROUND_DEFAULTS: Required<RoundOptions> = { isCentred: false, damping: 0.01, sweeps: 1 };

/** Number of columns that JavaScript rounds before ONNX Runtime propagates their errors to the rest. */
const BLOCK = 64;
/** Maximum number of weights processed at once. */
const CHUNK_MAX = 2 ** 22;

/** Returns the code of each weight, rows × columns, on the given grid; groups are consecutive in the rows. */
export async function roundByMoments(
  matmul: MatMul,
  rows: ValueRows,
  grid: Grid,
  moments: Moments,
  options: RoundOptions = {},
): Promise<Int8Array> {
  const settings = { ...ROUND_DEFAULTS, ...options };
  const codes = new Int8Array(rows.rows * rows.columns);
  const height = rows.rows / moments.groups;
  const chunk = Math.max(1, Math.floor(CHUNK_MAX / rows.columns));
  for (let group = 0; group < moments.groups; group++) {
    const form = await quadratic(matmul, moments, group, settings);
    for (let start = 0; start < height; start += chunk)
      await new Rounding(matmul, rows, grid, form, group * height + start, Math.min(chunk, height - start)).run(
        codes,
        settings.sweeps,
      );
  }
  return codes;
}

/** Quadratic form of the error energy, columns in the order of rounding from the last on. */
interface Quadratic {
  readonly order: Int32Array;
  /** Symmetric. */
  readonly energy: Float64Array;
  /** Its lower Cholesky factor. */
  readonly factor: Float64Array;
}

async function quadratic(
  matmul: MatMul,
  { columns, rows, sums, products }: Moments,
  group: number,
  { isCentred, damping }: Required<RoundOptions>,
): Promise<Quadratic> {
  const base = group * columns;
  const at = (i: number, j: number): number => {
    const mean = isCentred ? ((sums[base + i] ?? 0) / rows) * ((sums[base + j] ?? 0) / rows) : 0;
    return (products[(base + i) * columns + j] ?? 0) / rows - mean;
  };
  // Inputs that are constant over the samples have no variance; rounding may make it slightly negative.
  const own = Float64Array.from({ length: columns }, (_, i) => Math.max(0, at(i, i)));
  const order = Int32Array.from(own.keys()).sort((a, b) => (own[a] ?? 0) - (own[b] ?? 0));
  const mean = own.reduce((a, b) => a + b, 0) / columns || 1;
  const energy = new Float64Array(columns ** 2);
  for (let i = 0; i < columns; i++)
    for (let j = 0; j < columns; j++)
      energy[i * columns + j] = i === j ? (own[order[i] ?? 0] ?? 0) : at(order[i] ?? 0, order[j] ?? 0);
  // Few rows give poor estimates of correlations: then the diagonal gets more weight.
  let more = mean * Math.max(damping, Math.min(1, (0.05 * columns) / rows));
  for (;;) {
    for (let i = 0; i < columns; i++) energy[i * columns + i] = (energy[i * columns + i] ?? 0) + more;
    const factor = energy.slice();
    try {
      await matmul.factor(factor, columns);
      return { order, energy, factor };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // Nothing but noise: then inputs count as uncorrelated, and each weight is rounded to nearest.
      if (more > mean * 10) return alone(order, energy, columns);
      more *= 10;
    }
  }
}

function alone(order: Int32Array, whole: Float64Array, columns: number): Quadratic {
  const [energy, factor] = [new Float64Array(columns ** 2), new Float64Array(columns ** 2)];
  for (let i = 0; i < columns ** 2; i += columns + 1) {
    energy[i] = Math.max(whole[i] ?? 0, Number.MIN_VALUE);
    factor[i] = 1;
  }
  return { order, energy, factor };
}

/** Rounds some rows. Arrays are stored column-major, since rounding goes column by column. */
class Rounding {
  readonly #matmul: MatMul;
  readonly #grid: Grid;
  readonly #form: Quadratic;
  readonly #first: number;
  readonly #count: number;
  readonly #columns: number;
  readonly #weights: Float32Array;
  readonly #errors: Float32Array;

  constructor(matmul: MatMul, rows: ValueRows, grid: Grid, form: Quadratic, first: number, count: number) {
    this.#matmul = matmul;
    this.#grid = grid;
    this.#form = form;
    this.#first = first;
    this.#count = count;
    this.#columns = rows.columns;
    this.#weights = new Float32Array(count * rows.columns);
    this.#errors = new Float32Array(count * rows.columns);
    for (let k = 0; k < rows.columns; k++)
      for (let n = 0; n < count; n++) this.#weights[k * count + n] = rows.at(first + n, form.order[k] ?? 0);
  }

  async run(codes: Int8Array, sweeps: number): Promise<void> {
    const { factor, energy } = this.#form;
    const size = this.#columns;
    // The error of later columns carried to column k is Σ e[i] · L[i, k] / L[k, k].
    await this.#pass(codes, (i, k) => (i > k ? (factor[i * size + k] ?? 0) / (factor[k * size + k] ?? 1) : 0), false);
    for (let sweep = 0; sweep < sweeps; sweep++)
      await this.#pass(
        codes,
        (i, k) => (i === k ? 0 : (energy[i * size + k] ?? 0) / (energy[k * size + k] ?? 1)),
        true,
      );
  }

  /** Rounds each column, from the last to the first, with Σ share(i, k) · e[i] added. */
  async #pass(codes: Int8Array, share: (i: number, k: number) => number, isAgain: boolean): Promise<void> {
    const [size, count, errors] = [this.#columns, this.#count, this.#errors];
    const left = isAgain ? await this.#carry(share, 0, size, 0, size) : new Float32Array(size * count);
    for (let end = size; end > 0; end -= BLOCK) {
      const start = Math.max(0, end - BLOCK);
      const before = isAgain ? errors.slice(start * count, end * count) : undefined;
      for (let k = end - 1; k >= start; k--) {
        for (let i = start; i < end; i++) {
          // For a column that was not rounded again in this block, `left` already includes the error.
          if (i <= k) continue;
          const factor = share(i, k);
          if (factor === 0) continue;
          const from = i * count;
          const was = (i - start) * count;
          const to = k * count;
          if (before === undefined)
            for (let n = 0; n < count; n++) left[to + n] = (left[to + n] ?? 0) + factor * (errors[from + n] ?? 0);
          else
            for (let n = 0; n < count; n++)
              left[to + n] = (left[to + n] ?? 0) + factor * ((errors[from + n] ?? 0) - (before[was + n] ?? 0));
        }
        this.#round(codes, k, left);
      }
      if (start === 0) break;
      if (before !== undefined)
        for (let i = 0; i < before.length; i++) before[i] = (errors[start * count + i] ?? 0) - (before[i] ?? 0);
      const carried = await this.#carry(share, start, end, 0, start, before);
      for (let i = 0; i < carried.length; i++) left[i] = (left[i] ?? 0) + (carried[i] ?? 0);
    }
  }

  /** Returns Σ share(i, k) · e[i] over i from `start` to `end`, for k from `low` to `high`. */
  async #carry(
    share: (i: number, k: number) => number,
    start: number,
    end: number,
    low: number,
    high: number,
    errors: Float32Array = this.#errors.subarray(start * this.#count, end * this.#count),
  ): Promise<Float32Array> {
    const width = end - start;
    const shares = new Float32Array((high - low) * width);
    for (let k = low; k < high; k++)
      for (let i = 0; i < width; i++) shares[(k - low) * width + i] = share(start + i, k);
    return this.#matmul.multiply(
      { rows: high - low, columns: width, values: shares },
      { rows: width, columns: this.#count, values: errors },
    );
  }

  #round(codes: Int8Array, k: number, left: Float32Array): void {
    const { scales, zeros, block } = this.#grid;
    const size = this.#columns;
    const column = this.#form.order[k] ?? 0;
    const blocks = Math.ceil(size / block);
    for (let n = 0; n < this.#count; n++) {
      const row = this.#first + n;
      const i = row * blocks + Math.floor(column / block);
      const [scale, zero] = [scales[i] ?? 1, zeros?.[i] ?? 0];
      const at = k * this.#count + n;
      const weight = this.#weights[at] ?? 0;
      const code = nearest((weight + (left[at] ?? 0)) / scale + zero, this.#grid);
      codes[row * size + column] = code;
      this.#errors[at] = weight - (code - zero) * scale;
    }
  }
}
