// Decides which step runs next, where, and in which batch: events in, decisions out, without a clock, timer or worker
// of its own. The same events give the same decisions, so a trace of them is all that a bug report needs. dispatcher.ts
// executes the decisions.
//
// A step goes to the lane with the earliest estimated finish, busy lanes included: a slow lane, or one that must load
// the model first, gets work only where that is sooner. Each lane holds one batch and at most one more, staged, so that
// it continues while the page is busy; a step with a deadline is staged only shortly before the lane is free.
//
// Deadlines: a step that no lane can finish in time, given the work already on lanes and the shortest of the last runs, is
// rejected on arrival; one that is expected to be late runs on an idle lane alone, as a last chance. The others are
// queued, the earliest deadline first, and are rejected when they can no longer finish in time. A lane starts the first step that it finishes in time by a high quantile of the last runs (Clockwork, OSDI 2020; Orloj,
// arXiv 2209.00159). Where the first deadlines allow only a small batch, after which the later ones would miss theirs,
// the batch begins behind the first (as in Nexus, SOSP 2019). Where no cost is known, or none recent, the step is
// tried.
//
// A run can't be interrupted: so while short deadlines are live, batches without deadlines stay short, and a lane is
// kept free for short runs: the express lane, one more than there are cores, or one of the others where there is none
// or it was measured too slow. Of two others, only from long work and from work without a deadline.
//
// A caller that awaits each answer before the next request keeps one core busy, and the others idle. Where that was
// seen for a while, and threads were measured to pay, such a step runs on the wide lane, with a thread per core; as
// soon as there is other work all steps go to the usual lanes.
import { isServer } from "../core/device.ts";
import { Estimate } from "./cost-estimate.ts";
import { costOf, earliestMs, endOf, homeOf, isSooner, isUsual, stalledMs } from "./lane-option.ts";
import type { Batch, LaneOption } from "./lane-option.ts";
import { isTaken, LaneChooser } from "./choose-lane.ts";
import { LaneStates } from "./lane-state.ts";
import type { SavedLanes } from "./lane-state.ts";
import type { Decision, LaneView, SchedulerEvent, ScheduledStep } from "./events.ts";
import { Queue } from "./queue.ts";
import type { Class, SavedQueue } from "./queue.ts";
import { formBatch } from "./form-batch.ts";
import type { LanePick } from "./form-batch.ts";
import { LiveDeadlines } from "./live-deadlines.ts";
import type { SavedUrgency } from "./live-deadlines.ts";
import { WarmUps } from "./warm-ups.ts";

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

/** How often a stalled load is compared with other lanes where no other event occurs. */
const RECHECK_MS = 1_000;
/**
 * Number of groups of a class, none of which can start now, that a tick checks: those behind them wait for the next
 * tick. Recurrent states that wait for different lanes are in different classes, so that none hides others whose lane
 * is idle.
 */
const LOOK = 8;
/**
 * Minimum time between two commands to the wide lane to load a model: long, since it is an optimization, and may lack
 * the memory for the model.
 */
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
  readonly #lanes: LaneStates;
  readonly #urgency: LiveDeadlines;
  readonly #warmUps: WarmUps;
  readonly #chooser: LaneChooser;
  #nextBatch = 1;
  /** Number of consecutive starts with no other work queued or running. */
  #alone = 0;

  constructor(settings: Settings, estimate: Estimate) {
    this.#settings = settings;
    this.#estimate = estimate;
    this.#queue = new Queue(settings.agingMs);
    this.#lanes = new LaneStates(estimate);
    this.#urgency = new LiveDeadlines(estimate, this.#lanes);
    this.#warmUps = new WarmUps(estimate, this.#lanes);
    this.#chooser = new LaneChooser(estimate, this.#queue, this.#urgency, this.#warmUps);
  }

  /** Restores a snapshot. */
  static restore(saved: SavedScheduler): Scheduler {
    const { settings, estimate, runs, queue, wastedMs, nextBatch, alone, short, wakeMs } = saved;
    const scheduler = new Scheduler(settings, new Estimate(estimate, runs));
    scheduler.#queue.restore(queue);
    scheduler.#lanes.restore(saved);
    scheduler.#urgency.restore(short);
    scheduler.#warmUps.restore(wastedMs);
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
      wastedMs: this.#warmUps.save(),
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
    else if (type === "unavailable") this.#lanes.backOffs.add(event.lane, event.modelId, event.untilMs, now);
    else if (type === "measured") this.#lanes.measured(event, now);
    else this.#tick(now, lanes, out);
    this.onEvent?.(event, now, lanes, out);
    return out;
  }

  #arrive(step: ScheduledStep, isAgain: boolean, now: number, lanes: readonly LaneView[], out: Decision[]): void {
    const { id, dueMs, isRefusable } = step;
    if (isAgain || !this.#isQuiet(0)) this.#alone = 0;
    if (!isAgain) {
      this.#lanes.arrived(step);
      // A state has one step at a time, and may skip none.
      if (this.#queue.size >= this.#settings.maxSize && step.state === undefined) {
        out.push({ type: "reject", id, code: "overloaded", expected: this.#queue.size });
        return;
      }
      const endMs = isRefusable && dueMs < Infinity ? this.#endOf(step, now, lanes, out) : 0;
      if (endMs > dueMs) {
        this.#reject(step, endMs, now, lanes, out);
        return;
      }
    }
    this.#urgency.note(step, now);
    this.#enqueue(step, now, lanes);
  }

  #enqueue(step: ScheduledStep, now: number, lanes: readonly LaneView[]): void {
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
      const options = this.#lanes.options(step, now, open);
      const tried = this.#lanes.trial(step, now, lanes)?.key;
      const pick = this.#chooser.choose(next, options, tried, now, out);
      const untilMs = pick === undefined ? now : this.#chooser.waitsUntil(pick.waiting, pick.option, now);
      if (pick !== undefined && untilMs <= now) {
        this.#start(this.#widen(step, pick, options, now, out), options, tried, now, out);
        continue;
      }
      if (pick !== undefined) {
        this.#wakeAt(untilMs);
        // A step that waits for a lane, or for its batch to grow, must not lose its place to a less urgent one.
        for (const x of options)
          if (isTaken(step, x, now) || (x === pick.option && x.batches.length > 0)) kept.add(x.lane);
      }
      // A group that only waits for others to join hides none.
      if (pick?.option.batches.length === 0) {
        this.#queue.rest(group, untilMs);
        continue;
      }
      const count = (passed.get(group.class) ?? 0) + 1;
      passed.set(group.class, count);
      if (count >= LOOK) this.#queue.block(group.class);
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
      const { step } = late;
      const { dueMs, isRefusable } = step;
      const soonestMs = this.#lanes.soonestMs(step, now, lanes);
      // Compared as `late` compares it: `now + soonestMs <= dueMs` may be true where this is rounded to below `now`.
      const latestMs = dueMs - soonestMs;
      if (latestMs >= now) {
        this.#queue.delay(late, latestMs);
        continue;
      }
      this.#queue.remove(late);
      if (!isRefusable)
        this.#queue.add({ ...step, dueMs: Infinity }, Infinity, late.costMs, now, late.group.class.home);
      else this.#reject(step, now + soonestMs, now, lanes, out);
    }
  }

  /** Rejects a step for its deadline. */
  #reject(step: ScheduledStep, endMs: number, now: number, lanes: readonly LaneView[], out: Decision[]): void {
    const { id, rows, dueMs, arrivedMs } = step;
    const isFast = ({ key }: LaneOption): boolean => (this.#estimate.ms(key, rows) ?? Infinity) <= dueMs - arrivedMs;
    const options = this.#lanes.options(step, now, lanes).filter(isFast);
    this.#warmUps.startBetter({ step, options, backend: null, rows, endMs: Infinity }, now, out);
    out.push({ type: "reject", id, code: "deadline-exceeded", expected: endMs - arrivedMs });
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
      const isElsewhere = (x: LaneOption): boolean =>
        isUsual(x) &&
        (x.batches[0] === undefined || stalledMs(x.batches[0]) > now) &&
        (batch !== first || isSooner(x, batch, now));
      const ids = [...steps.values()]
        .filter((step) => step.state === undefined && this.#lanes.options(step, now, lanes).some(isElsewhere))
        .map(({ id }) => id);
      if (ids.length === 0) continue;
      for (const id of ids) {
        this.#enqueue(steps.get(id) as ScheduledStep, now, lanes);
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
   * Moves a step of a single stream to the wide lane where that pays; where the model is not loaded there, loads it.
   */
  #widen(step: ScheduledStep, pick: LanePick, options: readonly LaneOption[], now: number, out: Decision[]): LanePick {
    this.#alone = this.#isQuiet(1) ? this.#alone + 1 : 0;
    const { option } = pick;
    // A state stays on its lane; and an urgent step needs an idle core, not only a lane.
    if (this.#alone <= ALONE_STARTS || step.state !== undefined || !this.#urgency.isUrgent(step)) return pick;
    const wide = options.find(({ lane }) => lane.kind === "wide" && lane.backend === option.lane.backend);
    if (wide === undefined || !isUsual(option) || !this.#lanes.isForWide(step, option, wide, now)) return pick;
    if (!wide.isCold) return { ...pick, option: wide, latestMs: Infinity };
    this.#warmUps.start(step, wide, now, out, WARM_WIDE_MS);
    return pick;
  }

  /** Whether nothing runs or is staged, and at most so many steps are queued. */
  #isQuiet(waiting: number): boolean {
    return this.#queue.size <= waiting && this.#lanes.areIdle;
  }

  #start(
    pick: LanePick,
    options: readonly LaneOption[],
    tried: string | undefined,
    now: number,
    out: Decision[],
  ): void {
    const { lane, route, key, isCold, freeMs: startMs } = pick.option;
    const batchMs = this.#urgency.batchMs(lane.backend);
    const formed = formBatch(pick, { estimate: this.#estimate, queue: this.#queue, options, batchMs, now });
    const { step, steps, rows, preempt, why } = formed;
    let { ms } = formed;
    if (isCold) ms += this.#lanes.loadOf(route);
    const id = this.#nextBatch++;
    // A first run is no trial: it had no estimate.
    const isKnown = route.key === tried && this.#estimate.ms(key, rows) !== undefined;
    const serverMs = Math.min(...options.filter(({ route }) => isServer(route)).map(costOf));
    const isTrial = isKnown && [...steps.values()].some((x) => Math.min(x.dueMs, serverMs) < startMs + ms);
    const batch: Batch = {
      id,
      route,
      key,
      rows,
      shape: step.shape,
      ms,
      startMs,
      steps,
      preempt,
      isTrial,
      serverMs,
      isLoading: isCold,
    };
    this.#lanes.add(lane.id, batch, now);
    out.push({ type: "start", batch: id, lane: lane.id, route, ids: [...steps.keys()], ms, why });
    this.#warmUps.startBetter({ step, options, backend: route.backend, rows, endMs: startMs + ms }, now, out);
  }

  /** Returns the earliest estimated finish of a step, after the work on lanes and all more urgent queued work. */
  #endOf(step: ScheduledStep, now: number, lanes: readonly LaneView[], out: Decision[]): number {
    if (this.#lanes.trial(step, now, lanes) !== undefined) return now;
    const options = this.#lanes.options(step, now, lanes);
    const usual = options.filter(isUsual);
    if (usual.length === 0) return now;
    const endMs =
      Math.min(...usual.map(earliestMs)) + this.#queue.aheadMs(step, homeOf(step, lanes), now) / usual.length;
    return this.#chooser.express(step, options, endMs, now, out)?.endMs ?? endMs;
  }
}
