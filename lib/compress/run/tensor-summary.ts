// Summary statistics of each input and output over the samples, for a bundle. A page can later detect that inputs or
// outputs drift from those that the model was measured on. Per tensor: number of samples, minimum, maximum, mean,
// standard deviation, and quantiles. Sums are exact; the quantiles come from a reservoir sample of values (Vitter's
// algorithm R) with a fixed seed.
import type { Bundle } from "../../core/bundle.ts";
import type { Feed } from "./feeds.ts";
import type { Outputs } from "./metric.ts";
import { numbersOf } from "./session.ts";
import { EARLIER_MULTIPLIER, SeededRandom } from "./seeded-random.ts";

/** Summaries by the name of the input or output. */
export type Baseline = NonNullable<Bundle["model"]["baseline"]>;

/** Probabilities at which the quantiles of a summary are taken. */
export const QUANTILES: readonly number[] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
const RESERVOIR = 4_096;
/** Maximum number of values used per tensor; a larger tensor is subsampled at a fixed stride. */
const TENSOR_MAX = 65_536;

/** Accumulates summaries sample by sample. */
export class TensorSummaries {
  readonly #summaries = new Map<string, TensorSummary>();

  /** Adds a sample and its outputs. */
  add(feed: Feed, outputs: Outputs): void {
    for (const [name, { dtype, data }] of Object.entries(feed))
      if (dtype !== "string") this.#of(name).add(numbersOf(dtype, data));
    for (const [name, { data }] of Object.entries(outputs)) this.#of(name).add(data);
  }

  /** Returns the summaries accumulated so far. */
  value(): Baseline {
    return Object.fromEntries([...this.#summaries].map(([name, x]) => [name, x.value()]));
  }

  #of(name: string): TensorSummary {
    const found = this.#summaries.get(name) ?? new TensorSummary();
    this.#summaries.set(name, found);
    return found;
  }
}

class TensorSummary {
  readonly #chosen: number[] = [];
  readonly #random = new SeededRandom(7, EARLIER_MULTIPLIER);
  #samples = 0;
  #count = 0;
  #mean = 0;
  /** Sum of squared distances from the mean (Welford). */
  #spread = 0;
  #least = Infinity;
  #most = -Infinity;

  add(data: ArrayLike<number>): void {
    this.#samples++;
    const step = Math.max(1, Math.ceil(data.length / TENSOR_MAX));
    for (let i = 0; i < data.length; i += step) {
      const value = data[i] ?? 0;
      if (Number.isFinite(value)) this.#take(value);
    }
  }

  value(): Baseline[string] {
    if (this.#count === 0) return { samples: this.#samples };
    const sorted = [...this.#chosen].sort((a, b) => a - b);
    // The nearest position, not core/quantile.ts's rank: a bundle holds these numbers, and its identity follows them.
    const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
    return {
      samples: this.#samples,
      min: this.#least,
      max: this.#most,
      mean: this.#mean,
      std: Math.sqrt(this.#spread / this.#count),
      quantiles: QUANTILES.map(at),
    };
  }

  #take(value: number): void {
    this.#count++;
    const distance = value - this.#mean;
    this.#mean += distance / this.#count;
    this.#spread += distance * (value - this.#mean);
    this.#least = Math.min(this.#least, value);
    this.#most = Math.max(this.#most, value);
    if (this.#chosen.length < RESERVOIR) this.#chosen.push(value);
    else {
      const place = this.#random.integer() % this.#count;
      if (place < RESERVOIR) this.#chosen[place] = value;
    }
  }
}
