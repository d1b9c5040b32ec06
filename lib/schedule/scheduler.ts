// Decides which step runs next, where, and in which batch: events in, decisions out, without a clock, timer or worker
// of its own. The same events give the same decisions, so a trace of them is all that a bug report needs. dispatcher.ts
// executes the decisions.
//
// A step goes to the lane with the earliest estimated finish, busy lanes included: a slow lane, or one that must load
// the model first, gets work only where that is sooner. Each lane holds one batch and at most one more, staged, so that
// it continues while the page is busy; a step with a deadline is staged only shortly before the lane is free.
//
// Deadlines: a step that no lane can finish in time, given the work already on lanes, is rejected on arrival; the
// others are queued, the earliest deadline first, and are rejected when they can no longer finish in time. A lane
// starts the first step that it finishes in time by a high quantile of the last runs (Clockwork, OSDI 2020; Orloj,
// arXiv 2209.00159). Where the first deadlines allow only a small batch, after which the later ones would miss theirs,
// the batch begins behind the first (as in Nexus, SOSP 2019). Where no cost is known, or none recent, the step is
// tried.
//
// A run can't be interrupted: so while short deadlines are live, batches without deadlines stay short, and a lane is
// kept free for short runs: the express lane, one more than there are cores, or one of the others where there is none
// or it was measured too slow.
//
// A caller that awaits each answer before the next request keeps one core busy, and the others idle. Where that was
// seen for a while, and threads were measured to pay, such a step runs on the wide lane, with a thread per core; as
// soon as there is other work all steps go to the usual lanes.
import { Estimate } from "./cost-estimate.ts";
import {
  costOf,
  endOf,
  homeOf,
  isSooner,
  isUsual,
  Lanes,
  remember,
  soonest,
  stalledMs,
  UNKNOWN_MS,
} from "./lane-state.ts";
import type { Batch, Chance, SavedLanes } from "./lane-state.ts";
import type { Decision, LaneView, SchedulerEvent, Step } from "./events.ts";
import { Queue } from "./queue.ts";
import type { Class, SavedQueue, Waiting } from "./queue.ts";
import { formBatch } from "./form-batch.ts";
import type { LanePick } from "./form-batch.ts";
import { Urgency } from "./live-deadlines.ts";
import type { SavedUrgency } from "./live-deadlines.ts";

/** Settings of a scheduler. */
export interface Settings {
  /** Waiting time without service after which a request rises by one priority, in ms. */
  readonly agingMs: number;
  /** Maximum number of queued steps. */
  readonly maxSize: number;
}

/** Snapshot of a scheduler for a trace: plain data, and Maps of it. */
export interface SavedScheduler extends SavedLanes {
  readonly settings: Settings;
  readonly estimate: string;
  readonly runs: number;
  readonly queue: SavedQueue;
  readonly wastedMs: ReadonlyMap<number, number>;
  readonly nextBatch: number;
  readonly alone: number;
  readonly short: SavedUrgency;
  readonly wakeMs: number;
}

/** A batch that was started, to compare with lanes that might have been faster. */
interface Started {
  readonly step: Step;
  readonly chances: readonly Chance[];
  /** Backend on which it was started. */
  readonly backend: Chance["lane"]["backend"];
  readonly rows: number;
  /** Its estimated end. */
  readonly endMs: number;
}

/** A batch that could still grow is staged only this long before its lane is free. */
const STAGE_MS = 5;
/** How often a stalled load is compared with other lanes where no other event occurs. */
const RECHECK_MS = 1_000;
/** Minimum time between two commands to a lane to load a model: the lane may not be able to. */
const WARM_MS = 10_000;
/**
 * Number of groups of a class, none of which can start now, that a tick checks: those behind them wait for the next
 * tick. Recurrent states that wait for different lanes are in different classes, so that none hides others whose lane
 * is idle.
 */
const LOOK = 8;
/** The same for the wide lane, longer: it is an optimization, and may lack the memory for the model. */
const WARM_WIDE_MS = 60_000;
/** After this many consecutive starts with no other work queued or running, work counts as a single stream. */
const ALONE_STARTS = 8;

/** The scheduler: a state machine over events. */
export class Scheduler {
  /** Time of the next change without an event; Infinity where there is none. */
  wakeMs: number = Infinity;
  /** Called with each event and its decisions, for a trace. */
  onEvent:
    ((event: SchedulerEvent, now: number, lanes: readonly LaneView[], decisions: readonly Decision[]) => void) | null =
    null;
  readonly #settings: Settings;
  readonly #estimate: Estimate;
  readonly #queue: Queue;
  readonly #lanes: Lanes;
  readonly #urgency: Urgency;
  /** Work of a model that was staged while a lane without the model was idle, in ms. */
  #wastedMs: Map<number, number> = new Map();
  #nextBatch = 1;
  /** Number of consecutive starts with no other work queued or running. */
  #alone = 0;

  constructor(settings: Settings, estimate: Estimate) {
    this.#settings = settings;
    this.#estimate = estimate;
    this.#queue = new Queue(settings.agingMs);
    this.#lanes = new Lanes(estimate);
    this.#urgency = new Urgency(estimate);
  }

  /** Restores a snapshot. */
  static restore(saved: SavedScheduler): Scheduler {
    const { settings, estimate, runs, queue, wastedMs, nextBatch, alone, short, wakeMs } = saved;
    const scheduler = new Scheduler(settings, new Estimate(estimate, runs));
    scheduler.#queue.restore(queue);
    scheduler.#lanes.restore(saved);
    scheduler.#urgency.restore(short);
    scheduler.#wastedMs = new Map(wastedMs);
    scheduler.#nextBatch = nextBatch;
    scheduler.#alone = alone;
    scheduler.wakeMs = wakeMs;
    return scheduler;
  }

  /** Returns a snapshot: a scheduler restored from it makes the same decisions. */
  save(): SavedScheduler {
    return {
      settings: this.#settings,
      estimate: this.#estimate.saveWhole(),
      runs: this.#estimate.runs,
      queue: this.#queue.save(),
      ...this.#lanes.save(),
      wastedMs: new Map(this.#wastedMs),
      nextBatch: this.#nextBatch,
      alone: this.#alone,
      short: this.#urgency.save(),
      wakeMs: this.wakeMs,
    };
  }

  /** Number of queued steps. */
  get queued(): number {
    return this.#queue.size;
  }

  /** Whether a step is queued. */
  waits(id: number): boolean {
    return this.#queue.get(id) !== undefined;
  }

  /**
   * Handles an event and returns the decisions. Steps that arrive start at the next tick, so that they can be batched.
   */
  handle(event: SchedulerEvent, now: number, lanes: readonly LaneView[]): Decision[] {
    const out: Decision[] = [];
    const { type } = event;
    this.#urgency.pass(now);
    if (type === "arrived") this.#arrive(event.step, event.isAgain, now, lanes, out);
    else if (type === "cancelled") this.#cancel(event.id, now, out);
    else if (type === "ended") this.#lanes.end(event, now, lanes);
    else if (type === "loaded") this.#lanes.loaded(event.modelId, event.ms, event.lane);
    else if (type === "unavailable") this.#lanes.bar(event.lane, event.modelId, event.untilMs, now);
    else if (type === "measured") this.#lanes.measured(event.key, event.ms);
    else this.#tick(now, lanes, out);
    this.onEvent?.(event, now, lanes, out);
    return out;
  }

  #arrive(step: Step, isAgain: boolean, now: number, lanes: readonly LaneView[], out: Decision[]): void {
    const { id, dueMs, arrivedMs, isRefusable } = step;
    if (isAgain || !this.#isQuiet(0)) this.#alone = 0;
    if (!isAgain) {
      // A state has one step at a time, and may skip none.
      if (this.#queue.size >= this.#settings.maxSize && step.state === undefined) {
        out.push({ type: "reject", id, code: "overloaded", expected: this.#queue.size });
        return;
      }
      const endMs = isRefusable && dueMs < Infinity ? this.#endOf(step, now, lanes, out) : 0;
      if (endMs > dueMs) {
        out.push({ type: "reject", id, code: "deadline-exceeded", expected: endMs - arrivedMs });
        return;
      }
    }
    this.#urgency.note(step, now);
    this.#enqueue(step, now, lanes);
  }

  #enqueue(step: Step, now: number, lanes: readonly LaneView[]): void {
    const { routes, rows, shape, batching, dueMs } = step;
    const [{ key }] = routes;
    const together =
      shape === null ? rows : Math.max(rows, this.#estimate.rows(key, batching.maxBatchSize, shape, now));
    const costMs = ((this.#estimate.ms(key, together) ?? 0) * rows) / together;
    this.#queue.add(step, dueMs - this.#lanes.soonestMs(step, now, lanes), costMs, now, homeOf(step, lanes));
  }

  #cancel(id: number, now: number, out: Decision[]): void {
    const waiting = this.#queue.get(id);
    if (waiting !== undefined) this.#queue.remove(waiting);
    for (const [lane, [running, staged]] of this.#lanes.batches) {
      staged?.steps.delete(id);
      if (
        running?.steps.delete(id) === true &&
        running.steps.size === 0 &&
        running.preempt &&
        running.isLoading !== true &&
        this.#estimate.ms(running.key, 1) !== undefined &&
        this.#queue.size > 0 &&
        endOf(running, now) - now > this.#lanes.loadOf(running.route)
      )
        out.push({ type: "end", lane });
    }
  }

  #tick(now: number, lanes: readonly LaneView[], out: Decision[]): void {
    this.wakeMs = Infinity;
    this.#dropLate(now, lanes, out);
    this.#withdraw(now, lanes, out);
    const usual = lanes.filter(({ kind }) => kind === "usual");
    const passed = new Map<Class, number>();
    const kept = new Set<LaneView>();
    for (;;) {
      const isFull = this.#lanes.areFull(usual);
      // Only steps with a deadline use the express lane.
      const next = isFull && this.#lanes.areFull(lanes) ? undefined : this.#queue.next(now, isFull);
      if (next === undefined) break;
      const { step, group } = next;
      const open = kept.size === 0 ? lanes : lanes.filter((lane) => !kept.has(lane));
      const chances = this.#lanes.chances(step, now, open);
      const tried = this.#lanes.trial(step, now, lanes)?.key;
      const pick = this.#choose(next, chances, tried, now, out);
      const untilMs = pick === undefined ? now : this.#waitsUntil(pick.waiting, pick.chance, now);
      if (pick !== undefined && untilMs <= now) {
        this.#start(this.#widen(step, pick, chances, now, out), chances, tried, now, out);
        continue;
      }
      // A step that waits for a lane, or for its batch to grow, must not lose its place to a less urgent one.
      if (pick !== undefined)
        for (const x of chances)
          if (isTaken(step, x, now) || (x === pick.chance && x.batches.length > 0)) kept.add(x.lane);
      // A group that only waits for others to join hides none.
      if (pick?.chance.batches.length === 0) {
        this.#queue.rest(group, untilMs);
        continue;
      }
      const count = (passed.get(group.class) ?? 0) + 1;
      passed.set(group.class, count);
      const hasRoom = chances.some((x) => isUsual(x) && x.batches.length < 2 && !isTaken(step, x, now));
      if (count >= LOOK || (!hasRoom && step.state === undefined)) this.#queue.block(group.class);
      else this.#queue.pass(group);
    }
    this.#queue.resume();
    this.#wakeAt(Math.max(this.#queue.lateMs, now) + 1);
    // Where all lanes are full, the end of a batch causes a tick.
    if (this.#queue.restMs > now) this.#wakeAt(this.#queue.restMs);
    this.#wakeForUnbegun(now);
  }

  /** Rejects steps that are late, or would be if they began now; those with `onLate: "finish"` lose their deadline. */
  #dropLate(now: number, lanes: readonly LaneView[], out: Decision[]): void {
    for (let late; (late = this.#queue.late(now)) !== undefined;) {
      const { step, id } = late;
      const { dueMs, arrivedMs, isRefusable } = step;
      const soonestMs = this.#lanes.soonestMs(step, now, lanes);
      if (now + soonestMs <= dueMs) {
        this.#queue.delay(late, dueMs - soonestMs);
        continue;
      }
      this.#queue.remove(late);
      if (!isRefusable)
        this.#queue.add({ ...step, dueMs: Infinity }, Infinity, late.costMs, now, late.group.class.home);
      else out.push({ type: "reject", id, code: "deadline-exceeded", expected: now + soonestMs - arrivedMs });
    }
  }

  /**
   * Rejects steps on lanes that are past their deadline and did not begin. Queues those again for other lanes whose
   * predecessor is stalled: the run before them, or the load of their model.
   */
  #withdraw(now: number, lanes: readonly LaneView[], out: Decision[]): void {
    for (const { lane, first, batch } of this.#lanes.unbegun()) {
      const { steps } = batch;
      for (const { id, dueMs, isRefusable, arrivedMs } of steps.values())
        if (isRefusable && dueMs < now) {
          steps.delete(id);
          const expected = endOf(first, now) + (batch === first ? 0 : batch.ms) - arrivedMs;
          out.push({ type: "reject", id, code: "deadline-exceeded", expected });
        }
      if (stalledMs(first) > now) continue;
      const isElsewhere = (x: Chance): boolean =>
        isUsual(x) &&
        x.lane.id !== lane &&
        (x.batches[0] === undefined || stalledMs(x.batches[0]) > now) &&
        (batch !== first || isSooner(x, batch, now));
      const ids = [...steps.values()]
        .filter((step) => step.state === undefined && this.#lanes.chances(step, now, lanes).some(isElsewhere))
        .map(({ id }) => id);
      if (ids.length === 0) continue;
      for (const id of ids) {
        this.#enqueue(steps.get(id) as Step, now, lanes);
        steps.delete(id);
      }
      out.push({ type: "withdraw", lane, batch: batch.id, ids });
    }
  }

  /** Schedules the next check of batches on lanes that did not begin. */
  #wakeForUnbegun(now: number): void {
    for (const { first, batch } of this.#lanes.unbegun()) {
      for (const { dueMs, isRefusable } of batch.steps.values()) if (isRefusable) this.#wakeAt(dueMs + 1);
      const fromMs = stalledMs(first);
      if (fromMs > now) this.#wakeAt(fromMs);
      else if (batch === first) this.#wakeAt(now + RECHECK_MS);
    }
  }

  /** Schedules a tick without an event. */
  #wakeAt(ms: number): void {
    this.wakeMs = Math.min(this.wakeMs, ms);
  }

  /**
   * Picks the lane with the earliest finish for a step, or another lane for a later step of its group; undefined where
   * the step has to wait. On the route whose key is `tried` it runs whatever its estimate.
   */
  #choose(
    waiting: Waiting,
    chances: readonly Chance[],
    tried: string | undefined,
    now: number,
    out: Decision[],
  ): LanePick | undefined {
    const { step } = waiting;
    const usual = chances.filter(isUsual);
    const best = soonest(usual);
    // The finish on a full lane is unknown: more urgent work may come in between.
    const isFull = (best?.batches.length ?? 2) > 1;
    const express = this.#express(step, chances, isFull ? Infinity : (best?.endMs ?? Infinity), now, out);
    if (express?.isCold === false && express.batches.length < 2)
      return { waiting, chance: express, latestMs: Infinity };
    if (best === undefined) return undefined;
    // Work that has aged past others is not held back for their deadlines.
    const { level, priority } = waiting.group;
    const hasRoom = level < priority || this.#urgency.leavesRoom(step, best, chances, now);
    if (!isFull && !isTaken(step, best, now)) {
      if (!hasRoom) return undefined;
      const first = this.#fitting(waiting, best, tried);
      if (first !== undefined) return { waiting: first, chance: best, latestMs: Infinity };
      const idle = soonest(usual.filter((x) => x.route.key === tried && x.batches.length === 0));
      if (idle === undefined || !this.#urgency.leavesRoom(step, idle, chances, now)) return undefined;
      return { waiting, chance: idle, latestMs: Infinity };
    }
    // The lane is busy. The last of the steps queued for it may finish sooner on a slower lane.
    const latestMs = best.endMs + this.#restMs(waiting, best, now);
    const other = soonest(usual.filter((x) => x.batches.length < 2 && !isTaken(step, x, now) && costOf(x) < latestMs));
    const behind = other && this.#fitting(waiting, other, tried);
    if (other !== undefined && behind !== undefined && this.#urgency.leavesRoom(step, other, chances, now))
      return { waiting: behind, chance: other, latestMs };
    return isFull || !hasRoom ? undefined : { waiting, chance: best, latestMs: Infinity };
  }

  /**
   * Returns the first step of a group that a lane finishes in time; the first of all where its cost is to be measured.
   */
  #fitting(waiting: Waiting, chance: Chance, tried: string | undefined): Waiting | undefined {
    const { step, group } = waiting;
    const { key, endMs, ms, route } = chance;
    if (route.key === tried) return waiting;
    const highMs = this.#estimate.highMs(key, step.rows) ?? ms;
    const startMs = endMs - ms;
    // If the high quantile fits none, the first that is in time by the median.
    return group.steps.at(group.steps.from(startMs + highMs)) ?? group.steps.at(group.steps.from(startMs + ms));
  }

  /** Time of a lane for all steps of a group but this one, in batches of the cheapest size. */
  #restMs({ step, group }: Waiting, { key, ms }: Chance, now: number): number {
    const rows = (group.steps.size - 1) * step.rows;
    if (step.shape === null || rows < 1) return (group.steps.size - 1) * ms;
    const most = Math.min(step.batching.maxBatchSize, rows);
    const together = Math.max(1, this.#estimate.rows(key, most, step.shape, now));
    return (rows / together) * (this.#estimate.ms(key, together) ?? ms);
  }

  /**
   * Returns the express lane where a step is short enough for it and would be late elsewhere; starts its worker if
   * needed.
   */
  #express(step: Step, chances: readonly Chance[], endMs: number, now: number, out: Decision[]): Chance | undefined {
    if (endMs <= step.dueMs || !this.#urgency.isUrgent(step)) return undefined;
    const express = chances.find(({ lane, ms }) => lane.kind === "express" && !this.#urgency.isLong(ms));
    if (express === undefined || endMs <= express.endMs) return undefined;
    if (express.isCold) this.#warm(step, express, now, out);
    return express;
  }

  /**
   * Moves a step of a single stream to the wide lane where that pays; where the model is not loaded there, loads it.
   */
  #widen(step: Step, pick: LanePick, chances: readonly Chance[], now: number, out: Decision[]): LanePick {
    this.#alone = this.#isQuiet(1) ? this.#alone + 1 : 0;
    const { chance } = pick;
    // A state stays on its lane; and an urgent step needs an idle core, not only a lane.
    if (this.#alone <= ALONE_STARTS || step.state !== undefined || !this.#urgency.isUrgent(step)) return pick;
    const wide = chances.find(({ lane }) => lane.kind === "wide" && lane.backend === chance.lane.backend);
    if (wide === undefined || !isUsual(chance) || !this.#lanes.isForWide(step, chance, wide, now)) return pick;
    if (!wide.isCold) return { ...pick, chance: wide, latestMs: Infinity };
    this.#warm(step, wide, now, out, WARM_WIDE_MS);
    return pick;
  }

  /** Whether nothing runs or is staged, and at most so many steps are queued. */
  #isQuiet(waiting: number): boolean {
    return this.#queue.size <= waiting && this.#lanes.areIdle;
  }

  #warm({ id }: Step, { lane, route }: Chance, now: number, out: Decision[], everyMs: number = WARM_MS): void {
    const what = lane.id + route.key;
    if (this.#lanes.sinceMs(what, now) < everyMs || this.#lanes.isBarred(lane.id, route.modelId, now)) return;
    this.#lanes.note(what, now);
    out.push({ type: "warm", lane: lane.id, id, route });
  }

  /**
   * Returns until when a step waits for others, 0 where it does not: on a free lane as long as the model allows, on a
   * busy one until it is nearly free.
   */
  #waitsUntil({ step, group }: Waiting, chance: Chance, now: number): number {
    const { key, freeMs, batches } = chance;
    const { rows, shape, batching, arrivedMs, dueMs } = step;
    const untilMs = batches.length > 0 ? freeMs - STAGE_MS : arrivedMs + batching.maxQueueDelayMs;
    if (untilMs <= now) return 0;
    // A step with an earlier deadline may arrive until then.
    if (isTaken(step, chance, now)) {
      this.#wakeAt(untilMs);
      return untilMs;
    }
    if (shape === null) return 0;
    const wanted = this.#estimate.rows(key, batching.maxBatchSize, shape, now);
    const endMs = untilMs + (this.#estimate.ms(key, wanted) ?? UNKNOWN_MS);
    if (this.#queue.count(group) * rows >= wanted || endMs > dueMs) return 0;
    this.#wakeAt(untilMs);
    return untilMs;
  }

  #start(pick: LanePick, chances: readonly Chance[], tried: string | undefined, now: number, out: Decision[]): void {
    const { lane, route, key, isCold, freeMs } = pick.chance;
    const { batchMs } = this.#urgency;
    const formed = formBatch(pick, { estimate: this.#estimate, queue: this.#queue, chances, batchMs, now });
    const { step, steps, rows, preempt, why } = formed;
    let { ms } = formed;
    if (isCold) ms += this.#lanes.loadOf(route);
    const id = this.#nextBatch++;
    // A first run is no trial: it had no estimate.
    const isKnown = route.key === tried && this.#estimate.ms(key, rows) !== undefined;
    const isTrial = isKnown && [...steps.values()].some((x) => x.dueMs < freeMs + ms);
    const { shape } = step;
    const isLoading = isCold;
    const batch: Batch = { id, route, key, rows, shape, ms, startMs: freeMs, steps, preempt, isLoading, isTrial };
    this.#lanes.add(lane.id, batch, now);
    out.push({ type: "start", batch: id, lane: lane.id, route, ids: [...steps.keys()], ms, why });
    this.#warmBetter({ step, chances, backend: route.backend, rows, endMs: freeMs + ms }, now, out);
  }

  /**
   * Makes an idle lane without the model load it, once the time lost for lack of it exceeds the load time: batches that
   * ended later than they would have there, behind others or on a slower backend. The estimate of a preferred backend
   * that was never measured is 0; that of a lane of the same backend is this one's.
   */
  #warmBetter({ step, chances, backend, rows, endMs }: Started, now: number, out: Decision[]): void {
    for (const cold of chances) {
      if (!cold.isCold || cold.batches.length > 0 || !isUsual(cold)) continue;
      const { route, freeMs, ms } = cold;
      const isBetter = route.backend === step.routes[0].backend && route.backend !== backend;
      const warmMs = this.#estimate.ms(route.key, rows) ?? (isBetter ? 0 : ms);
      const lostMs = endMs - freeMs - warmMs;
      if (lostMs <= 0) continue;
      const wastedMs = (this.#wastedMs.get(route.modelId) ?? 0) + lostMs;
      const isEnough = wastedMs > this.#lanes.loadOf(route);
      remember(this.#wastedMs, route.modelId, isEnough ? 0 : wastedMs);
      if (isEnough) this.#warm(step, cold, now, out);
      return;
    }
  }

  /** Returns the earliest estimated finish of a step, after the work on lanes and all more urgent queued work. */
  #endOf(step: Step, now: number, lanes: readonly LaneView[], out: Decision[]): number {
    if (this.#lanes.trial(step, now, lanes) !== undefined) return now;
    const chances = this.#lanes.chances(step, now, lanes);
    const usual = chances.filter(isUsual);
    if (usual.length === 0) return now;
    const endMs =
      Math.min(...usual.map((x) => x.endMs)) + this.#queue.aheadMs(step, homeOf(step, lanes), now) / usual.length;
    return this.#express(step, chances, endMs, now, out)?.endMs ?? endMs;
  }
}

/**
 * Whether a lane is busy for so long that a step with a deadline is not staged there yet: one with an earlier deadline
 * may arrive.
 */
function isTaken({ dueMs }: Step, { batches, freeMs }: Chance, now: number): boolean {
  return batches.length > 0 && dueMs < Infinity && freeMs - STAGE_MS > now;
}
