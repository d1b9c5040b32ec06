// How much longer a step waits than what is queued before it tells: later ones that are due sooner go ahead of it, and
// lanes get less done than was learnt while other things run. What was told is compared with what came, and of their
// ratio the quantile is followed by which few are told too little, for each octave of deadlines by itself: the longer one
// is, the more may come in between. (Robbins and Monro's stochastic approximation, as for the pinball loss.)
import type { Step } from "./protocol.ts";

/** At the least: short bursts end before it could be learnt that more comes. */
const LEAST = 2.4;
const MOST = 32;
/** Of those that are accepted, this share may wait longer than they were told. */
const IN_VAIN = 0.005;
/** By how much one that was told too little adds to the logarithm. */
const RATE = 0.1;
/** Shorter waits are told by chance. */
const WAIT_MIN_MS = 0.5;

/** What was learnt, as it is written down. */
export interface SavedForesight {
  readonly times: ReadonlyMap<number, number>;
  readonly told: ReadonlyMap<number, number>;
}

/** Follows how much longer steps wait than was told. */
export class Foresight {
  /** By octaves of the length of deadlines. */
  #times: Map<number, number> = new Map();
  /** What steps were told that wait, by their id, in ms. */
  #told: Map<number, number> = new Map();

  /** Writes down what was learnt. */
  save(): SavedForesight {
    return { times: new Map(this.#times), told: new Map(this.#told) };
  }

  /** Takes what was written down. */
  restore({ times, told }: SavedForesight): void {
    this.#times = new Map(times);
    this.#told = new Map(told);
  }

  /** How many times what is told a step of such a deadline is to wait. */
  times(step: Step): number {
    return this.#times.get(octaveOf(step)) ?? LEAST;
  }

  /** Takes note of what a step is told that is accepted, in ms. */
  told({ id }: Step, waitMs: number): void {
    if (waitMs > WAIT_MIN_MS) this.#told.set(id, waitMs);
  }

  /** Takes note that a step waits no more, and learns from how long it did. */
  waited(step: Step, ms: number): void {
    const toldMs = this.#told.get(step.id);
    if (toldMs === undefined) return;
    this.#told.delete(step.id);
    const times = this.times(step);
    const by = RATE * (ms > times * toldMs ? 1 - IN_VAIN : -IN_VAIN);
    this.#times.set(octaveOf(step), Math.min(MOST, Math.max(LEAST, times * Math.exp(by))));
  }

  /** Forgets a step that nobody waits for. */
  forget(id: number): void {
    this.#told.delete(id);
  }
}

function octaveOf({ dueMs, arrivedMs }: Step): number {
  return Math.round(Math.log2(dueMs - arrivedMs));
}
