// Who runs next, where, and with whom: events in, decisions out, and no clock, timer or worker of its own. The same events
// give the same decisions, so a trace of them is all that a bug report needs. dispatcher.ts is its hands.
//
// A step goes to the lane on which it is expected to be through first, busy lanes included: a slow lane, or one that must
// load the model first, gets work only where that is sooner. Each lane holds one batch and at most one more, staged, so
// that it goes on while the page is busy with other things. A deadline that can't be met by the estimate is refused at
// once; where nothing is known yet, or nothing of late, it is accepted. Nothing inside a run can be interrupted: so while
// short deadlines are live, what takes long is not staged, batches stay short, and a lane is kept for what is short: the
// express lane, one more than there are cores, or one of the others where there is none or it was measured too slow.
import { Estimate } from "./estimate.ts";
import type { Decision, Event, LaneView, Place, Step } from "./protocol.ts";
import { Queue } from "./queue.ts";
import type { Group, SavedQueue, Waiting } from "./queue.ts";
import { whyStart } from "./why.ts";

/** What a scheduler is told once. */
export interface Settings {
  /** A request that was not served for so long counts as one priority higher, in ms. */
  readonly ageingMs: number;
  /** How many steps may wait. */
  readonly maxSize: number;
}

interface Batch {
  readonly id: number;
  readonly place: Place;
  readonly key: string;
  readonly rows: number;
  /** What it is expected to take. */
  readonly ms: number;
  /** When it began, or was expected to where it is staged. */
  startMs: number;
  /** Those that somebody still waits for. */
  readonly ids: Set<number>;
  /** Whether all of them allow that the lane is ended for them. */
  readonly preempt: boolean;
}

/** A scheduler as it is written down for a trace: plain data, and Maps of it. */
export interface SavedScheduler {
  readonly settings: Settings;
  readonly estimate: string;
  readonly runs: number;
  readonly queue: SavedQueue;
  readonly batches: ReadonlyMap<string, readonly (Omit<Batch, "ids"> & { readonly ids: readonly number[] })[]>;
  readonly startedMs: ReadonlyMap<string, number>;
  readonly loadMs: ReadonlyMap<number, number>;
  readonly wastedMs: ReadonlyMap<number, number>;
  readonly nextBatch: number;
  readonly short: { readonly ms: number; readonly key: string; readonly untilMs: number };
  readonly wakeMs: number;
}

/** A lane on which a step may run, and when it would be through there. */
interface Chance {
  readonly lane: LaneView;
  readonly place: Place;
  readonly key: string;
  /** When the lane is free. */
  readonly freeMs: number;
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
/** While short deadlines are live: which part of the shortest a batch may take, and all that a lane holds. */
const BATCH_PART = 0.4;
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
  /** Called with each event and what came of it, for a trace. */
  onEvent: ((event: Event, now: number, lanes: readonly LaneView[], decisions: readonly Decision[]) => void) | null =
    null;
  readonly #settings: Settings;
  readonly #estimate: Estimate;
  readonly #queue: Queue;
  /** What each lane runs, and what is staged there. */
  readonly #batches: Map<string, Batch[]> = new Map();
  /** When a model was started last, by its key; when a lane was told to load one, by both. */
  #startedMs: Map<string, number> = new Map();
  /** What it took to load a model, the start of a worker included, by its id. */
  #loadMs: Map<number, number> = new Map();
  /** How much work of a model was staged beside a lane that idles without it, in ms. */
  #wastedMs: Map<number, number> = new Map();
  #nextBatch = 1;
  /** The shortest of the deadlines that are live, whose model that is, and until when they count as live. */
  #shortestMs = Infinity;
  #shortKey = "";
  #shortUntilMs = 0;

  constructor(settings: Settings, estimate: Estimate) {
    this.#settings = settings;
    this.#estimate = estimate;
    this.#queue = new Queue(settings.ageingMs);
  }

  /** Goes on from what `save` wrote. */
  static restore(saved: SavedScheduler): Scheduler {
    const { settings, estimate, runs, queue, batches, startedMs, loadMs, wastedMs, nextBatch, short, wakeMs } = saved;
    const scheduler = new Scheduler(settings, new Estimate(estimate, runs));
    scheduler.#queue.restore(queue);
    for (const [lane, held] of batches)
      scheduler.#batches.set(
        lane,
        held.map((batch) => ({ ...batch, ids: new Set(batch.ids) })),
      );
    scheduler.#startedMs = new Map(startedMs);
    scheduler.#loadMs = new Map(loadMs);
    scheduler.#wastedMs = new Map(wastedMs);
    scheduler.#nextBatch = nextBatch;
    [scheduler.#shortestMs, scheduler.#shortKey, scheduler.#shortUntilMs] = [short.ms, short.key, short.untilMs];
    scheduler.wakeMs = wakeMs;
    return scheduler;
  }

  /** Writes down all that it goes by: what is told from here on is decided the same way by what `restore` gives. */
  save(): SavedScheduler {
    const copyOf = (held: readonly Batch[]) => held.map((batch) => ({ ...batch, ids: [...batch.ids] }));
    return {
      settings: this.#settings,
      estimate: this.#estimate.save(Infinity),
      runs: this.#estimate.runs,
      queue: this.#queue.save(),
      batches: new Map([...this.#batches].map(([lane, held]) => [lane, copyOf(held)])),
      startedMs: new Map(this.#startedMs),
      loadMs: new Map(this.#loadMs),
      wastedMs: new Map(this.#wastedMs),
      nextBatch: this.#nextBatch,
      short: { ms: this.#shortestMs, key: this.#shortKey, untilMs: this.#shortUntilMs },
      wakeMs: this.wakeMs,
    };
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
    const { type } = event;
    if (now > this.#shortUntilMs) this.#shortestMs = Infinity;
    if (type === "arrived") this.#arrive(event.step, event.isAgain, now, lanes, out);
    else if (type === "cancelled") this.#cancel(event.id, now, out);
    else if (type === "ended") this.#end(event.lane, event.batch, event.ms, now);
    else if (type === "loaded") this.#loadMs.set(event.modelId, event.ms);
    else this.#tick(now, lanes, out);
    this.onEvent?.(event, now, lanes, out);
    return out;
  }

  #arrive(step: Step, isAgain: boolean, now: number, lanes: readonly LaneView[], out: Decision[]): void {
    const { id, places, dueMs, arrivedMs, rows, isRefusable, batching } = step;
    const [{ key }] = places;
    const lengthMs = dueMs - arrivedMs;
    if (lengthMs <= this.#shortestMs && lengthMs < Infinity) {
      this.#shortestMs = lengthMs;
      this.#shortKey = key;
      this.#shortUntilMs = now + Math.max(LIVE_MS, LIVE_TIMES * lengthMs);
    }
    if (!isAgain) {
      // A state has one step at a time, and none that it may leave out.
      if (this.#queue.size >= this.#settings.maxSize && step.state === undefined) {
        out.push({ type: "reject", id, code: "overloaded", expected: this.#queue.size });
        return;
      }
      const endMs = isRefusable ? this.#endOf(step, now, lanes, out) : now;
      if (endMs > dueMs) {
        out.push({ type: "reject", id, code: "deadline-exceeded", expected: endMs - arrivedMs });
        return;
      }
    }
    const together = step.shape === null ? rows : Math.max(rows, this.#estimate.rows(key, batching.maxBatchSize));
    this.#queue.add(step, ((this.#estimate.ms(key, together) ?? 0) * rows) / together, now);
  }

  #cancel(id: number, now: number, out: Decision[]): void {
    const waiting = this.#queue.get(id);
    if (waiting !== undefined) this.#queue.remove(waiting);
    for (const [lane, [running]] of this.#batches)
      if (
        running?.ids.delete(id) === true &&
        running.ids.size === 0 &&
        running.preempt &&
        this.#estimate.ms(running.key, 1) !== undefined &&
        this.#queue.size > 0 &&
        endOf(running, now) - now > this.#loadOf(running.place)
      )
        out.push({ type: "end", lane });
  }

  #end(lane: string, id: number, ms: number | null, now: number): void {
    const batches = this.#batches.get(lane) ?? [];
    const batch = batches.find((x) => x.id === id);
    const left = batches.filter((x) => x !== batch);
    this.#batches.set(lane, left);
    // One row that ran out of memory says nothing of batches.
    if (batch !== undefined && ms !== null && (ms < Infinity || batch.rows > 1))
      this.#estimate.learn(batch.key, batch.rows, ms);
    if (left[0] !== undefined) left[0].startMs = now;
  }

  #tick(now: number, lanes: readonly LaneView[], out: Decision[]): void {
    this.wakeMs = Infinity;
    this.#dropLate(now, out);
    const passed = new Set<Group>();
    const kept = new Set<LaneView>();
    for (let step; (step = this.#queue.next(now, passed)) !== undefined;) {
      const open = lanes.filter((lane) => !kept.has(lane));
      const chances = this.#chances(step, now, open);
      const chance = this.#choose(step, chances, now, out);
      if (chance !== undefined && !this.#waitsForMore(step, chance, now)) this.#start(step, chance, chances, now, out);
      else {
        passed.add(step.group);
        // What grows meanwhile must not lose its place to what is less urgent.
        if (chance !== undefined && chance.batches.length > 0) kept.add(chance.lane);
      }
    }
  }

  /** What is late, or would be if it began now, is dropped; where it is to be finished late, it no longer hurries. */
  #dropLate(now: number, out: Decision[]): void {
    for (let step; (step = this.#queue.firsts().find((x) => now + this.#soonestMs(x, now) > x.dueMs)) !== undefined;) {
      const { id, arrivedMs, isRefusable, costMs } = step;
      this.#queue.remove(step);
      if (!isRefusable) this.#queue.add({ ...step, dueMs: Infinity }, costMs, now);
      else
        out.push({
          type: "reject",
          id,
          code: "deadline-exceeded",
          expected: now + this.#soonestMs(step, now) - arrivedMs,
        });
    }
    for (const { dueMs } of this.#queue.firsts()) this.wakeMs = Math.min(this.wakeMs, dueMs + 1);
  }

  /** Gives every lane on which a step may run. */
  #chances(step: Step, now: number, lanes: readonly LaneView[]): Chance[] {
    const { places, rows, state, concurrency } = step;
    let found: Chance[] = [];
    for (const lane of lanes) {
      const place = places.find(({ backend }) => backend === lane.backend);
      if (place === undefined) continue;
      const batches = this.#batches.get(lane.id) ?? [];
      const key = lane.isExpress ? place.key + EXPRESS : place.key;
      const ms = this.#estimate.ms(key, rows) ?? this.#estimate.ms(place.key, rows) ?? UNKNOWN_MS;
      const isCold = !lane.held.has(place.modelId);
      const freeMs = batches.reduce((ms, batch) => endOf(batch, ms), now);
      const endMs = freeMs + (isCold ? this.#loadOf(place) : 0) + ms;
      found.push({ lane, place, key, freeMs, ms, endMs, isCold, batches });
    }
    if (state !== undefined) {
      // The lane that keeps the state as the step before left it; else, for it must be rebuilt anyway, where the fewest are.
      const home = found.filter((x) => stateOf(step, x) === state.after);
      found =
        home.length > 0
          ? home
          : found.filter(({ lane, batches }) => lane.isOpen && batches.length === 0 && !lane.isExpress);
      const fewest = Math.min(...found.map(countStates));
      found = found.filter((x) => countStates(x) === fewest);
    }
    const runs = ({ batches, place }: Chance): boolean =>
      batches.some((batch) => batch.place.modelId === place.modelId);
    const isFull = found.filter(runs).length >= concurrency;
    return found.filter((x) => x.lane.isOpen && (!isFull || runs(x)));
  }

  /** Picks the lane where a step is through first; undefined where it is to wait. */
  #choose(step: Waiting, chances: readonly Chance[], now: number, out: Decision[]): Chance | undefined {
    const usual = chances.filter(({ lane }) => !lane.isExpress);
    let best = soonest(usual);
    const express = this.#express(step, chances, best, now, out);
    if (express?.isCold === false && express.batches.length < 2) return express;
    if (best !== undefined && best.batches.length > 1) {
      // The lane is full. The last of those that wait for it may be through sooner on a slower one.
      const lastMs = best.endMs + (step.group.steps.size - 1) * best.ms;
      best = soonest(usual.filter((x) => x.batches.length < 2 && x.endMs < lastMs));
    }
    return best !== undefined && this.#leavesRoom(step, best, chances, now) ? best : undefined;
  }

  /** Gives the express lane where a step is short enough for it and would be late elsewhere; starts it where it is off. */
  #express(
    step: Step,
    chances: readonly Chance[],
    best: Chance | undefined,
    now: number,
    out: Decision[],
  ): Chance | undefined {
    const express = chances.find(({ lane, ms }) => lane.isExpress && ms <= this.#shortestMs / 2);
    const endMs = best?.endMs ?? Infinity;
    if (express === undefined || endMs <= step.dueMs || endMs <= express.endMs) return undefined;
    if (express.isCold) this.#warm(step, express, now, out);
    return express;
  }

  #warm({ id }: Step, { lane, place }: Chance, now: number, out: Decision[]): void {
    const key = lane.id + place.key;
    if (this.#sinceMs(key, now) < WARM_MS) return;
    this.#startedMs.set(key, now);
    out.push({ type: "warm", lane: lane.id, id, place });
  }

  /** Tells whether a step on a lane leaves room for what is urgent. */
  #leavesRoom({ dueMs, arrivedMs }: Step, chance: Chance, chances: readonly Chance[], now: number): boolean {
    if (dueMs - arrivedMs <= this.#shortestMs) return true;
    if (chance.batches.length > 0 && chance.endMs - now > STAGED_PART * this.#shortestMs) return false;
    const isLong = (ms: number): boolean => ms > this.#shortestMs / 2;
    if (!isLong(chance.ms)) return true;
    // With one lane there is no room to leave.
    const others = chances.filter((x) => x !== chance && x.lane.backend === chance.lane.backend);
    const isRoom = ({ lane, batches }: Chance): boolean =>
      lane.isExpress
        ? !isLong(this.#estimate.ms(this.#shortKey + EXPRESS, 1) ?? 0)
        : !batches.some(({ ms }) => isLong(ms));
    return others.every(({ lane }) => lane.isExpress) || others.some(isRoom);
  }

  /** Tells whether a step is to wait for others: on a free lane as long as the model allows, on a busy one till it is nearly free. */
  #waitsForMore(
    { group, rows, shape, batching, arrivedMs, dueMs }: Waiting,
    { key, freeMs, batches }: Chance,
    now: number,
  ): boolean {
    const untilMs = batches.length > 0 ? freeMs - STAGE_MS : arrivedMs + batching.maxQueueDelayMs;
    const wanted = this.#estimate.rows(key, batching.maxBatchSize);
    const endMs = untilMs + (this.#estimate.ms(key, wanted) ?? UNKNOWN_MS);
    if (shape === null || untilMs <= now || group.steps.size * rows >= wanted || endMs > dueMs) return false;
    this.wakeMs = Math.min(this.wakeMs, untilMs);
    return true;
  }

  #start(step: Waiting, chance: Chance, chances: readonly Chance[], now: number, out: Decision[]): void {
    const { lane, place, key, isCold, batches, freeMs, endMs } = chance;
    const wanted = this.#wantedRows(step, chance, chances);
    const ids = new Set<number>();
    let { rows, dueMs, preempt } = step;
    rows = 0;
    let ms = 0;
    let firstMs = now;
    for (let next: Waiting | undefined = step; next !== undefined; next = this.#peer(step)) {
      const withNext = this.#estimate.ms(key, rows + next.rows) ?? chance.ms;
      dueMs = Math.min(dueMs, next.dueMs);
      if (rows > 0 && (rows + next.rows > wanted || endMs - chance.ms + withNext > dueMs)) break;
      this.#queue.serve(next, withNext - ms, freeMs + withNext);
      rows += next.rows;
      ms = withNext;
      preempt &&= next.preempt;
      ids.add(next.id);
      firstMs = Math.min(firstMs, next.arrivedMs);
    }
    const why = whyStart({
      now,
      chosen: chance,
      options: chances,
      hasState: step.state !== undefined && stateOf(step, chance) === step.state.after,
      shape: step.shape,
      count: ids.size,
      rows,
      firstMs,
      hasPeer: this.#peer(step) !== undefined,
      bestRows: this.#estimate.rows(key, step.batching.maxBatchSize),
      idleLanes: chances.filter((x) => !x.lane.isExpress && !x.isCold && x.batches.length === 0).length,
      msOf: (n) => this.#estimate.ms(key, n),
    });
    if (isCold) ms += this.#loadOf(place);
    const id = this.#nextBatch++;
    this.#batches.set(lane.id, [...batches, { id, place, key, rows, ms, startMs: freeMs, ids, preempt }]);
    this.#startedMs.set(place.key, now);
    out.push({ type: "start", batch: id, lane: lane.id, place, ids: [...ids], ms, why });
    // A lane that idles without the model loads it once as much work was staged elsewhere as that costs.
    const cold = chances.find((x) => x.isCold && x.batches.length === 0 && !x.lane.isExpress);
    if (cold === undefined || batches.length === 0) return;
    const wastedMs = (this.#wastedMs.get(place.modelId) ?? 0) + ms;
    this.#wastedMs.set(place.modelId, wastedMs);
    if (wastedMs > this.#loadOf(cold.place)) this.#warm(step, cold, now, out);
  }

  /** Gives the next step that can run with another one. */
  #peer({ shape, group }: Waiting): Waiting | undefined {
    if (shape === null) return undefined;
    return group.steps.first() ?? this.#queue.firsts().find((x) => x.group.together === group.together);
  }

  /** How many rows are to run together: what is cheapest a row, shared among the lanes that idle, and soon enough. */
  #wantedRows(
    { group, shape, rows, dueMs, batching }: Waiting,
    { key, endMs, ms }: Chance,
    chances: readonly Chance[],
  ): number {
    if (shape === null) return rows;
    const { maxBatchSize, preferredBatchSizes } = batching;
    let waiting = 0;
    for (const x of this.#queue.firsts()) if (x.group.together === group.together) waiting += x.group.steps.size * rows;
    const idle = chances.filter(({ lane, isCold, batches }) => !lane.isExpress && !isCold && batches.length === 0);
    let wanted = this.#estimate.rows(key, Math.min(maxBatchSize, Math.ceil(waiting / (idle.length || 1))));
    wanted = Math.max(0, ...preferredBatchSizes.filter((size) => size <= wanted)) || wanted;
    const mostMs = Math.min(dueMs - endMs + ms, BATCH_PART * this.#shortestMs);
    while (wanted > rows && (this.#estimate.ms(key, wanted) ?? 0) > mostMs) wanted = Math.floor(wanted / 2);
    return wanted;
  }

  /** Gives when a step that arrives would be through: what is more urgent spread over the lanes, then itself. */
  #endOf(step: Step, now: number, lanes: readonly LaneView[], out: Decision[]): number {
    const [{ key }] = step.places;
    const chances = this.#chances(step, now, lanes);
    const usual = chances.filter(({ lane }) => !lane.isExpress).sort((a, b) => a.freeMs - b.freeMs);
    const best = soonest(usual.filter(({ batches }) => batches.length === 0));
    if (usual.length === 0 || this.#soonestMs(step, now) === 0) return now;
    if (best !== undefined && best.endMs <= step.dueMs) return best.endMs;
    const express = this.#express(step, chances, soonest(usual), now, out);
    const inLine = this.#queue.firsts().find((x) => x.places[0].key === key)?.group.steps.size ?? 0;
    const expressMs = express ? express.endMs + inLine * express.ms : Infinity;
    // Lanes fill up like vessels: those that are free first take what is ahead until the next is free as well.
    let aheadMs = this.#queue.aheadMs(step);
    let startMs = 0;
    for (const [i, { freeMs }] of usual.entries()) {
      const roomMs = ((usual[i + 1]?.freeMs ?? Infinity) - freeMs) * (i + 1);
      startMs = freeMs + aheadMs / (i + 1);
      if (aheadMs <= roomMs) break;
      aheadMs -= roomMs;
    }
    const together = this.#estimate.rows(key, Math.min(step.batching.maxBatchSize, inLine + 1));
    return Math.min(expressMs, startMs + (this.#estimate.ms(key, Math.max(step.rows, together)) ?? 0));
  }

  #sinceMs(key: string, now: number): number {
    return now - (this.#startedMs.get(key) ?? -Infinity);
  }

  #loadOf({ modelId }: Place): number {
    return this.#loadMs.get(modelId) ?? LOAD_MS;
  }

  /** What a step takes at the least; 0 where nothing is known, or nothing of late. */
  #soonestMs({ places, rows }: Step, now: number): number {
    return Math.min(
      ...places.map(({ key }) => (this.#sinceMs(key, now) > STALE_MS ? 0 : (this.#estimate.ms(key, rows) ?? 0))),
    );
  }
}

/** When a batch is through that begins at `fromMs` at the latest; one that is overdue takes part of that again. */
function endOf({ startMs, ms }: Batch, fromMs: number): number {
  const beganMs = Math.min(startMs, fromMs);
  return Math.max(beganMs + ms, fromMs + (fromMs - beganMs) / 4);
}

/** Gives the mark that the last step of a state left on a lane. */
function stateOf({ state }: Step, { lane, place }: Pick<Chance, "lane" | "place">): number | undefined {
  return lane.held.get(place.modelId)?.states.get(state?.id ?? -1);
}

function countStates({ lane: { held } }: Chance): number {
  let count = 0;
  for (const { states } of held.values()) count += states.size;
  return count;
}

/** The lane on which it is through first; of equal ones that which has the least to do. */
function soonest(chances: readonly Chance[]): Chance | undefined {
  return [...chances].sort((a, b) => a.endMs - b.endMs || a.batches.length - b.batches.length)[0];
}
