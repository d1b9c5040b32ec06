// Who runs next, where, and with whom: events in, decisions out, and no clock, timer or worker of its own. The same events
// give the same decisions, so a trace of them is all that a bug report needs. dispatcher.ts is its hands.
//
// A step goes to the lane on which it is expected to be through first, busy lanes included: a slow lane, or one that must
// load the model first, gets work only where that is sooner. Each lane holds one batch and at most one more, staged, so
// that it goes on while the page is busy with other things. A deadline that can't be met by the estimate is refused at
// once; where nothing is known yet, it is accepted. Nothing inside a run can be interrupted: so while short deadlines are
// live, what takes long is not staged, batches stay short, and a lane is kept for what is short: the express lane, one
// more than there are cores, or one of the others where there is none or where it was measured to be too slow.
import type { Estimate } from "./estimate.ts";
import type { Decision, Event, LaneView, Place, StatePlace, Step } from "./protocol.ts";
import { Queue } from "./queue.ts";
import type { Flow, Waiting } from "./queue.ts";

/** What a scheduler is told once. */
export interface Settings {
  /** A request that was not served for so long counts as one priority higher. */
  readonly ageingMs: number;
  /** How many steps may wait. */
  readonly maxSize: number;
}

/** Gets each event with what came of it. */
export type Record = (event: Event, now: number, lanes: readonly LaneView[], decisions: readonly Decision[]) => void;

interface Batch {
  readonly id: number;
  readonly place: Place;
  readonly key: string;
  readonly rows: number;
  /** What it is expected to take. */
  readonly ms: number;
  /** When it began, or will once the batch before it is through. */
  startMs: number;
  /** Those that somebody still waits for. */
  readonly ids: Set<number>;
  /** Whether all of them allow that the lane is ended for them. */
  readonly preempt: boolean;
}

/** Where a step could run, and when it would be through. */
interface Chance {
  readonly lane: LaneView;
  readonly place: Place;
  readonly key: string;
  /** When the lane could begin with it. */
  readonly startMs: number;
  /** What the step takes there, without loading its model. */
  readonly ms: number;
  readonly endMs: number;
  /** Whether the model must be loaded first. */
  readonly isCold: boolean;
  /** What the lane has: nothing, one batch, or one and a staged one. */
  readonly batches: readonly Batch[];
}

/** What an unknown model is taken to cost, and an unknown load: so that the third request at once opens a second lane. */
const UNKNOWN_MS = 250;
const LOAD_MS = 300;
/** A model that was not run for so long is tried rather than refused: its estimate may be a thing of the past. */
const STALE_MS = 1_000;
/** Short deadlines count as live for so many times their length, and at least so long. */
const LIVE_TIMES = 20;
const LIVE_MS = 2_000;
/** While short deadlines are live: which part of the shortest a run may take, and what is ahead on a lane at all. */
const RUN_PART = 0.4;
const STAGED_PART = 0.8;
/** A batch that could still grow is staged only so long before its lane is free. */
const STAGE_MS = 5;
/** A lane is not told again to load a model for so long: it may not be able to. */
const WARM_MS = 10_000;
const EXPRESS = " express";

/** Decides. */
export class Scheduler {
  /** When time alone will change something; Infinity where it will not. */
  wakeMs: number = Infinity;
  /** Called with each event, for a trace. */
  onEvent: Record | null = null;
  readonly #settings: Settings;
  readonly #estimate: Estimate;
  readonly #queue: Queue;
  /** What each lane runs, and what is staged there. */
  readonly #batches: Map<string, Batch[]> = new Map();
  /** When each model was started last, by its key. */
  readonly #startedMs: Map<string, number> = new Map();
  /** For how long work of a model waited beside a lane that idles without it, and which do now. */
  readonly #wasted: Map<number, number> = new Map();
  #wasting: Set<number> = new Set();
  #tickMs = 0;
  #nextBatch = 1;
  #shortestMs = Infinity;
  #shortUntilMs = 0;
  #shortKey = "";

  constructor(settings: Settings, estimate: Estimate) {
    this.#settings = settings;
    this.#estimate = estimate;
    this.#queue = new Queue(settings.ageingMs);
  }

  /** Counts the steps that wait. */
  get queued(): number {
    return this.#queue.size;
  }

  /** Tells whether a step waits. */
  waits(id: number): boolean {
    return this.#queue.get(id) !== undefined;
  }

  /** Takes an event in and gives what is to be done. Steps that arrive start at the next tick, so that they can join. */
  handle(event: Event, now: number, lanes: readonly LaneView[]): Decision[] {
    const out: Decision[] = [];
    if (event.type === "arrived") this.#arrive(event.step, event.isAgain, now, lanes, out);
    else if (event.type === "cancelled") this.#cancel(event.id, now, out);
    else if (event.type === "ended") this.#end(event.lane, event.batch, event.ms, now);
    else if (event.type === "loaded") this.#estimate.learn(loadOf(event.key), 1, event.ms);
    else this.#tick(now, lanes, out);
    this.onEvent?.(event, now, lanes, out);
    return out;
  }

  #arrive(step: Step, isAgain: boolean, now: number, lanes: readonly LaneView[], out: Decision[]): void {
    const { id, places, dueMs, arrivedMs, rows, isRefusable } = step;
    if (!isAgain && this.#queue.size >= this.#settings.maxSize) {
      out.push({ type: "reject", id, code: "overloaded", expected: this.#queue.size });
      return;
    }
    const lengthMs = dueMs - arrivedMs;
    if (lengthMs < Infinity && (now > this.#shortUntilMs || lengthMs <= this.#shortestMs)) {
      this.#shortestMs = lengthMs;
      this.#shortKey = places[0].key;
      this.#shortUntilMs = now + Math.max(LIVE_MS, LIVE_TIMES * lengthMs);
    }
    if (isRefusable && !isAgain) {
      const endMs = this.#endOf(step, now, lanes, out);
      if (endMs > dueMs) {
        out.push({ type: "reject", id, code: "deadline-exceeded", expected: endMs - now });
        return;
      }
    }
    const { key } = places[0];
    const size = step.shape === null ? rows : this.#estimate.rows(key, step.batching.maxBatchSize);
    const costMs = ((this.#estimate.ms(key, size) ?? 0) / size) * rows;
    this.#queue.add(step, costMs, now);
  }

  #cancel(id: number, now: number, out: Decision[]): void {
    const waiting = this.#queue.get(id);
    if (waiting !== undefined) this.#queue.remove(waiting);
    for (const [lane, [running]] of this.#batches) {
      if (running?.ids.delete(id) !== true || running.ids.size > 0 || !running.preempt || this.#queue.size === 0)
        continue;
      const leftMs = this.#endOfBatch(running, now) - now;
      if (leftMs > this.#loadMs(running.place)) out.push({ type: "end", lane });
    }
  }

  #end(lane: string, id: number, ms: number | null, now: number): void {
    const batches = this.#batches.get(lane) ?? [];
    const at = batches.findIndex((batch) => batch.id === id);
    const [batch] = at < 0 ? [] : batches.splice(at, 1);
    if (batch !== undefined && ms !== null) this.#estimate.learn(batch.key, batch.rows, ms);
    const [next] = batches;
    if (at === 0 && next !== undefined) next.startMs = now;
  }

  #tick(now: number, lanes: readonly LaneView[], out: Decision[]): void {
    this.wakeMs = Infinity;
    this.#dropLate(now, out);
    const wasting = new Set<number>();
    const passed = new Set<Flow>();
    for (let step = this.#queue.next(now, passed); step !== undefined; step = this.#queue.next(now, passed)) {
      const chances = this.#chances(step, now, lanes);
      const chance = this.#choose(step, chances, now, out);
      if (chance === undefined || (chance.startMs > now && !chance.isCold))
        this.#noteWaste(step, chances, wasting, now, out);
      if (chance === undefined) passed.add(step.flow);
      else if (this.#waitsForMore(step, chance, now)) passed.add(step.flow);
      else this.#start(step, chance, chances, now, out);
    }
    this.#wasting = wasting;
    this.#tickMs = now;
    for (const { isRefusable, dueMs } of this.#queue.due()) if (isRefusable) this.wakeMs = Math.min(this.wakeMs, dueMs);
  }

  /** What is late, or would be if it began now, is dropped; where it is to be finished late, it no longer hurries. */
  #dropLate(now: number, out: Decision[]): void {
    for (let found = true; found;) {
      found = false;
      for (const step of this.#queue.due()) {
        const endMs = step.isRefusable ? now + this.#soonestMs(step, now) : now;
        if (endMs <= step.dueMs && now < step.dueMs) continue;
        found = true;
        this.#queue.remove(step);
        if (step.isRefusable)
          out.push({ type: "reject", id: step.id, code: "deadline-exceeded", expected: endMs - now });
        else this.#queue.add({ ...step, dueMs: Infinity }, step.cost / 1_000, now);
      }
    }
  }

  /** Gives every lane on which a step may run. */
  #chances(step: Step, now: number, lanes: readonly LaneView[]): Chance[] {
    const { places, rows, state, concurrency } = step;
    const placeOn = ({ backend }: LaneView): Place | undefined => places.find((place) => place.backend === backend);
    const home = state && lanes.find((lane) => isHome(lane, placeOn(lane), state));
    let found: Chance[] = [];
    let used = 0;
    for (const lane of lanes) {
      const place = placeOn(lane);
      if (place === undefined || !lane.isOpen || (home !== undefined && lane !== home)) continue;
      const batches = this.#batches.get(lane.id) ?? [];
      if (batches.some((batch) => batch.place.modelId === place.modelId)) used += 1;
      const key = lane.isExpress ? place.key + EXPRESS : place.key;
      const ms = this.#estimate.ms(key, rows) ?? this.#estimate.ms(place.key, rows) ?? UNKNOWN_MS;
      const isCold = !lane.held.has(place.modelId);
      const startMs = batches.reduce((ms, batch) => this.#endOfBatch(batch, ms), now);
      const endMs = startMs + (isCold ? this.#loadMs(place) : 0) + ms;
      found.push({ lane, place, key, startMs, ms, endMs, isCold, batches });
    }
    if (used >= concurrency)
      found = found.filter(({ batches, place }) => batches.some((batch) => batch.place.modelId === place.modelId));
    if (state === undefined || home !== undefined) return found;
    // A state that must be rebuilt anyway goes where the fewest others are.
    found = found.filter(({ lane, batches }) => batches.length === 0 && !lane.isExpress);
    const fewest = Math.min(...found.map(({ lane }) => countStates(lane)));
    return found.filter(({ lane }) => countStates(lane) === fewest);
  }

  /** Picks the lane where a step is through first; undefined where it is to wait. */
  #choose(step: Waiting, chances: readonly Chance[], now: number, out: Decision[]): Chance | undefined {
    let best = soonest(chances.filter(({ lane }) => !lane.isExpress));
    if (best !== undefined && best.batches.length > 1) {
      // The lane is full. The last of those that wait for it may be through sooner on a slower one.
      const lastMs = best.endMs + (step.flow.steps.size - 1) * best.ms;
      best = soonest(chances.filter((x) => !x.lane.isExpress && x.batches.length < 2 && x.endMs < lastMs));
    }
    const express = this.#express(step, chances, best?.endMs ?? Infinity, now, out);
    if (express?.isCold === false && express.batches.length < 2) return express;
    return best !== undefined && this.#mayTake(step, best, chances, now) ? best : undefined;
  }

  /** Gives the express lane where a step is short enough for it and would be late elsewhere; starts it where it is off. */
  #express(step: Step, chances: readonly Chance[], elseMs: number, now: number, out: Decision[]): Chance | undefined {
    if (elseMs <= step.dueMs || step.dueMs === Infinity) return undefined;
    const express = chances.find(
      ({ lane, ms, endMs }) => lane.isExpress && ms <= this.#shortestMs / 2 && endMs < elseMs,
    );
    if (express?.isCold === true) this.#warm(step, express, now, out);
    return express;
  }

  #warm({ id }: Step, { lane, place }: Chance, now: number, out: Decision[]): void {
    const key = `${lane.id} ${place.key}`;
    if (now - (this.#startedMs.get(key) ?? -Infinity) < WARM_MS) return;
    this.#startedMs.set(key, now);
    out.push({ type: "warm", lane: lane.id, id, place });
  }

  /** Tells whether what is urgent leaves room for a step on a lane. */
  #mayTake(
    { dueMs, arrivedMs }: Step,
    { lane, ms, endMs, batches }: Chance,
    all: readonly Chance[],
    now: number,
  ): boolean {
    const shortestMs = now < this.#shortUntilMs ? this.#shortestMs : Infinity;
    if (dueMs - arrivedMs <= shortestMs) return true;
    if (batches.length > 0 && endMs - now > STAGED_PART * shortestMs) return false;
    const isLong = (x: number): boolean => x > shortestMs / 2;
    if (!isLong(ms)) return true;
    const alike = all.filter((x) => x.lane.backend === lane.backend);
    if (alike.some((x) => x.lane.isExpress && !isLong(this.#estimate.ms(this.#shortKey + EXPRESS, 1) ?? 0)))
      return true;
    const isTaken = (x: Chance): boolean => x.batches.some((batch) => isLong(batch.ms));
    return alike.length < 2 || alike.filter((x) => isTaken(x) || x.lane === lane).length < alike.length;
  }

  /** Tells whether a step is to wait for others: on a free lane as long as the model allows, on a busy one till it is nearly free. */
  #waitsForMore({ peers, rows, batching, arrivedMs, dueMs }: Waiting, chance: Chance, now: number): boolean {
    const untilMs = chance.batches.length > 0 ? chance.startMs - STAGE_MS : arrivedMs + batching.maxQueueDelayMs;
    if (peers === null || untilMs <= now) return false;
    const wanted = this.#estimate.rows(chance.key, batching.maxBatchSize);
    const ms = this.#estimate.ms(chance.key, wanted) ?? UNKNOWN_MS;
    if (peers.size * rows >= wanted || untilMs + ms > dueMs) return false;
    this.wakeMs = Math.min(this.wakeMs, untilMs);
    return true;
  }

  #start(step: Waiting, chance: Chance, chances: readonly Chance[], now: number, out: Decision[]): void {
    const { lane, place, key, startMs, isCold } = chance;
    const wanted = this.#wantedRows(step, chance, chances, now);
    const steps = [step];
    let { rows, dueMs } = step;
    let ms = chance.ms;
    this.#queue.serve(step, ms, now);
    for (let next = step.peers?.first(); next !== undefined && rows + next.rows <= wanted; next = step.peers?.first()) {
      const withNext = this.#estimate.ms(key, rows + next.rows) ?? UNKNOWN_MS;
      dueMs = Math.min(dueMs, next.dueMs);
      if (chance.endMs - chance.ms + withNext > dueMs) break;
      this.#queue.serve(next, withNext - ms, now);
      rows += next.rows;
      ms = withNext;
      steps.push(next);
    }
    const ids = steps.map(({ id }) => id);
    const allMs = ms + (isCold ? this.#loadMs(place) : 0);
    const batch = {
      id: this.#nextBatch++,
      place,
      key,
      rows,
      ms: allMs,
      startMs,
      ids: new Set(ids),
      preempt: steps.every((x) => x.preempt),
    };
    this.#batches.set(lane.id, [...chance.batches, batch]);
    this.#startedMs.set(place.key, now);
    out.push({ type: "start", batch: batch.id, lane: lane.id, place, ids, ms: allMs });
  }

  /** How many rows are to run together: what is cheapest a row, shared among the lanes that idle, and soon enough. */
  #wantedRows(
    { peers, rows, dueMs, batching }: Waiting,
    chance: Chance,
    chances: readonly Chance[],
    now: number,
  ): number {
    if (peers === null) return rows;
    const { maxBatchSize, preferredBatchSizes } = batching;
    const idle = chances.filter(({ lane, isCold, batches }) => !lane.isExpress && !isCold && batches.length === 0);
    const share = Math.ceil((peers.size * rows) / Math.max(1, idle.length));
    let wanted = this.#estimate.rows(chance.key, Math.min(share, maxBatchSize));
    wanted = Math.max(0, ...preferredBatchSizes.filter((size) => size <= wanted)) || wanted;
    const mostMs = Math.min(
      dueMs - chance.endMs + chance.ms,
      now < this.#shortUntilMs ? RUN_PART * this.#shortestMs : Infinity,
    );
    while (wanted > rows && (this.#estimate.ms(chance.key, wanted) ?? UNKNOWN_MS) > mostMs)
      wanted = Math.floor(wanted / 2);
    return wanted;
  }

  /** Gives when a step that arrives would be through: what is more urgent spread over the lanes, then itself. */
  #endOf(step: Step, now: number, lanes: readonly LaneView[], out: Decision[]): number {
    const { key } = step.places[0];
    const isStale = now - (this.#startedMs.get(key) ?? -Infinity) > STALE_MS;
    if (isStale || this.#estimate.ms(key, 1) === undefined) return now;
    const chances = this.#chances(step, now, lanes);
    const usual = chances.filter(({ lane }) => !lane.isExpress).sort((a, b) => a.startMs - b.startMs);
    const free = soonest(usual.filter(({ batches }) => batches.length === 0));
    if (free !== undefined && free.endMs <= step.dueMs) return free.endMs;
    const express = this.#express(step, chances, soonest(usual)?.endMs ?? Infinity, now, out);
    const inLineMs = express && express.endMs + this.#queue.flowSize(step) * express.ms;
    if (usual.length === 0 || (inLineMs !== undefined && inLineMs <= step.dueMs)) return inLineMs ?? now;
    const rows = this.#estimate.rows(key, Math.min(step.batching.maxBatchSize, this.#queue.flowSize(step) + 1));
    const ownMs = this.#estimate.ms(key, Math.max(step.rows, rows)) ?? 0;
    // Lanes fill up like vessels: those that are free first take what is ahead until the next is free as well.
    let aheadMs = this.#queue.aheadMs(step);
    for (const [i, { startMs }] of usual.entries()) {
      const roomMs = ((usual[i + 1]?.startMs ?? Infinity) - startMs) * (i + 1);
      if (aheadMs <= roomMs) return startMs + aheadMs / (i + 1) + ownMs;
      aheadMs -= roomMs;
    }
    return now;
  }

  /** Loads a model onto a lane that idles once its work has waited beside it for as long as that takes. */
  #noteWaste(step: Step, chances: readonly Chance[], wasting: Set<number>, now: number, out: Decision[]): void {
    const cold = chances.find(({ lane, isCold, batches }) => isCold && batches.length === 0 && !lane.isExpress);
    const { modelId } = step.places[0];
    if (cold === undefined || wasting.has(modelId)) return;
    wasting.add(modelId);
    if (!this.#wasting.has(modelId)) return;
    const wastedMs = (this.#wasted.get(modelId) ?? 0) + now - this.#tickMs;
    const isEnough = wastedMs > this.#loadMs(cold.place);
    this.#wasted.set(modelId, isEnough ? 0 : wastedMs);
    if (isEnough) this.#warm(step, cold, now, out);
  }

  /** When a batch is through that begins at `fromMs` at the earliest; one that is overdue takes as long again, in part. */
  #endOfBatch({ startMs, ms }: Batch, fromMs: number): number {
    const beganMs = Math.min(startMs, fromMs);
    return Math.max(beganMs + ms, fromMs + (fromMs - beganMs) / 4);
  }

  #loadMs({ key }: Place): number {
    return this.#estimate.ms(loadOf(key), 1) ?? LOAD_MS;
  }

  /** What a step takes at the least; 0 where nothing is known, or nothing of late. */
  #soonestMs({ places, rows }: Step, now: number): number {
    const known = places.map(({ key }) =>
      now - (this.#startedMs.get(key) ?? -Infinity) > STALE_MS ? 0 : (this.#estimate.ms(key, rows) ?? 0),
    );
    return Math.min(...known);
  }
}

function loadOf(key: string): string {
  return `${key} load`;
}

function isHome({ held }: LaneView, place: Place | undefined, { id, after }: StatePlace): boolean {
  return place !== undefined && held.get(place.modelId)?.states.get(id) === after;
}

function countStates({ held }: LaneView): number {
  let count = 0;
  for (const { states } of held.values()) count += states.size;
  return count;
}

/** The lane on which it is through first; of equal ones that which has the least to do. */
function soonest(chances: readonly Chance[]): Chance | undefined {
  let best: Chance | undefined;
  for (const chance of chances)
    if (best === undefined || (chance.endMs - best.endMs || chance.batches.length - best.batches.length) < 0)
      best = chance;
  return best;
}
