// Simulation of first in, first out: the requests of the page, with their arrival times, through the same number of
// lanes, each taking its model's measured time alone. No lane is reserved, nothing is batched, nothing is rejected. A
// request that has waited for `patienceMs` is given up, or a queue that was once too long would never drain.
import type { Class, Settled } from "./classes.ts";

/** A FIFO queue before a number of lanes. */
export class Fifo {
  readonly lanes: readonly string[];
  readonly #freeMs: number[];
  readonly #patienceMs: number;
  /** Duration of a run of each model alone. */
  readonly #costMs: Map<string, number> = new Map();

  constructor(lanes: number, patienceMs: number) {
    this.lanes = Array.from({ length: lanes }, (_, i) => `lane ${i}`);
    this.#freeMs = this.lanes.map(() => 0);
    this.#patienceMs = patienceMs;
  }

  /** Records the measured duration of a run. */
  learn(model: string, ms: number): void {
    const before = this.#costMs.get(model) ?? ms;
    this.#costMs.set(model, before + 0.1 * (ms - before));
  }

  /** Returns the result of a request that arrives now: later ones do not change it. */
  arrive(of: Class, calledMs: number): Settled {
    const first = this.#freeMs.indexOf(Math.min(...this.#freeMs));
    const startMs = Math.max(calledMs, this.#freeMs[first] ?? 0);
    if (startMs - calledMs > this.#patienceMs) {
      const endMs = calledMs + this.#patienceMs;
      return { of, calledMs, endMs, outcome: "failed", ran: null, why: "waited too long" };
    }
    const endMs = startMs + (this.#costMs.get(of.model) ?? 1);
    this.#freeMs[first] = endMs;
    const ran = { lane: this.lanes[first] ?? "", startMs, batchSize: 1 };
    return { of, calledMs, endMs, outcome: "answered", ran, why: "" };
  }

  /** Clears the queue. */
  clear(nowMs: number): void {
    for (const [i, ms] of this.#freeMs.entries()) this.#freeMs[i] = Math.min(ms, nowMs);
  }
}
