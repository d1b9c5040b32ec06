// A watchdog that counts only time in which the page ran. While a page is frozen or in the back/forward cache, or a
// laptop sleeps, the clock goes on and the worker does not: one wall-clock timer would end a healthy worker on resume.
// So the bound is spent in ticks, and a tick counts for no more than it was set for, however late it fires. Later
// bounds must be derived from this count alone: an hour asleep during a run is not a run of an hour.
import type { Effects } from "../effects/effects.ts";

const TICK_MS = 1_000;

/** Bounds one piece of work by running time, and counts that time. */
export class Watchdog {
  /** Called once when the bound is spent. */
  onExpire: (() => void) | null = null;
  /** Bound in ms of running time; Infinity for none. */
  readonly boundMs: number;
  readonly #effects: Pick<Effects, "now" | "setTimer">;
  #leftMs: number;
  #countedMs = 0;
  /** Start and duration of the current tick. */
  #tickAtMs = 0;
  #tickMs = 0;
  /** Cancels the tick; null before `begin`, and after the end. */
  #cancel: (() => void) | null = null;
  #isOver = false;

  constructor(effects: Pick<Effects, "now" | "setTimer">, boundMs: number) {
    this.#effects = effects;
    this.boundMs = this.#leftMs = boundMs;
  }

  /** Running time from `begin` to now, or to the end, in ms. */
  get spentMs(): number {
    if (this.#cancel === null) return this.#countedMs;
    return this.#countedMs + Math.min(this.#tickMs, this.#effects.now() - this.#tickAtMs);
  }

  /** Starts the count; does nothing after the end. */
  begin(): void {
    if (this.#isOver || this.#cancel !== null) return;
    const ms = (this.#tickMs = Math.min(this.#leftMs, TICK_MS));
    this.#tickAtMs = this.#effects.now();
    this.#cancel = this.#effects.setTimer(() => {
      this.#cancel = null;
      this.#countedMs += ms;
      this.#leftMs -= ms;
      if (this.#leftMs > 0) this.begin();
      else this.onExpire?.();
    }, ms);
  }

  /** Restarts the bound, since the work has made progress. */
  renew(): void {
    this.#leftMs = Math.max(this.#leftMs, this.boundMs);
  }

  /** Pauses the count until `begin`; returns whether it was running. */
  pause(): boolean {
    if (this.#cancel === null) return false;
    const { spentMs } = this;
    this.#leftMs -= spentMs - this.#countedMs;
    this.#countedMs = spentMs;
    this.#cancel();
    this.#cancel = null;
    return true;
  }

  /** Ends the count. */
  stop(): void {
    this.#isOver = true;
    this.#countedMs = this.spentMs;
    this.#cancel?.();
    this.#cancel = null;
  }
}

/** Calls `expire` once after `boundMs` of running time, unless the returned function is called before. */
export function watch(effects: Pick<Effects, "now" | "setTimer">, boundMs: number, expire: () => void): () => void {
  const watchdog = new Watchdog(effects, boundMs);
  watchdog.onExpire = expire;
  watchdog.begin();
  return () => {
    watchdog.stop();
  };
}

/** Counts running time from now on: the duration of a load must not include the page's sleep. */
export function startClock(effects: Pick<Effects, "now" | "setTimer">): Watchdog {
  const clock = new Watchdog(effects, Infinity);
  clock.begin();
  return clock;
}
