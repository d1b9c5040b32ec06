// Tracks the short deadlines that are live, and limits other work for them: a run can't be interrupted, so batches stay
// short, long runs are not staged, and a lane is kept free for short ones.
import type { Estimate } from "./cost-estimate.ts";
import { remember } from "./lane-state.ts";
import type { LaneStates } from "./lane-state.ts";
import { isUsual } from "./lane-option.ts";
import type { LaneOption } from "./lane-option.ts";
import type { ScheduledStep } from "./events.ts";

/** Short deadlines count as live for so many times their length, and at least so long. */
const LIVE_TIMES = 20;
const LIVE_MS = 2_000;
/**
 * Share of the shortest live deadline that a batch, and all work on a lane, may take. The rest is left for the page,
 * and for lanes that share the cores with it.
 */
const PART = 0.6;
/** Of two lanes, none is kept free from work with a deadline that takes at most so many times the shortest live one. */
const BLOCKED = 2;
/** Deadlines that differ by less are equal: a sum of a clock's time and a length is rounded. */
const SAME = 1.001;

/**
 * Time after its first request in which a model of unknown cost counts as short: one that only fails never gets a cost.
 */
const NEW_MS = 10_000;

/** Saved state of the live deadlines. */
export interface SavedUrgency {
  readonly ms: number;
  readonly key: string;
  readonly untilMs: number;
  /** Not in older traces. */
  readonly seenMs?: ReadonlyMap<string, number> | undefined;
}

/** Tracks the shortest of the live deadlines. */
export class LiveDeadlines {
  readonly #estimate: Estimate;
  readonly #lanes: Pick<LaneStates, "expressMs">;
  /** Length of the shortest deadline, the key of its model on the CPU, if any, and until when it counts as live. */
  #shortestMs = Infinity;
  #key = "";
  #untilMs = 0;
  /** When a deadline of a model of unknown cost was first seen, by its key. */
  #seenMs: Map<string, number> = new Map();

  constructor(estimate: Estimate, lanes: Pick<LaneStates, "expressMs">) {
    this.#estimate = estimate;
    this.#lanes = lanes;
  }

  /** Returns a snapshot. */
  save(): SavedUrgency {
    const seenMs = new Map(this.#seenMs);
    return { ms: this.#shortestMs, key: this.#key, untilMs: this.#untilMs, seenMs };
  }

  /** Restores a snapshot. */
  restore({ ms, key, untilMs, seenMs }: SavedUrgency): void {
    this.#seenMs = new Map(seenMs);
    [this.#shortestMs, this.#key, this.#untilMs] = [ms, key, untilMs];
  }

  /** Maximum duration of a batch. */
  get batchMs(): number {
    return PART * this.#shortestMs;
  }

  /** Drops deadlines that are no longer live. */
  pass(now: number): void {
    if (now > this.#untilMs) this.#shortestMs = Infinity;
  }

  /** Records the deadline of an accepted step, unless no route can meet it: then nothing is kept short for it. */
  note({ dueMs, arrivedMs, routes, rows }: ScheduledStep, now: number): void {
    const lengthMs = dueMs - arrivedMs;
    if (lengthMs > this.#shortestMs || lengthMs === Infinity) return;
    const isMet = routes.some(({ key }) => {
      const ms = this.#estimate.ms(key, rows);
      return ms === undefined ? this.#isNew(key, now) : ms <= lengthMs;
    });
    if (!isMet) return;
    this.#shortestMs = lengthMs;
    this.#key = routes.find(({ backend }) => backend === "wasm")?.key ?? "";
    this.#untilMs = now + Math.max(LIVE_MS, LIVE_TIMES * lengthMs);
  }

  #isNew(key: string, now: number): boolean {
    const seenMs = this.#seenMs.get(key);
    if (seenMs === undefined) remember(this.#seenMs, key, now);
    return now - (seenMs ?? now) < NEW_MS;
  }

  /** Whether a deadline is the shortest live one, or close to it. */
  isUrgent({ dueMs, arrivedMs }: ScheduledStep): boolean {
    return dueMs - arrivedMs <= 2 * this.#shortestMs;
  }

  /** Whether work takes so long that an urgent step could not wait for it. */
  isLong(ms: number): boolean {
    return ms > this.#shortestMs / 2;
  }

  /** Whether a step on a lane leaves room for urgent steps. */
  leavesRoom(
    { dueMs, arrivedMs }: ScheduledStep,
    option: LaneOption,
    options: readonly LaneOption[],
    now: number,
  ): boolean {
    if (option.batches.length > 0 && option.endMs - now > PART * this.#shortestMs) return false;
    if (dueMs - arrivedMs <= SAME * this.#shortestMs) return true;
    if (!this.isLong(option.ms)) return true;
    const others = options.filter(
      (x) => x !== option && x.lane.backend === option.lane.backend && x.lane.kind !== "wide",
    );
    const isRoom = ({ lane, batches }: LaneOption): boolean =>
      lane.kind === "express"
        ? !this.isLong(this.#lanes.expressMs(this.#key, now))
        : !batches.some(({ ms }) => this.isLong(ms));
    // A single lane can't be kept free. Of two, one is kept from work that would block it for long, or that has no
    // deadline: half of all there is costs more requests than a shorter wait.
    const isShort = dueMs < Infinity && option.ms <= BLOCKED * this.#shortestMs;
    return others.filter(isUsual).length < (isShort ? 2 : 1) || others.some(isRoom);
  }
}
