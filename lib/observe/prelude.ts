// Takes events down from the moment a trace is asked for until its recorder (recorder.ts) is loaded: the first requests
// after the call are what many traces are made for. On the page, so no more than that.
import type { Decision, Event, LaneView } from "../schedule/protocol.ts";
import type { SavedScheduler, Scheduler } from "../schedule/scheduler.ts";

/** Inputs of a request; the recorder knows their types. */
export type Given = Readonly<Record<string, unknown>>;

/** Watches a scheduler from now on, and says what it was then. */
export type Watch = (watcher: NonNullable<Scheduler["onEvent"]>) => {
  readonly saved: SavedScheduler;
  readonly stop: () => void;
};

/** An event with the lanes as they were then, and the inputs of a request that arrived. */
export interface Early {
  readonly event: Event;
  readonly now: number;
  readonly lanes: readonly LaneView[];
  readonly decisions: readonly Decision[];
  readonly inputs: Given | undefined;
}

/** Events so far. */
export interface Prelude {
  readonly startMs: number;
  readonly saved: SavedScheduler;
  readonly events: readonly Early[];
  readonly stop: () => void;
}

/** Begins to take events down; `inputsOf` is null where inputs are not to be recorded. */
export function takeDown(startMs: number, watch: Watch, inputsOf: ((id: number) => Given | undefined) | null): Prelude {
  const events: Early[] = [];
  const { saved, stop } = watch((event, now, lanes, decisions) => {
    const inputs = event.type === "arrived" ? inputsOf?.(event.step.id) : undefined;
    events.push({ event, now, lanes: copyOf(lanes), decisions, inputs });
  });
  return { startMs, saved, events, stop };
}

/** Copies what the scheduler sees of lanes, which change. */
export function copyOf(lanes: readonly LaneView[]): LaneView[] {
  return lanes.map(({ id, backend, kind, isOpen, held }) => ({
    id,
    backend,
    kind,
    isOpen,
    held: new Map([...held].map(([modelId, { states }]) => [modelId, { states: new Map(states) }])),
  }));
}
