// Counters of an engine, as `engine.stats()` returns them.
import type { ResultCounts } from "./result-cache.ts";
import type { BatchCounts, RequestCounts } from "../observe/counters.ts";
import type { OffloadStats } from "../observe/offload.ts";
import type { LaneStats } from "../pool/lane-state.ts";
import type { Priority } from "../schedule/events.ts";

/** Counters of an engine. */
export interface EngineStats {
  /** Requests by outcome, and those that are queued or running now. */
  readonly requests: RequestCounts & { readonly queued: number; readonly running: number };
  /** The same by priority, without those that are queued or running. */
  readonly classes: Readonly<Record<Priority, RequestCounts>>;
  /** Number of batches, and of the requests in them. */
  readonly batches: BatchCounts;
  /** Counters per lane, and the busy share of the engine's lifetime, 0 to 1. */
  readonly lanes: readonly (LaneStats & { readonly utilisation: number })[];
  /** Number of loaded models. */
  readonly models: number;
  /** Counters of the result cache; null where no request used it. */
  readonly results: ResultCounts | null;
  /** Answers by placement, and the traffic to servers; null without the option `remote`. */
  readonly offload: OffloadStats | null;
}
