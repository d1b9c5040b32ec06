// A stage for tests of the scheduler: lanes whose runs take the time that the test sets, and a clock that jumps from
// event to event. It does the work of dispatcher.ts without workers: every decision takes effect at once.
import { Estimate } from "../schedule/cost-estimate.ts";
import type { Decision, LaneView, SchedulerEvent, ScheduledStep } from "../schedule/events.ts";
import { Scheduler } from "../schedule/scheduler.ts";
import type { Settings } from "../schedule/scheduler.ts";

/** Outcome of a step. */
export interface Fate {
  readonly startMs: number;
  readonly endMs: number;
  readonly lane: string;
  /** Number of its batch, in the order of starts. */
  readonly batch: number;
}

/** A lane of the stage. */
export interface StageLane extends LaneView {
  isOpen: boolean;
  readonly held: Map<number, { readonly states: Map<number, number> }>;
}

/** Makes a lane that holds the given models. */
export function lane(id: string, models: readonly number[] = [1], options: Partial<LaneView> = {}): StageLane {
  const held = new Map(models.map((model) => [model, { states: new Map<number, number>() }] as const));
  return { id, backend: "wasm", kind: "usual", isOpen: true, ...options, held };
}

/** Makes a step of model 1 that has no deadline and runs alone, unless `change` says otherwise. */
export function step(
  id: number,
  change: Partial<Omit<ScheduledStep, "id">> & { readonly model?: number } = {},
): ScheduledStep {
  const { model = 1, ...rest } = change;
  return {
    id,
    routes: [{ backend: "wasm", modelId: model, key: `m${model}` }],
    priority: 1,
    arrivedMs: 0,
    dueMs: Infinity,
    isRefusable: true,
    caller: 0,
    rows: 1,
    shape: null,
    batching: { maxBatchSize: 64, maxQueueDelayMs: 0, preferredBatchSizes: [] },
    concurrency: Infinity,
    preempt: false,
    ...rest,
  };
}

/** Plays steps on lanes. */
export class Stage {
  readonly estimate: Estimate = new Estimate();
  readonly scheduler: Scheduler;
  readonly lanes: readonly StageLane[];
  readonly fates: Map<number, Fate> = new Map();
  readonly rejected: Map<number, { readonly code: string; readonly atMs: number }> = new Map();
  readonly decisions: Decision[] = [];
  /** All events, for a replay. */
  readonly told: { readonly event: SchedulerEvent; readonly now: number; readonly lanes: readonly LaneView[] }[] = [];
  /** Time of a lane to load a model; null for at once, though the event reports the expected time. */
  load: ((lane: string) => number) | null = null;
  now = 0;
  /** By their times; those of one time in order of arrival. */
  readonly #events: { readonly atMs: number; readonly act: () => void }[] = [];
  readonly #busy: Map<string, number> = new Map();
  readonly #steps: Map<number, ScheduledStep> = new Map();
  /** Time of a run; null where the lane can't load the model. */
  readonly #cost: (model: number, rows: number, lane: string) => number | null;

  constructor(
    lanes: readonly StageLane[],
    cost: (model: number, rows: number, lane: string) => number | null,
    settings: Partial<Settings> = {},
  ) {
    this.lanes = lanes;
    this.#cost = cost;
    this.scheduler = new Scheduler({ agingMs: 2_000, maxSize: 100_000, ...settings }, this.estimate);
  }

  /** Trains the estimate with the run times of a model. */
  teach(model: number, rows: readonly number[], key = `m${model}`): void {
    for (const n of rows)
      for (let i = 0; i < 3; i += 1) this.estimate.learn(key, n, this.#cost(model, n, "wasm-0") ?? 0);
  }

  /** Schedules an action. */
  at(atMs: number, act: () => void): void {
    let [low, high] = [0, this.#events.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#events[middle] as { atMs: number }).atMs <= atMs) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, { atMs, act });
  }

  /** Schedules the arrival of a step; it is due so many ms later, where that is given. */
  arrives(it: ScheduledStep): void {
    this.at(it.arrivedMs, () => {
      this.#steps.set(it.id, it);
      this.tell({ type: "arrived", step: it, isAgain: false });
      this.#soon();
    });
  }

  /** Passes an event to the scheduler, and executes its decisions. */
  tell(event: SchedulerEvent): void {
    const lanes = this.lanes.map(({ held, ...view }) => ({ ...view, held: new Map(held) }));
    this.told.push({ event, now: this.now, lanes });
    for (const decision of this.scheduler.handle(event, this.now, this.lanes)) this.#act(decision);
  }

  /** Plays until no event is left, or until a time. */
  play(untilMs = Infinity): void {
    for (;;) {
      const next = this.#events[0];
      const wakeMs = this.scheduler.wakeMs;
      const atMs = Math.min(next?.atMs ?? Infinity, wakeMs);
      if (atMs === Infinity || atMs > untilMs) return;
      this.now = Math.max(this.now, atMs);
      if (next === undefined || wakeMs < next.atMs) this.tell({ type: "tick" });
      else {
        this.#events.shift();
        next.act();
      }
    }
  }

  /** Schedules a tick after all other events of this moment. */
  #soon(): void {
    this.at(this.now, () => {
      this.tell({ type: "tick" });
    });
  }

  #act(decision: Decision): void {
    this.decisions.push(decision);
    if (decision.type === "reject") {
      this.fates.delete(decision.id); // where it was staged
      this.rejected.set(decision.id, { code: decision.code, atMs: this.now });
    } else if (decision.type === "withdraw") for (const id of decision.ids) this.fates.delete(id);
    else if (decision.type === "start") this.#start(decision);
    else if (decision.type === "warm") this.#warm(decision);
  }

  #warm({ lane: id, route: { modelId } }: Decision & { type: "warm" }): void {
    const on = this.lanes.find((x) => x.id === id) as StageLane;
    const ms = this.load?.(id) ?? 0;
    this.at(this.now + ms, () => {
      if (on.held.has(modelId)) return;
      on.held.set(modelId, { states: new Map() });
      this.tell({ type: "loaded", modelId, ms: this.load === null ? 300 : ms, lane: id });
      this.#soon();
    });
  }

  #start({ batch, lane: id, route, ids }: Decision & { type: "start" }): void {
    const on = this.lanes.find((x) => x.id === id) as StageLane;
    const free = this.#busy.get(id);
    const startMs = Math.max(this.now, free ?? 0);
    const rows = ids.length;
    const ms = this.#cost(route.modelId, rows, id);
    if (ms === null) {
      this.at(startMs, () => {
        this.tell({ type: "unavailable", lane: id, modelId: route.modelId, untilMs: null });
        this.tell({ type: "ended", lane: id, batch, ms: null });
        for (const one of ids)
          this.tell({ type: "arrived", step: this.#steps.get(one) as ScheduledStep, isAgain: true });
        this.#soon();
      });
      return;
    }
    const isCold = !on.held.has(route.modelId);
    const loadMs = isCold ? (this.load?.(id) ?? 0) : 0;
    const beginMs = startMs + loadMs;
    const endMs = beginMs + ms;
    if (isCold) {
      on.held.set(route.modelId, { states: new Map() });
      const told = { modelId: route.modelId, ms: this.load === null ? 300 : loadMs, lane: id };
      if (beginMs <= this.now) this.tell({ type: "loaded", ...told });
      else
        this.at(beginMs, () => {
          this.tell({ type: "loaded", ...told });
        });
    }
    this.#busy.set(id, endMs);
    for (const one of ids) this.fates.set(one, { startMs: beginMs, endMs, lane: id, batch });
    let isEmpty = false;
    if (beginMs > this.now)
      this.at(beginMs, () => {
        isEmpty = ids.every((one) => this.fates.get(one)?.batch !== batch);
        if (!isEmpty) return;
        // All of its steps were cancelled: it does not run.
        this.#busy.set(id, beginMs);
        this.tell({ type: "ended", lane: id, batch, ms: null });
        this.#soon();
      });
    this.at(endMs, () => {
      if (isEmpty) return;
      this.tell({ type: "ended", lane: id, batch, ms });
      this.#soon();
    });
  }
}
