// The hands of the scheduler: keeps the steps that wait, asks lib/schedule what starts where, and tells the lanes.
// It decides nothing itself. A step is what a lane executes for a request; one for each run today.
import type { BackendName } from "./backend/backend.ts";
import type { Effects } from "./effects.ts";
import { SelvedgeError } from "./errors.ts";
import type { Lane } from "./pool/lane.ts";
import type { LoadMessage, Ran, RunMessage } from "./pool/protocol.ts";
import { assign } from "./schedule/assign.ts";
import type { WaitingStep } from "./schedule/assign.ts";

/** What a lane is to execute. */
export interface Work {
  readonly model: LoadMessage;
  readonly backend: BackendName;
  readonly feeds: RunMessage["feeds"];
  readonly transfer: Transferable[];
  readonly signal: AbortSignal | undefined;
}

/** What came of it. */
export interface Done {
  readonly ran: Ran;
  readonly queuedMs: number;
  readonly lane: string;
}

interface Step extends WaitingStep {
  readonly work: Work;
  readonly enqueuedMs: number;
  resolve(done: Done): void;
  reject(error: unknown): void;
}

/** Keeps the queue and moves steps onto lanes. */
export class Dispatcher {
  readonly #effects: Effects;
  readonly #lanes: readonly Lane[];
  readonly #waiting: Map<number, Step> = new Map();
  readonly #running: Set<Step> = new Set();
  #nextId = 1;
  #closed: Error | null = null;

  constructor(effects: Effects, lanes: readonly Lane[]) {
    this.#effects = effects;
    this.#lanes = lanes;
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
        modelId: work.model.modelId,
        backend: work.backend,
        work,
        enqueuedMs: this.#effects.now(),
        resolve: (done) => {
          if (finish()) resolve(done);
        },
        reject: (error) => {
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
          if (finish()) reject(error);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.set(step.id, step);
      this.pump();
    });
  }

  /** Starts what can start now; called when a step arrives and when a lane becomes free. */
  pump(): void {
    if (this.#waiting.size === 0) return;
    for (const { step, lane } of assign(this.#waiting.values(), this.#lanes)) {
      this.#waiting.delete(step.id);
      this.#running.add(step);
      const queuedMs = this.#effects.now() - step.enqueuedMs;
      lane.run(step.work.model, step.work.feeds, step.work.transfer).then(
        (ran) => {
          step.resolve({ ran, queuedMs, lane: lane.id });
        },
        (error: unknown) => {
          step.reject(error);
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
}
