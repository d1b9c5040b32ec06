// Who runs next, and where: a pure function of the queue and the lanes. No clock, no timers, no workers here, so that
// every decision can be replayed. Today's policy: first in, first out, each step to a free lane of its backend, a lane
// that already holds the step's model before one that must load it. Batches, deadlines and estimates come in here.

/** A step that waits. */
export interface WaitingStep {
  readonly id: number;
  readonly modelId: number;
  readonly backend: string;
}

/** A lane as the policy sees it. */
export interface LaneView {
  readonly id: string;
  readonly backend: string;
  readonly free: boolean;
  holds(modelId: number): boolean;
}

/** One decision: this step starts on this lane now. */
export interface Decision<S extends WaitingStep, L extends LaneView> {
  readonly step: S;
  readonly lane: L;
}

/** Decides which waiting steps start now, oldest first. Looks no further once every lane is taken. */
export function assign<S extends WaitingStep, L extends LaneView>(
  waiting: Iterable<S>,
  lanes: readonly L[],
): Decision<S, L>[] {
  const free = lanes.filter((lane) => lane.free);
  const decisions: Decision<S, L>[] = [];
  for (const step of waiting) {
    if (free.length === 0) break;
    const fits = free.filter((lane) => lane.backend === step.backend);
    const lane = fits.find((x) => x.holds(step.modelId)) ?? fits[0];
    if (lane === undefined) continue;
    free.splice(free.indexOf(lane), 1);
    decisions.push({ step, lane });
  }
  return decisions;
}
