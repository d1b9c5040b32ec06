// What an engine counts. Silent: it costs a few additions a request and is read only by `engine.stats()`.

/** How a request ended: refused is what its deadline or a full queue did not allow. */
export type Outcome = "done" | "failed" | "rejected" | "cancelled";

/** Counts of requests by how they ended, and how long they took. */
export interface RequestCounts {
  /** Requests made. */
  readonly asked: number;
  /** Requests answered. */
  readonly done: number;
  /** Requests that ended with an error, those that were refused or cancelled aside. */
  readonly failed: number;
  /** Requests refused or dropped: they could not be on time, or too many waited. */
  readonly rejected: number;
  /** Requests that the caller cancelled. */
  readonly cancelled: number;
  /** Requests answered after their deadline. */
  readonly late: number;
  /** Tries after a first one that failed. */
  readonly retried: number;
  /** From the call to the answer, in ms, over all that are done; bucket borders, so exact to 10 %; 0 where none is. */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number };
  /** The same as a histogram: how many took so long at the most, and longer than the entry before says. */
  readonly latencies: readonly { readonly upToMs: number; readonly count: number }[];
}

/** Counts batches. */
export interface BatchCounts {
  /** Batches that were run, failed ones aside. */
  readonly executions: number;
  /** Requests that were in them. */
  readonly requests: number;
  /** Requests by executions; 0 where none was run. */
  readonly mean: number;
  /** How many executions had so many requests, by that number. */
  readonly sizes: Readonly<Record<number, number>>;
}

/** Ratio of one bucket's border to the next: quantiles are exact to 10 % at any scale, in 30 numbers a decade. */
const GROWTH = 1.1;
const SMALLEST_MS = 0.01;

class ClassCounters {
  asked = 0;
  readonly by: Record<Outcome, number> = { done: 0, failed: 0, rejected: 0, cancelled: 0 };
  late = 0;
  retried = 0;
  readonly buckets: Map<number, number> = new Map();
}

/** Counts requests of several classes. */
export class Counters<Class extends string> {
  readonly #classes: Readonly<Record<Class, ClassCounters>>;
  readonly #sizes: Map<number, number> = new Map();

  constructor(classes: readonly Class[]) {
    this.#classes = Object.fromEntries(classes.map((name) => [name, new ClassCounters()])) as Record<
      Class,
      ClassCounters
    >;
  }

  /** Notes a request. */
  asked(of: Class): void {
    this.#classes[of].asked += 1;
  }

  /** Notes how it ended, and how long that took. */
  settled(of: Class, outcome: Outcome, ms: number, isLate: boolean): void {
    const counts = this.#classes[of];
    counts.by[outcome] += 1;
    if (outcome !== "done") return;
    if (isLate) counts.late += 1;
    const bucket = Math.max(0, Math.ceil(Math.log(ms / SMALLEST_MS) / Math.log(GROWTH)));
    counts.buckets.set(bucket, (counts.buckets.get(bucket) ?? 0) + 1);
  }

  /** Notes that one is tried again. */
  retried(of: Class): void {
    this.#classes[of].retried += 1;
  }

  /** Notes a batch that was run. */
  ran(requests: number): void {
    this.#sizes.set(requests, (this.#sizes.get(requests) ?? 0) + 1);
  }

  /** Gives the counts so far, of one class or of all. */
  read(of?: Class): RequestCounts {
    const all: ClassCounters[] = of === undefined ? Object.values(this.#classes) : [this.#classes[of]];
    const sum = (get: (counts: ClassCounters) => number): number => all.reduce((total, x) => total + get(x), 0);
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

  /** Gives the counts of batches so far. */
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
