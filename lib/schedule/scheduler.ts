// Who runs next, where, and with whom: events in, decisions out, and no clock, timer or worker of its own. The same events
// give the same decisions, so a trace of them is all that a bug report needs. dispatcher.ts is its hands.
//
// A step goes to the lane on which it is expected to be through first, busy lanes included: a slow lane, or one that must
// load the model first, gets work only where that is sooner. Each lane holds one batch and at most one more, staged, so
// that it goes on while the page is busy with other things. A deadline that can't be met by the estimate is refused at
// once; where nothing is known yet, or nothing of late, it is accepted. Nothing inside a run can be interrupted: so while
// short deadlines are live, what takes long is not staged, batches stay short, and a lane is kept for what is short: the
// express lane, one more than there are cores, or one of the others where there is none or it was measured too slow.
//
// Who awaits one answer before the next question keeps one core busy, and the others idle. Where that was seen for a
// while, and threads were measured to pay, such a step runs on the wide lane, with a thread a core; as soon as anything
// else is there all go to the usual lanes.
import { Estimate } from "./estimate.ts";
import { Foresight } from "./foresight.ts";
import type { SavedForesight } from "./foresight.ts";
import { costOf, endOf, isUsual, Lanes, soonest, stalledMs, stateOf, UNKNOWN_MS } from "./lanes.ts";
import type { Chance, SavedLanes } from "./lanes.ts";
import type { Decision, Event, LaneView, Step } from "./protocol.ts";
import { firstOf, Queue } from "./queue.ts";
import type { Group, SavedQueue, Waiting } from "./queue.ts";
import { Urgency } from "./urgency.ts";
import type { SavedUrgency } from "./urgency.ts";
import { whyStart } from "./why.ts";

/** What a scheduler is told once. */
export interface Settings {
  /** A request that was not served for so long counts as one priority higher, in ms. */
  readonly ageingMs: number;
  /** How many steps may wait. */
  readonly maxSize: number;
}

/** A scheduler as it is written down for a trace: plain data, and Maps of it. */
export interface SavedScheduler extends SavedLanes {
  readonly settings: Settings;
  readonly estimate: string;
  readonly runs: number;
  readonly queue: SavedQueue;
  readonly wastedMs: ReadonlyMap<number, number>;
  readonly nextBatch: number;
  readonly alone: number;
  readonly short: SavedUrgency;
  /** Not in traces of before it was learnt. */
  readonly foresight?: SavedForesight | undefined;
  readonly wakeMs: number;
}

/** A lane that was picked for a step. */
interface Pick {
  readonly chance: Chance;
  /** When a batch there must be through to be worth it: the lane that it is spared would be through with all then. */
  readonly latestMs: number;
}

/** A batch that could still grow is staged only so long before its lane is free. */
const STAGE_MS = 5;
/** A lane is not told again to load a model for so long: it may not be able to. */
const WARM_MS = 10_000;
/** The wide lane only makes things faster: what it can't keep in memory it is not told so often. */
const WARM_WIDE_MS = 60_000;
/** After so many starts in a row that found nothing else waiting or running, work is one stream. */
const ALONE_STARTS = 8;

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
  readonly #lanes: Lanes;
  readonly #urgency: Urgency;
  readonly #foresight: Foresight = new Foresight();
  /** How much work of a model was staged beside a lane that idles without it, in ms. */
  #wastedMs: Map<number, number> = new Map();
  #nextBatch = 1;
  /** How many starts in a row found nothing else waiting or running. */
  #alone = 0;

  constructor(settings: Settings, estimate: Estimate) {
    this.#settings = settings;
    this.#estimate = estimate;
    this.#queue = new Queue(settings.ageingMs);
    this.#lanes = new Lanes(estimate);
    this.#urgency = new Urgency(estimate);
  }

  /** Goes on from what `save` wrote. */
  static restore(saved: SavedScheduler): Scheduler {
    const { settings, estimate, runs, queue, wastedMs, nextBatch, alone, short, foresight, wakeMs } = saved;
    const scheduler = new Scheduler(settings, new Estimate(estimate, runs));
    scheduler.#queue.restore(queue);
    scheduler.#lanes.restore(saved);
    scheduler.#urgency.restore(short);
    if (foresight !== undefined) scheduler.#foresight.restore(foresight);
    scheduler.#wastedMs = new Map(wastedMs);
    scheduler.#nextBatch = nextBatch;
    scheduler.#alone = alone;
    scheduler.wakeMs = wakeMs;
    return scheduler;
  }

  /** Writes down all that it goes by: what is told from here on is decided the same way by what `restore` gives. */
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
      foresight: this.#foresight.save(),
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
    this.#urgency.pass(now);
    if (type === "arrived") this.#arrive(event.step, event.isAgain, now, lanes, out);
    else if (type === "cancelled") this.#cancel(event.id, now, out);
    else if (type === "ended") this.#lanes.end(event.lane, event.batch, event.ms, now);
    else if (type === "loaded") this.#lanes.loaded(event.modelId, event.ms);
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
      // A state has one step at a time, and none that it may leave out.
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
    this.#enqueue(step, now);
  }

  #enqueue(step: Step, now: number): void {
    const { places, rows, shape, batching } = step;
    const [{ key }] = places;
    const together =
      shape === null ? rows : Math.max(rows, this.#estimate.rows(key, batching.maxBatchSize, shape, now));
    this.#queue.add(step, ((this.#estimate.ms(key, together) ?? 0) * rows) / together, now);
  }

  #cancel(id: number, now: number, out: Decision[]): void {
    const waiting = this.#queue.get(id);
    if (waiting !== undefined) this.#queue.remove(waiting);
    this.#foresight.forget(id);
    for (const [lane, [running, staged]] of this.#lanes.batches) {
      staged?.steps.delete(id);
      if (
        running?.steps.delete(id) === true &&
        running.steps.size === 0 &&
        running.preempt &&
        this.#estimate.ms(running.key, 1) !== undefined &&
        this.#queue.size > 0 &&
        endOf(running, now) - now > this.#lanes.loadOf(running.place)
      )
        out.push({ type: "end", lane });
    }
  }

  #tick(now: number, lanes: readonly LaneView[], out: Decision[]): void {
    this.wakeMs = Infinity;
    this.#dropLate(now, out);
    this.#withdraw(now, lanes, out);
    const usual = lanes.filter(({ kind }) => kind === "usual");
    const passed = new Set<Group>();
    const kept = new Set<LaneView>();
    for (let next; (next = this.#queue.next(now, passed)) !== undefined;) {
      const { step, group } = next;
      if (this.#lanes.areFull(usual)) {
        if (this.#lanes.areFull(lanes)) return;
        // Only what has a deadline is for the express lane.
        if (step.dueMs === Infinity) {
          passed.add(group);
          continue;
        }
      }
      const open = kept.size === 0 ? lanes : lanes.filter((lane) => !kept.has(lane));
      const chances = this.#lanes.chances(step, now, open);
      const pick = this.#choose(next, chances, now, out);
      if (pick !== undefined && !this.#waitsForMore(next, pick.chance, now))
        this.#start(next, this.#widen(step, pick, chances, now, out), chances, now, out);
      else {
        passed.add(group);
        // What grows meanwhile must not lose its place to what is less urgent.
        if (pick !== undefined && pick.chance.batches.length > 0) kept.add(pick.chance.lane);
      }
    }
  }

  /** What is late, or would be if it began now, is dropped; where it is to be finished late, it no longer hurries. */
  #dropLate(now: number, out: Decision[]): void {
    for (const group of this.#queue.groups)
      while (group.steps.size > 0) {
        const first = firstOf(group);
        const { step, id, dueMs, costMs } = first;
        if (dueMs === Infinity) break;
        const soonestMs = this.#lanes.soonestMs(step, now);
        if (now + soonestMs <= dueMs) {
          this.#wakeAt(dueMs + 1);
          break;
        }
        this.#queue.remove(first);
        this.#foresight.waited(step, now - step.arrivedMs);
        if (!step.isRefusable) this.#queue.add({ ...step, dueMs: Infinity }, costMs, now);
        else out.push({ type: "reject", id, code: "deadline-exceeded", expected: now + soonestMs - step.arrivedMs });
      }
  }

  /** Rejects what is staged past its deadline, and queues what is staged behind a stalled run for other lanes again. */
  #withdraw(now: number, lanes: readonly LaneView[], out: Decision[]): void {
    for (const [lane, [running, staged]] of this.#lanes.batches) {
      if (running === undefined || staged === undefined || staged.steps.size === 0) continue;
      for (const { id, dueMs, isRefusable, arrivedMs } of staged.steps.values())
        if (isRefusable && dueMs < now) {
          staged.steps.delete(id);
          const expected = endOf(running, now) + staged.ms - arrivedMs;
          out.push({ type: "reject", id, code: "deadline-exceeded", expected });
        } else if (isRefusable) this.#wakeAt(dueMs + 1);
      const fromMs = stalledMs(running);
      if (fromMs > now) {
        this.#wakeAt(fromMs);
        continue;
      }
      const isElsewhere = (x: Chance): boolean =>
        isUsual(x) && x.lane.id !== lane && (x.batches[0] === undefined || stalledMs(x.batches[0]) > now);
      const ids = [...staged.steps.values()]
        .filter((step) => step.state === undefined && this.#lanes.chances(step, now, lanes).some(isElsewhere))
        .map(({ id }) => id);
      if (ids.length === 0) continue;
      for (const id of ids) {
        this.#enqueue(staged.steps.get(id) as Step, now);
        staged.steps.delete(id);
      }
      out.push({ type: "withdraw", lane, batch: staged.id, ids });
    }
  }

  /** Has time alone lead to a tick. */
  #wakeAt(ms: number): void {
    this.wakeMs = Math.min(this.wakeMs, ms);
  }

  /** Picks the lane where a step is through first; undefined where it is to wait. */
  #choose(waiting: Waiting, chances: readonly Chance[], now: number, out: Decision[]): Pick | undefined {
    const { step } = waiting;
    const usual = chances.filter(isUsual);
    let best = soonest(usual);
    // A lane that is full takes it later than it can tell: what is more urgent may come in between.
    const isFull = (best?.batches.length ?? 2) > 1;
    const express = this.#express(step, chances, isFull ? Infinity : (best?.endMs ?? Infinity), now, out);
    if (express?.isCold === false && express.batches.length < 2) return { chance: express, latestMs: Infinity };
    let latestMs = Infinity;
    if (best !== undefined && best.batches.length > 1) {
      // The lane is full. The last of those that wait for it may be through sooner on a slower one.
      latestMs = best.endMs + this.#restMs(waiting, best, now);
      best = soonest(usual.filter((x) => x.batches.length < 2 && costOf(x) < latestMs));
    }
    if (best === undefined || !this.#urgency.leavesRoom(step, best, chances, now)) return undefined;
    return { chance: best, latestMs };
  }

  /** How long a lane takes for all that waits beside a step, in batches of the size that is cheapest. */
  #restMs({ step, group }: Waiting, { key, ms }: Chance, now: number): number {
    const rows = (group.steps.size - 1) * step.rows;
    if (step.shape === null || rows < 1) return (group.steps.size - 1) * ms;
    const most = Math.min(step.batching.maxBatchSize, rows);
    const together = Math.max(1, this.#estimate.rows(key, most, step.shape, now));
    return (rows / together) * (this.#estimate.ms(key, together) ?? ms);
  }

  /** Gives the express lane where a step is short enough for it and would be late elsewhere; starts it where it is off. */
  #express(step: Step, chances: readonly Chance[], endMs: number, now: number, out: Decision[]): Chance | undefined {
    if (endMs <= step.dueMs || !this.#urgency.isUrgent(step)) return undefined;
    const express = chances.find(({ lane, ms }) => lane.kind === "express" && !this.#urgency.isLong(ms));
    if (express === undefined || endMs <= express.endMs) return undefined;
    if (express.isCold) this.#warm(step, express, now, out);
    return express;
  }

  /** Gives a step of a single stream the wide lane where that is worth it; has the model loaded there, where it is not. */
  #widen(step: Step, pick: Pick, chances: readonly Chance[], now: number, out: Decision[]): Pick {
    this.#alone = this.#isQuiet(1) ? this.#alone + 1 : 0;
    const { chance } = pick;
    // A state stays where it is; and what is urgent must find a core, not only a lane.
    if (this.#alone <= ALONE_STARTS || step.state !== undefined || !this.#urgency.isUrgent(step)) return pick;
    const wide = chances.find(({ lane }) => lane.kind === "wide" && lane.backend === chance.lane.backend);
    if (wide === undefined || !isUsual(chance) || !this.#lanes.isForWide(step, chance, wide, now)) return pick;
    if (!wide.isCold) return { chance: wide, latestMs: Infinity };
    this.#warm(step, wide, now, out, WARM_WIDE_MS);
    return pick;
  }

  /** Tells whether nothing runs or is staged, and no more than so many steps wait. */
  #isQuiet(waiting: number): boolean {
    return this.#queue.size <= waiting && this.#lanes.areIdle;
  }

  #warm({ id }: Step, { lane, place }: Chance, now: number, out: Decision[], everyMs: number = WARM_MS): void {
    const what = lane.id + place.key;
    if (this.#lanes.sinceMs(what, now) < everyMs) return;
    this.#lanes.note(what, now);
    out.push({ type: "warm", lane: lane.id, id, place });
  }

  /** Tells whether a step is to wait for others: on a free lane as long as the model allows, on a busy one till it is nearly free. */
  #waitsForMore({ step, group }: Waiting, { key, freeMs, batches }: Chance, now: number): boolean {
    const { rows, shape, batching, arrivedMs, dueMs } = step;
    const untilMs = batches.length > 0 ? freeMs - STAGE_MS : arrivedMs + batching.maxQueueDelayMs;
    if (shape === null || untilMs <= now) return false;
    const wanted = this.#estimate.rows(key, batching.maxBatchSize, shape, now);
    const endMs = untilMs + (this.#estimate.ms(key, wanted) ?? UNKNOWN_MS);
    if (group.steps.size * rows >= wanted || endMs > dueMs) return false;
    this.#wakeAt(untilMs);
    return true;
  }

  #start(waiting: Waiting, pick: Pick, chances: readonly Chance[], now: number, out: Decision[]): void {
    const { lane, place, key, isCold, freeMs, endMs, ms: aloneMs } = pick.chance;
    const { step, group } = waiting;
    const wanted = this.#wantedRows(waiting, pick, chances, now);
    const steps = new Map<number, Step>();
    let { dueMs, preempt } = step;
    let rows = 0;
    let ms = 0;
    let firstMs = now;
    for (let next: Waiting | undefined = waiting; next !== undefined;) {
      const withNext = this.#estimate.ms(key, rows + next.step.rows) ?? aloneMs;
      dueMs = Math.min(dueMs, next.dueMs);
      if (rows > 0 && (rows + next.step.rows > wanted || endMs - aloneMs + withNext > dueMs)) break;
      this.#queue.serve(next, withNext - ms, freeMs + withNext);
      this.#foresight.waited(next.step, freeMs - next.step.arrivedMs);
      rows += next.step.rows;
      ms = withNext;
      preempt &&= next.step.preempt;
      steps.set(next.id, next.step);
      firstMs = Math.min(firstMs, next.step.arrivedMs);
      if (step.shape === null) break;
      next = group.steps.first() ?? this.#queue.peer(group);
    }
    const why = whyStart({
      now,
      chosen: pick.chance,
      options: chances,
      hasState: step.state !== undefined && stateOf(step, pick.chance) === step.state.after,
      shape: step.shape,
      count: steps.size,
      rows,
      firstMs,
      hasPeer: step.shape !== null && this.#queue.peer(group) !== undefined,
      bestRows: this.#estimate.rows(key, step.batching.maxBatchSize, step.shape, now),
      idleLanes: idleLanes(pick.chance, chances),
      msOf: (n) => this.#estimate.ms(key, n),
    });
    if (isCold) ms += this.#lanes.loadOf(place);
    const id = this.#nextBatch++;
    this.#lanes.add(lane.id, { id, place, key, rows, shape: step.shape, ms, startMs: freeMs, steps, preempt }, now);
    out.push({ type: "start", batch: id, lane: lane.id, place, ids: [...steps.keys()], ms, why });
    this.#warmBetter(step, chances, rows, freeMs + ms, now, out);
  }

  /**
   * Has a lane that idles without the model load it once as much time was lost as that costs: by batches that ended later
   * than they would have there, behind others or on a slower backend.
   */
  #warmBetter(step: Step, chances: readonly Chance[], rows: number, endMs: number, now: number, out: Decision[]): void {
    for (const cold of chances) {
      if (!cold.isCold || cold.batches.length > 0 || !isUsual(cold)) continue;
      const { place, freeMs, ms } = cold;
      const isPreferred = place.backend === step.places[0].backend;
      const warmMs = this.#estimate.ms(place.key, rows) ?? (isPreferred ? 0 : ms);
      const lostMs = endMs - freeMs - warmMs;
      if (lostMs <= 0) continue;
      const wastedMs = (this.#wastedMs.get(place.modelId) ?? 0) + lostMs;
      const isEnough = wastedMs > this.#lanes.loadOf(place);
      this.#wastedMs.set(place.modelId, isEnough ? 0 : wastedMs);
      if (isEnough) this.#warm(step, cold, now, out);
      return;
    }
  }

  /** How many rows are to run together: what is cheapest a row, shared among the lanes that idle, and soon enough. */
  #wantedRows({ group, step }: Waiting, { chance, latestMs }: Pick, chances: readonly Chance[], now: number): number {
    const { shape, rows, dueMs, batching } = step;
    if (shape === null) return rows;
    const { maxBatchSize, preferredBatchSizes } = batching;
    const { key, endMs, ms } = chance;
    const waiting = this.#queue.count(group) * rows;
    const idle = idleLanes(chance, chances) || 1;
    let wanted = this.#estimate.rows(key, Math.min(maxBatchSize, Math.ceil(waiting / idle)), shape, now);
    wanted = Math.max(0, ...preferredBatchSizes.filter((size) => size <= wanted)) || wanted;
    const mostMs = Math.min(Math.min(dueMs, latestMs) - endMs + ms, this.#urgency.batchMs);
    while (wanted > rows && (this.#estimate.ms(key, wanted) ?? 0) > mostMs) wanted = Math.floor(wanted / 2);
    return wanted;
  }

  /** Returns when a step that arrives would end: what is more urgent spread over the lanes, then the step itself. */
  #endOf(step: Step, now: number, lanes: readonly LaneView[], out: Decision[]): number {
    const [{ key, modelId }] = step.places;
    const leastMs = this.#lanes.soonestMs(step, now);
    if (leastMs === 0) return now;
    const chances = this.#lanes.chances(step, now, lanes);
    const usual = chances.filter(isUsual);
    const best = soonest(usual.filter(({ batches }) => batches.length === 0));
    if (usual.length === 0) return now;
    if (best !== undefined && best.endMs <= step.dueMs) return best.endMs;
    let inLine = 0;
    for (const group of this.#queue.groups)
      if (group.modelId === modelId) {
        inLine = group.steps.size;
        break;
      }
    const aloneMs = this.#estimate.ms(key, step.rows) ?? leastMs;
    const together = this.#estimate.rows(key, Math.min(step.batching.maxBatchSize, inLine + 1), step.shape, now);
    const moreMs = Math.max(0, (this.#estimate.ms(key, together) ?? aloneMs) - aloneMs);
    const isUrgent = this.#urgency.isUrgent(step);
    const aheadMs = this.#queue.aheadMs(step);
    // Lanes on which the step would be late even if nothing else waited take none of what is due sooner either.
    const able = usual.filter(({ endMs }) => endMs <= step.dueMs);
    const endAfter = (ms: number): number => {
      const startMs = filledMs(able, aloneMs, ms);
      return Math.min(...(able.length > 0 ? able : usual).map((x) => Math.max(x.endMs, startMs + x.ms))) + moreMs;
    };
    const endMs = endAfter(isUrgent ? aheadMs : aheadMs * this.#foresight.times(step));
    if (!isUrgent && endMs <= step.dueMs) this.#foresight.told(step, filledMs(able, aloneMs, aheadMs) - now);
    const express = this.#express(step, chances, endMs, now, out);
    return express === undefined ? endMs : Math.min(endMs, express.endMs + inLine * express.ms);
  }
}

/**
 * When lanes have done so much work, those that are free first before the others: they fill up like vessels, each by its
 * speed. The work is in ms of a lane on which a step takes `aloneMs`. 0 where there are no lanes.
 */
function filledMs(chances: readonly Chance[], aloneMs: number, aheadMs: number): number {
  const lanes = [...chances].sort((a, b) => a.freeMs - b.freeMs);
  let leftMs = aheadMs;
  let speed = 0;
  for (const [i, { freeMs, ms }] of lanes.entries()) {
    speed += aloneMs / ms;
    const roomMs = ((lanes[i + 1]?.freeMs ?? Infinity) - freeMs) * speed;
    if (leftMs <= roomMs) return freeMs + leftMs / speed;
    leftMs -= roomMs;
  }
  return 0;
}

/** Counts the lanes like one that idle and hold the model. */
function idleLanes({ key }: Chance, chances: readonly Chance[]): number {
  let count = 0;
  for (const x of chances) if (x.key === key && !x.isCold && x.batches.length === 0) count += 1;
  return count;
}
