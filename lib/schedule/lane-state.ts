// The scheduler's model of lanes: what each runs and has staged, the load time of models, and when a model ran last.
// Derives where a step may run and when it would finish there. Independent of the queue.
import { isServer } from "../core/device.ts";
import { BackOffs } from "./back-offs.ts";
import type { BackOff } from "./back-offs.ts";
import { endOf, isUsual, runs, countStates, stalledMs, stateOf } from "./lane-option.ts";
import type { Batch, LaneOption } from "./lane-option.ts";
import type { Estimate } from "./cost-estimate.ts";
import type { LaneView, Route, SchedulerEvent, ScheduledStep } from "./events.ts";

/** Saved state of lanes. */
export interface SavedLanes {
  readonly batches: ReadonlyMap<string, readonly SavedBatch[]>;
  readonly notedMs: ReadonlyMap<string, number>;
  readonly loadMs: ReadonlyMap<number, number>;
  readonly owedMs: number;
  /** Not in older traces. */
  readonly bars?: ReadonlyMap<string, BackOff> | undefined;
  readonly vain?: ReadonlyMap<string, number> | undefined;
  readonly arrived?: ReadonlyMap<string, number> | undefined;
  readonly used?: ReadonlyMap<string, number> | undefined;
}

/** Saved batch; older traces have the ids of its steps alone. */
type SavedBatch = Omit<Batch, "steps"> & {
  readonly ids?: readonly number[] | undefined;
  readonly steps: readonly ScheduledStep[];
};

/** Shorter runs are not worth waking the threads. */
const WIDE_MIN_MS = 8;
/** Threads must take less than this share of the time of one: they keep all cores busy. */
const WIDE_PAYS = 0.9;
/** Until threads were measured, or where they were slower, a deadline must leave this many times the time of one. */
const WIDE_SLACK = 3;
/** How long the express or the wide lane is not used for a model after a run that failed there. */
const FAILED_MS = 60_000;
/** After so many requests of a model since its last run on a usual lane, that is measured again. */
const USUAL_STEPS = 300;
/** Assumed cost of an unknown model, and of an unknown load: the third concurrent request opens a second lane. */
export const UNKNOWN_MS = 250;
const LOAD_MS = 300;
/**
 * A model that did not run for so long, or for so many times its run time, is tried rather than rejected: its estimate
 * may be out of date. At the latest after a minute. Where a lane is idle it is tried sooner, like a half-open circuit
 * breaker: at once where its cost was measured only once, since a first run also compiles shaders; else after the time
 * of a run, doubled with each failed trial: one whose answer was late, or later than a server's would have been. All
 * trials share one budget, which may make each wait for longer.
 */
const STALE_MIN_MS = 1_000;
const STALE_TIMES = 10;
const STALE_MAX_MS = 60_000;
/**
 * Late trials of all models together take one part in so many of a lane's time; as many as a minute compensates may run
 * in advance.
 */
const TRIAL_TIMES = 10;
/** After a failed trial beside a server, at most one of so many steps of the model is the next one. */
const TRIAL_STEPS = 20;
/**
 * An estimate of a server, of the express and of the wide lane is halved for each so many ms without a run there, at most
 * once for so many steps of the model: a slow one gets no run that would show that it no longer is.
 */
const OLD = { usual: [60_000, 10], express: [10_000, 10], wide: [60_000, 100] } as const;
/** Bound on the entries of the maps by model, or by lane and model. */
const REMEMBERED = 1_024;
const NOTHING: readonly Batch[] = [];

/** Tracks the state of lanes. */
export class LaneStates {
  readonly #estimate: Estimate;
  readonly #batches: Map<string, readonly Batch[]> = new Map();
  /**
   * Time of the last start or end of a model, by its key; of the last command to load it onto a lane, by lane and key.
   */
  #notedMs: Map<string, number> = new Map();
  /** Time to load a model, including the start of a worker, by its id. */
  #loadMs: Map<number, number> = new Map();

  /** Number of steps of a route that arrived, by its key. */
  #arrived: Map<string, number> = new Map();
  /** That number at the last start or end of its model, or its measurement, by the key of the estimate. */
  #used: Map<string, number> = new Map();

  /** Lanes that could not start, or not load a model. */
  readonly backOffs: BackOffs = new BackOffs();
  /** Number of consecutive late trials of a model, by its key. */
  #vain: Map<string, number> = new Map();
  /** When the late trials of all models are compensated by the time since. */
  #owedMs = 0;

  constructor(estimate: Estimate) {
    this.#estimate = estimate;
  }

  /** Returns a snapshot. */
  save(): SavedLanes {
    const copyOf = ({ steps, ...batch }: Batch): SavedBatch => {
      return { ...batch, steps: [...steps.values()] };
    };
    return {
      batches: new Map([...this.#batches].map(([lane, held]) => [lane, held.map(copyOf)])),
      notedMs: new Map(this.#notedMs),
      loadMs: new Map(this.#loadMs),
      bars: this.backOffs.save(),
      vain: new Map(this.#vain),
      owedMs: this.#owedMs,
      arrived: new Map(this.#arrived),
      used: new Map(this.#used),
    };
  }

  /** Restores a snapshot. */
  restore(saved: SavedLanes): void {
    const { batches, notedMs, loadMs, bars, vain, owedMs, arrived, used } = saved;
    for (const [lane, held] of batches)
      this.#batches.set(
        lane,
        held.map(({ steps, ...batch }) => ({ ...batch, steps: new Map(steps.map((x) => [x.id, x])) })),
      );
    this.backOffs.restore(bars);
    this.#notedMs = new Map(notedMs);
    this.#loadMs = new Map(loadMs);
    this.#vain = new Map(vain);
    this.#arrived = new Map(arrived);
    this.#used = new Map(used);
    this.#owedMs = owedMs;
  }

  /** Running and staged batches by lane. */
  get batches(): ReadonlyMap<string, readonly Batch[]> {
    return this.#batches;
  }

  /** Yields the batches with steps that did not begin: staged ones, and those whose lane is still loading the model. */
  *unbegun(): Generator<{ readonly lane: string; readonly first: Batch; readonly batch: Batch }, void, undefined> {
    for (const [lane, batches] of this.#batches)
      for (const batch of batches) {
        const [first = batch] = batches;
        if (batch.steps.size > 0 && (batch !== first || batch.isLoading === true)) yield { lane, first, batch };
      }
  }

  /** Returns the batches of one lane. */
  on(lane: string): readonly Batch[] {
    return this.#batches.get(lane) ?? NOTHING;
  }

  /** Adds a batch to a lane. */
  add(lane: string, batch: Batch, now: number): void {
    this.#batches.set(lane, [...this.on(lane), batch]);
    // Until its end is known it counts as late.
    if (batch.isTrial === true) this.#owedMs = Math.max(this.#owedMs, now) + TRIAL_TIMES * batch.ms;
    this.#noteUse(batch.key, batch.route.key, now);
  }

  /** Records that a model starts or ends, or was measured, by the keys of an estimate and of its route. */
  #noteUse(key: string, routeKey: string, now: number): void {
    this.note(routeKey, now);
    this.note(key, now);
    remember(this.#used, key, this.#arrived.get(routeKey) ?? 0);
  }

  /** Records a step as it arrives, also one that is rejected. */
  arrived({ routes }: ScheduledStep): void {
    for (const { key } of routes) remember(this.#arrived, key, (this.#arrived.get(key) ?? 0) + 1);
  }

  /** Removes a batch from its lane, and learns from its duration. */
  end({ lane, batch: id, ms }: SchedulerEvent & { type: "ended" }, now: number, lanes: readonly LaneView[]): void {
    const batches = this.on(lane);
    const batch = batches.find((x) => x.id === id);
    const left = batches.filter((x) => x !== batch);
    this.#batches.set(lane, left);
    const [next] = left;
    // A batch that leaves from behind another one changes nothing for that.
    if (next !== undefined && next !== batches[0]) {
      next.startMs = now;
      // Its lane has to load the model again where the worker, or the load that it waited for, failed.
      next.isLoading = lanes.find((x) => x.id === lane)?.held.has(next.route.modelId) === false;
    }
    if (batch === undefined) return;
    const { key, route, rows, steps, shape = null, isTrial = false } = batch;
    this.#noteUse(key, route.key, now);
    if (isTrial) this.#endTrial(batch, ms, now);
    // A single row that ran out of memory is no evidence about batches.
    if (ms !== null && (ms < Infinity || rows > 1)) {
      this.#estimate.learn(key, rows, ms, now, shape);
      // The servers of a model have an estimate each, and one together.
      if (isServer(route) && key !== route.key) this.#estimate.learn(route.key, rows, ms, now, shape);
    }
    if (ms === null || ms === Infinity) {
      // One that was cancelled tells nothing. The steps of another are retried, where the usual lanes have room.
      if (key !== route.key && !isServer(route) && steps.size > 0)
        this.backOffs.add(lane, route.modelId, now + FAILED_MS, now);
      return;
    }
    this.backOffs.clear(lane, route.modelId);
  }

  /** Adjusts the budget of trials, and the back-off of the model, to the outcome of a trial. */
  #endTrial({ route, ms: expectedMs, startMs, steps, serverMs }: Batch, ms: number | null, now: number): void {
    const isVain = [...steps.values()].some(({ dueMs }) => Math.min(dueMs, serverMs ?? Infinity) < now);
    const isOnTime = ms !== null && steps.size > 0 && !isVain;
    this.#owedMs += TRIAL_TIMES * ((isOnTime ? 0 : Math.max(0, now - startMs)) - expectedMs);
    if (isOnTime) this.#vain.delete(route.key);
    else if (ms !== null && isVain) remember(this.#vain, route.key, (this.#vain.get(route.key) ?? 0) + 1);
  }

  /** Records the load time of a model on a lane. */
  loaded(modelId: number, ms: number, lane: string | undefined): void {
    remember(this.#loadMs, modelId, ms);
    for (const [id, batches] of this.#batches)
      for (const batch of batches) if (batch.route.modelId === modelId && id === (lane ?? id)) batch.isLoading = false;
  }

  /** Records the time of one row, measured when the backend was chosen, or when a server answered its golden. */
  measured({ key, ms, endpoint }: SchedulerEvent & { type: "measured" }, now: number): void {
    if (this.#estimate.ms(key, 1) === undefined) this.#estimate.learn(key, 1, ms);
    const own = keyOn({ kind: "usual", endpoint }, { key });
    if (own === key || this.#notedMs.has(own)) return;
    // In place of that of an earlier page, which counts for nothing.
    this.#estimate.delete(own);
    this.#estimate.learn(own, 1, ms, now);
    this.#noteUse(own, key, now);
  }

  /** Returns the load time of a model. */
  loadOf({ modelId }: Route): number {
    return this.#loadMs.get(modelId) ?? LOAD_MS;
  }

  /** Records the time of an action. */
  note(what: string, now: number): void {
    remember(this.#notedMs, what, now);
  }

  /** Returns the time since an action; where there was none, since `start`. */
  sinceMs(what: string, now: number, start: number = -Infinity): number {
    return now - (this.#notedMs.get(what) ?? start);
  }

  /**
   * Returns the minimum time of a step over its routes; 0 where it is to be tried. A fallback of this device counts once
   * its cost is known.
   */
  soonestMs(step: ScheduledStep, now: number, lanes: readonly LaneView[]): number {
    if (this.trial(step, now, lanes) !== undefined) return 0;
    const routes = this.#usable(step, now, lanes);
    const known = lanes.flatMap((lane) => {
      const route = isUsual({ lane }) ? routes.find(({ backend }) => backend === lane.backend) : undefined;
      return (route && this.#msOf(route, lane, step.rows, now, "leastMs")) ?? [];
    });
    return Math.min(...known);
  }

  /**
   * Returns the route where a step is to be tried whatever its estimate: its first usable one, where nothing is known
   * of its cost, or nothing recent; else a server that would be late by all that is known of it. Where a server can do
   * it, the trials of this device are few.
   */
  trial(step: ScheduledStep, now: number, lanes: readonly LaneView[]): Route | undefined {
    const [route, ...others] = this.#usable(step, now, lanes);
    if (this.#estimate.ms(route.key, step.rows) === undefined) return route;
    if (this.#isTried(route, others.some(isServer), step, now, lanes)) return route;
    const isLate = (server: Route): boolean => (this.#estimate.leastMs(server.key, step.rows) ?? 0) > step.dueMs - now;
    return others.find((x) => isServer(x) && isLate(x) && this.#isTried(x, false, step, now, lanes));
  }

  /** Whether a route is to be tried, of whose cost nothing recent is known; `hasServer`: where a server can do it too. */
  #isTried(
    { key, backend }: Route,
    hasServer: boolean,
    step: ScheduledStep,
    now: number,
    lanes: readonly LaneView[],
  ): boolean {
    const ms = this.#estimate.ms(key, step.rows) ?? 0;
    let isIdle = false;
    for (const lane of lanes) {
      const batches = this.on(lane.id);
      const [first] = batches;
      isIdle ||= first === undefined && lane.backend === backend && isUsual({ lane }) && lane.isOpen;
      // Its cost will be known soon.
      if (first !== undefined && stalledMs(first) > now && batches.some((x) => x.route.key === key)) return false;
    }
    const vain = this.#vain.get(key) ?? 0;
    const isTooSoon = hasServer && vain > 0 && this.#stepsSince(key, key) < TRIAL_STEPS;
    if (isTooSoon || !this.#mayTry(key, now)) return false;
    if (isIdle && vain === 0 && !this.#estimate.isSure(key, step.rows)) return true;
    // Where a server answers meanwhile, nothing is lost by a longer wait.
    const most = hasServer ? Infinity : STALE_TIMES;
    const times = isIdle ? Math.min(most, 2 ** vain) : STALE_TIMES;
    const staleMs = Math.min(STALE_MAX_MS, Math.max(STALE_MIN_MS, times * ms));
    return this.sinceMs(key, now) > staleMs;
  }

  /** Whether the budget of trials allows one more; first of the model that ran least recently. */
  #mayTry(key: string, now: number): boolean {
    const behindMs = Math.min(STALE_MAX_MS, (STALE_MIN_MS * STALE_MAX_MS) / this.sinceMs(key, now));
    return this.#owedMs - now <= STALE_MAX_MS - behindMs;
  }

  /** Returns the routes of a step that have an open lane that works; all of them where none has. */
  #usable({ routes }: ScheduledStep, now: number, lanes: readonly LaneView[]): ScheduledStep["routes"] {
    const [first, ...others] = routes.filter(({ backend, modelId }) =>
      lanes.some(
        (lane) =>
          lane.backend === backend && lane.isOpen && isUsual({ lane }) && !this.backOffs.has(lane.id, modelId, now),
      ),
    );
    return first === undefined ? routes : [first, ...others];
  }

  /** Whether nothing runs or is staged anywhere. */
  get areIdle(): boolean {
    return [...this.#batches.values()].every((x) => x.length === 0);
  }

  /** Whether a step is to run on the wide lane: threads were measured to pay for it, or are to be measured. */
  isForWide({ rows, dueMs }: ScheduledStep, usual: LaneOption, wide: LaneOption, now: number): boolean {
    const { key, ms } = wide;
    const isOld = this.#stepsSince(usual.key, usual.route.key, 0) >= USUAL_STEPS;
    if (usual.ms < WIDE_MIN_MS || isOld || !this.#estimate.isSure(usual.key, rows)) return false;
    const paysMs = WIDE_PAYS * usual.ms;
    const isKnown = this.#estimate.isSure(key, rows);
    if (isKnown && ms >= paysMs) return false;
    return (isKnown && (this.#estimate.ms(key, rows) ?? 0) < paysMs) || now + WIDE_SLACK * usual.ms <= dueMs;
  }

  /**
   * Whether every lane holds the maximum number of batches; the wide one, which takes no queued work, does not count.
   */
  areFull(lanes: readonly LaneView[]): boolean {
    return lanes.every(({ id, isOpen, kind }) => !isOpen || kind === "wide" || this.on(id).length > 1);
  }

  /** Number of steps of a route, by its key, since the last use by the key of an estimate; without one, since number `start`. */
  #stepsSince(own: string, key: string, start: number = -Infinity): number {
    return (this.#arrived.get(key) ?? 0) - (this.#used.get(own) ?? start);
  }

  /**
   * Returns the expected time of a route on a lane: where it never ran there, that of a usual lane, undefined if nothing is
   * known of that either; 0 on a server. An old one of a server, or of a lane of another kind, is discounted. A lane's counts
   * at most as a usual one's then: it is to be looked at, however slow it was. A server's of an earlier page counts for nothing.
   */
  #msOf(
    route: Pick<Route, "key" | "backend">,
    lane: Pick<LaneView, "kind" | "endpoint">,
    rows: number,
    now: number,
    what: "ms" | "leastMs" = "ms",
  ): number | undefined {
    const { key } = route;
    const own = keyOn(lane, route);
    const isRemote = isServer(route);
    const ms = this.#estimate[what](own, rows);
    const usualMs = isRemote ? 0 : this.#estimate[what](key, rows);
    if (ms === undefined || (own === key && !isRemote)) return usualMs;
    const [oldMs, oldSteps] = OLD[lane.kind];
    const start = isRemote ? -Infinity : 0;
    // A count that was evicted begins again, below that of the last use.
    const steps = this.#stepsSince(own, key, start);
    const times = Math.floor(Math.min(this.sinceMs(own, now, start) / oldMs, steps / oldSteps));
    return times < 1 ? ms : Math.min(ms, usualMs || ms) / 2 ** times;
  }

  /** Returns the expected time of one row on the express lane; 0 where nothing is known, Infinity while runs fail there. */
  expressMs(lane: string, route: Route, now: number): number {
    if (this.backOffs.has(lane, route.modelId, now)) return Infinity;
    return this.#msOf(route, { kind: "express" }, 1, now) ?? 0;
  }

  /** Returns every lane on which a step may run. */
  options(step: ScheduledStep, now: number, lanes: readonly LaneView[]): LaneOption[] {
    const { routes, rows, state, concurrency } = step;
    let found: LaneOption[] = [];
    for (const lane of lanes) {
      const route = routes.find(({ backend }) => backend === lane.backend);
      if (route === undefined) continue;
      const batches = this.on(lane.id);
      const key = keyOn(lane, route);
      const ms = this.#msOf(route, lane, rows, now) ?? UNKNOWN_MS;
      const isCold = !lane.held.has(route.modelId) && !batches.some((x) => x.route.modelId === route.modelId);
      const loadMs = isCold ? this.loadOf(route) : 0;
      const freeMs = batches.reduce((ms, batch) => endOf(batch, ms), now);
      const endMs = freeMs + loadMs + ms;
      const leastMs = this.#msOf(route, lane, rows, now, "leastMs") ?? UNKNOWN_MS;
      found.push({ lane, route, key, freeMs, ms, leastMs, endMs, isCold, loadMs, batches });
    }
    // Failing lanes are left out where another one works.
    const isWell = (x: LaneOption): boolean => !this.backOffs.has(x.lane.id, x.route.modelId, now);
    if (found.some((x) => isUsual(x) && isWell(x))) found = found.filter(isWell);
    if (state !== undefined) {
      // The lane that holds the state of the previous step; else, since it must be rebuilt anyway, the lane with the
      // fewest states.
      const home = found.filter((x) => stateOf(step, x) === state.after);
      found = home.length > 0 ? home : found.filter((x) => x.lane.isOpen && x.batches.length === 0 && isUsual(x));
      const fewest = Math.min(...found.map(countStates));
      found = found.filter((x) => countStates(x) === fewest);
    }
    const isFull = concurrency < found.length && found.filter(runs).length >= concurrency;
    return found.filter((x) => x.lane.isOpen && (!isFull || runs(x)));
  }
}

/** Returns the key of the estimate of a route on a lane: each server, and each kind of lane, has its own. */
function keyOn({ kind, endpoint }: Pick<LaneView, "kind" | "endpoint">, { key }: Pick<Route, "key">): string {
  const own = kind === "usual" ? endpoint : kind;
  return own == null ? key : `${key} ${own}`;
}

/** Sets an entry, and evicts the one set longest ago beyond the bound: models come and go. */
export function remember<K>(map: Map<K, number>, key: K, value: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > REMEMBERED) map.delete(map.keys().next().value as K);
}
