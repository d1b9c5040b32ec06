// What goes into the scheduler and what comes out of it: plain messages that can be cloned, so that it may live in
// another thread than its caller, and so that a trace of them runs again anywhere. Times in ms of the caller's clock.
import type { LaneKind } from "../core/device.ts";

/** Names what goes first, the most urgent first; a step has the index. */
export const PRIORITIES = ["interactive", "normal", "background"] as const;

/** How urgent a request is. */
export type Priority = (typeof PRIORITIES)[number];

/** A way to execute a step: which model a lane of that backend is to run. */
export interface Place {
  readonly backend: string;
  /** The id under which lanes know the model. */
  readonly modelId: number;
  /** Names the model's bytes and the backend for the estimate: the same on every page load. */
  readonly key: string;
}

/** How far the requests of a model may run together. */
export interface Batching {
  /** How many rows a batch may have. */
  readonly maxBatchSize: number;
  /** How long a step may wait on a free lane for others to join it. */
  readonly maxQueueDelayMs: number;
  /** The sizes to prefer; empty for any. */
  readonly preferredBatchSizes: readonly number[];
}

/** Names what a step of a recurrent state goes on from. */
export interface StatePlace {
  readonly id: number;
  /** The mark of the step before. */
  readonly after: number;
}

/** A step as it arrives. Its id says in which order steps came: one that is run again keeps it. */
export interface Step {
  readonly id: number;
  /** Where it may run, the preferred place first. */
  readonly places: readonly [Place, ...Place[]];
  /** 0 is interactive, 1 normal, 2 background. */
  readonly priority: number;
  readonly arrivedMs: number;
  /** Infinity where there is no deadline. */
  readonly dueMs: number;
  /** Whether it is refused when it can't be on time, and dropped when it is late. */
  readonly isRefusable: boolean;
  /** Whose it is: callers of one priority get equal time. */
  readonly caller: number;
  /** How many rows it has along the batch axis. */
  readonly rows: number;
  /** The same for steps that can run together; null where it runs alone. */
  readonly shape: string | null;
  readonly batching: Batching;
  /** On how many lanes the model may run at once. */
  readonly concurrency: number;
  /** Whether the lane may be ended where nobody waits for this any more. */
  readonly preempt: boolean;
  /** Present where the step belongs to a recurrent state. */
  readonly state?: StatePlace | undefined;
}

/** A lane as the scheduler sees it. */
export interface LaneView {
  readonly id: string;
  readonly backend: string;
  readonly kind: LaneKind;
  /** False while it does something that the scheduler did not ask for, and once it is closed. */
  readonly isOpen: boolean;
  /** The models in its worker, each with its states by the mark that their last step left. */
  readonly held: ReadonlyMap<number, { readonly states: ReadonlyMap<number, number> }>;
}

/** What happened. */
export type Event =
  | { readonly type: "arrived"; readonly step: Step; readonly isAgain: boolean }
  /** Nobody waits for the step any more. */
  | { readonly type: "cancelled"; readonly id: number }
  /**
   * A batch is through; `ms` is what it took in the worker, null where it failed, Infinity where it ran out of memory.
   */
  | { readonly type: "ended"; readonly lane: string; readonly batch: number; readonly ms: number | null }
  /** A model was loaded, a worker started for it where there was none. Older traces have no lane. */
  | { readonly type: "loaded"; readonly modelId: number; readonly ms: number; readonly lane?: string | undefined }
  /**
   * A lane could not load a model, or could not start a worker at all: then `modelId` is null. Until `untilMs` it gets
   * none of that work while another lane can do it. Where `untilMs` is null the scheduler sets it, and doubles it each
   * time. A batch that ends well on the lane clears it.
   */
  | {
      readonly type: "unavailable";
      readonly lane: string;
      readonly modelId: number | null;
      readonly untilMs: number | null;
    }
  /** A row was measured when the model was placed; forgotten where runs told already. */
  | { readonly type: "measured"; readonly key: string; readonly ms: number }
  /** Time has passed, or a lane became free. */
  | { readonly type: "tick" };

/** Why a batch starts where and as it does: codes of explain-start.ts, and the numbers behind them, in ms. */
export interface StartWhy {
  readonly lane: "only-lane" | "earliest-finish" | "lane-queue-full" | "express-lane" | "wide-lane" | "state-kept";
  /** When its first step is expected to be through there, from now. */
  readonly inMs: number;
  /** The next best lane, and when it would be through there; null where there is none. */
  readonly other: string | null;
  readonly otherInMs: number | null;
  readonly batch:
    "batched" | "batch-tried" | "unbatchable" | "nothing-to-join" | "batch-costs" | "lanes-idle" | "batch-limit";
  /** How long the first of it waited. */
  readonly waitedMs: number;
  /** What they take one by one, and together; two of its kind, where it runs alone. Null where that is not known. */
  readonly apartMs: number | null;
  readonly togetherMs: number | null;
}

/** What is to be done. */
export type Decision =
  | {
      readonly type: "start";
      readonly batch: number;
      readonly lane: string;
      readonly place: Place;
      readonly ids: readonly number[];
      /** What the batch is expected to take, in ms. */
      readonly ms: number;
      readonly why: StartWhy;
    }
  | {
      readonly type: "reject";
      readonly id: number;
      readonly code: "deadline-exceeded" | "overloaded";
      /** When it would have been through, in ms from the call, or how many wait. */
      readonly expected: number;
    }
  /**
   * These steps of a batch that did not begin are queued again, since the run before it, or the load of its model, is
   * stalled: the batch stays on its lane until it ends, and its answers to them are ignored. A step that is rejected
   * before its batch began is treated likewise.
   */
  | { readonly type: "withdraw"; readonly lane: string; readonly batch: number; readonly ids: readonly number[] }
  /** Load the model of a waiting step onto a lane that idles. */
  | { readonly type: "warm"; readonly lane: string; readonly id: number; readonly place: Place }
  /** End the worker of a lane: what it runs is of no use to anybody. */
  | { readonly type: "end"; readonly lane: string };
