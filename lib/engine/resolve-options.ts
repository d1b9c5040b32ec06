// Options of a run with their defaults, as the stages of a request read them.
import type { Signal } from "../core/abort.ts";
import type { Placement } from "../core/device.ts";
import type { Urgency } from "./joinable.ts";
import type { AskOptions } from "./options.ts";
import { PRIORITIES } from "../schedule/events.ts";

/** Urgency, signal and time of a request. */
export interface ResolvedOptions extends Urgency {
  /** Time of the call, from which the deadline counts. */
  readonly calledMs: number;
  /** Infinity where there is none. */
  readonly deadlineMs: number;
  readonly signal: Signal | undefined;
  /** Where it may run; undefined for the model's own placement. */
  readonly placement: Placement | undefined;
}

/** Applies the defaults to checked options. */
export function resolveOptions(options: AskOptions, calledMs: number): ResolvedOptions {
  const { priority = "normal", deadlineMs = Infinity, onLate, preempt = false, signal, placement } = options;
  return {
    priority: PRIORITIES.indexOf(priority),
    calledMs,
    deadlineMs,
    dueMs: calledMs + deadlineMs,
    isRefusable: onLate !== "finish",
    preempts: preempt,
    signal,
    placement,
  };
}
