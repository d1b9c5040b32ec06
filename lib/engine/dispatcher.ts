// Executes the scheduler's decisions: keeps the steps, reports events to lib/schedule, starts batches on lanes,
// rejects, and sets the one timer. A step is the execution of a request on a lane: one for each run. A step keeps its
// inputs until it is settled, so that it can be retried; schedule/recover.ts decides what to do with a step whose lane
// failed.
import { isServer } from "../core/device.ts";
import type { Effects } from "../effects/effects.ts";
import { codeOf, fromWireError, isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import type { Lane } from "../pool/lane.ts";
import type { GpuLedger } from "../pool/gpu-loss-ledger.ts";
import type { Counters } from "../observe/counters.ts";
import type { Phase } from "../pool/lane-options.ts";
import type { Feeds, Ran, RanItem } from "../rpc/messages.ts";
import { toResult } from "./result.ts";
import type { Attempt, RunResult } from "./result.ts";
import { messageFor } from "./routes.ts";
import type { ModelRoute, Work } from "./routes.ts";
import { Estimate } from "../schedule/cost-estimate.ts";
import { PRIORITIES } from "../schedule/events.ts";
import type { Decision, Priority, SchedulerEvent } from "../schedule/events.ts";
import { MAX_ATTEMPTS, recover } from "../schedule/recover.ts";
import { Scheduler } from "../schedule/scheduler.ts";
import type { SavedScheduler, Settings } from "../schedule/scheduler.ts";
import { arrivalOf, isHeldBeside, nextOf, refusalOf } from "./steps.ts";
import type { RunningStep, Step } from "./steps.ts";
import { IdMap } from "../core/id-map.ts";
import { WakeTimer } from "./wake-timer.ts";

/** Receives each event that the scheduler handled, and its decisions. */
export type Watcher = NonNullable<Scheduler["onEvent"]>;

const MEMO_KEY = "selvedge/estimate/2";
/**
 * Number of times that a step is queued again without an attempt: its worker crashed before the step began, as far as
 * the page knows, or could not load a model that another lane holds. A step whose own run ends its worker may have begun
 * before the page knew of it, so this must be small.
 */
export const SPARED_MAX = 1;
/** Minimum interval between saves of the estimates, in ms. */
const SAVE_MS = 10_000;

/** Keeps the steps and moves them onto lanes. */
export class Dispatcher {
  readonly #effects: Effects;
  readonly #lanes: readonly Lane[];
  readonly #ledger: GpuLedger;
  readonly #counters: Counters;
  readonly #watchers: Set<Watcher> = new Set();
  readonly #scheduler: Scheduler;
  readonly #estimate: Estimate;
  readonly #steps: IdMap<Step> = new IdMap();
  readonly #running: IdMap<RunningStep> = new IdMap();
  #nextId = 1;
  #closed: Error | null = null;
  #isPumping = false;
  readonly #timer: WakeTimer;
  #savedMs = 0;

  constructor(effects: Effects, lanes: readonly Lane[], ledger: GpuLedger, counters: Counters, settings: Settings) {
    this.#effects = effects;
    this.#lanes = lanes;
    this.#ledger = ledger;
    this.#counters = counters;
    this.#estimate = new Estimate(effects.memo.get(MEMO_KEY));
    this.#scheduler = new Scheduler(settings, this.#estimate);
    this.#timer = new WakeTimer(effects, () => {
      this.pump();
    });
  }

  /** Number of queued and of running steps. */
  get depth(): { readonly queued: number; readonly running: number } {
    const queued = this.#scheduler.queued;
    return { queued, running: this.#steps.size - queued };
  }

  /** Returns the estimated time of one request by a route's key; null where it never ran there. */
  expectedMs(key: string): number | null {
    return this.#estimate.ms(key, 1) ?? null;
  }

  /**
   * Reports every later event to a watcher. Returns a snapshot of the scheduler and the function that stops watching.
   */
  watch(watcher: Watcher): { readonly saved: SavedScheduler; readonly stop: () => void } {
    const watchers = this.#watchers;
    watchers.add(watcher);
    this.#scheduler.onEvent = (...told) => {
      for (const each of watchers) each(...told);
    };
    const stop = (): void => {
      watchers.delete(watcher);
      if (watchers.size === 0) this.#scheduler.onEvent = null;
    };
    return { saved: this.#scheduler.save(), stop };
  }

  /** Returns the inputs of a step that is not settled. */
  inputsOf(id: number): Feeds | undefined {
    return this.#steps.get(id)?.work.feeds;
  }

  /** Queues a step. Its signal removes it while it is queued and settles it at once while it runs. */
  submit(work: Work): Promise<RunResult> {
    return new Promise<RunResult>((resolve, reject) => {
      const { signal } = work.options;
      if (this.#closed !== null || signal?.aborted === true) {
        reject(this.#closed ?? (signal?.reason as Error));
        return;
      }
      const id = this.#nextId++;
      const step: Step = {
        id,
        work,
        arrivedMs: work.options.calledMs,
        attempts: [],
        route: 0,
        message: work.message,
        isAlone: false,
        isBetween: false,
        dropped: null,
        spared: 0,
        queuedMs: 0,
        abort: null,
        resolve,
        reject,
      };
      if (signal !== undefined) {
        step.abort = () => {
          this.#reject(step, signal.reason);
        };
        signal.addEventListener("abort", step.abort, { once: true });
      }
      this.#steps.set(id, step);
      this.#arrive(step, false);
    });
  }

  /** Starts queued work, once all events of this moment have been handled. */
  pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    void Promise.resolve().then(() => {
      this.#isPumping = false;
      this.#tell({ type: "tick" });
      this.#timer.set(this.#scheduler.wakeMs);
    });
  }

  /** Records the load time of a model on a lane. */
  loaded(modelId: number, ms: number, lane: string): void {
    this.#tell({ type: "loaded", modelId, ms, lane });
  }

  /** Records the time of one request: of a measured backend, or of the server at `endpoint` that answered its golden. */
  measured(key: string, ms: number, endpoint?: string | null): void {
    this.#tell({ type: "measured", key, ms, endpoint });
  }

  /** Rejects all queued steps of one model; running ones may finish, but are not retried. */
  drop(modelId: number, error: Error): void {
    for (const step of [...this.#steps.values()])
      if (step.message.modelId !== modelId) continue;
      else if (step.isBetween || this.#scheduler.waits(step.id)) this.#reject(step, error);
      else step.dropped = error;
  }

  /** Rejects all steps, now and later. */
  close(): void {
    this.#closed = new SelvedgeError("closed", "The engine is closed.");
    for (const step of [...this.#steps.values()]) this.#reject(step, this.#closed);
    this.#timer.stop();
    this.#save();
  }

  /** Removes a step; returns whether it was still pending. */
  #leave({ id, work, abort }: Step): boolean {
    if (abort !== null) work.options.signal?.removeEventListener("abort", abort);
    return this.#steps.delete(id);
  }

  #reject(step: Step, error: unknown): void {
    if (!this.#leave(step)) return;
    this.#tell({ type: "cancelled", id: step.id });
    step.reject(error);
  }

  #arrive(step: Step, isAgain: boolean): void {
    const { dropped } = step;
    if (dropped !== null) {
      this.#reject(step, dropped);
      return;
    }
    this.#tell({ type: "arrived", isAgain, step: arrivalOf(step) });
    this.pump();
  }

  #tell(event: SchedulerEvent): void {
    for (const decision of this.#scheduler.handle(event, this.#effects.now(), this.#lanes)) this.#act(decision);
  }

  #act(decision: Decision): void {
    if (decision.type === "reject") {
      const step = this.#steps.get(decision.id);
      if (step !== undefined) this.#reject(step, refusalOf(step, decision));
      return;
    }
    if (decision.type === "withdraw") {
      for (const id of decision.ids) this.#running.get(decision.batch)?.withdrawn.add(id);
      return;
    }
    const lane = this.#lanes.find(({ id }) => id === decision.lane) as Lane;
    if (decision.type === "end") lane.end();
    else if (decision.type === "start") this.#start(decision, lane);
    else this.#warm(decision, lane);
  }

  #warm({ id, route }: Decision & { type: "warm" }, lane: Lane): void {
    const step = this.#steps.get(id);
    if (step === undefined) return; // rejected meanwhile
    let phase: Phase | null = null;
    const onPhase = (next: Phase): void => {
      phase = next;
    };
    lane.load(messageFor(step, route), onPhase).catch(() => {
      this.#barFrom(lane, phase, route.modelId);
    });
  }

  /** Reports to the scheduler that a lane could not start its worker, or not load a model. */
  #barFrom({ id: lane }: Lane, phase: Phase | null, modelId: number): void {
    this.#tell({ type: "unavailable", lane, modelId: phase === "starting" ? null : modelId, untilMs: null });
  }

  #start({ ids, batch, route, why }: Decision & { type: "start" }, lane: Lane): void {
    const now = this.#effects.now();
    const steps = ids.map((id) => this.#steps.get(id) as Step);
    for (const step of steps) if (step.attempts.length === 0) step.queuedMs = now - step.arrivedMs;
    const [first] = steps as [Step];
    if (lane.backend === "webgpu" && !this.#ledger.allowed) {
      this.#tell({ type: "ended", lane: lane.id, batch, ms: null });
      const text = "The GPU was lost repeatedly and is not used for two minutes.";
      const error = new SelvedgeError("device-lost", text);
      for (const step of steps)
        if (step.route + 1 < step.work.routes.length) this.#stepDown(step);
        else this.#reject(step, error);
      this.pump(); // the lane is free for other queued steps
      return;
    }
    const running: RunningStep = {
      ...{ lane, modelId: route.modelId, steps, batch, why },
      ...{ withdrawn: new Set(), startMs: null, phase: null },
    };
    this.#running.set(batch, running);
    const take = (): Feeds[] => {
      running.steps = steps.filter((step) => this.#isWanted(running, step));
      return running.steps.map(({ work }) => work.feeds);
    };
    const onPhase = (phase: Phase): void => {
      running.startMs ??= this.#effects.now();
      running.phase = phase;
    };
    lane.run(messageFor(first, route), take, { state: first.work.state, onPhase, batch: running }).then(
      (ran) => {
        this.#ended(running, ran, null);
      },
      (error: unknown) => {
        this.#ended(running, null, error);
      },
    );
  }

  #ended(running: RunningStep, ran: Ran | null, error: unknown): void {
    const { lane, steps, batch, phase } = running;
    this.#running.delete(batch);
    const code = codeOf(error);
    // Its worker never reached this batch: its steps did not begin.
    const isUnbegun = phase === null;
    const isUnfit = ran === null && !isUnbegun && phase !== "running";
    const isHeld = isUnfit && isHeldBeside(steps, lane, this.#lanes, this.#running.values());
    // The page ended the worker. The same code as a worker's own answer would come again, without an end.
    const isRecycled = code === "closed" && (phase !== "running" || lane.ended.has(error as object));
    let ms: number | null = null;
    if (ran !== null && ran.items.length > 0) ms = ran.preprocessMs + ran.runMs + ran.decodeMs;
    else if (code === "out-of-memory" && phase === "running") ms = Infinity;
    // A worker that ran out of memory can't free it: only a new worker can use it again. The device may be short of
    // memory, so idle workers are ended too, but not for a lane that was only a faster alternative.
    if (code === "out-of-memory") {
      for (const each of this.#lanes) if (each === lane || (each.free && !isHeld)) each.end();
    }
    this.#tell({ type: "ended", lane: lane.id, batch, ms });
    // The server may come back as another one, so its lanes check it anew; a busy one ends by its own failure.
    const isDown = isSelvedgeError(error) && error.details["isLaneDown"] === true;
    for (const each of this.#lanes) {
      const isOut = isDown && each.endpoint === lane.endpoint;
      if (isOut && (each === lane || each.free)) each.end(error);
      if (isOut || (isUnfit && each === lane)) this.#barFrom(each, phase, running.modelId);
    }
    if (ran !== null && steps.length > 0) this.#counters.ran(steps.length);
    for (const [i, step] of steps.entries()) {
      if (!this.#isWanted(running, step)) continue;
      const item = ran?.items[i];
      if (ran !== null && item?.ok === true) {
        this.#answer(running, step, ran, item.value);
        continue;
      }
      const isSpared = (isUnbegun || isHeld) && step.spared < SPARED_MAX;
      if (isSpared || isRecycled) {
        if (!isRecycled) step.spared += 1;
        this.#arrive(step, true); // not counted as an attempt
        continue;
      }
      const failure: unknown = item?.ok === false ? fromWireError(item.error) : error;
      step.attempts.push(this.#attemptOf(running, codeOf(failure)));
      this.#recover(step, lane, failure, steps.length > 1);
    }
    if (this.#effects.now() - this.#savedMs > SAVE_MS) this.#save();
    this.pump();
  }

  /** Whether a step still waits for this batch: it was neither settled (a cancel, a close) nor withdrawn. */
  #isWanted({ withdrawn }: RunningStep, { id }: Step): boolean {
    return this.#steps.has(id) && !withdrawn.has(id);
  }

  #attemptOf({ lane, startMs }: RunningStep, error: Attempt["error"]): Attempt {
    const now = this.#effects.now();
    return { lane: lane.id, backend: lane.backend, ms: now - (startMs ?? now), error };
  }

  #answer(running: RunningStep, step: Step, ran: Ran, item: RanItem): void {
    const { lane, why: start } = running;
    const { queuedMs, attempts, work, arrivedMs } = step;
    attempts.push(this.#attemptOf(running, null));
    const own = work.routes[step.route] as ModelRoute;
    const isOwn = own.backend === lane.backend;
    const route = isOwn ? own : (work.routes.find(({ backend }) => backend === lane.backend) ?? own);
    // The reason of the route also holds where another lane was only faster; `start` explains that. Where the GPU
    // is barred, that is the reason.
    const isBarred = own.backend === "webgpu" && !this.#ledger.allowed;
    const routeWhy = isBarred || isServer(route) ? route.why : own.why;
    const lateMs = this.#effects.now() - arrivedMs - work.options.deadlineMs;
    this.#leave(step);
    own.promote?.();
    // A state that moved leaves a copy on its old lane, which nothing else would free.
    const stateId = work.state?.id;
    if (stateId !== undefined)
      for (const other of this.#lanes)
        if (other !== lane && [...other.held.values()].some(({ states }) => states.has(stateId)))
          other.removeState(stateId).catch(() => undefined); // a worker that ended has freed it already
    step.resolve(toResult({ item, ran, route, endpoint: lane.endpoint, routeWhy, start, queuedMs, attempts, lateMs }));
  }

  /**
   * Retries a step of a failed batch alone before it is rejected: another step of the batch may have caused the
   * failure.
   */
  #recover(step: Step, lane: Lane, error: unknown, wasBatch: boolean): void {
    step.isAlone ||= wasBatch;
    // Where the lane was only faster than its own route, it is not retried there.
    const { routes } = step.work;
    const isElsewhere = lane.backend !== routes[step.route]?.backend;
    const code = codeOf(error);
    const next = nextOf(step, code);
    const recovery = recover({
      // Its own route may load a model that another backend refuses.
      code: isElsewhere && code === "model-invalid" ? "internal" : code,
      backend: lane.backend,
      isHung: isSelvedgeError(error) && error.details["cause"] === "watchdog",
      attempts: step.attempts.length,
      attemptsHere: step.attempts.filter((x) => x.backend === lane.backend).length,
      gpuAllowed: this.#ledger.allowed,
      isLast: !isElsewhere && (next?.promote ?? next?.costMs) !== undefined,
      hasFallback: isElsewhere || next !== undefined,
    });
    if (recovery === "reject" && (!wasBatch || step.attempts.length >= MAX_ATTEMPTS)) {
      this.#reject(step, error);
      return;
    }
    this.#counters.retried(PRIORITIES[step.work.options.priority] as Priority);
    if (recovery === "step-down" && !isElsewhere) this.#stepDown(step, next);
    else this.#arrive(step, true);
  }

  #stepDown(step: Step, route = step.work.routes[step.route + 1] as ModelRoute): void {
    step.route = step.work.routes.indexOf(route);
    step.isBetween = true;
    const { deadlineMs } = step.work.options;
    // The scheduler does not know of a step that waits for its message.
    if (deadlineMs < Infinity)
      this.#effects.setTimer(
        () => {
          if (step.isBetween) this.#reject(step, refusalOf(step, { code: "deadline-exceeded", expected: deadlineMs }));
        },
        step.arrivedMs + deadlineMs - this.#effects.now(),
      );
    route.message().then(
      (message) => {
        step.message = message;
        step.isBetween = false;
        if (this.#steps.has(step.id)) this.#arrive(step, true);
      },
      (error: unknown) => {
        this.#reject(step, error);
      },
    );
  }

  #save(): void {
    this.#savedMs = this.#effects.now();
    this.#effects.memo.set(MEMO_KEY, this.#estimate.save());
  }
}
