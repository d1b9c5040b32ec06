// The hands of the scheduler: keeps the steps that wait, asks lib/schedule what starts where and what becomes of a step
// whose lane failed, and tells the lanes. It decides nothing itself. A step is what a lane executes for a request: one
// for each run. A step keeps its inputs until it is settled, so that it can be run again.
import type { BackendName } from "./backend/backend.ts";
import type { Why } from "./choose.ts";
import type { Effects } from "./effects.ts";
import { isSelvedgeError, SelvedgeError } from "./errors.ts";
import type { ErrorCode } from "./errors.ts";
import type { Lane, StateStep } from "./pool/lane.ts";
import type { GpuLedger } from "./pool/ledger.ts";
import type { Feeds, LoadMessage, Ran, RanItem } from "./pool/protocol.ts";
import { assign } from "./schedule/assign.ts";
import type { WaitingStep } from "./schedule/assign.ts";
import { recover } from "./schedule/recover.ts";

/** A way to execute a model: a variant on a backend. */
export interface Route {
  readonly backend: BackendName;
  readonly variant: string;
  readonly why: Why;
  /** Fetches what is not here yet: the weights of a fallback that was never needed before. */
  readonly message: () => Promise<LoadMessage>;
}

/** What is to be executed. */
export interface Work {
  /** The ways to do it, the chosen one first, then those to go down to. */
  readonly routes: readonly Route[];
  /** The first route's message, which is here already. */
  readonly message: LoadMessage;
  readonly feeds: Feeds;
  readonly signal: AbortSignal | undefined;
  /** Present where this is a step of a recurrent state. */
  readonly state?: StateStep | undefined;
}

/** One try of a step. */
export interface Attempt {
  /** Which lane tried, as `wasm-0`. */
  readonly lane: string;
  /** The backend of that lane. */
  readonly backend: BackendName;
  /** How long the try took on the lane, in ms, the start of a worker and the load of the model included. */
  readonly ms: number;
  /** Null where it succeeded. */
  readonly error: ErrorCode | null;
}

/** What came of it. */
export interface Done {
  readonly item: RanItem;
  /** The batch that it was part of. */
  readonly ran: Ran;
  readonly route: Route;
  readonly queuedMs: number;
  readonly attempts: readonly Attempt[];
}

interface Step extends WaitingStep {
  modelId: number;
  backend: BackendName;
  readonly work: Work;
  readonly enqueuedMs: number;
  readonly attempts: Attempt[];
  route: number;
  message: LoadMessage;
  queuedMs: number;
  resolve(done: Done): void;
  reject(error: unknown): void;
}

/** Keeps the queue and moves steps onto lanes. */
export class Dispatcher {
  readonly #effects: Effects;
  readonly #lanes: readonly Lane[];
  readonly #ledger: GpuLedger;
  #waiting: Map<number, Step> = new Map();
  /** Steps on a lane, and steps that fetch a fallback's weights. */
  readonly #running: Set<Step> = new Set();
  #nextId = 1;
  #closed: Error | null = null;

  constructor(effects: Effects, lanes: readonly Lane[], ledger: GpuLedger) {
    this.#effects = effects;
    this.#lanes = lanes;
    this.#ledger = ledger;
  }

  /** How many steps wait, and how many run. */
  get depth(): { readonly queued: number; readonly running: number } {
    return { queued: this.#waiting.size, running: this.#running.size };
  }

  /** Queues a step. A signal removes it while it waits and settles it at once while it runs. */
  submit(work: Work): Promise<Done> {
    return new Promise<Done>((resolve, reject) => {
      const { signal } = work;
      if (this.#closed !== null || signal?.aborted === true) {
        reject(this.#closed ?? (signal?.reason as Error));
        return;
      }
      const abort = (): void => {
        step.reject(signal?.reason);
      };
      const finish = (): boolean => {
        signal?.removeEventListener("abort", abort);
        return this.#waiting.delete(step.id) || this.#running.delete(step);
      };
      const step: Step = {
        id: this.#nextId++,
        modelId: work.message.modelId,
        backend: work.routes[0]?.backend ?? "wasm",
        state: work.state,
        work,
        enqueuedMs: this.#effects.now(),
        attempts: [],
        route: 0,
        message: work.message,
        queuedMs: 0,
        resolve: (done) => {
          if (finish()) resolve(done);
        },
        reject: (error) => {
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
          if (finish()) reject(error);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      if (step.backend === "webgpu" && work.routes.length > 1 && !this.#ledger.allowed) {
        this.#running.add(step);
        this.#stepDown(step);
      } else {
        this.#waiting.set(step.id, step);
        this.pump();
      }
    });
  }

  /** Starts what can start now; called when a step arrives and when a lane becomes free. */
  pump(): void {
    if (this.#waiting.size === 0) return;
    for (const { step, lane } of assign(this.#waiting.values(), this.#lanes)) {
      this.#waiting.delete(step.id);
      this.#running.add(step);
      const startMs = this.#effects.now();
      if (step.attempts.length === 0) step.queuedMs = startMs - step.enqueuedMs;
      const note = (error: ErrorCode | null): void => {
        step.attempts.push({ lane: lane.id, backend: lane.backend, ms: this.#effects.now() - startMs, error });
      };
      lane.run(step.message, [step.work.feeds], undefined, step.work.state).then(
        (ran) => {
          note(null);
          const route = step.work.routes[step.route] as Route;
          const [item] = ran.items; // a batch of one is answered, or rejects
          if (item?.ok === true)
            step.resolve({ item: item.value, ran, route, queuedMs: step.queuedMs, attempts: step.attempts });
        },
        (error: unknown) => {
          note(isSelvedgeError(error) ? error.code : null);
          this.#recover(step, lane, error);
        },
      );
    }
  }

  /** Rejects everything of one model that waits; what runs is left to end. */
  drop(modelId: number, error: Error): void {
    for (const step of [...this.#waiting.values()]) if (step.modelId === modelId) step.reject(error);
  }

  /** Rejects everything, now and later. */
  close(): void {
    this.#closed = new SelvedgeError("closed", "The engine is closed.");
    for (const step of [...this.#waiting.values(), ...this.#running]) step.reject(this.#closed);
  }

  #recover(step: Step, lane: Lane, error: unknown): void {
    const code = isSelvedgeError(error) ? error.code : null;
    // What a worker ran out of it can't give back: only a new one has its memory again.
    if (isSelvedgeError(error) && code === "out-of-memory") lane.end(error);
    if (!this.#running.has(step)) return; // settled meanwhile: cancelled, or the engine is closed
    const recovery = recover({
      code,
      backend: lane.backend,
      attempts: step.attempts.length,
      attemptsHere: step.attempts.filter((x) => x.backend === lane.backend).length,
      gpuAllowed: this.#ledger.allowed,
      hasFallback: step.route + 1 < step.work.routes.length,
    });
    if (recovery === "reject") step.reject(error);
    else if (recovery === "step-down") this.#stepDown(step);
    else this.#queueAgain(step);
  }

  #stepDown(step: Step): void {
    step.route += 1;
    const route = step.work.routes[step.route] as Route;
    route.message().then(
      (message) => {
        step.message = message;
        step.modelId = message.modelId;
        step.backend = route.backend;
        this.#queueAgain(step);
      },
      (error: unknown) => {
        step.reject(error);
      },
    );
  }

  /** To the front: what was failed has waited longest. */
  #queueAgain(step: Step): void {
    if (!this.#running.delete(step)) return; // settled meanwhile
    this.#waiting = new Map([[step.id, step], ...this.#waiting]);
    this.pump();
  }
}
