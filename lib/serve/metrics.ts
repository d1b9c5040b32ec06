// Counters of the server in the text format of Prometheus. Names of models come from bundles, which allow no characters
// that would have to be escaped.

/** Upper bounds of the buckets of a request's time, in seconds. */
const BOUNDS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

interface Times {
  readonly counts: number[];
  sum: number;
  count: number;
}

/** Values that are read when the metrics are. */
export interface Gauges {
  /** Requests in the queue. */
  readonly queued: number;
  /** Requests that are queued or run. */
  readonly pending: number;
  /** Whether the server is ready. */
  readonly isReady: boolean;
}

/** Counts requests and runs. */
export class Metrics {
  readonly #requests: Map<string, number> = new Map();
  readonly #times: Map<string, Times> = new Map();
  readonly #runs: Map<string, { runs: number; requests: number; seconds: number }> = new Map();

  /** Counts an answered request and its time in milliseconds. */
  request(model: string, status: number, ms: number): void {
    const key = `model="${model}",status="${status}"`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
    const times = this.#times.get(model) ?? { counts: BOUNDS_S.map(() => 0), sum: 0, count: 0 };
    this.#times.set(model, times);
    times.sum += ms / 1_000;
    times.count += 1;
    for (const [i, bound] of BOUNDS_S.entries()) if (ms / 1_000 <= bound) times.counts[i] = (times.counts[i] ?? 0) + 1;
  }

  /** Counts a run of a model. */
  run(model: string, requests: number, ms: number): void {
    const before = this.#runs.get(model) ?? { runs: 0, requests: 0, seconds: 0 };
    this.#runs.set(model, {
      runs: before.runs + 1,
      requests: before.requests + requests,
      seconds: before.seconds + ms / 1_000,
    });
  }

  /** Writes all metrics. */
  text({ queued, pending, isReady }: Gauges): string {
    const runs = [...this.#runs];
    const times = [...this.#times].flatMap(([model, { counts, sum, count }]) => [
      ...counts.map((x, i) => `selvedge_request_seconds_bucket{model="${model}",le="${BOUNDS_S[i]}"} ${x}`),
      `selvedge_request_seconds_bucket{model="${model}",le="+Inf"} ${count}`,
      `selvedge_request_seconds_sum{model="${model}"} ${sum}`,
      `selvedge_request_seconds_count{model="${model}"} ${count}`,
    ]);
    const ofRuns = (name: string, read: (x: { runs: number; requests: number; seconds: number }) => number): string[] =>
      runs.map(([model, x]) => `${name}{model="${model}"} ${read(x)}`);
    return [
      ...family("selvedge_requests_total", "counter", "Answered requests by status; 499: the client left."),
      ...[...this.#requests].map(([labels, count]) => `selvedge_requests_total{${labels}} ${count}`),
      ...family("selvedge_request_seconds", "histogram", "Time of a request, from its head to its answer."),
      ...times,
      ...family("selvedge_runs_total", "counter", "Runs of a model, each with one batch."),
      ...ofRuns("selvedge_runs_total", (x) => x.runs),
      ...family("selvedge_run_requests_total", "counter", "Requests in these runs."),
      ...ofRuns("selvedge_run_requests_total", (x) => x.requests),
      ...family("selvedge_run_seconds_total", "counter", "Time of these runs."),
      ...ofRuns("selvedge_run_seconds_total", (x) => x.seconds),
      ...family("selvedge_queued_requests", "gauge", "Requests in the queue."),
      `selvedge_queued_requests ${queued}`,
      ...family("selvedge_pending_requests", "gauge", "Requests that are queued or run."),
      `selvedge_pending_requests ${pending}`,
      ...family("selvedge_ready", "gauge", "Whether the server is ready."),
      `selvedge_ready ${Number(isReady)}`,
      ...family("process_resident_memory_bytes", "gauge", "Memory of the process."),
      `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
      "",
    ].join("\n");
  }
}

function family(name: string, type: string, help: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}
