// Chooses the lane on which a step starts, and until when it waits there for others to join it.
import { isServer } from "../core/device.ts";
import { costOf, earliestMs, isUsual, soonest } from "./lane-option.ts";
import type { LaneOption } from "./lane-option.ts";
import type { Estimate } from "./cost-estimate.ts";
import type { Decision, ScheduledStep } from "./events.ts";
import type { LanePick } from "./form-batch.ts";
import { UNKNOWN_MS } from "./lane-state.ts";
import type { LiveDeadlines } from "./live-deadlines.ts";
import type { Queue, WaitingStep } from "./queue.ts";
import type { WarmUps } from "./warm-ups.ts";

/**
 * A batch that could still grow is staged only this long before its lane is free; one with a deadline, a quarter of the
 * lane's run at most: where runs are short, one with an earlier deadline may arrive until then.
 */
const STAGE_MS = 5;

/** Chooses lanes by their estimated finish. */
export class LaneChooser {
  readonly #estimate: Estimate;
  readonly #queue: Queue;
  readonly #urgency: LiveDeadlines;
  readonly #warmUps: WarmUps;

  constructor(estimate: Estimate, queue: Queue, urgency: LiveDeadlines, warmUps: WarmUps) {
    this.#estimate = estimate;
    this.#queue = queue;
    this.#urgency = urgency;
    this.#warmUps = warmUps;
  }

  /**
   * Picks the lane with the earliest finish for a step, or another lane for a later step of its group; undefined where
   * the step has to wait. On the route whose key is `tried` it runs whatever its estimate.
   */
  choose(
    waiting: WaitingStep,
    options: readonly LaneOption[],
    tried: string | undefined,
    now: number,
    out: Decision[],
  ): LanePick | undefined {
    const { step } = waiting;
    const usual = options.filter(isUsual);
    const idle = soonest(usual.filter((x) => x.route.key === tried && x.batches.length === 0));
    const trial = idle && this.#urgency.leavesRoom(step, idle, options, now) ? idle : undefined;
    const best = this.#best(step, usual, trial);
    // The finish on a full lane is unknown: more urgent work may come in between. Behind a long run it is not known as
    // well as a short deadline asks for.
    const isFull = best === undefined || best.batches.length > 1;
    const isUnsure = isFull || best.batches.some(({ ms }) => this.#urgency.isLong(ms));
    const express = this.express(step, options, isUnsure ? Infinity : best.endMs, now, out);
    if (express?.isCold === false && express.batches.length < 2)
      return { waiting, option: express, latestMs: Infinity };
    if (best === undefined) return undefined;
    // Work that has aged past others is not held back for their deadlines.
    const { level, priority } = waiting.group;
    const hasRoom = level < priority || this.#urgency.leavesRoom(step, best, options, now);
    if (!isFull && !isTaken(step, best, now)) {
      if (!hasRoom) return undefined;
      const first = this.#fitting(waiting, best, tried);
      if (first !== undefined) return { waiting: first, option: best, latestMs: Infinity };
      return trial ? { waiting, option: trial, latestMs: Infinity } : this.#lastOption(waiting, options, now);
    }
    // The lane is busy. The last of the steps queued for it may finish sooner on a slower lane.
    const latestMs = best.endMs + this.#restMs(waiting, best, now);
    const other = soonest(usual.filter((x) => x.batches.length < 2 && !isTaken(step, x, now) && costOf(x) < latestMs));
    const behind = other && this.#fitting(waiting, other, tried);
    if (other !== undefined && behind !== undefined && this.#urgency.leavesRoom(step, other, options, now))
      return { waiting: behind, option: other, latestMs };
    if (best.endMs > step.dueMs) {
      if (trial !== undefined) return { waiting, option: trial, latestMs: Infinity };
      const last = this.#lastOption(waiting, options, now);
      if (last !== undefined) return last;
    }
    return isFull || !hasRoom ? undefined : { waiting, option: best, latestMs: Infinity };
  }

  /**
   * Returns the lane with the least cost. Where that one may be late, by a high quantile of its last runs, a server that is
   * not, whatever its cost. Instead of a server the idle lane where the cost is to be measured, even if it may be late:
   * else a device whose cost is unknown, or was bad once, would never get work again.
   */
  #best(
    { dueMs, rows }: ScheduledStep,
    usual: readonly LaneOption[],
    trial: LaneOption | undefined,
  ): LaneOption | undefined {
    let best = soonest(usual);
    if (best && best.endMs - best.ms + this.#highMs(best, rows) > dueMs)
      best = soonest(usual.filter((x) => isServer(x.route) && x.batches.length < 2 && x.endMs <= dueMs)) ?? best;
    return best && isServer(best.route) ? (trial ?? best) : best;
  }

  /**
   * Returns an idle lane for the last step of a group that is expected to be late everywhere, where one of the last runs
   * was short enough for it: rejected, it would be late for sure, and nobody would learn that a slow while is over.
   */
  #lastOption({ group }: WaitingStep, options: readonly LaneOption[], now: number): LanePick | undefined {
    const waiting = group.steps.at(group.steps.size - 1) as WaitingStep;
    const { step } = waiting;
    const option = soonest(options.filter((x) => isUsual(x) && x.batches.length === 0 && earliestMs(x) <= step.dueMs));
    return option && this.#urgency.leavesRoom(step, option, options, now)
      ? { waiting, option, latestMs: Infinity }
      : undefined;
  }

  /**
   * Returns the first step of a group that a lane finishes in time; the first of all where its cost is to be measured.
   */
  #fitting(waiting: WaitingStep, option: LaneOption, tried: string | undefined): WaitingStep | undefined {
    const { step, group } = waiting;
    const { endMs, ms, route } = option;
    if (route.key === tried) return waiting;
    const startMs = endMs - ms;
    // If the high quantile fits none, the first that is in time by the median.
    return (
      group.steps.at(group.steps.from(startMs + this.#highMs(option, step.rows))) ??
      group.steps.at(group.steps.from(startMs + ms))
    );
  }

  /** A high quantile of the last runs on a lane. */
  #highMs({ key, ms }: LaneOption, rows: number): number {
    return this.#estimate.highMs(key, rows) ?? ms;
  }

  /** Time of a lane for all steps of a group but this one, in batches of the cheapest size. */
  #restMs({ step, group }: WaitingStep, { key, ms }: LaneOption, now: number): number {
    const rows = (group.steps.size - 1) * step.rows;
    if (step.shape === null) return (group.steps.size - 1) * ms;
    const most = Math.min(step.batching.maxBatchSize, rows);
    const together = Math.max(1, this.#estimate.rows(key, most, step.shape, now));
    return (rows / together) * (this.#estimate.ms(key, together) ?? ms);
  }

  /**
   * Returns the express lane where a step is short enough for it and would be late elsewhere, by an estimated finish that is
   * Infinity where it is not known; starts its worker if needed.
   */
  express(
    step: ScheduledStep,
    options: readonly LaneOption[],
    endMs: number,
    now: number,
    out: Decision[],
  ): LaneOption | undefined {
    if (endMs <= step.dueMs || !this.#urgency.isUrgent(step)) return undefined;
    const express = options.find(({ lane, ms }) => lane.kind === "express" && !this.#urgency.isLong(ms));
    if (express === undefined || endMs <= express.endMs) return undefined;
    if (express.isCold) this.#warmUps.start(step, express, now, out);
    return express;
  }

  /**
   * Returns until when a step waits for others, 0 where it does not: on a free lane as long as the model allows, on a
   * busy one until it is nearly free.
   */
  waitsUntil({ step, group }: WaitingStep, option: LaneOption, now: number): number {
    const { key, batches } = option;
    const { rows, shape, batching, arrivedMs, dueMs } = step;
    const untilMs = batches.length > 0 ? stagedMs(step, option) : arrivedMs + batching.maxQueueDelayMs;
    if (untilMs <= now) return 0;
    // A step with an earlier deadline may arrive until then.
    if (isTaken(step, option, now)) return untilMs;
    if (shape === null) return 0;
    const wanted = this.#estimate.rows(key, batching.maxBatchSize, shape, now);
    const endMs = untilMs + (this.#estimate.ms(key, wanted) ?? UNKNOWN_MS);
    if (this.#queue.count(group) * rows >= wanted || endMs > dueMs) return 0;
    return untilMs;
  }
}

/**
 * Whether a lane is busy for so long that a step with a deadline is not staged there yet: one with an earlier deadline
 * may arrive.
 */
export function isTaken(step: ScheduledStep, option: LaneOption, now: number): boolean {
  return step.dueMs < Infinity && stagedMs(step, option) > now;
}

/** Returns when a step may be staged on a lane: at once on a free one. */
function stagedMs({ dueMs }: ScheduledStep, { batches: [run], freeMs }: LaneOption): number {
  return run ? freeMs - Math.min(STAGE_MS, dueMs < Infinity ? run.ms / 4 : STAGE_MS) : 0;
}
