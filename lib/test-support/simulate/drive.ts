// The real scheduler on a workload: the part of dispatcher.ts, without workers. Runs take as long as the workload
// specifies, times are read from clocks of its resolution, and decisions take effect at once.
import { isServer } from "../../core/device.ts";
import { Estimate } from "../../schedule/cost-estimate.ts";
import { Scheduler } from "../../schedule/scheduler.ts";
import type { Decision, LaneView, Route, SchedulerEvent } from "../../schedule/events.ts";
import { Random } from "../random.ts";
import { batchMs } from "./workload.ts";
import type { Job, Run, Workload } from "./workload.ts";

/** Result of a workload: the runs, and the times of rejections. */
export interface Driven {
  readonly runs: readonly Run[];
  readonly rejectedMs: ReadonlyMap<number, number>;
}

/** Minimum delay of a browser's timer, in ms: wake-ups are at least so far apart. */
const TIMER_MS = 0.05;
/** Rows of a lesson as a multiple of the largest batch: each size twice, and once more. */
const LESSON = 6;
const SETTINGS = { agingMs: 2_000, maxSize: 100_000 };

/** Executes a workload with the real scheduler. */
export function drive(workload: Workload, seed: number): Driven {
  return new Drive(workload, seed).run();
}

interface Staged {
  readonly batch: number;
  readonly jobs: readonly Job[];
}

interface Running extends Run {
  readonly batch: number;
}

class Drive {
  readonly #workload: Workload;
  readonly #random: Random;
  readonly #scheduler: Scheduler = new Scheduler(SETTINGS, new Estimate());
  readonly #lanes: readonly LaneView[];
  readonly #running: Running[] = [];
  readonly #staged: Map<number, Staged> = new Map();
  #runs: Run[] = [];
  readonly #rejectedMs: Map<number, number> = new Map();
  readonly #byId: Map<number, Job> = new Map();
  #now = 0;
  /** Earliest arrival of a request: after the lessons. */
  #fromMs = 0;
  #lessonId = 0;

  constructor(workload: Workload, seed: number) {
    this.#workload = workload;
    this.#random = new Random(seed);
    const held = new Map(workload.models.map((_, i) => [i, { states: new Map<number, number>() }]));
    this.#lanes = workload.lanes.map((backend, i): LaneView => {
      return { id: `${i}`, backend, endpoint: endpointOf(backend), kind: "usual", isOpen: true, held };
    });
  }

  run(): Driven {
    const { jobs, models, lanes, isLearned } = this.#workload;
    // As the engine does when it loads a model: one row is measured on each backend, and on the server.
    for (const [model, { msOn }] of models.entries())
      for (const backend of new Set(lanes)) {
        const ms = this.#read(msOn[backend]?.(1) ?? 0);
        if (msOn[backend] === undefined) continue;
        this.#tell({ type: "measured", key: keyOf(model, backend), ms, endpoint: endpointOf(backend) });
      }
    if (isLearned) for (const model of models.keys()) this.#play(this.#lesson(model));
    this.#fromMs = this.#now;
    this.#runs = [];
    this.#play(jobs);
    return { runs: this.#runs, rejectedMs: this.#rejectedMs };
  }

  /** Returns a backlog without deadlines, long enough to try every batch size on every lane. */
  #lesson(model: number): Job[] {
    const { models, lanes } = this.#workload;
    const rows = models[model]?.maxRows ?? 1;
    const count = (rows === 1 ? 4 : LESSON * rows) * lanes.length;
    return Array.from({ length: count }, () => ({
      id: --this.#lessonId,
      atMs: this.#now,
      dueMs: Infinity,
      model,
      factor: 1,
    }));
  }

  /** Runs requests until no event is left. */
  #play(jobs: readonly Job[]): void {
    for (const job of jobs) this.#byId.set(job.id, job);
    let next = 0;
    let timerMs = Infinity;
    for (;;) {
      const end = this.#firstToEnd();
      const nextMs = (jobs[next]?.atMs ?? Infinity) + this.#fromMs;
      const at = Math.min(nextMs, end?.endMs ?? Infinity, timerMs);
      if (at === Infinity) return;
      this.#now = Math.max(this.#now, at);
      for (let ended = end; ended !== undefined && ended.endMs <= at; ended = this.#firstToEnd()) this.#end(ended);
      for (; (jobs[next]?.atMs ?? Infinity) + this.#fromMs <= at; next += 1) this.#arrive(jobs[next] as Job);
      this.#tell({ type: "tick" });
      const { wakeMs } = this.#scheduler;
      timerMs = wakeMs === Infinity ? Infinity : this.#now + Math.max(TIMER_MS, wakeMs - this.#read(this.#now));
    }
  }

  /** Reads a clock at its resolution. */
  #read(ms: number): number {
    const { clockMs } = this.#workload;
    return clockMs === 0 ? ms : Math.floor(ms / clockMs) * clockMs;
  }

  #arrive({ id, dueMs, atMs, model }: Job): void {
    const { models, lanes, finishesLate = false } = this.#workload;
    const { msOn, maxRows, readyMsOn, costMsOn } = models[model] as Workload["models"][number];
    const backends = [...new Set(lanes)].filter((x) => msOn[x] !== undefined && atMs >= (readyMsOn?.[x] ?? 0));
    const routes = backends.map((backend): Route => {
      return { backend, modelId: model, key: keyOf(model, backend), costMs: costMsOn?.[backend] };
    });
    const arrivedMs = this.#read(this.#now);
    this.#tell({
      type: "arrived",
      isAgain: false,
      step: {
        id,
        routes: routes as [Route, ...Route[]],
        priority: 1,
        arrivedMs,
        dueMs: arrivedMs + (dueMs - atMs),
        isRefusable: !finishesLate,
        caller: 0,
        rows: 1,
        shape: maxRows > 1 ? "a" : null,
        batching: { maxBatchSize: maxRows, maxQueueDelayMs: 0, preferredBatchSizes: [] },
        concurrency: Infinity,
        preempt: false,
      },
    });
  }

  #tell(event: SchedulerEvent): void {
    for (const decision of this.#scheduler.handle(event, this.#read(this.#now), this.#lanes)) this.#act(decision);
  }

  #act(decision: Decision): void {
    if (decision.type === "reject") {
      this.#rejectedMs.set(decision.id, this.#now - this.#fromMs);
      this.#unstage(new Set([decision.id]));
    }
    if (decision.type === "withdraw") this.#unstage(new Set(decision.ids));
    if (decision.type !== "start") return;
    const lane = Number(decision.lane);
    const staged = { batch: decision.batch, jobs: decision.ids.map((id) => this.#byId.get(id) as Job) };
    if (!this.#running.some((x) => x.lane === lane)) this.#begin(lane, staged);
    else if (this.#staged.has(lane)) throw new Error(`lane ${lane} got a third batch`);
    else this.#staged.set(lane, staged);
  }

  /** Removes requests from staged batches, as a lane omits settled requests before it sends a batch. */
  #unstage(ids: ReadonlySet<number>): void {
    for (const [lane, { batch, jobs }] of this.#staged)
      if (jobs.some(({ id }) => ids.has(id)))
        this.#staged.set(lane, { batch, jobs: jobs.filter(({ id }) => !ids.has(id)) });
  }

  #begin(lane: number, { batch, jobs }: Staged): void {
    const { noise } = this.#workload;
    const ms = batchMs(this.#workload, lane, jobs) * (1 + noise * (2 * this.#random.next() - 1));
    this.#running.push({ lane, batch, jobs, startMs: this.#now, endMs: this.#now + ms });
  }

  #firstToEnd(): Running | undefined {
    let first = this.#running[0];
    for (const run of this.#running) if (run.endMs < (first?.endMs ?? 0)) first = run;
    return first;
  }

  #end(run: Running): void {
    const { lane, batch, jobs, startMs, endMs } = run;
    this.#running.splice(this.#running.indexOf(run), 1);
    this.#runs.push({ lane, jobs, startMs: startMs - this.#fromMs, endMs: endMs - this.#fromMs });
    const staged = this.#staged.get(lane);
    this.#staged.delete(lane);
    const isEmpty = staged?.jobs.length === 0;
    if (staged !== undefined && !isEmpty) this.#begin(lane, staged);
    this.#tell({ type: "ended", lane: `${lane}`, batch, ms: this.#read(endMs) - this.#read(startMs) });
    if (staged !== undefined && isEmpty) this.#tell({ type: "ended", lane: `${lane}`, batch: staged.batch, ms: null });
  }
}

function endpointOf(backend: string): string | null {
  return isServer({ backend }) ? "https://server.test" : null;
}

function keyOf(model: number, backend: string): string {
  return `m${model} ${backend}`;
}
