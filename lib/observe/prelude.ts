// Buffers events from the call of `trace` until its recorder (recorder.ts) is loaded: many traces are made for the
// first requests after the call. It lives on the page, so it does no more than that.
import type { Tensor } from "../core/tensor.ts";
import type { Decision, LaneView, SchedulerEvent } from "../schedule/events.ts";
import type { SavedScheduler, Scheduler } from "../schedule/scheduler.ts";

/** The inputs of a request, as a lane receives them. */
export interface LaneInputs {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly others: Readonly<
    Record<string, { readonly kind: "text"; readonly texts: readonly string[] } | { readonly kind: "image" | "sound" }>
  > | null;
}

/** Subscribes to a scheduler's events and returns its state at that moment. */
export type Watch = (watcher: NonNullable<Scheduler["onEvent"]>) => {
  readonly saved: SavedScheduler;
  readonly stop: () => void;
};

/** An event with a snapshot of the lanes, and the inputs of a request that arrived. */
export interface Early {
  readonly event: SchedulerEvent;
  readonly now: number;
  readonly lanes: readonly LaneView[];
  readonly decisions: readonly Decision[];
  readonly inputs: LaneInputs | undefined;
}

/** Events so far. */
export interface Prelude {
  readonly startMs: number;
  readonly saved: SavedScheduler;
  readonly events: readonly Early[];
  readonly stop: () => void;
}

/** Starts buffering events; `inputsOf` is null if inputs are not to be recorded. */
export function takeDown(
  startMs: number,
  watch: Watch,
  inputsOf: ((id: number) => LaneInputs | undefined) | null,
): Prelude {
  const events: Early[] = [];
  const { saved, stop } = watch((event, now, lanes, decisions) => {
    const inputs = event.type === "arrived" ? inputsOf?.(event.step.id) : undefined;
    events.push({ event, now, lanes: copyOf(lanes), decisions, inputs });
  });
  return { startMs, saved, events, stop };
}

/** Copies the scheduler's view of the lanes, which are mutable. */
export function copyOf(lanes: readonly LaneView[]): LaneView[] {
  return lanes.map(({ id, backend, kind, endpoint, isOpen, held }) => ({
    id,
    backend,
    kind,
    endpoint,
    isOpen,
    held: new Map([...held].map(([modelId, { states }]) => [modelId, { states: new Map(states) }])),
  }));
}
