// The dispatcher's steps, the batches of them that lanes run, and functions of these alone.
import { SelvedgeError } from "../core/errors.ts";
import type { Lane } from "../pool/lane.ts";
import type { Phase } from "../pool/lane-options.ts";
import type { LoadMessage } from "../rpc/messages.ts";
import type { Attempt, RunResult } from "./result.ts";
import { routesOf } from "./routes.ts";
import type { ModelRoute, Work } from "./routes.ts";
import type { Decision, SchedulerEvent, StartWhy } from "../schedule/events.ts";

/** A run of a request, from its call until it is settled. */
export interface Step {
  readonly id: number;
  readonly work: Work;
  readonly arrivedMs: number;
  readonly attempts: Attempt[];
  route: number;
  message: LoadMessage;
  /** Whether it runs alone from now on: a batch of it failed, and other requests must not suffer for it. */
  isAlone: boolean;
  /** Whether it waits for the weights of its fallback route. */
  isBetween: boolean;
  /** Error of its model's unload, for a step that was on a lane at that time; it is not queued again. */
  dropped: Error | null;
  /** Number of times that its worker crashed, or could not load its model, without counting as an attempt. */
  spared: number;
  queuedMs: number;
  /** Called when its signal is aborted; null where it has none. */
  abort: (() => void) | null;
  readonly resolve: (result: RunResult) => void;
  readonly reject: (error: unknown) => void;
}

/** A batch on a lane. */
export interface RunningStep {
  readonly lane: Lane;
  readonly modelId: number;
  /** Its steps without those that were settled before it was sent. */
  steps: readonly Step[];
  readonly batch: number;
  readonly why: StartWhy;
  /** Steps that were withdrawn from it: its answers to them are ignored. */
  readonly withdrawn: Set<number>;
  /** When it began; null while it is staged, as is the phase. */
  startMs: number | null;
  phase: Phase | null;
}

/** Describes a step to the scheduler. */
export function arrivalOf(step: Step): (SchedulerEvent & { type: "arrived" })["step"] {
  const { work, arrivedMs } = step;
  const { priority, dueMs, isRefusable, preempts } = work.options;
  const isAlone = step.isAlone || work.state !== undefined;
  return {
    id: step.id,
    routes: routesOf(step),
    priority,
    arrivedMs,
    dueMs,
    isRefusable,
    caller: work.state?.id ?? 0,
    rows: work.shape?.rows ?? 1,
    shape: isAlone ? null : (work.shape?.key ?? null),
    batching: work.batching,
    concurrency: work.concurrency,
    preempt: preempts,
    state: work.state && { id: work.state.id, after: work.state.after },
  };
}

/**
 * Returns the route to fall back to: a smaller variant's only where memory ran out, and one that has no key since it is
 * still loading only after a second attempt.
 */
export function nextOf({ work, route, attempts }: Step, code: string | null): ModelRoute | undefined {
  return work.routes.find(
    (x, i) =>
      i > route && (x.key !== "" || attempts.length > 1) && (x.promote === undefined || code === "out-of-memory"),
  );
}

/** Returns the error of a step that the scheduler rejects. */
export function refusalOf(
  { work }: Step,
  { code, expected }: Pick<Decision & { type: "reject" }, "code" | "expected">,
): SelvedgeError {
  const { deadlineMs } = work.options;
  const text =
    code === "overloaded"
      ? `Queue is full: ${expected} requests (queue.maxSize).`
      : `Estimated end: ${Math.round(expected)} ms after the call, past deadlineMs ${deadlineMs}.`;
  return new SelvedgeError(code, text, { expected });
}

/** Whether another usual lane holds the model of each of these steps, or has a batch of it and may still load it. */
export function isHeldBeside(
  steps: readonly Step[],
  lane: Lane,
  lanes: readonly Lane[],
  running: Iterable<RunningStep>,
): boolean {
  const others = lanes.filter((other) => other !== lane && other.kind === "usual");
  const coming = [...running].filter((x) => others.includes(x.lane));
  return steps.every((step) =>
    routesOf(step).some(
      ({ modelId }) =>
        coming.some((x) => x.modelId === modelId) ||
        others.some(({ held }) => held.get(modelId)?.isReady === true && held.get(modelId)?.isLeaving === false),
    ),
  );
}
