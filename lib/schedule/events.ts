// Events and decisions of the scheduler: plain messages that can be cloned, so that it may run in another thread than
// its caller, and so that a trace of them can be replayed anywhere. Times in ms of the caller's clock.
import type { LaneKind } from "../core/device.ts";

/** Names of the priorities, the most urgent first; a step holds the index. */
export const PRIORITIES = ["interactive", "normal", "background"] as const;

/** Priority of a request. */
export type Priority = (typeof PRIORITIES)[number];

/** A variant on a backend that is loaded there or can be: where a step may run. */
export interface Route {
  readonly backend: string;
  /** The id under which lanes know the model. */
  readonly modelId: number;
  /** Identifies the model's bytes and the backend for the estimate: the same on every page load. */
  readonly key: string;
  /** By how many ms a step must finish sooner on it than on other routes; absent on this device, and in older traces. */
  readonly costMs?: number | undefined;
}

/** Limits on the batches of a model. */
export interface BatchLimits {
  /** Maximum number of rows in a batch. */
  readonly maxBatchSize: number;
  /** How long a step may wait on a free lane for others to join it. */
  readonly maxQueueDelayMs: number;
  /** Preferred batch sizes; empty for any. */
  readonly preferredBatchSizes: readonly number[];
}

/** The recurrent state that a step continues. */
export interface StateMark {
  readonly id: number;
  /** The mark of the previous step. */
  readonly after: number;
}

/** A step as it arrives. Ids ascend in order of arrival; a step that is retried keeps it. */
export interface ScheduledStep {
  readonly id: number;
  /** Routes on which it may run, the preferred one first. */
  readonly routes: readonly [Route, ...Route[]];
  /** 0 is interactive, 1 normal, 2 background. */
  readonly priority: number;
  readonly arrivedMs: number;
  /** Infinity where there is no deadline. */
  readonly dueMs: number;
  /** Whether it is rejected when it can't meet its deadline, and dropped when it is late. */
  readonly isRefusable: boolean;
  /** Flow for fair queueing: the id of its recurrent state, 0 for all other requests. */
  readonly caller: number;
  /** Number of rows along the batch axis. */
  readonly rows: number;
  /** Batch key: equal for steps that can run together; null where it runs alone. */
  readonly shape: string | null;
  readonly batching: BatchLimits;
  /** Number of lanes that the model may run on at once. */
  readonly concurrency: number;
  /** Whether cancelling it may end the lane's worker. */
  readonly preempt: boolean;
  /** The recurrent state of the step; else undefined. */
  readonly state?: StateMark | undefined;
}

/** A lane as the scheduler sees it. */
export interface LaneView {
  readonly id: string;
  readonly backend: string;
  readonly kind: LaneKind;
  /** Base address of its server; absent or null on this device, and absent in older traces. */
  readonly endpoint?: string | null | undefined;
  /** False while the lane does work that the scheduler did not start, and once it is closed. */
  readonly isOpen: boolean;
  /** The models in its worker, each with its states by the mark of their last step. */
  readonly held: ReadonlyMap<number, { readonly states: ReadonlyMap<number, number> }>;
}

/** An event. */
export type SchedulerEvent =
  | { readonly type: "arrived"; readonly step: ScheduledStep; readonly isAgain: boolean }
  /** The step was cancelled. */
  | { readonly type: "cancelled"; readonly id: number }
  /** A batch ended; `ms` is its duration in the worker, null where it failed, Infinity where it ran out of memory. */
  | { readonly type: "ended"; readonly lane: string; readonly batch: number; readonly ms: number | null }
  /** A model was loaded, and a worker started for it where there was none. Older traces have no lane. */
  | { readonly type: "loaded"; readonly modelId: number; readonly ms: number; readonly lane?: string | undefined }
  /**
   * A lane could not load a model, or could not start a worker at all: then `modelId` is null. Until `untilMs` it gets
   * none of that work while another lane can do it. Where `untilMs` is null the scheduler sets it, and doubles the
   * back-off each time. A batch that succeeds on the lane clears it.
   */
  | {
      readonly type: "unavailable";
      readonly lane: string;
      readonly modelId: number | null;
      readonly untilMs: number | null;
    }
  /**
   * One row was measured when the backend was chosen, or when the server at `endpoint` answered its golden. Ignored once
   * runs were measured; of a server, once it ran or answered on this page.
   */
  | {
      readonly type: "measured";
      readonly key: string;
      readonly ms: number;
      readonly endpoint?: LaneView["endpoint"];
    }
  /** Time has passed, or a lane became free. */
  | { readonly type: "tick" };

/** Reasons for the lane and the batch of a start: codes of explain-start.ts, and the numbers behind them, in ms. */
export interface StartWhy {
  readonly lane: "only-lane" | "earliest-finish" | "lane-queue-full" | "express-lane" | "wide-lane" | "state-kept";
  /** Estimated finish of its first step on the lane, from now. */
  readonly inMs: number;
  /** The second-best lane, and the estimated finish there; null where there is none. */
  readonly other: string | null;
  readonly otherInMs: number | null;
  /** The earliest estimated finish on another lane of this device; Infinity where there is none; not in older traces. */
  readonly hereInMs?: number | undefined;
  readonly batch:
    "batched" | "batch-tried" | "unbatchable" | "nothing-to-join" | "batch-costs" | "lanes-idle" | "batch-limit";
  /** How long its first step waited. */
  readonly waitedMs: number;
  /** Estimated time one by one, and together; for a step alone, that of a batch of two like it. Null where unknown. */
  readonly apartMs: number | null;
  readonly togetherMs: number | null;
}

/** A decision. */
export type Decision =
  | {
      readonly type: "start";
      readonly batch: number;
      readonly lane: string;
      readonly route: Route;
      readonly ids: readonly number[];
      /** Estimated duration of the batch, in ms. */
      readonly ms: number;
      readonly why: StartWhy;
    }
  | {
      readonly type: "reject";
      readonly id: number;
      readonly code: "deadline-exceeded" | "overloaded";
      /** Estimated finish in ms from the call, or the number of queued steps. */
      readonly expected: number;
    }
  /**
   * These steps of a batch that did not begin are queued again, since the run before it, or the load of its model, is
   * stalled: the batch stays on its lane until it ends, and its answers to them are ignored. A step that is rejected
   * before its batch began is treated likewise.
   */
  | { readonly type: "withdraw"; readonly lane: string; readonly batch: number; readonly ids: readonly number[] }
  /** Load the model of a queued step onto an idle lane. */
  | { readonly type: "warm"; readonly lane: string; readonly id: number; readonly route: Route }
  /** End the worker of a lane: nothing that it runs is needed any more. */
  | { readonly type: "end"; readonly lane: string };
