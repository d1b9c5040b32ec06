// Sends copies of requests that are late on this device to a server, and takes the first answer; the other one is
// cancelled. schedule/hedge.ts decides which and when. A copy is a step of its own, which may run on servers alone and is
// tried once. Imported by remote-lanes.ts where the option `hedge` is on.
import { Stop } from "../core/abort.ts";
import { isServer } from "../core/device.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Why } from "../core/reasons.ts";
import { show } from "./explain-run.ts";
import type { LoadHost } from "./load-plan.ts";
import type { OffloadCounts } from "./offload-counts.ts";
import type { RemoteEngineOptions } from "./options.ts";
import type { RunResult } from "./result.ts";
import type { ModelRoute, Work } from "./routes.ts";
import type { LoadMessage } from "../rpc/messages.ts";
import { HEDGE_DEFAULTS, Hedger } from "../schedule/hedge.ts";
import type { HedgeDecision, HedgeLimits } from "../schedule/hedge.ts";
import type { Decision, SchedulerEvent } from "../schedule/events.ts";
import { WakeTimer } from "./wake-timer.ts";

/** A copy of a request. */
interface Copy {
  readonly stop: Stop;
  /** When a lane began to send it; null before: one that is cancelled until then costs the server nothing. */
  sentMs: number | null;
}

/** A request that may run on either side: settled once, by the first answer or the last failure. */
class Race {
  readonly work: Work;
  readonly own: Stop = new Stop();
  copy: Copy | null = null;
  readonly #resolve: (result: RunResult) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onAbort: () => void;
  #running = 1;
  #failed: { readonly error: unknown } | null = null;
  isSettled: boolean = false;

  constructor(work: Work, resolve: (result: RunResult) => void, reject: (error: unknown) => void) {
    this.work = work;
    this.#resolve = resolve;
    this.#reject = reject;
    const { signal } = work.options;
    this.#onAbort = () => {
      this.#stop(signal?.reason);
    };
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Adds a copy. */
  add(copy: Copy): void {
    this.copy = copy;
    this.#running += 1;
  }

  /** Takes an answer; returns whether it is the first. */
  answered(result: RunResult): boolean {
    const isFirst = !this.isSettled;
    if (isFirst) {
      this.#settle();
      this.#resolve(result);
      this.#stop(new SelvedgeError("closed", "The other side answered first."));
    }
    return isFirst;
  }

  /** Takes a failure, of the request's own step or of its copy, whose error counts only where there is no other. */
  failed(error: unknown, isCopy: boolean): void {
    this.#running -= 1;
    if (this.#failed === null || !isCopy) this.#failed = { error };
    if (this.#running > 0 || this.isSettled) return;
    this.#settle();
    this.#reject(this.#failed.error);
  }

  #settle(): void {
    this.isSettled = true;
    this.work.options.signal?.removeEventListener("abort", this.#onAbort);
  }

  #stop(reason: unknown): void {
    this.own.abort(reason);
    this.copy?.stop.abort(reason);
  }
}

/** Hedges the requests of one engine. */
export class Hedging {
  readonly #host: LoadHost;
  readonly #counts: OffloadCounts;
  readonly #limits: HedgeLimits;
  readonly #hedger: Hedger;
  readonly #timer: WakeTimer;
  /** By the id of the request's step. */
  readonly #races: Map<number, Race> = new Map();
  /** By the id of the copy's step. */
  readonly #copies: Map<number, Copy> = new Map();
  /** Receives the id of the step that is being submitted. */
  #onId: ((id: number) => void) | null = null;

  constructor(host: LoadHost, limits: HedgeLimits, counts: OffloadCounts) {
    this.#host = host;
    this.#counts = counts;
    this.#limits = limits;
    this.#hedger = new Hedger(limits);
    this.#timer = new WakeTimer(host.effects, () => {
      this.#wake();
    });
    const { stop } = host.executor.dispatcher.watch((event, now, _lanes, decisions) => {
      this.#watch(event, now, decisions);
    });
    host.closed.addEventListener("abort", () => {
      stop();
      this.#timer.stop();
    });
  }

  /** Queues a request as the dispatcher does; where its answer is late, a copy as well. */
  run(work: Work): Promise<RunResult> {
    const { routes, state, options } = work;
    if (state !== undefined || !routes.some(isServer) || routes.every(isServer))
      return this.#host.executor.dispatcher.submit(work);
    return new Promise((resolve, reject) => {
      const race = new Race(work, resolve, reject);
      let id = 0;
      const run = this.#submit({ ...work, options: { ...options, signal: race.own } }, (given) => {
        id = given;
        this.#races.set(id, race);
      });
      run
        .then(
          (result) => {
            race.answered(result);
          },
          (error: unknown) => {
            race.failed(error, false);
          },
        )
        .finally(() => this.#races.delete(id));
    });
  }

  /** Queues a step; `onId` receives its id, before anything else happens to it. */
  #submit(work: Work, onId: (id: number) => void): Promise<RunResult> {
    this.#onId = onId;
    const run = this.#host.executor.dispatcher.submit(work);
    this.#onId = null;
    return run;
  }

  #watch(event: SchedulerEvent, now: number, decisions: readonly Decision[]): void {
    if (event.type === "arrived") {
      const { id } = event.step;
      if (!event.isAgain) this.#onId?.(id);
      // Not within the scheduler's own call.
      else queueMicrotask(() => this.#copies.get(id)?.stop.abort(new SelvedgeError("closed", "A copy is tried once.")));
    }
    this.#hedger.handle(event, now, decisions);
    this.#timer.set(this.#hedger.wakeMs);
  }

  #wake(): void {
    for (const due of this.#hedger.due(this.#host.effects.now())) this.#hedge(due);
    this.#timer.set(this.#hedger.wakeMs);
  }

  #hedge({ id, afterMs }: HedgeDecision): void {
    const race = this.#races.get(id);
    const server = race?.work.routes.find(isServer);
    const message = server?.here(true) ?? null;
    // A lane that is not connected would read the model's description and check its golden first.
    const lanes = this.#host.executor.pool.usual("remote");
    const isReady = message !== null && lanes.some(({ held }) => held.get(message.modelId)?.isReady === true);
    if (isReady && race?.isSettled === false) this.#send(race, server as ModelRoute, message, afterMs);
    else this.#hedger.unsent(id);
  }

  #send(race: Race, server: ModelRoute, message: LoadMessage, afterMs: number): void {
    const { effects } = this.#host;
    const { work } = race;
    const copy: Copy = { stop: new Stop(), sentMs: null };
    const route = { ...server, variant: server.variant, why: whyHedged(afterMs, this.#limits.quantile) };
    race.add(copy);
    let id = 0;
    const options = { ...work.options, signal: copy.stop };
    const onBegun = (): void => {
      copy.sentMs ??= effects.now();
    };
    const run = this.#submit({ ...work, routes: [route], message, options, onBegun }, (given) => {
      id = given;
      this.#copies.set(id, copy);
    });
    const count = (isFirst: boolean): void => {
      this.#copies.delete(id);
      if (copy.sentMs !== null) this.#counts.hedged(isFirst, effects.now() - copy.sentMs);
    };
    run.then(
      (result) => {
        count(race.answered(result));
      },
      (error: unknown) => {
        count(false);
        race.failed(error, true);
      },
    );
  }
}

/** Returns the reason for the answer of a copy that was sent after a time, a quantile of this device's latency. */
export function whyHedged(afterMs: number, quantile: number): Why {
  const usual = `p${Number((100 * quantile).toFixed(1))} of its last answers`;
  const text = `remote: no answer on this device within ${show(afterMs)} (${usual}); a server answered first`;
  return { code: "hedged", text };
}

/** Creates the hedging of an engine. */
export function createHedging(host: LoadHost, { hedge }: RemoteEngineOptions, counts: OffloadCounts): Hedging {
  const { share = HEDGE_DEFAULTS.share, quantile = HEDGE_DEFAULTS.quantile } = typeof hedge === "object" ? hedge : {};
  return new Hedging(host, { share, quantile }, counts);
}
