// Tracks the short deadlines that are live, and limits other work of their backend for them: a run can't be interrupted,
// so batches stay short, long runs are not staged, and a lane is kept free for short ones.
import type { Estimate } from "./cost-estimate.ts";
import type { LaneStates } from "./lane-state.ts";
import { isUsual } from "./lane-option.ts";
import type { LaneOption } from "./lane-option.ts";
import type { Route, ScheduledStep } from "./events.ts";

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
/** A deadline is urgent up to so many times the shortest live one. */
const URGENT = 2;
/** A deadline that is longer by less than this factor is as short: callers compute theirs, and sums are rounded. */
const SAME = 1.05;

/**
 * Time after its first request in which a model of unknown cost counts as short: one that only fails never gets a cost.
 */
const NEW_MS = 10_000;

/** The shortest deadline of a model on a backend, and until when it counts as live. */
interface LiveDeadline {
  readonly route: Route;
  readonly lengthMs: number;
  readonly untilMs: number;
}

/** Saved state: the live deadlines by the keys of their routes. */
export type SavedUrgency = ReadonlyMap<string, LiveDeadline>;

type Lanes = Pick<LaneStates, "expressMs" | "note" | "sinceMs">;

/** Tracks the shortest live deadline of each model and backend. */
export class LiveDeadlines {
  readonly #estimate: Estimate;
  readonly #lanes: Lanes;
  /** By the key of the route, which is of one backend. */
  #live: Map<string, LiveDeadline> = new Map();

  constructor(estimate: Estimate, lanes: Lanes) {
    this.#estimate = estimate;
    this.#lanes = lanes;
  }

  /** Returns a snapshot. */
  save(): SavedUrgency {
    return new Map(this.#live);
  }

  /** Restores a snapshot. */
  restore(live: SavedUrgency): void {
    this.#live = new Map(live);
  }

  /** Drops deadlines that are no longer live. */
  pass(now: number): void {
    for (const [key, { untilMs }] of this.#live) if (now > untilMs) this.#live.delete(key);
  }

  #on(backend: string): LiveDeadline[] {
    return [...this.#live.values()].filter(({ route }) => route.backend === backend);
  }

  /** Length of the shortest live deadline of a backend; Infinity where there is none. */
  #shortestMs(backend: string): number {
    return Math.min(...this.#on(backend).map(({ lengthMs }) => lengthMs));
  }

  /** Maximum duration of a batch without a deadline on a backend. */
  batchMs(backend: string): number {
    return PART * this.#shortestMs(backend);
  }

  /**
   * Records the deadline of an accepted step for each backend that can meet it: where none can, nothing is kept short.
   */
  note({ dueMs, arrivedMs, routes, rows }: ScheduledStep, now: number): void {
    const lengthMs = dueMs - arrivedMs;
    if (lengthMs === Infinity) return;
    for (const route of routes) {
      const { key } = route;
      if (lengthMs > (this.#live.get(key)?.lengthMs ?? Infinity)) continue;
      const ms = this.#estimate.ms(key, rows);
      if (ms === undefined ? !this.#isNew(key, now) : ms > lengthMs) continue;
      this.#live.set(key, { route, lengthMs, untilMs: now + Math.max(LIVE_MS, LIVE_TIMES * lengthMs) });
    }
  }

  /** Whether a model of unknown cost is new: its first deadline was not long ago. */
  #isNew(key: string, now: number): boolean {
    const what = `due ${key}`;
    const sinceMs = this.#lanes.sinceMs(what, now, now);
    if (sinceMs === 0) this.#lanes.note(what, now);
    return sinceMs < NEW_MS;
  }

  /** Whether a deadline is the shortest live one of this device's processor, or close to it. */
  isUrgent({ dueMs, arrivedMs }: ScheduledStep): boolean {
    return dueMs - arrivedMs <= URGENT * this.#shortestMs("wasm");
  }

  /** Whether work takes so long that an urgent step of the backend could not wait for it. */
  isLong(ms: number, backend: string = "wasm"): boolean {
    return ms > this.#shortestMs(backend) / 2;
  }

  /** Whether a step on a lane leaves room for urgent steps of its backend. */
  leavesRoom(
    { dueMs, arrivedMs }: ScheduledStep,
    option: LaneOption,
    options: readonly LaneOption[],
    now: number,
  ): boolean {
    const { backend } = option.lane;
    const shortestMs = this.#shortestMs(backend);
    if (option.batches.length > 0 && option.endMs - now > PART * shortestMs) return false;
    if (dueMs - arrivedMs <= SAME * shortestMs || !this.isLong(option.ms, backend)) return true;
    const others = options.filter((x) => x !== option && x.lane.backend === backend && x.lane.kind !== "wide");
    const isRoom = ({ lane, batches }: LaneOption): boolean =>
      lane.kind === "express"
        ? this.#isQuickOn(lane.id, option.ms, now)
        : !batches.some(({ ms }) => this.isLong(ms, backend));
    // A single lane can't be kept free. Of two, one is kept from work that would block it for long, or that has no
    // deadline: half of all there is costs more requests than a shorter wait.
    const isShort = dueMs < Infinity && option.ms <= BLOCKED * shortestMs;
    return others.filter(isUsual).length < (isShort ? 2 : 1) || others.some(isRoom);
  }

  /** Whether the models whose deadlines could not wait for work of `ms` are quick on the express lane. */
  #isQuickOn(express: string, ms: number, now: number): boolean {
    return this.#on("wasm").every(
      ({ route, lengthMs }) => ms <= lengthMs / 2 || this.#lanes.expressMs(express, route, now) <= lengthMs / 2,
    );
  }
}
