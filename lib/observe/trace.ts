// A trace: one file in the Chrome trace-event format that Perfetto and chrome://tracing open, and that serves as a bug
// report. The visible part (a row per lane, a bar per request, the queue depth) is derived from the scheduler's events
// and decisions. These are stored under `selvedge`, so that `selvedge replay` can repeat the decisions. Holds no inputs
// unless they were requested.
//
// The format: "Trace Event Format", Google, 2016: X complete, b/n/e nestable async, C counter, i instant, M metadata;
// times in µs.
import type { Decision, LaneView, SchedulerEvent } from "../schedule/events.ts";
import type { SavedScheduler } from "../schedule/scheduler.ts";
import { Spans } from "./spans.ts";
import type { BatchSpan, RequestSpan } from "./spans.ts";
import { write } from "./trace-json.ts";
import type { Json } from "./trace-json.ts";

/** One event of the Chrome trace-event format; times in µs from the start of the record. */
export interface TraceEvent {
  /** Label. */
  readonly name: string;
  /** Phase: the event's type in the format. */
  readonly ph: "X" | "b" | "n" | "e" | "C" | "i" | "M";
  /** The category. */
  readonly cat?: string;
  /** Time stamp. */
  readonly ts: number;
  /** Duration of an X event. */
  readonly dur?: number;
  /** The process: 1 is the engine. */
  readonly pid: number;
  /** The row: 1 and up are lanes. */
  readonly tid: number;
  /** Id that b, n and e events of one span share. */
  readonly id?: string;
  /** Scope of an instant. */
  readonly s?: "t" | "p";
  /** Details, shown when the event is selected. */
  readonly args?: Readonly<Record<string, Json>>;
}

/** A trace; `JSON.stringify` makes the file. */
export interface Trace {
  /** Events that Perfetto and chrome://tracing show. */
  readonly traceEvents: readonly TraceEvent[];
  /** Display unit. */
  readonly displayTimeUnit: "ms";
  /** The part that `selvedge replay` reads. */
  readonly selvedge: Written;
}

/** Data of a replay in serialised form. */
export interface Written {
  /** Schema version of this part. */
  readonly schema: "selvedge/trace@3";
  /** Start and end of the record, in ms of the engine's clock. */
  readonly startMs: number;
  /** See `startMs`. */
  readonly endMs: number;
  /** Whether the record was cut because it had become too long. */
  readonly isCut: boolean;
  /** The device, the models by the ids that lanes use, and the engine's counters. */
  readonly about: Json;
  /** State of the scheduler at the start, with its settings and estimates. */
  readonly saved: Json;
  /** Distinct views of the lanes. */
  readonly lanes: Json;
  /** Each event: its time, the event, an index into `lanes`, and the decisions. */
  readonly told: Json;
}

/** An event of the scheduler with its decisions. */
export interface RecordedEvent {
  readonly now: number;
  readonly event: SchedulerEvent;
  readonly lanes: readonly LaneView[];
  readonly decisions: readonly Decision[];
}

/** Events recorded between two times. */
export interface Recording {
  readonly saved: SavedScheduler;
  readonly startMs: number;
  readonly endMs: number;
  readonly isCut: boolean;
  readonly told: readonly RecordedEvent[];
  /** Inputs of requests by id, if they were requested. */
  readonly inputs: ReadonlyMap<number, Json>;
}

/** Metadata of a trace. */
export interface About {
  readonly device: unknown;
  readonly models: ReadonlyMap<number, { readonly name: string; readonly variant: string }>;
  readonly stats: unknown;
  /** Milliseconds since 1970 at the end. */
  readonly wallClock: number;
}

const PID = 1;
const REQUESTS = 0;
const PRIORITIES = ["interactive", "normal", "background"];

/** Makes a trace of a recording. */
export function toTrace(recording: Recording, about: About): Trace {
  const { saved, startMs, endMs, isCut, told, inputs } = recording;
  const events = new Events(startMs, about);
  const lanes = [...new Set([...saved.batches.keys(), ...told.flatMap((x) => x.lanes.map(({ id }) => id))])];
  events.name("process_name", REQUESTS, "Selvedge");
  events.name("thread_name", REQUESTS, "loads");
  for (const [i, lane] of lanes.entries()) events.name("thread_name", i + 1, lane);
  const spans = new Spans(saved, startMs, {
    batch: (span) => {
      events.batch(span, lanes.indexOf(span.lane) + 1);
    },
    request: (span) => {
      events.request(span, inputs.get(span.step.id));
    },
  });
  events.depth(startMs, spans.depth);
  for (const { now, event, decisions } of told) {
    const before = spans.depth;
    spans.note(event, now, decisions);
    const { depth } = spans;
    if (before.waiting !== depth.waiting || before.running !== depth.running) events.depth(now, depth);
    if (event.type === "loaded") events.load(event.modelId, now, event.ms);
    for (const decision of decisions)
      if (decision.type === "warm" || decision.type === "end")
        events.instant(decision.type, lanes.indexOf(decision.lane) + 1, now);
  }
  spans.finish(endMs);
  const [seen, at] = distinct(told.map((x) => x.lanes));
  return {
    traceEvents: events.all,
    displayTimeUnit: "ms",
    selvedge: {
      schema: "selvedge/trace@3",
      startMs,
      endMs,
      isCut,
      about: write(about),
      saved: write(saved),
      lanes: seen,
      told: told.map(({ now, event, decisions }, i) => [now, write(event), at[i] as number, write(decisions)]),
    },
  };
}

/** Deduplicates the views of the lanes; returns the index of each event's view. */
function distinct(views: readonly (readonly LaneView[])[]): [seen: Json[], at: number[]] {
  const seen: Json[] = [];
  const known = new Map<readonly LaneView[], number>();
  const at = views.map((lanes) => {
    const index = known.get(lanes) ?? seen.push(write(lanes)) - 1;
    known.set(lanes, index);
    return index;
  });
  return [seen, at];
}

/** Collects events, with times in µs from the start. */
class Events {
  readonly all: TraceEvent[] = [];
  readonly #startMs: number;
  readonly #about: About;

  constructor(startMs: number, about: About) {
    this.#startMs = startMs;
    this.#about = about;
  }

  name(name: string, tid: number, text: string): void {
    this.all.push({ name, ph: "M", ts: 0, pid: PID, tid, args: { name: text } });
    if (name === "thread_name")
      this.all.push({ name: "thread_sort_index", ph: "M", ts: 0, pid: PID, tid, args: { sort_index: tid } });
  }

  batch(span: BatchSpan, tid: number): void {
    const { route, ids, startMs, endMs, expectedMs, ranMs, state, why, batch } = span;
    const name = `${this.#nameOf(route.modelId)}${ids.length > 1 ? ` ×${ids.length}` : ""}`;
    const [ts, dur] = [this.#us(startMs), this.#us(endMs) - this.#us(startMs)];
    const args = { batch, requests: ids, expectedMs, ranMs, state, key: route.key, why: write(why) };
    this.all.push({ name, ph: "X", cat: `batch,${state}`, ts, dur, pid: PID, tid, args });
  }

  request({ step, startMs, endMs, outcome, startedMs, tries }: RequestSpan, inputs: Json | undefined): void {
    const priority = PRIORITIES[step.priority] ?? "";
    const name = `${this.#nameOf(step.routes[0].modelId)} (${priority})`;
    const own = { name, cat: "request", pid: PID, tid: REQUESTS, id: String(step.id) } as const;
    const { dueMs, rows, caller, arrivedMs } = step;
    const deadlineMs = dueMs === Infinity ? null : dueMs - arrivedMs;
    const args = { priority, deadlineMs, rows, caller, ...(inputs === undefined ? {} : { inputs }) };
    this.all.push({ ...own, ph: "b", ts: this.#us(startMs), args });
    if (startedMs !== null) this.all.push({ ...own, name: "started", ph: "n", ts: this.#us(startedMs) });
    this.all.push({ ...own, ph: "e", ts: this.#us(Math.max(startMs, endMs)), args: { outcome, tries } });
  }

  depth(nowMs: number, { waiting, running }: { readonly waiting: number; readonly running: number }): void {
    this.all.push({
      name: "requests",
      ph: "C",
      ts: this.#us(nowMs),
      pid: PID,
      tid: REQUESTS,
      args: { waiting, running },
    });
  }

  load(modelId: number, nowMs: number, ms: number): void {
    const [ts, dur] = [this.#us(nowMs - ms), 1_000 * Math.min(ms, nowMs - this.#startMs)];
    const name = `load ${this.#nameOf(modelId)}`;
    this.all.push({ name, ph: "X", cat: "load", ts, dur: Math.max(0, dur), pid: PID, tid: REQUESTS, args: { ms } });
  }

  instant(name: string, tid: number, nowMs: number): void {
    this.all.push({ name, ph: "i", s: "t", ts: this.#us(nowMs), pid: PID, tid });
  }

  /** Times before the start are clamped to it. */
  #us(ms: number): number {
    return Math.max(0, Math.round(1e6 * (ms - this.#startMs)) / 1e3);
  }

  #nameOf(modelId: number): string {
    return this.#about.models.get(modelId)?.name ?? `model ${modelId}`;
  }
}
