// A workload: lanes, models with their true costs, and requests with arrival times and deadlines. Plain data that both
// the policies of bound.ts and the real scheduler (drive.ts) execute. A benchmark can record one from real runs.

/** A model's true costs. */
export interface ModelCosts {
  /** Largest batch, in requests. */
  readonly maxRows: number;
  /** Returns the duration of a batch of so many requests on a lane of that backend, in ms. */
  readonly msOn: Readonly<Record<string, (rows: number) => number>>;
  /** Requests that arrive earlier have no route to that backend: the model is still loading there. Default: 0. */
  readonly readyMsOn?: Readonly<Record<string, number>>;
  /** By how many ms a request must finish sooner on that backend than on others. Default: none. */
  readonly costMsOn?: Readonly<Record<string, number>>;
}

/** A request of one row. */
export interface Job {
  readonly id: number;
  readonly atMs: number;
  /** Absolute deadline; Infinity without one. */
  readonly dueMs: number;
  /** Index into the models. */
  readonly model: number;
  /** Its own cost as a multiple of the model's: a batch takes the model's time × the mean of its requests' factors. */
  readonly factor: number;
}

/** A workload; requests are in order of arrival. */
export interface Workload {
  /** The backend of each lane. */
  readonly lanes: readonly string[];
  readonly models: readonly ModelCosts[];
  readonly jobs: readonly Job[];
  /** Whether the scheduler ran a backlog of each model before, as an engine did on an earlier page. */
  readonly isLearned: boolean;
  /** Earlier arrivals do not count, for either side. */
  readonly countsFromMs: number;
  /** A request without a deadline counts as answered until then. */
  readonly endMs: number;
  /** Resolution of every clock that the scheduler reads, in ms; 0 for exact clocks. */
  readonly clockMs: number;
  /** Relative difference between two runs of the same batch. */
  readonly noise: number;
  /** Whether a late request is answered in place of rejected. Default: false. */
  readonly finishesLate?: boolean;
}

/** Requests that run together on a lane. */
export interface Run {
  readonly lane: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly jobs: readonly Job[];
}

/** Returns the true duration of a batch on a lane, in ms; Infinity where the lane can't run the model. */
export function batchMs({ lanes, models }: Workload, lane: number, jobs: readonly Job[]): number {
  let sum = 0;
  for (const { factor } of jobs) sum += factor;
  return rowsMs(models[jobs[0]?.model ?? 0] as ModelCosts, lanes[lane] as string, jobs.length, sum);
}

/** Returns the true duration of a batch by its number of rows and the sum of their factors. */
export function rowsMs({ msOn }: ModelCosts, backend: string, rows: number, factors: number): number {
  return ((msOn[backend]?.(rows) ?? Infinity) * factors) / rows;
}

/** Returns the latest moment at which an answer counts. */
export function countsUntilMs({ endMs }: Workload, { dueMs }: Job): number {
  return dueMs === Infinity ? endMs : dueMs;
}

/** Counts the requests that were answered by their deadline. */
export function goodput(workload: Workload, runs: readonly Run[]): number {
  let count = 0;
  for (const { endMs, jobs } of runs)
    for (const job of jobs) if (job.atMs >= workload.countsFromMs && endMs <= countsUntilMs(workload, job)) count += 1;
  return count;
}
