// The result cache of an engine, imported and opened with its first use: most pages never cache an answer.
import type { ResultCounts, Results, ResultsOptions } from "./result-cache.ts";
import type { Effects } from "../effects/effects.ts";

/** Opens the result cache on demand. */
export class LazyResults {
  readonly #effects: Effects;
  readonly #options: ResultsOptions;
  readonly #onLog: ((line: string) => void) | undefined;
  #coming: Promise<Results | null> | null = null;
  #opened: Results | null = null;

  constructor(effects: Effects, options: ResultsOptions = {}, onLog?: (line: string) => void) {
    this.#effects = effects;
    this.#options = options;
    this.#onLog = onLog;
  }

  /** Its counters; null where no request used it. */
  get counts(): ResultCounts | null {
    return this.#opened?.read() ?? null;
  }

  /**
   * Returns the result cache; null where the page is not secure, and so can't hash inputs. Rejects where its code can't
   * be loaded.
   */
  open(): Promise<Results | null> {
    return (this.#coming ??= this.#open().catch((error: unknown) => {
      this.#coming = null; // the next request tries again
      throw error;
    }));
  }

  async #open(): Promise<Results | null> {
    if (!this.#effects.facts.secure) {
      this.#onLog?.("selvedge: not https or localhost: results are not cached");
      return null;
    }
    const { openResults } = await import("./result-cache.ts");
    return (this.#opened = await openResults(this.#effects, this.#options));
  }
}
