// A form that missed its budget is made again with its most sensitive weights in 16 bits: the most of error for the
// fewest of weights first, and more of them until it passes. A form named int8 or int4 keeps at least three quarters of
// its weights in fewer bits; past that it is "mixed", which is still half of float32.
import type { Feed } from "./run/feeds.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { measureSensitivity } from "./run/sensitivity.ts";
import type { SensitivityRow } from "./run/sensitivity.ts";
import { WIDE_MOST } from "./run/weight-widths.ts";

const SENSITIVITY = { ms: 20_000, feeds: 4 } as const;
/** Shares of the allowed weights that are tried, in order. */
const LEVELS: readonly number[] = [0.125, 0.25, 0.5, 1];
/** Shares of all weights in 16 bits that make the form "mixed". */
const MIXED_LEVELS: readonly number[] = [0.5, 0.75, 1];

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

/**
 * Lists sets of weights to raise to 16 bits, each larger than the one before. The last one of a form with `bits` holds
 * as many as its name allows; of a mixed form, all weights.
 * @param wide - share of the weights that have 16 bits already
 */
export function raisedSets(
  rows: readonly SensitivityRow[],
  bits: 4 | 8 | "mixed",
  wide: number,
): readonly ReadonlySet<string>[] {
  const total = rows.reduce((sum, x) => sum + x.bytes, 0);
  const most = bits === "mixed" ? 1 : WIDE_MOST - wide;
  if (total === 0 || most <= 0) return [];
  const errorOf = (x: SensitivityRow): number => 10 ** (-(bits === 4 ? x.int4Db : x.int8Db) / 10) / x.bytes;
  const order = [...rows].sort((a, b) => errorOf(b) - errorOf(a));
  const sets: Set<string>[] = [];
  for (const level of bits === "mixed" ? MIXED_LEVELS : LEVELS) {
    const names = new Set<string>();
    let left = level * most * total * (1 + 1e-9);
    for (const { name, bytes } of order)
      if (bytes <= left) {
        names.add(name);
        left -= bytes;
      }
    if (names.size > (sets.at(-1)?.size ?? 0)) sets.push(names);
  }
  return sets;
}
