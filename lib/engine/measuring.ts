// Decides when a loaded model is measured: with the inputs of a first request, where its load could not measure; and
// again later, where an outside cause spoiled a measurement. choose-backend.ts decides what is measured and evaluates
// it.
import type { Loader } from "./loader.ts";
import type { BackendDecision } from "./backend-chooser.ts";
import type { Comparer } from "./choose-backend.ts";
import type { Feeds } from "../rpc/messages.ts";
import type { ModelRoutes } from "./routes.ts";

/**
 * How long a model stays where an outside cause placed it before it is measured again, in ms: as long as a GPU is
 * barred.
 */
export const AGAIN_MS = 120_000;

/** Pending measurements of a model. */
export class Measuring {
  readonly #now: () => number;
  readonly #comparer: Comparer;
  readonly #loader: Loader;
  readonly #onRoutes: (routes: ModelRoutes) => void;
  /** When the next measurement is due; Infinity where there is none. */
  #fromMs = Infinity;

  constructor(now: () => number, comparer: Comparer, loader: Loader, onRoutes: (routes: ModelRoutes) => void) {
    this.#now = now;
    this.#comparer = comparer;
    this.#loader = loader;
    this.#onRoutes = onRoutes;
  }

  /** Schedules what a choice left to measure; follows a measurement that outlasts it. */
  follow({ measure, measuring }: BackendDecision): void {
    if (measure !== null) this.after(measure === "first" ? 0 : AGAIN_MS);
    if (measuring !== null) void this.#adopt(measuring);
  }

  /** Schedules a measurement with the first request that arrives after so many ms. */
  after(ms: number): void {
    this.#fromMs = this.#now() + ms;
  }

  /** Returns whether this request's inputs are to be measured; the next ones are not. */
  take(): boolean {
    if (this.#now() < this.#fromMs) return false;
    this.#fromMs = Infinity;
    return true;
  }

  /** Measures with a request's inputs and applies the result. Never rejects. */
  measure(feeds: Feeds): Promise<void> {
    return this.#adopt(this.#comparer.measure(this.#loader, feeds));
  }

  /** Applies the result of a measurement. Measures later where it failed, or where an outside cause spoiled it. */
  async #adopt(measuring: Promise<BackendDecision>): Promise<void> {
    let mustRepeat = true;
    try {
      const { choice, measure } = await measuring;
      this.#onRoutes(await this.#loader.routesOf(choice));
      mustRepeat = measure !== null;
    } catch {
      // The model stays where it is.
    }
    if (mustRepeat) this.after(AGAIN_MS);
  }
}
