// A form that missed its budget is made again with more bits for its most sensitive weights: 8 and 16 in int4, 16 in
// int8; the most of error for the fewest bits first, and more of them until it passes. A form named int8 or int4 keeps
// at least three quarters of its weights in fewer than 16 bits; past that it is "mixed", which is still half of float32.
import type { Feed } from "./run/feeds.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { measureSensitivity } from "./run/sensitivity.ts";
import type { SensitivityRow } from "./run/sensitivity.ts";
import { NARROW_LEAST, WIDE_MOST, wideShare } from "./run/weight-widths.ts";
import type { WeightWidths } from "./run/weight-widths.ts";

const SENSITIVITY = { ms: 20_000, feeds: 4 } as const;
/**
 * Shares that are tried, in order, of the bits that as many weights as allowed take in 16 bits. int4 has spent a tenth
 * on weights in 8 bits before (choose-8-bit.ts).
 */
const LEVELS: Readonly<Record<4 | 8, readonly number[]>> = { 4: [0.25, 0.5, 0.75, 1], 8: [0.125, 0.25, 0.5, 1] };
/** Shares of all weights in 16 bits that make the form "mixed". */
const MIXED_LEVELS: readonly number[] = [0.5, 0.75, 1];
/** Room for errors of rounding where a bound is met exactly. */
const EXACT = 1 + 1e-9;
/** Operators whose weights have 4 bits in int4. */
const PRODUCTS: ReadonlySet<string> = new Set(["MatMul", "Gemm"]);

/** The sensitivity of a model's weights, measured once, when it is first needed. */
export class Sensitivity {
  readonly #model: OnnxModel;
  readonly #feeds: readonly Feed[];
  readonly #signal: AbortSignal | undefined;
  #rows: Promise<readonly SensitivityRow[]> | null = null;

  /** Takes the simplified model and the samples that forms are fitted to. */
  constructor(model: OnnxModel, feeds: readonly Feed[], signal: AbortSignal | undefined) {
    this.#model = model;
    this.#feeds = feeds.slice(0, SENSITIVITY.feeds);
    this.#signal = signal;
  }

  /** Returns a row for each weight; none where it could not be measured. */
  rows(): Promise<readonly SensitivityRow[]> {
    const options = { budgetMs: SENSITIVITY.ms, signal: this.#signal };
    this.#rows ??= measureSensitivity(this.#model, this.#feeds, options).catch(() => []);
    return this.#rows;
  }
}

/** The bits that single weights get, by name, in place of those that the form would give them. */
export type Raised = ReadonlyMap<string, 8 | 16>;

/** A weight given more bits: the error that goes with it, and what it costs. */
interface Raise {
  readonly name: string;
  readonly to: 8 | 16;
  readonly elements: number;
  readonly bits: number;
  readonly error: number;
  /** Whether it has to have 8 bits first. */
  readonly isSecond: boolean;
}

/**
 * Lists sets of weights to give more bits, each set larger than the one before: the most of error for the fewest bits
 * first. The last one of a form of 4 or 8 bits holds as many as its name allows; of a mixed form, all weights.
 * @param widths - of the form as it was made; null where that is not known
 */
export function raisedSets(
  rows: readonly SensitivityRow[],
  bits: 4 | 8 | "mixed",
  widths: WeightWidths | null,
): readonly Raised[] {
  const total = rows.reduce((sum, x) => sum + elementsOf(x), 0);
  const wideMost = (bits === "mixed" ? 1 : WIDE_MOST - (widths === null ? 0 : wideShare(widths))) * total * EXACT;
  if (total === 0 || wideMost <= 0) return [];
  // Some weights must keep 4 bits, or the form is int8 under another name.
  const byteMost = ((widths?.[4] ?? 1) - NARROW_LEAST) * total;
  const order = rows.flatMap((row) => raisesOf(row, bits)).sort((a, b) => b.error / b.bits - a.error / a.bits);
  const sets: Map<string, 8 | 16>[] = [];
  for (const level of bits === "mixed" ? MIXED_LEVELS : LEVELS[bits]) {
    const chosen = new Map<string, 8 | 16>();
    let left = level * wideMost * (bits === 4 ? 12 : 8);
    const room = { 8: byteMost, 16: wideMost };
    for (const { name, to, elements, bits: cost, isSecond } of order) {
      if (cost > left || elements > room[to] || (isSecond && !chosen.has(name))) continue;
      chosen.set(name, to);
      left -= cost;
      room[to] -= elements;
    }
    if (countBits(chosen, rows) > countBits(sets.at(-1), rows)) sets.push(chosen);
  }
  return sets;
}

/** Lists the steps in which a weight gets more bits, in their order. */
function raisesOf(row: SensitivityRow, form: 4 | 8 | "mixed"): Raise[] {
  const { name } = row;
  const elements = elementsOf(row);
  const [at4, at8] = [row.int4Db, row.int8Db].map((db) => 10 ** (-db / 10)) as [number, number];
  const raise = (to: 8 | 16, by: number, error: number, isSecond = false): Raise => {
    return { name, to, elements, bits: by * elements, error, isSecond };
  };
  // Tables and convolutions have 8 bits in int4, too.
  if (form !== 4 || !PRODUCTS.has(row.operator)) return [raise(16, 8, at8)];
  // Where the second step would remove more per bit than the first, both are one.
  return at8 / 8 > (at4 - at8) / 4 ? [raise(16, 12, at4)] : [raise(8, 4, at4 - at8), raise(16, 8, at8, true)];
}

function elementsOf({ bytes }: SensitivityRow): number {
  return bytes / Float32Array.BYTES_PER_ELEMENT;
}

function countBits(raised: Raised | undefined, rows: readonly SensitivityRow[]): number {
  return rows.reduce((sum, row) => sum + elementsOf(row) * (raised?.get(row.name) ?? 0), 0);
}
