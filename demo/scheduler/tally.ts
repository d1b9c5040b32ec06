// Results of requests in the last seconds, by class.
import { quantile } from "../quantile.ts";
import { CLASSES, isOnTime } from "./classes.ts";
import type { Class, Settled } from "./classes.ts";

/** The counts of one class. */
export interface Count {
  readonly asked: number;
  readonly onTime: number;
  readonly refused: number;
  /** Latency from call to answer; null if none was answered. */
  readonly p99Ms: number | null;
}

/** Keeps the results of the last `windowMs`. */
export class Tally {
  readonly #windowMs: number;
  #settled: Settled[] = [];

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** Adds a result. It counts from when it is settled, which may be in the future. */
  add(settled: Settled): void {
    this.#settled.push(settled);
  }

  /** Forgets everything. */
  clear(): void {
    this.#settled = [];
  }

  /** Returns the results settled by now and within the window. */
  recent(nowMs: number): readonly Settled[] {
    this.#settled = this.#settled.filter(({ endMs }) => endMs > nowMs - this.#windowMs);
    return this.#settled.filter(({ endMs }) => endMs <= nowMs);
  }

  /** Counts by class. */
  counts(nowMs: number): ReadonlyMap<Class, Count> {
    const recent = this.recent(nowMs);
    return new Map(
      CLASSES.map((of) => {
        const own = recent.filter((x) => x.of === of);
        const answered = own.filter(({ outcome }) => outcome === "answered");
        const times = answered.map((x) => x.endMs - x.calledMs);
        const refused = own.filter(({ outcome }) => outcome === "refused").length;
        const p99Ms = quantile(times, 0.99) ?? null;
        return [of, { asked: own.length, onTime: own.filter(isOnTime).length, refused, p99Ms }];
      }),
    );
  }
}
