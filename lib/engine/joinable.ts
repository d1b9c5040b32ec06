// Rules for joining a request in flight with the same inputs: it must be as urgent, and be rejected in time where the
// new request would be. Used by coalesce.ts, and by engine/result-cache.ts for cached answers.
import { isSelvedgeError } from "../core/errors.ts";

/** Urgency of a request. */
export interface Urgency {
  /** 0 is the most urgent. */
  readonly priority: number;
  /** Infinity where there is no deadline. */
  readonly dueMs: number;
  /**
   * Whether it is rejected if it can't meet its deadline; otherwise it loses its place in the queue and finishes late.
   */
  readonly isRefusable: boolean;
  /** Whether cancelling it may end a worker. */
  readonly preempts: boolean;
}

/** Whether one request may wait for the answer of another one. */
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

/** Whether a request failed for its own reason (a cancel, its deadline, a full queue), and not because of its run. */
export function isOwnFailure(error: unknown): boolean {
  return !isSelvedgeError(error) || error.code === "deadline-exceeded" || error.code === "overloaded";
}
