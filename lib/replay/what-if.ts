// Simulation of a trace with other settings: its arrivals and cancels go to the real scheduler, on lanes whose runs
// take as long as the recorded ones. Faults are not repeated: when they would have happened is unknown. Steps of a
// recurrent state wait for the previous step, as they must.
import { Spans } from "../observe/spans.ts";
import type { BatchSpan, RequestSpan } from "../observe/spans.ts";
import type { Decision, LaneView, SchedulerEvent, Step } from "../schedule/events.ts";
import { Scheduler } from "../schedule/scheduler.ts";
import { changeLanes, changeSaved, changeStep } from "./change.ts";
import type { Change } from "./change.ts";
import { Costs } from "./costs.ts";
import type { TraceFile } from "./file.ts";

/** Requests and batches of a record or a simulation. */
export interface Played {
  readonly requests: readonly RequestSpan[];
  readonly batches: readonly BatchSpan[];
  readonly lanes: readonly string[];
  /** Duration. */
  readonly ms: number;
  /** Costs used; null for a record. */
  readonly costs: Costs | null;
}

/** Returns the requests and batches of a trace. */
export function recorded({ saved, told, startMs, endMs }: TraceFile): Played {
  const requests: RequestSpan[] = [];
  const batches: BatchSpan[] = [];
  const spans = new Spans(saved, startMs, {
    batch: (span) => void batches.push(span),
    request: (span) => void requests.push(span),
  });
  for (const { event, now, decisions } of told) spans.note(event, now, decisions);
  spans.finish(endMs);
  const lanes = (told[0]?.lanes ?? []).map(({ id }) => id);
  return { requests, batches, lanes, ms: endMs - startMs, costs: null };
}

/** Simulates the same arrivals with other settings. */
export function whatIf(trace: TraceFile, happened: Played, change: Change): Played {
  return new Play(trace, happened, change).run();
}

type Lane = Omit<LaneView, "isOpen" | "held"> & {
  isOpen: boolean;
  held: Map<number, { readonly states: Map<number, number> }>;
};

interface Running {
  readonly batch: number;
  steps: readonly Step[];
  readonly route: Step["routes"][0];
  /** When it ends and which duration it reports; null until it begins. */
  readonly recordedEnd: { readonly atMs: number; readonly ms: number | null } | null;
  endMs: number;
  ranMs: number | null;
}

/** Limit on a simulation after the last arrival. */
const AFTER_MS = 600_000;

class Play {
  readonly #trace: TraceFile;
  readonly #scheduler: Scheduler;
  readonly #spans: Spans;
  readonly #costs: Costs;
  readonly #lanes: Lane[];
  readonly #running: Map<string, Running[]> = new Map();
  readonly #steps: Map<number, Step> = new Map();
  readonly #coming: { readonly atMs: number; readonly act: () => void }[];
  /** Pending ends of warm-up loads. */
  #later: { readonly atMs: number; readonly act: () => void }[] = [];
  readonly #requests: RequestSpan[] = [];
  readonly #batches: BatchSpan[] = [];
  /** By state: the mark that each step leaves, and the steps that wait for the previous one. */
  readonly #marks: Map<number, number> = new Map();
  readonly #pending: Map<number, Step[]> = new Map();
  readonly #busyStates: Set<number> = new Set();
  #now: number;
  #isDirty = true;

  constructor(trace: TraceFile, happened: Played, change: Change) {
    const seen = trace.told[0]?.lanes;
    if (seen === undefined) throw new TypeError("the record has no events");
    this.#trace = trace;
    this.#now = trace.startMs;
    this.#lanes = changeLanes(seen, change).map(({ held, ...lane }) => ({
      ...lane,
      held: new Map([...held].map(([modelId, { states }]) => [modelId, { states: new Map(states) }])),
    }));
    const saved = changeSaved(trace.saved, this.#lanes, change);
    this.#scheduler = Scheduler.restore(saved);
    this.#costs = new Costs(trace);
    this.#spans = new Spans(saved, trace.startMs, {
      batch: (span) => void this.#batches.push(span),
      request: (span) => void this.#requests.push(span),
    });
    for (const { steps } of saved.queue.groups) for (const [step] of steps) this.#steps.set(step.id, step);
    for (const [lane, batches] of saved.batches)
      this.#running.set(
        lane,
        batches.map(({ id, route, ms, startMs }) => {
          const end = trace.told.find(({ event: x }) => x.type === "ended" && x.lane === lane && x.batch === id);
          const told = end?.event.type === "ended" ? end.event.ms : ms;
          const recordedEnd = { atMs: Math.max(trace.startMs, end?.now ?? startMs + ms), ms: told };
          return { batch: id, steps: [], route, recordedEnd, endMs: recordedEnd.atMs, ranMs: told };
        }),
      );
    this.#coming = this.#arrivals(happened, change);
  }

  run(): Played {
    const { startMs, endMs } = this.#trace;
    let next = 0;
    for (;;) {
      const ends = [...this.#running].map(([lane, [first]]) => ({ lane, atMs: first?.endMs ?? Infinity }));
      const end = ends.reduce((a, b) => (b.atMs < a.atMs ? b : a), { lane: "", atMs: Infinity });
      const later = this.#later.reduce((a, b) => (b.atMs < a.atMs ? b : a), { atMs: Infinity, act: () => undefined });
      const coming = this.#coming[next];
      const wakeMs = this.#isDirty ? this.#now : this.#scheduler.wakeMs;
      const atMs = Math.min(end.atMs, later.atMs, coming?.atMs ?? Infinity, wakeMs);
      if (atMs === Infinity || atMs > endMs + AFTER_MS) break;
      this.#now = Math.max(this.#now, atMs);
      if (coming?.atMs === atMs) {
        next += 1;
        coming.act();
      } else if (later.atMs === atMs) {
        this.#later = this.#later.filter((x) => x !== later);
        later.act();
      } else if (end.atMs === atMs) this.#end(end.lane);
      else {
        this.#isDirty = false;
        this.#tell({ type: "tick" });
        continue;
      }
      this.#isDirty = true;
    }
    this.#spans.finish(this.#now);
    const lanes = this.#lanes.map(({ id }) => id);
    return { requests: this.#requests, batches: this.#batches, lanes, ms: this.#now - startMs, costs: this.#costs };
  }

  /** External events in order: requests, and cancels of those that their callers gave up. */
  #arrivals(happened: Played, change: Change): { readonly atMs: number; readonly act: () => void }[] {
    const coming: { atMs: number; act: () => void }[] = [];
    const last = new Map<number, Step>();
    for (const { event, now } of this.#trace.told) {
      if (event.type !== "arrived" || event.isAgain) continue;
      const step = changeStep(event.step, change);
      if (step.state !== undefined) {
        const before = last.get(step.state.id);
        if (before !== undefined) this.#marks.set(before.id, step.state.after);
        last.set(step.state.id, step);
      }
      coming.push({
        atMs: now,
        act: () => {
          this.#come(step);
        },
      });
    }
    for (const { outcome, step, endMs } of happened.requests)
      if (outcome === "cancelled")
        coming.push({
          atMs: endMs,
          act: () => {
            this.#tell({ type: "cancelled", id: step.id });
          },
        });
    return coming.sort((a, b) => a.atMs - b.atMs);
  }

  #come(step: Step): void {
    const { state } = step;
    if (state !== undefined && this.#busyStates.has(state.id)) {
      const pending = this.#pending.get(state.id) ?? [];
      this.#pending.set(state.id, [...pending, step]);
      return;
    }
    if (state !== undefined) this.#busyStates.add(state.id);
    this.#steps.set(step.id, step);
    this.#tell({ type: "arrived", step, isAgain: false });
  }

  #tell(event: SchedulerEvent): void {
    const decisions = this.#scheduler.handle(event, this.#now, this.#lanes);
    this.#spans.note(event, this.#now, decisions);
    for (const decision of decisions) this.#act(decision);
  }

  #act(decision: Decision): void {
    if (decision.type === "reject") {
      this.#settled(decision.id);
      return;
    }
    if (decision.type === "withdraw") {
      const batch = this.#running.get(decision.lane)?.find((x) => x.batch === decision.batch);
      if (batch !== undefined) batch.steps = batch.steps.filter(({ id }) => !decision.ids.includes(id));
      return;
    }
    const lane = this.#lanes.find(({ id }) => id === decision.lane) as Lane;
    if (decision.type === "start") this.#start(decision, lane);
    else if (decision.type === "end") this.#kill(lane);
    else {
      lane.isOpen = false;
      const { modelId } = decision.route;
      const ms = this.#costs.load(modelId);
      this.#later.push({
        atMs: this.#now + ms,
        act: () => {
          lane.isOpen = true;
          lane.held.set(modelId, { states: new Map() });
          this.#tell({ type: "loaded", modelId, ms, lane: lane.id });
        },
      });
    }
  }

  #start({ batch, route, ids }: Decision & { readonly type: "start" }, lane: Lane): void {
    const running = this.#running.get(lane.id) ?? [];
    this.#running.set(lane.id, running);
    const steps = ids.flatMap((id) => this.#steps.get(id) ?? []);
    running.push({ batch, steps, route, recordedEnd: null, endMs: Infinity, ranMs: null });
    if (running.length === 1) this.#begin(lane);
  }

  #begin(lane: Lane): void {
    const first = this.#running.get(lane.id)?.[0];
    if (first === undefined) return;
    if (first.recordedEnd !== null) {
      first.endMs = Math.max(this.#now, first.recordedEnd.atMs);
      return;
    }
    const { route, steps } = first;
    let loadMs = 0;
    if (!lane.held.has(route.modelId)) {
      loadMs = this.#costs.load(route.modelId);
      lane.held.set(route.modelId, { states: new Map() });
      this.#later.push({
        atMs: this.#now + loadMs,
        act: () => {
          this.#tell({ type: "loaded", modelId: route.modelId, ms: loadMs, lane: lane.id });
        },
      });
    }
    const rows = steps.reduce((sum, step) => sum + step.rows, 0);
    const { laneMs, ranMs } = this.#costs.next(route, lane.kind, Math.max(1, rows));
    first.endMs = this.#now + loadMs + laneMs;
    first.ranMs = ranMs;
  }

  #end(laneId: string): void {
    const running = this.#running.get(laneId) as Running[];
    const { batch, steps, ranMs, route } = running.shift() as Running;
    const lane = this.#lanes.find(({ id }) => id === laneId) as Lane;
    for (const { id, state } of steps)
      if (state !== undefined) lane.held.get(route.modelId)?.states.set(state.id, this.#marks.get(id) ?? -id);
    this.#tell({ type: "ended", lane: laneId, batch, ms: ranMs });
    for (const { id } of steps) this.#settled(id);
    this.#begin(lane);
  }

  /** Ends a lane's worker: its running batch is discarded, staged requests are queued again. */
  #kill(lane: Lane): void {
    const running = this.#running.get(lane.id) ?? [];
    this.#running.set(lane.id, []);
    lane.held.clear();
    for (const [i, { batch, steps }] of running.entries()) {
      this.#tell({ type: "ended", lane: lane.id, batch, ms: null });
      for (const step of steps)
        if (i > 0) this.#tell({ type: "arrived", step, isAgain: true });
        else this.#settled(step.id);
    }
  }

  /** Releases the next step of a state. */
  #settled(id: number): void {
    const state = this.#steps.get(id)?.state;
    this.#steps.delete(id);
    if (state === undefined) return;
    this.#busyStates.delete(state.id);
    const [next, ...rest] = this.#pending.get(state.id) ?? [];
    this.#pending.set(state.id, rest);
    if (next !== undefined) this.#come(next);
  }
}
