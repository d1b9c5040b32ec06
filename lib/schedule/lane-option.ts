// Lanes on which a step may run, and its estimated finish there: plain data and functions of it.
import type { LaneView, Route, ScheduledStep } from "./events.ts";

/** Steps that run together on a lane, or are staged there. */
export interface Batch {
  readonly id: number;
  readonly route: Route;
  readonly key: string;
  readonly rows: number;
  /** Batch key of its steps, null where they run alone; not in older traces. */
  readonly shape?: string | null | undefined;
  /** Its estimated duration. */
  readonly ms: number;
  /** When it began, or is expected to begin where it is staged. */
  startMs: number;
  /** Its steps by id, without those that were cancelled or withdrawn. */
  readonly steps: Map<number, ScheduledStep>;
  /** Whether all of its steps allow a cancel to end the lane's worker. */
  readonly preempt: boolean;
  /** Whether its lane is still loading the model for it, or has to; not in older traces. */
  isLoading?: boolean | undefined;
  /**
   * Whether it is a trial, of a step that was not expected to meet its deadline, or whose answer by a server was expected
   * sooner; not in older traces.
   */
  readonly isTrial?: boolean | undefined;
  /** The earliest expected finish on a server, its cost included; Infinity where there is none; not in older traces. */
  readonly serverMs?: number | undefined;
}

/** A lane on which a step may run, and its estimated finish there. */
export interface LaneOption {
  readonly lane: LaneView;
  readonly route: Route;
  readonly key: string;
  /** When the lane is free. */
  readonly freeMs: number;
  /** Time of the step there, without loading its model. */
  readonly ms: number;
  /** The least time of the last runs. */
  readonly leastMs: number;
  readonly endMs: number;
  /** Whether the model must be loaded first: neither the lane nor its batches have it. */
  readonly isCold: boolean;
  /** Time of that load; 0 where the model is loaded, or comes with a batch of the lane. */
  readonly loadMs: number;
  /** Batches of the lane: none, one, or one and a staged one. */
  readonly batches: readonly Batch[];
}

/** Two workers that start at once on two cores were measured to take half as long again as one. */
const LOAD_PART = 0.25;
/** A run is stalled after so many times its estimate, and at least so long. */
const STALLED_TIMES = 4;
const STALLED_MIN_MS = 1_000;
/** A load that takes longer is stalled: another lane loads the model too, at any cost in memory. */
const LOAD_STALLED_MS = 20_000;

/** Until when a batch may run before it counts as stalled. */
export function stalledMs({ startMs, ms }: Batch): number {
  return startMs + Math.max(STALLED_TIMES * ms, STALLED_MIN_MS);
}

/** Whether a step of a batch whose lane is still loading its model would finish sooner on another lane. */
export function isSooner(x: LaneOption, loading: Batch, now: number): boolean {
  return costOf(x) < endOf(loading, now) && (!x.isCold || now - loading.startMs > LOAD_STALLED_MS);
}

/** Whether a lane is neither the express lane nor the wide one. */
export function isUsual({ lane: { kind } }: { readonly lane: Pick<LaneView, "kind"> }): boolean {
  return kind === "usual";
}

/** Estimated end of a batch that begins at `fromMs` at the latest; an overdue one takes part of its time again. */
export function endOf({ startMs, ms }: Batch, fromMs: number): number {
  const beganMs = Math.min(startMs, fromMs);
  return beganMs + ms >= fromMs ? beganMs + ms : fromMs + (fromMs - beganMs) / 4;
}

/**
 * Returns the lane with the earliest finish; among equal ones the one with the least work. A lane that loads slows
 * those that run or load in parallel, so it must be earlier by a part of the load.
 */
export function soonest(options: readonly LaneOption[]): LaneOption | undefined {
  let best: LaneOption | undefined;
  for (const option of options)
    if (best === undefined || (costOf(option) - costOf(best) || option.batches.length - best.batches.length) < 0)
      best = option;
  return best;
}

/** Finish of a step on a lane if it takes as little as the shortest of the last runs. */
export function earliestMs({ freeMs, loadMs, leastMs }: LaneOption): number {
  return freeMs + loadMs + leastMs;
}

/** Estimated finish of a step on a lane, plus a part of the load time there and the cost of its route. */
export function costOf({ endMs, loadMs, route }: LaneOption): number {
  return endMs + LOAD_PART * loadMs + (route.costMs ?? 0);
}

/** Returns the lane that holds a step's recurrent state as of the previous step; empty where there is none. */
export function homeOf(step: ScheduledStep, lanes: readonly LaneView[]): string {
  const { state, routes } = step;
  if (state === undefined) return "";
  const isKept = (lane: LaneView) => (route: Route) =>
    route.backend === lane.backend && stateOf(step, { lane, route }) === state.after;
  return lanes.find((lane) => routes.some(isKept(lane)))?.id ?? "";
}

/** Returns the mark of a state's last step on a lane. */
export function stateOf(
  { state }: ScheduledStep,
  { lane, route }: Pick<LaneOption, "lane" | "route">,
): number | undefined {
  return lane.held.get(route.modelId)?.states.get(state?.id ?? -1);
}

/** Whether the model runs or is staged on the lane. */
export function runs({ batches, route }: LaneOption): boolean {
  return batches.some((batch) => batch.route.modelId === route.modelId);
}

/** Counts the recurrent states that the lane holds. */
export function countStates({ lane: { held } }: LaneOption): number {
  let count = 0;
  for (const { states } of held.values()) count += states.size;
  return count;
}
