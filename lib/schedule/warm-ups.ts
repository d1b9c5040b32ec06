// Preloads models onto lanes. A lane preloads a model if it would have finished a request earlier, or would have met a
// deadline that no other lane meets, with the model loaded.
import type { LaneOption } from "./lane-option.ts";
import { isUsual } from "./lane-option.ts";
import type { Estimate } from "./cost-estimate.ts";
import type { Decision, ScheduledStep } from "./events.ts";
import { remember } from "./lane-state.ts";
import type { LaneStates } from "./lane-state.ts";

/** A batch that was started, or a step that was rejected, to compare with lanes that might have been faster. */
export interface Started {
  readonly step: ScheduledStep;
  readonly options: readonly LaneOption[];
  /** Backend on which it was started; null for one that was rejected. */
  readonly backend: LaneOption["lane"]["backend"] | null;
  readonly rows: number;
  /** Its estimated end. */
  readonly endMs: number;
}

/** Minimum time between two commands to a lane to load a model: the lane may not be able to. */
const WARM_MS = 10_000;

/** Decides when lanes load models ahead of the work. */
export class WarmUps {
  readonly #estimate: Estimate;
  readonly #lanes: LaneStates;
  /** Work of a model that was staged or rejected while a lane without the model was idle, in ms. */
  #wastedMs: Map<number, number> = new Map();

  constructor(estimate: Estimate, lanes: LaneStates) {
    this.#estimate = estimate;
    this.#lanes = lanes;
  }

  /** Returns a snapshot. */
  save(): Map<number, number> {
    return new Map(this.#wastedMs);
  }

  /** Restores a snapshot. */
  restore(wastedMs: ReadonlyMap<number, number>): void {
    this.#wastedMs = new Map(wastedMs);
  }

  /** Loads the model of a queued step onto a lane, unless that was tried recently or the lane is not able to. */
  start(
    { id }: ScheduledStep,
    { lane, route }: LaneOption,
    now: number,
    out: Decision[],
    everyMs: number = WARM_MS,
  ): void {
    const what = lane.id + route.key;
    if (this.#lanes.sinceMs(what, now) < everyMs || this.#lanes.backOffs.has(lane.id, route.modelId, now)) return;
    this.#lanes.note(what, now);
    out.push({ type: "warm", lane: lane.id, id, route });
  }

  /**
   * Makes an idle lane without the model load it, once the time lost for lack of it exceeds the load time: batches that
   * ended later than they would have there, behind others or on a slower backend. The estimate of a preferred backend
   * that was never measured is 0; that of a lane of the same backend is this one's. A step with a deadline is not staged
   * behind others: where it is rejected, since no lane has time for it, its end is Infinity.
   */
  startBetter({ step, options, backend, rows, endMs }: Started, now: number, out: Decision[]): void {
    for (const cold of options) {
      if (!cold.isCold || cold.batches.length > 0 || !isUsual(cold)) continue;
      const { route, freeMs, ms } = cold;
      const isBetter = route.backend === step.routes[0].backend && route.backend !== backend;
      const warmMs = this.#estimate.ms(route.key, rows) ?? (isBetter ? 0 : ms);
      const lostMs = endMs - freeMs - warmMs - (route.costMs ?? 0);
      if (lostMs <= 0) continue;
      const wastedMs = (this.#wastedMs.get(route.modelId) ?? 0) + lostMs;
      const isEnough = wastedMs > this.#lanes.loadOf(route);
      remember(this.#wastedMs, route.modelId, isEnough ? 0 : wastedMs);
      if (isEnough) this.start(step, cold, now, out);
      return;
    }
  }
}
