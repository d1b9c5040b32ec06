// Runs requests on lanes by the scheduler of lib/schedule, the one of the page: events in, decisions out. A small part of
// engine/dispatcher.ts, since a server has no deadlines, priorities, models that come and go, or second backend. Batches
// are joined and split by worker/join-batch.ts, as on the page.
import { shapeOf } from "../core/batch-shape.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { Estimate } from "../schedule/cost-estimate.ts";
import type { Decision, LaneView, SchedulerEvent } from "../schedule/events.ts";
import { Scheduler } from "../schedule/scheduler.ts";
import { runBatch } from "../worker/join-batch.ts";
import type { BatchRun } from "../worker/join-batch.ts";
import type { ServeTensors } from "./lane.ts";
import type { ServedModel } from "./served-models.ts";

/** Clock and timers. */
export interface ServerClock {
  /** Monotonic time in milliseconds. */
  now(): number;
  /** Calls back once after `ms`; the returned function cancels. */
  setTimer(callback: () => void, ms: number): () => void;
  /** Calls back once all requests that arrived by now were submitted. */
  defer(callback: () => void): void;
}

/** A lane as the executor uses it. */
export interface RunLane {
  readonly id: string;
  run(id: number, feeds: ServeTensors): Promise<Record<string, Tensor>>;
}

/** Settings of an executor. */
export interface ExecutorSettings {
  /** Maximum number of queued requests. */
  readonly maxQueue: number;
  /** Maximum number of rows that run together. */
  readonly maxBatchSize: number;
}

/** Answer to a request. */
export interface ServedAnswer {
  readonly outputs: ServeTensors;
  /** Number of requests that ran together. */
  readonly together: number;
  /** Time in the queue, in milliseconds. */
  readonly queuedMs: number;
  /** Time of the run, in milliseconds. */
  readonly ranMs: number;
}

/** An error of the model's own run: most often of values in the request. */
export class RunError extends Error {}

interface Pending {
  readonly id: number;
  readonly model: ServedModel;
  readonly feeds: ServeTensors;
  readonly arrivedMs: number;
  readonly signal: AbortSignal;
  resolve(answer: ServedAnswer): void;
  reject(error: unknown): void;
}

/** Pending requests of a model, and how long one takes. */
interface ModelLoad {
  pending: number;
  /** Mean time of a batch for each of its requests, in ms; null before the first one. */
  requestMs: number | null;
}

interface RunningBatch {
  readonly id: number;
  readonly model: ServedModel;
  /** Requests of the batch that were not withdrawn. */
  readonly ids: Set<number>;
}

const BACKEND = "cpu";
const SETTINGS = { agingMs: 2_000 } as const;
/** Weight of the last batch in the mean time of a request. */
const LEARNED = 0.2;

/** Queues requests and runs them. */
export class ServeExecutor {
  readonly #lanes: Map<string, { readonly lane: RunLane; readonly batches: RunningBatch[] }> = new Map();
  readonly #views: LaneView[] = [];
  readonly #held: Map<number, { readonly states: ReadonlyMap<number, number> }>;
  readonly #clock: ServerClock;
  readonly #settings: ExecutorSettings;
  readonly #estimate: Estimate = new Estimate();
  readonly #scheduler: Scheduler;
  readonly #pending: Map<number, Pending> = new Map();
  /** By model. */
  readonly #loads: ReadonlyMap<number, ModelLoad>;
  /** Pending requests of each signal, which has one listener for all: one HTTP request may have hundreds of runs. */
  readonly #signals: Map<AbortSignal, { readonly ids: Set<number>; cancel(): void }> = new Map();
  /** Called after each run. */
  onRun: ((model: ServedModel, requests: number, ms: number) => void) | null = null;
  #nextId = 1;
  #isPumping = false;
  #cancelWake: (() => void) | null = null;

  constructor(models: readonly ServedModel[], settings: ExecutorSettings, clock: ServerClock) {
    this.#settings = settings;
    this.#clock = clock;
    this.#scheduler = new Scheduler({ ...SETTINGS, maxSize: settings.maxQueue }, this.#estimate);
    this.#loads = new Map(models.map(({ id }) => [id, { pending: 0, requestMs: null }]));
    this.#held = new Map(models.map(({ id }) => [id, { states: new Map<number, number>() }]));
  }

  /** Number of queued requests. */
  get queued(): number {
    return this.#scheduler.queued;
  }

  /** Number of requests that are queued or run. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Number of lanes that run. */
  get lanes(): number {
    return this.#views.length;
  }

  /** Adds a lane that holds all models. */
  add(lane: RunLane): void {
    this.#lanes.set(lane.id, { lane, batches: [] });
    this.#views.push({ id: lane.id, backend: BACKEND, kind: "usual", isOpen: true, held: this.#held });
    this.#pump();
  }

  /** Removes a lane whose thread ended; its batches fail by themselves. */
  remove(id: string): void {
    const at = this.#views.findIndex((x) => x.id === id);
    if (at >= 0) this.#views.splice(at, 1);
  }

  /** Records the time of a first run. */
  measured({ id, key }: ServedModel, ms: number): void {
    this.#learn(id, ms);
    this.#tell({ type: "measured", key, ms });
  }

  /** Returns the time in which what is pending is likely to have run, in milliseconds. */
  waitMs(): number {
    let ms = 0;
    for (const { pending, requestMs } of this.#loads.values()) ms += pending * (requestMs ?? 0);
    return ms / Math.max(1, this.#views.length);
  }

  /**
   * Runs a request. Rejects with `overloaded` where the queue is full, with the signal's reason, with a RunError, or
   * with `worker-crashed`.
   * @param signal - the one of an HTTP request: while a run of it is pending, a full queue refuses no further one, since
   * what is admitted would be for nothing
   */
  run(model: ServedModel, feeds: ServeTensors, signal: AbortSignal): Promise<ServedAnswer> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const id = this.#nextId++;
      const now = this.#clock.now();
      this.#pending.set(id, { id, model, feeds, arrivedMs: now, signal, resolve, reject });
      (this.#loads.get(model.id) as ModelLoad).pending += 1;
      const isFurther = this.#signals.has(signal);
      this.#listen(id, signal);
      const sizes = Object.fromEntries(Object.entries(feeds).map(([name, { dims }]) => [name, dims]));
      const together = model.batching.canJoin ? shapeOf(model.inputs, sizes) : null;
      // A request without rows has no cost of a row.
      const shape = together?.rows === 0 ? null : together;
      this.#tell({
        type: "arrived",
        isAgain: isFurther,
        step: {
          ...{ id, arrivedMs: now, dueMs: Infinity, isRefusable: false, priority: 1, caller: 0, preempt: false },
          routes: [{ backend: BACKEND, modelId: model.id, key: model.key }],
          rows: shape?.rows ?? 1,
          shape: shape?.key ?? null,
          batching: { maxBatchSize: this.#settings.maxBatchSize, maxQueueDelayMs: 0, preferredBatchSizes: [] },
          concurrency: Infinity,
        },
      });
      this.#pump();
    });
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined) return undefined;
    this.#pending.delete(id);
    const { signal, model } = pending;
    (this.#loads.get(model.id) as ModelLoad).pending -= 1;
    const own = this.#signals.get(signal);
    own?.ids.delete(id);
    if (own?.ids.size === 0) {
      signal.removeEventListener("abort", own.cancel);
      this.#signals.delete(signal);
    }
    return pending;
  }

  /** Cancels a pending request when its signal is aborted. */
  #listen(id: number, signal: AbortSignal): void {
    const known = this.#signals.get(signal);
    if (known !== undefined) {
      known.ids.add(id);
      return;
    }
    const ids = new Set([id]);
    const cancel = (): void => {
      for (const each of [...ids]) {
        this.#settle(each)?.reject(signal.reason);
        this.#tell({ type: "cancelled", id: each });
      }
      this.#pump();
    };
    signal.addEventListener("abort", cancel, { once: true });
    this.#signals.set(signal, { ids, cancel });
  }

  #tell(event: SchedulerEvent): void {
    for (const decision of this.#scheduler.handle(event, this.#clock.now(), this.#views)) this.#act(decision);
  }

  #act(decision: Decision): void {
    if (decision.type === "reject") {
      const text = `Queue is full: ${decision.expected} requests queued.`;
      this.#settle(decision.id)?.reject(new SelvedgeError("overloaded", text));
    } else if (decision.type === "withdraw") {
      const batch = this.#lanes.get(decision.lane)?.batches.find((x) => x.id === decision.batch);
      for (const id of decision.ids) batch?.ids.delete(id);
    } else if (decision.type === "start") {
      const lane = this.#lanes.get(decision.lane);
      const model = decision.ids.map((id) => this.#pending.get(id)?.model).find((x) => x !== undefined);
      if (lane === undefined || model === undefined) return;
      lane.batches.push({ id: decision.batch, model, ids: new Set(decision.ids) });
      if (lane.batches.length === 1) void this.#work(lane);
    }
  }

  /** Runs the batches of a lane, one after another, until none is left. */
  async #work({ lane, batches }: { readonly lane: RunLane; readonly batches: RunningBatch[] }): Promise<void> {
    for (let batch; (batch = batches[0]) !== undefined; batches.shift()) {
      const ms = await this.#runBatch(lane, batch);
      this.#tell({ type: "ended", lane: lane.id, batch: batch.id, ms });
      this.#pump();
    }
  }

  /**
   * Runs a batch and settles its requests; returns the time, null where nothing ran, the lane failed, or requests ran
   * again alone: the time says nothing of a batch then.
   */
  async #runBatch(lane: RunLane, { model, ids }: RunningBatch): Promise<number | null> {
    const startMs = this.#clock.now();
    const requests = [...ids].flatMap((id) => this.#pending.get(id) ?? []);
    if (requests.length === 0) return null;
    let batchRun: BatchRun;
    try {
      const items = requests.map((x) => x.feeds);
      batchRun = await runBatch(
        { run: (id, feeds) => lane.run(id, feeds as ServeTensors) },
        model.id,
        model.batching,
        items,
        false,
      );
    } catch (error) {
      for (const { id } of requests) this.#settle(id)?.reject(error);
      return null;
    }
    const { outcomes, runs, groups } = batchRun;
    const ranMs = this.#clock.now() - startMs;
    for (const [i, { id, arrivedMs }] of requests.entries()) {
      const outcome = outcomes[i];
      if (outcome !== undefined && "outputs" in outcome) {
        const { outputs } = outcome;
        this.#settle(id)?.resolve({ outputs, together: requests.length, queuedMs: startMs - arrivedMs, ranMs });
      } else this.#settle(id)?.reject(errorOf(outcome?.error));
    }
    this.#learn(model.id, ranMs / requests.length);
    this.onRun?.(model, requests.length, ranMs);
    return runs > groups.length ? null : ranMs;
  }

  #learn(modelId: number, ms: number): void {
    const load = this.#loads.get(modelId) as ModelLoad;
    load.requestMs = (load.requestMs ?? ms) * (1 - LEARNED) + ms * LEARNED;
  }

  /** Starts queued work, once all requests of this moment were submitted. */
  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    this.#clock.defer(() => {
      this.#isPumping = false;
      this.#tell({ type: "tick" });
      this.#cancelWake?.();
      const { wakeMs } = this.#scheduler;
      this.#cancelWake =
        wakeMs === Infinity
          ? null
          : this.#clock.setTimer(() => {
              this.#pump();
            }, wakeMs - this.#clock.now());
    });
  }
}

function errorOf(error: unknown): unknown {
  return error instanceof SelvedgeError ? error : new RunError(error instanceof Error ? error.message : String(error));
}
