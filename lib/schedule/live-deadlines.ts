// Which short deadlines are live, and what that asks of everything else: nothing inside a run can be interrupted, so
// batches stay short, what takes long is not staged, and a lane is kept for what is short.
import type { Estimate } from "./cost-estimate.ts";
import { EXPRESS, remember } from "./lane-state.ts";
import type { Chance } from "./lane-state.ts";
import type { Step } from "./events.ts";

/** Short deadlines count as live for so many times their length, and at least so long. */
const LIVE_TIMES = 20;
const LIVE_MS = 2_000;
/**
 * While short deadlines are live: which part of the shortest a batch may take, and all that a lane holds. The page, and
 * lanes that share the cores with it, take what is left.
 */
const PART = 0.6;

/**
 * So long after its first request a model whose cost is unknown counts as short: one that only fails never gets a cost.
 */
const NEW_MS = 10_000;

/** What is live, as it is written down. */
export interface SavedUrgency {
  readonly ms: number;
  readonly key: string;
  readonly untilMs: number;
  /** Not in older traces. */
  readonly seenMs?: ReadonlyMap<string, number> | undefined;
}

/** Follows the shortest of the deadlines that are live. */
export class Urgency {
  readonly #estimate: Estimate;
  /** How short it is, whose model that is, and until when it counts as live. */
  #shortestMs = Infinity;
  #key = "";
  #untilMs = 0;
  /** When a deadline was first seen of a model whose cost is unknown, by its key. */
  #seenMs: Map<string, number> = new Map();

  constructor(estimate: Estimate) {
    this.#estimate = estimate;
  }

  /** Writes down what is live. */
  save(): SavedUrgency {
    const seenMs = new Map(this.#seenMs);
    return { ms: this.#shortestMs, key: this.#key, untilMs: this.#untilMs, seenMs };
  }

  /** Takes what was written down. */
  restore({ ms, key, untilMs, seenMs }: SavedUrgency): void {
    this.#seenMs = new Map(seenMs);
    [this.#shortestMs, this.#key, this.#untilMs] = [ms, key, untilMs];
  }

  /** How long a batch may take at the most. */
  get batchMs(): number {
    return PART * this.#shortestMs;
  }

  /** Forgets what is live no more. */
  pass(now: number): void {
    if (now > this.#untilMs) this.#shortestMs = Infinity;
  }

  /**
   * Takes note of the deadline of a step that was accepted, unless no place can meet it: then nothing is kept short for
   * it.
   */
  note({ dueMs, arrivedMs, places, rows }: Step, now: number): void {
    const lengthMs = dueMs - arrivedMs;
    if (lengthMs > this.#shortestMs || lengthMs === Infinity) return;
    const isMet = places.some(({ key }) => {
      const ms = this.#estimate.ms(key, rows);
      return ms === undefined ? this.#isNew(key, now) : ms <= lengthMs;
    });
    if (!isMet) return;
    this.#shortestMs = lengthMs;
    this.#key = places[0].key;
    this.#untilMs = now + Math.max(LIVE_MS, LIVE_TIMES * lengthMs);
  }

  #isNew(key: string, now: number): boolean {
    const seenMs = this.#seenMs.get(key);
    if (seenMs === undefined) remember(this.#seenMs, key, now);
    return now - (seenMs ?? now) < NEW_MS;
  }

  /** Tells whether a deadline is of the shortest that are live, or nearly so. */
  isUrgent({ dueMs, arrivedMs }: Step): boolean {
    return dueMs - arrivedMs <= 2 * this.#shortestMs;
  }

  /** Tells whether something takes so long that what is urgent could not wait for it. */
  isLong(ms: number): boolean {
    return ms > this.#shortestMs / 2;
  }

  /** Tells whether a step on a lane leaves room for what is urgent. */
  leavesRoom({ dueMs, arrivedMs }: Step, chance: Chance, chances: readonly Chance[], now: number): boolean {
    if (dueMs - arrivedMs <= this.#shortestMs) return true;
    if (chance.batches.length > 0 && chance.endMs - now > PART * this.#shortestMs) return false;
    if (!this.isLong(chance.ms)) return true;
    // With one lane there is no room to leave.
    const others = chances.filter(
      (x) => x !== chance && x.lane.backend === chance.lane.backend && x.lane.kind !== "wide",
    );
    const isRoom = ({ lane, batches }: Chance): boolean =>
      lane.kind === "express"
        ? !this.isLong(this.#estimate.ms(this.#key + EXPRESS, 1) ?? 0)
        : !batches.some(({ ms }) => this.isLong(ms));
    return others.every(({ lane }) => lane.kind === "express") || others.some(isRoom);
  }
}
