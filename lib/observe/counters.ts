// What an engine counts. Silent: it costs a few additions a request and is read only by `engine.stats()`.

/** Counts of requests by how they ended, and how long they took. */
export interface RequestCounts {
  /** Requests answered. */
  readonly done: number;
  /** Requests rejected, cancelled ones aside. */
  readonly failed: number;
  /** Requests that the caller cancelled. */
  readonly cancelled: number;
  /** From the call to the answer, in ms, over all that are done; bucket borders, so exact to 10 %; 0 where none is. */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number };
}

/** Ratio of one bucket's border to the next: quantiles are exact to 10 % at any scale, in 30 numbers a decade. */
const GROWTH = 1.1;
const SMALLEST_MS = 0.01;

/** Counts requests. */
export class Counters {
  #failed = 0;
  #cancelled = 0;
  #done = 0;
  readonly #buckets: Map<number, number> = new Map();

  /** Notes an answer. */
  done(latencyMs: number): void {
    this.#done += 1;
    const bucket = Math.max(0, Math.ceil(Math.log(latencyMs / SMALLEST_MS) / Math.log(GROWTH)));
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1);
  }

  /** Notes a failure, or a cancel by the caller. */
  failed(cancelled: boolean): void {
    if (cancelled) this.#cancelled += 1;
    else this.#failed += 1;
  }

  /** Gives the counts so far. */
  read(): RequestCounts {
    const latencyMs = { p50: this.#quantile(0.5), p95: this.#quantile(0.95), p99: this.#quantile(0.99) };
    return { done: this.#done, failed: this.#failed, cancelled: this.#cancelled, latencyMs };
  }

  #quantile(q: number): number {
    let left = Math.ceil(q * this.#done);
    if (left === 0) return 0;
    for (const [bucket, count] of [...this.#buckets].sort(([a], [b]) => a - b)) {
      left -= count;
      if (left <= 0) return SMALLEST_MS * GROWTH ** bucket;
    }
    return 0;
  }
}
