// First in, first out, as arithmetic: the requests of the page, at the times at which they came, through as many lanes,
// each taking what its model was measured to take alone. No lane is kept for anybody, nothing runs together, nothing is
// refused; what has waited for `patienceMs` is given up, or a queue that once was too long would never end.
import type { Class, Settled } from "./classes.ts";

/** A queue in plain order before so many lanes. */
export class Fifo {
  readonly lanes: readonly string[];
  readonly #freeMs: number[];
  readonly #patienceMs: number;
  /** What a run of each model takes alone. */
  readonly #costMs: Map<string, number> = new Map();

  constructor(lanes: number, patienceMs: number) {
    this.lanes = Array.from({ length: lanes }, (_, i) => `lane ${i}`);
    this.#freeMs = this.lanes.map(() => 0);
    this.#patienceMs = patienceMs;
  }

  /** Takes in what a run was measured to take. */
  learn(model: string, ms: number): void {
    const before = this.#costMs.get(model) ?? ms;
    this.#costMs.set(model, before + 0.1 * (ms - before));
  }

  /** Gives what becomes of a request that comes now: later ones change nothing about it. */
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

  /** Forgets what waits. */
  clear(nowMs: number): void {
    for (const [i, ms] of this.#freeMs.entries()) this.#freeMs[i] = Math.min(ms, nowMs);
  }
}
