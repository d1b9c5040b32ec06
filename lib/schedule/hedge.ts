// Decides which requests are sent to a server as well, since this device is later than usual: a pure function of the
// scheduler's own events and decisions, so that a trace of them decides the same again. engine/hedging.ts sends the
// copies and takes the first answer.
//
// A request is hedged once, when it has no answer within the p95 of the last answers of this device (Dean and Barroso,
// "The Tail at Scale", 2013), and a token for each of its rows is there: a server's work grows with them. Each row of a
// request that may run on either side adds `share` of a token, and a copy takes one for each of its rows, so that rows of
// copies are never more than that share of all. A moment without enough tokens passes: under overload all requests are
// late, and copies would only add to it.
import { isServer } from "../core/device.ts";
import { quantile } from "../core/quantile.ts";
import type { Decision, SchedulerEvent, ScheduledStep } from "./events.ts";
import { Heap } from "./heap.ts";

/** Limits of hedging. */
export interface HedgeLimits {
  /** Rows of copies at most, as a share of those of requests that may run on either side, 0 to 1. */
  readonly share: number;
  /** Quantile of this device's latency after which a copy is sent, 0 to 1. */
  readonly quantile: number;
}

/** A request to send to a server as well. */
export interface HedgeDecision {
  readonly id: number;
  /** Latency that it has exceeded, in ms. */
  readonly afterMs: number;
}

/** Defaults of HedgeLimits. */
export const HEDGE_DEFAULTS: HedgeLimits = { share: 0.1, quantile: 0.95 };
/** Tokens at most, or as many as the largest request has rows: a calm hour must not allow a burst. */
const TOKENS_MAX = 10;
/** Latencies that are kept for each model, variant, backend and number of rows; and the number from which they count. */
const KEPT = 100;
const ENOUGH = 20;
/** Bound on the number of such lists. */
const KEYS = 256;

/** A request that may run on either side and has no answer yet. */
interface Pending {
  readonly id: number;
  readonly key: string;
  readonly rows: number;
  readonly arrivedMs: number;
  readonly atMs: number;
  readonly afterMs: number;
  /** Whether it runs on a server, or is staged there, by the scheduler's own choice. */
  isRemote: boolean;
  isHedged: boolean;
  /** Place in the heap. */
  place: number;
}

/** Latencies of one key, in a ring. */
interface Latencies {
  readonly values: number[];
  count: number;
}

/** Decides on copies. */
export class Hedger {
  readonly #limits: HedgeLimits;
  readonly #pending: Map<number, Pending> = new Map();
  /** By the time from which they are late. */
  readonly #byTime: Heap<"place", Pending> = new Heap("place", isBefore);
  /** Requests of batches on lanes. */
  readonly #batches: Map<number, { readonly ids: Set<number>; readonly isRemote: boolean }> = new Map();
  readonly #latencies: Map<string, Latencies> = new Map();
  #tokens = 0;
  #tokensMax = TOKENS_MAX;

  constructor(limits: HedgeLimits = HEDGE_DEFAULTS) {
    this.#limits = limits;
  }

  /** Time at which the next request is late; Infinity where there is none. */
  get wakeMs(): number {
    return this.#byTime.first()?.atMs ?? Infinity;
  }

  /** Takes in an event that the scheduler handled, and its decisions. */
  handle(event: SchedulerEvent, now: number, decisions: readonly Decision[]): void {
    if (event.type === "arrived") this.#arrive(event.step, event.isAgain, now);
    else if (event.type === "cancelled") this.#leave(event.id, now);
    else if (event.type === "ended") this.#end(event.batch, event.ms, now);
    for (const decision of decisions) {
      if (decision.type === "start") {
        const { batch, ids, route } = decision;
        const isRemote = isServer(route);
        this.#batches.set(batch, { ids: new Set(ids), isRemote });
        for (const id of ids) this.#set(id, isRemote);
      } else if (decision.type === "withdraw")
        for (const id of decision.ids) {
          this.#batches.get(decision.batch)?.ids.delete(id);
          this.#set(id, false);
        }
      else if (decision.type === "reject") this.#leave(decision.id, now);
    }
  }

  /** Returns the requests that are to be sent to a server as well, at most one row for each token; each is returned once. */
  due(now: number): HedgeDecision[] {
    const found: HedgeDecision[] = [];
    for (let next; (next = this.#byTime.first()) !== undefined && next.atMs <= now;) {
      this.#byTime.remove(next);
      if (next.isRemote || this.#tokens < next.rows) continue;
      this.#tokens -= next.rows;
      next.isHedged = true;
      found.push({ id: next.id, afterMs: next.afterMs });
    }
    return found;
  }

  /** Returns the tokens of a copy that was not sent. */
  unsent(id: number): void {
    const pending = this.#pending.get(id);
    if (pending?.isHedged !== true) return;
    pending.isHedged = false;
    this.#add(pending.rows);
  }

  #arrive({ id, routes, rows, arrivedMs, state }: ScheduledStep, isAgain: boolean, now: number): void {
    const [{ key }] = routes;
    if (isAgain) this.#set(id, false);
    // A route without a key is still loading.
    const isEither = key !== "" && !isServer(routes[0]) && routes.some(isServer);
    if (isAgain || state !== undefined || !isEither) return;
    this.#tokensMax = Math.max(this.#tokensMax, rows);
    this.#add(this.#limits.share * rows);
    const own = `${key} ${rows}`;
    const values = this.#latencies.get(own)?.values ?? [];
    const afterMs = values.length < ENOUGH ? Infinity : (quantile(values, this.#limits.quantile) ?? Infinity);
    const atMs = Math.max(now, arrivedMs + afterMs);
    const pending = { id, key: own, rows, arrivedMs, atMs, afterMs, isRemote: false, isHedged: false, place: -1 };
    this.#pending.set(id, pending);
    if (atMs < Infinity) this.#byTime.put(pending);
  }

  #add(tokens: number): void {
    this.#tokens = Math.min(this.#tokensMax, this.#tokens + tokens);
  }

  #set(id: number, isRemote: boolean): void {
    const pending = this.#pending.get(id);
    if (pending !== undefined) pending.isRemote = isRemote;
  }

  /** Ends a request that was settled. Of one that was hedged, its latency here is that or more. */
  #leave(id: number, now: number): void {
    const pending = this.#remove(id);
    if (pending?.isHedged === true) this.#learn(pending, now);
  }

  #end(batch: number, ms: number | null, now: number): void {
    const { ids = [], isRemote = false } = this.#batches.get(batch) ?? {};
    this.#batches.delete(batch);
    // Requests of a batch that failed arrive again.
    if (ms === null || ms === Infinity) return;
    for (const id of ids) {
      const pending = this.#remove(id);
      if (pending !== undefined && !isRemote) this.#learn(pending, now);
    }
  }

  #remove(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined) return undefined;
    this.#pending.delete(id);
    this.#byTime.remove(pending);
    return pending;
  }

  #learn({ key, arrivedMs }: Pending, now: number): void {
    const known = this.#latencies.get(key) ?? { values: [], count: 0 };
    this.#latencies.delete(key);
    this.#latencies.set(key, known);
    known.values[known.count++ % KEPT] = now - arrivedMs;
    if (this.#latencies.size > KEYS) this.#latencies.delete(this.#latencies.keys().next().value as string);
  }
}

function isBefore(a: Pending, b: Pending): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.id < b.id);
}
