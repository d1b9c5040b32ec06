// The one timer of a dispatcher. It is set to the earliest time that was asked for; one that fires too early only has
// its callback look again. Browsers cut fractions of a ms off, and a coarse clock may show the same time for long after
// a timer of a fraction: whole ms, rounded up, let it fire once instead of again and again.
import type { Effects } from "../effects/effects.ts";

/** Calls back at the earliest of the times that are set. */
export class WakeTimer {
  readonly #effects: Effects;
  readonly #onWake: () => void;
  #cancel: (() => void) | undefined;
  #atMs = Infinity;

  constructor(effects: Effects, onWake: () => void) {
    this.#effects = effects;
    this.#onWake = onWake;
  }

  /** Calls back at a time of the effects' clock, unless an earlier call is pending; Infinity for none. */
  set(atMs: number): void {
    if (atMs >= this.#atMs) return;
    this.stop();
    this.#atMs = atMs;
    this.#cancel = this.#effects.setTimer(
      () => {
        this.#atMs = Infinity;
        this.#onWake();
      },
      Math.ceil(atMs - this.#effects.now()),
    );
  }

  /** Cancels the pending call. */
  stop(): void {
    this.#cancel?.();
  }
}
