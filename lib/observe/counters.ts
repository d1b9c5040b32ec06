// Request and batch counters of an engine. Each request costs a few additions; only `engine.stats()` reads them.
import type { Priority } from "../schedule/events.ts";

/** Outcome of a request. "rejected": its deadline could not be met or the queue was full. */
export type Outcome = "done" | "failed" | "rejected" | "cancelled";

/** Request counts by outcome, and latencies. */
export interface RequestCounts {
  /** Requests submitted. */
  readonly asked: number;
  /** Requests completed. */
  readonly done: number;
  /** Requests that ended with an error, except rejected and cancelled ones. */
  readonly failed: number;
  /** Requests rejected or dropped: the deadline could not be met, or the queue was full. */
  readonly rejected: number;
  /** Requests cancelled by the caller. */
  readonly cancelled: number;
  /** Requests completed after their deadline. */
  readonly late: number;
  /** Retries after a failed first attempt. */
  readonly retried: number;
  /**
   * Latency from call to answer in ms, over all completed requests. Values are bucket borders, exact to 10 %; 0 without
   * any.
   */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number };
  /** The same as a histogram: requests that took at most this long and longer than the previous entry. */
  readonly latencies: readonly { readonly upToMs: number; readonly count: number }[];
}

/** Batch counts. */
export interface BatchCounts {
  /** Batches executed, except failed ones. */
  readonly executions: number;
  /** Requests in those batches. */
  readonly requests: number;
  /** Requests per execution; 0 without any. */
  readonly mean: number;
  /** Number of executions by batch size. */
  readonly sizes: Readonly<Record<number, number>>;
}

/** Ratio of successive bucket borders: percentiles are exact to 10 % at any scale, with 24 buckets a decade. */
const GROWTH = 1.1;
const SMALLEST_MS = 0.01;

class PriorityCounters {
  asked = 0;
  readonly by: Record<Outcome, number> = { done: 0, failed: 0, rejected: 0, cancelled: 0 };
  late = 0;
  retried = 0;
  readonly buckets: Map<number, number> = new Map();
}

/** Request counters by priority. */
export class Counters {
  readonly #priorities: Readonly<Record<Priority, PriorityCounters>>;
  readonly #sizes: Map<number, number> = new Map();

  constructor(priorities: readonly Priority[]) {
    this.#priorities = Object.fromEntries(priorities.map((name) => [name, new PriorityCounters()])) as Record<
      Priority,
      PriorityCounters
    >;
  }

  /** Counts a submitted request. */
  asked(of: Priority): void {
    this.#priorities[of].asked += 1;
  }

  /** Counts the outcome and the latency of a request. */
  settled(of: Priority, outcome: Outcome, ms: number, isLate: boolean): void {
    const counts = this.#priorities[of];
    counts.by[outcome] += 1;
    if (outcome !== "done") return;
    if (isLate) counts.late += 1;
    const bucket = Math.max(0, Math.ceil(Math.log(ms / SMALLEST_MS) / Math.log(GROWTH)));
    counts.buckets.set(bucket, (counts.buckets.get(bucket) ?? 0) + 1);
  }

  /** Counts a retry. */
  retried(of: Priority): void {
    this.#priorities[of].retried += 1;
  }

  /** Counts an executed batch. */
  ran(requests: number): void {
    this.#sizes.set(requests, (this.#sizes.get(requests) ?? 0) + 1);
  }

  /** Returns the counts so far, of one priority or of all. */
  read(of?: Priority): RequestCounts {
    const all: PriorityCounters[] = of === undefined ? Object.values(this.#priorities) : [this.#priorities[of]];
    const sum = (get: (counts: PriorityCounters) => number): number => all.reduce((total, x) => total + get(x), 0);
    const buckets = new Map<number, number>();
    for (const x of all)
      for (const [bucket, count] of x.buckets) buckets.set(bucket, (buckets.get(bucket) ?? 0) + count);
    const latencies = [...buckets]
      .sort(([a], [b]) => a - b)
      .map(([bucket, count]) => ({ upToMs: SMALLEST_MS * GROWTH ** bucket, count }));
    const done = sum((x) => x.by.done);
    const quantile = (q: number): number => {
      let left = Math.ceil(q * done);
      return (left > 0 && latencies.find(({ count }) => (left -= count) <= 0)?.upToMs) || 0;
    };
    return {
      asked: sum((x) => x.asked),
      done,
      failed: sum((x) => x.by.failed),
      rejected: sum((x) => x.by.rejected),
      cancelled: sum((x) => x.by.cancelled),
      late: sum((x) => x.late),
      retried: sum((x) => x.retried),
      latencyMs: { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) },
      latencies,
    };
  }

  /** Returns the batch counts so far. */
  batches(): BatchCounts {
    let [executions, requests] = [0, 0];
    for (const [size, count] of this.#sizes) {
      executions += count;
      requests += size * count;
    }
    const sizes = Object.fromEntries(this.#sizes);
    return { executions, requests, mean: executions === 0 ? 0 : requests / executions, sizes };
  }
}
