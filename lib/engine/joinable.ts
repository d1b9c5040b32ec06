// Which request in flight another one with the same inputs may wait for: one that is as urgent, and that is rejected in time
// where the other one would be. Used by coalesce.ts, and by engine/result-cache.ts for answers that are kept.
import { isSelvedgeError } from "../core/errors.ts";

/** How urgent a request is. */
export interface Urgency {
  /** 0 is the most urgent. */
  readonly priority: number;
  /** Infinity where there is no deadline. */
  readonly dueMs: number;
  /** Whether it is rejected where it can't be on time; one that is finished late loses its place in the queue. */
  readonly isRefusable: boolean;
  /** Whether its cancel may end a worker. */
  readonly preempts: boolean;
}

/** Tells whether one request may wait for the answer of another one. */
export function mayJoin(running: Urgency, asked: Urgency): boolean {
  const isNeverLate = running.isRefusable || running.dueMs === Infinity;
  const mayBeLate = !asked.isRefusable && asked.dueMs < Infinity;
  return (
    running.priority <= asked.priority &&
    running.dueMs <= asked.dueMs &&
    (isNeverLate || mayBeLate) &&
    (running.preempts || !asked.preempts)
  );
}

/** Tells whether a request failed for a reason of its own (a cancel, its deadline, a full queue), and not of its run. */
export function isOwnFailure(error: unknown): boolean {
  return !isSelvedgeError(error) || error.code === "deadline-exceeded" || error.code === "overloaded";
}
