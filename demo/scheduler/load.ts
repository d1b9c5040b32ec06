// Sends requests of each class to the engine at random times (Poisson), at rates that may change at any moment, and
// reports their results.
import { isSelvedgeError } from "selvedge";
import type { Model } from "selvedge";
import { CLASSES } from "./classes.ts";
import type { Class, Settled } from "./classes.ts";

/** Callbacks for requests. */
export interface LoadListener {
  /** Called when a request is sent. */
  readonly onCall: (of: Class, calledMs: number) => void;
  /** Called when it is settled; `aloneMs` is its duration if it ran alone. */
  readonly onSettled: (settled: Settled, aloneMs: number | null) => void;
}

const TICK_MS = 4;
/** Limit on catching up: a browser that delays timers must not release everything that was due meanwhile at once. */
const BEHIND_MS = 100;
/** Limit on the requests of one class in flight: beyond it the page itself would be late. */
const IN_FLIGHT_MAX = 400;

const AT_ONCE = 16;

/** Whether a lane is neither the express lane nor the one with threads. */
export function isUsual(lane: string): boolean {
  return /-\d+$/.test(lane);
}

/** Sends requests. */
export class Load {
  readonly #models: ReadonlyMap<string, Model>;
  readonly #listener: LoadListener;
  readonly #rates: Map<Class, number> = new Map();
  readonly #nextMs: Map<Class, number> = new Map();
  readonly #inFlight: Map<Class, number> = new Map();
  readonly #inputs: Map<Class, Float32Array<ArrayBuffer>> = new Map();
  #sent = 0;
  #timer: ReturnType<typeof setInterval> | null = null;

  constructor(models: ReadonlyMap<string, Model>, listener: LoadListener) {
    this.#models = models;
    this.#listener = listener;
    for (const of of CLASSES) {
      const length = of.dims.reduce((a, b) => a * b, 1);
      this.#inputs.set(
        of,
        Float32Array.from({ length }, (_, i) => Math.sin(i * 12.9898)),
      );
    }
  }

  /** Sets the number of requests of a class per second. */
  setRate(of: Class, rate: number): void {
    this.#rates.set(of, rate);
    this.#nextMs.set(of, performance.now() + wait(rate));
  }

  /** Starts sending. */
  start(): void {
    for (const [of, rate] of this.#rates) this.setRate(of, rate);
    this.#timer ??= setInterval(() => {
      this.#send(performance.now());
    }, TICK_MS);
  }

  /** Stops sending; requests in flight continue. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /**
   * Runs each class alone to measure its cost, then many at once, so that every lane holds its model; returns the
   * lanes' capacity for each class per second.
   */
  async warmUp(): Promise<ReadonlyMap<Class, number>> {
    const plain = { priority: "normal" } as const;
    const rates = new Map<Class, number>();
    for (const of of CLASSES) {
      for (let i = 0; i < 5; i += 1) await this.call(of, plain, i > 1);
      for (const count of [AT_ONCE, AT_ONCE]) {
        const startMs = performance.now();
        await Promise.all(Array.from({ length: count }, () => this.call(of, plain, false)));
        rates.set(of, (1_000 * count) / (performance.now() - startMs));
      }
    }
    return rates;
  }

  /** Sends one request. */
  async call(of: Class, options: Class["options"] = of.options, isTold = true): Promise<void> {
    const calledMs = performance.now();
    // Each input is different: identical requests would share one run.
    const data = (this.#inputs.get(of) as Float32Array<ArrayBuffer>).slice();
    data[0] = this.#sent += 1;
    const inputs = { [of.input]: { dtype: "float32", dims: of.dims, data } } as const;
    const model = this.#models.get(of.model) as Model;
    try {
      const { info } = await model.run(inputs, options);
      const endMs = performance.now();
      const ms = info.history.at(-1)?.ms ?? info.ranMs;
      const ran = { lane: info.lane, startMs: endMs - ms, batchSize: info.batchSize };
      const settled = { of, calledMs, endMs, outcome: "answered", ran, why: info.why.text } as const;
      const isPlain = info.batchSize === 1 && info.attempts === 1 && isUsual(info.lane);
      if (isTold) this.#listener.onSettled(settled, isPlain ? ms : null);
    } catch (error) {
      const isRefused = isSelvedgeError(error) && (error.code === "deadline-exceeded" || error.code === "overloaded");
      const why = error instanceof Error ? error.message : String(error);
      const endMs = performance.now();
      if (isTold)
        this.#listener.onSettled(
          { of, calledMs, endMs, outcome: isRefused ? "refused" : "failed", ran: null, why },
          null,
        );
    }
  }

  #send(nowMs: number): void {
    for (const [of, rate] of this.#rates) {
      let nextMs = Math.max(this.#nextMs.get(of) ?? 0, nowMs - BEHIND_MS);
      for (; nextMs <= nowMs; nextMs += wait(rate)) {
        const inFlight = this.#inFlight.get(of) ?? 0;
        if (inFlight >= IN_FLIGHT_MAX) continue;
        this.#inFlight.set(of, inFlight + 1);
        this.#listener.onCall(of, performance.now());
        void this.call(of).finally(() => this.#inFlight.set(of, (this.#inFlight.get(of) ?? 1) - 1));
      }
      this.#nextMs.set(of, nextMs);
    }
  }
}

/** Draws the time until the next request; Infinity at rate 0. */
function wait(rate: number): number {
  return rate > 0 ? (-1_000 * Math.log(1 - Math.random())) / rate : Number.POSITIVE_INFINITY;
}
