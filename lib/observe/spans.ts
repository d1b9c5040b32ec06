// Spans of batches (on their lane) and of requests (from call to end), derived from the scheduler's events and
// decisions. Incremental, so it serves both a trace written afterwards and tracks drawn live. It knows no more than the
// scheduler: a staged batch counts as started when the lane became free.
import type { Decision, Route, SchedulerEvent, StartWhy, ScheduledStep } from "../schedule/events.ts";
import type { SavedScheduler } from "../schedule/scheduler.ts";

/** A batch on a lane. Times in ms. */
export interface BatchSpan {
  readonly lane: string;
  readonly batch: number;
  readonly route: Route;
  readonly ids: readonly number[];
  readonly startMs: number;
  readonly endMs: number;
  /** Expected duration; null if it began before the record did. */
  readonly expectedMs: number | null;
  /** Duration in the worker; null if it failed or did not end. */
  readonly ranMs: number | null;
  readonly state: "ran" | "failed" | "running";
  readonly why: StartWhy | null;
}

/** A request, from its call to its end. */
export interface RequestSpan {
  readonly step: ScheduledStep;
  readonly startMs: number;
  readonly endMs: number;
  readonly outcome: "done" | "late" | "failed" | "refused" | "cancelled" | "open";
  /** When it first started on a lane; null if it never did. */
  readonly startedMs: number | null;
  readonly tries: number;
}

interface Running {
  readonly step: ScheduledStep;
  startedMs: number | null;
  tries: number;
  endedMs: number | null;
  hasFailed: boolean;
}

type Begun = Omit<BatchSpan, "endMs" | "ranMs" | "state" | "startMs"> & { readonly sinceMs: number };

/** Builds spans from events. */
export class Spans {
  readonly #onBatch: (span: BatchSpan) => void;
  readonly #onRequest: (span: RequestSpan) => void;
  readonly #requests: Map<number, Running> = new Map();
  readonly #batches: Map<string, Begun[]> = new Map();
  /** Requests that have ended, unless the next event says otherwise. */
  readonly #ended: Set<number> = new Set();
  #running = 0;

  /** Starts from the scheduler's state when the record began. */
  constructor(
    saved: SavedScheduler,
    nowMs: number,
    on: { readonly batch: (span: BatchSpan) => void; readonly request: (span: RequestSpan) => void },
  ) {
    this.#onBatch = on.batch;
    this.#onRequest = on.request;
    for (const { steps } of saved.queue.groups) for (const [step] of steps) this.#open(step);
    for (const [lane, batches] of saved.batches)
      for (const { id, route, steps, ids = steps.map((x) => x.id) } of batches) {
        this.#begin({ lane, batch: id, route, ids, expectedMs: null, why: null, sinceMs: nowMs });
        this.#running += ids.length;
      }
  }

  /** Numbers of queued requests, and of running or staged ones. */
  get depth(): { readonly waiting: number; readonly running: number } {
    return { waiting: Math.max(0, this.#requests.size - this.#running), running: this.#running };
  }

  /** Processes an event. */
  note(event: SchedulerEvent, nowMs: number, decisions: readonly Decision[]): void {
    if (event.type === "arrived") this.#arrive(event.step);
    else if (event.type === "cancelled") this.#cancel(event.id, nowMs);
    else if (event.type === "ended") this.#end(event.lane, event.batch, event.ms, nowMs);
    else if (event.type === "tick") this.#settle();
    for (const decision of decisions)
      if (decision.type === "reject") {
        this.#leave(decision.id);
        this.#close(decision.id, nowMs, "refused");
      } else if (decision.type === "withdraw") this.#withdraw(decision.lane, decision.batch, decision.ids);
      else if (decision.type === "start") {
        const { lane, batch, route, ids, ms, why } = decision;
        this.#begin({ lane, batch, route, ids, expectedMs: ms, why, sinceMs: nowMs });
        for (const id of ids) {
          const request = this.#requests.get(id);
          if (request === undefined) continue;
          request.startedMs ??= nowMs;
          request.tries += 1;
          this.#running += 1;
        }
      }
  }

  /** Closes the spans that are still open. */
  finish(nowMs: number): void {
    this.#settle();
    for (const batches of this.#batches.values())
      for (const { sinceMs, ...batch } of batches.slice(0, 1))
        this.#onBatch({ ...batch, startMs: sinceMs, endMs: nowMs, ranMs: null, state: "running" });
    for (const id of [...this.#requests.keys()]) this.#close(id, nowMs, "open");
  }

  #open(step: ScheduledStep): void {
    this.#requests.set(step.id, { step, startedMs: null, tries: 0, endedMs: null, hasFailed: false });
  }

  #arrive(step: ScheduledStep): void {
    this.#ended.delete(step.id);
    const known = this.#requests.get(step.id);
    if (known === undefined) this.#open(step);
    else known.endedMs = null;
  }

  #begin(batch: Begun): void {
    const batches = this.#batches.get(batch.lane);
    if (batches === undefined) this.#batches.set(batch.lane, [batch]);
    else batches.push(batch);
  }

  #end(lane: string, id: number, ms: number | null, nowMs: number): void {
    const batches = this.#batches.get(lane) ?? [];
    const batch = batches.find((x) => x.batch === id);
    if (batch === undefined) return;
    const left = batches.filter((x) => x !== batch).map((x) => ({ ...x, sinceMs: nowMs }));
    this.#batches.set(lane, left);
    const isThrough = ms !== null && ms < Infinity;
    const { sinceMs, ...rest } = batch;
    const ranMs = isThrough ? ms : null;
    this.#onBatch({ ...rest, startMs: sinceMs, endMs: nowMs, ranMs, state: isThrough ? "ran" : "failed" });
    for (const one of batch.ids) {
      const request = this.#requests.get(one);
      if (request === undefined) continue;
      this.#running -= 1;
      request.endedMs = nowMs;
      request.hasFailed = !isThrough;
      if (isThrough) this.#ended.add(one);
    }
  }

  #cancel(id: number, nowMs: number): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    this.#ended.delete(id);
    if (request.endedMs === null && request.startedMs !== null) this.#leave(id);
    this.#close(id, nowMs, request.endedMs === null ? "cancelled" : "failed");
  }

  /** Removes a request from the count of running ones if it is on a lane. */
  #leave(id: number): void {
    for (const batches of this.#batches.values()) if (batches.some(({ ids }) => ids.includes(id))) this.#running -= 1;
  }

  /** Removes requests that are queued again from the batch that they were in. */
  #withdraw(lane: string, id: number, gone: readonly number[]): void {
    const batches = this.#batches.get(lane) ?? [];
    const left = batches.map((x) => (x.batch === id ? { ...x, ids: x.ids.filter((one) => !gone.includes(one)) } : x));
    this.#batches.set(lane, left);
    this.#running -= gone.length;
  }

  #settle(): void {
    for (const id of this.#ended) {
      const { endedMs, step } = this.#requests.get(id) as Running;
      this.#close(id, endedMs ?? 0, (endedMs ?? 0) > step.dueMs ? "late" : "done");
    }
    this.#ended.clear();
  }

  #close(id: number, endMs: number, outcome: RequestSpan["outcome"]): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    this.#requests.delete(id);
    const { step, startedMs, tries } = request;
    this.#onRequest({ step, startMs: step.arrivedMs, endMs, outcome, startedMs, tries });
  }
}
