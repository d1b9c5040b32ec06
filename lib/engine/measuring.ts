// Decides when a loaded model is measured: with the inputs of a first request, where its load could not measure; and
// again later, where an outside cause spoiled a measurement. choose-backend.ts decides what is measured and evaluates
// it.
import type { Feeds } from "../rpc/messages.ts";
import type { Placed } from "./routes.ts";

/**
 * How long a model stays where an outside cause placed it before it is measured again, in ms: as long as a GPU is
 * barred.
 */
export const AGAIN_MS = 120_000;

/** Measures a model with a request's inputs. */
export type Measure = (feeds: Feeds) => Promise<Measured>;

/** Outcome of a measurement. */
export interface Measured {
  readonly placed: Placed;
  /** Measures once more with a later request, where an outside cause spoiled this measurement; else null. */
  readonly again: Measure | null;
}

/** Pending measurements of a model. */
export class Measuring {
  readonly #now: () => number;
  readonly #onPlaced: (placed: Placed) => void;
  #measure: Measure | null = null;
  #fromMs = 0;

  constructor(now: () => number, onPlaced: (placed: Placed) => void) {
    this.#now = now;
    this.#onPlaced = onPlaced;
  }

  /** Schedules a measurement with the first request that arrives after so many ms. */
  after(measure: Measure, ms: number): void {
    this.#measure = measure;
    this.#fromMs = this.#now() + ms;
  }

  /** Returns the measurement to make with this request's inputs; null where none is due. */
  take(): Measure | null {
    const measure = this.#measure;
    if (measure === null || this.#now() < this.#fromMs) return null;
    this.#measure = null;
    return measure;
  }

  /** Applies the result of a measurement; on failure `again` measures later. Never rejects. */
  async adopt(measuring: Promise<Measured>, again: Measure): Promise<void> {
    const measured = await measuring.catch(() => null);
    if (measured !== null) this.#onPlaced(measured.placed);
    const later = measured === null ? again : measured.again;
    if (later !== null) this.after(later, AGAIN_MS);
  }
}
