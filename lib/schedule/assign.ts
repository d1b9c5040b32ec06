// Who runs next, and where: a pure function of the queue and the lanes. No clock, no timers, no workers here, so that
// every decision can be replayed. Today's policy: first in, first out, each step to a free lane of its backend, a lane
// that already holds the step's model before one that must load it. A step of a recurrent state is bound to the lane that
// holds what the step before it left; where none does, it goes to the lane with the fewest states, and is rebuilt there.
// Batches, deadlines and estimates come in here.

/** A step that waits. */
export interface WaitingStep {
  readonly id: number;
  readonly modelId: number;
  readonly backend: string;
  /** Present where the step belongs to a recurrent state. */
  readonly state?: StatePlace | undefined;
}

/** Names what a step of a recurrent state goes on from. */
export interface StatePlace {
  readonly id: number;
  /** The mark of the step before. */
  readonly after: number;
}

/** A lane as the policy sees it. */
export interface LaneView {
  readonly id: string;
  readonly backend: string;
  readonly free: boolean;
  holds(modelId: number): boolean;
  /** How many states live here. */
  readonly stateCount: number;
  /** Tells whether a state lies here as the step before left it. */
  keeps(modelId: number, state: StatePlace): boolean;
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
    const lane = pick(step, lanes, free);
    if (lane === undefined) continue;
    free.splice(free.indexOf(lane), 1);
    decisions.push({ step, lane });
  }
  return decisions;
}

function pick<L extends LaneView>(step: WaitingStep, lanes: readonly L[], free: readonly L[]): L | undefined {
  const { modelId, state } = step;
  const home = state && lanes.find((lane) => lane.keeps(modelId, state));
  if (home !== undefined) return free.includes(home) ? home : undefined;
  let fits = free.filter((lane) => lane.backend === step.backend);
  if (state !== undefined) {
    const fewest = Math.min(...fits.map((lane) => lane.stateCount));
    fits = fits.filter((lane) => lane.stateCount === fewest);
  }
  return fits.find((lane) => lane.holds(modelId)) ?? fits[0];
}
