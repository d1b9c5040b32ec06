// What waits, so that the next to run is found without looking at all of it. Steps of one priority, model and caller
// that have a deadline, or have none, make one *flow*: earliest deadline first, else in their order. Between flows: the
// priority first, which grows with each `ageingMs` in which a flow was not served, so that none starves and yet a long
// backlog that aged as a whole does not overtake what is urgent; then the earliest deadline; then the flow that has had
// the least time on lanes. A second order holds those steps together that can run together.
import { Heap } from "./heap.ts";
import type { Step } from "./protocol.ts";

/** A step that waits. */
export interface Waiting extends Step {
  gone: boolean;
  readonly flow: Flow;
  /** Those that can run with it, itself included; null where it runs alone. */
  readonly peers: Heap<Waiting> | null;
  /** What it was thought to cost when it came, in whole µs: sums must come back to 0. */
  readonly cost: number;
}

/** Steps among which only deadline and order count. */
export interface Flow {
  readonly key: string;
  readonly priority: number;
  readonly steps: Heap<Waiting>;
  servedAtMs: number;
  /** The time it has had on lanes, in ms, counted from that of the flow served last when this one began. */
  usedMs: number;
}

/** Work is summed by slots of deadlines this long; work due after so many slots is not summed: who knows till then. */
const SLOT_MS = 20;
const SLOTS = 250;

/** Keeps what waits. */
export class Queue {
  readonly #ageingMs: number;
  readonly #steps: Map<number, Waiting> = new Map();
  readonly #flows: Map<string, Flow> = new Map();
  readonly #peers: Map<string, Heap<Waiting>> = new Map();
  /** By backend and priority. */
  readonly #work: Map<string, Work[]> = new Map();
  #usedMs = 0;

  constructor(ageingMs: number) {
    this.#ageingMs = ageingMs;
  }

  /** Counts what waits. */
  get size(): number {
    return this.#steps.size;
  }

  /** Adds a step. */
  add(step: Step, costMs: number, now: number): void {
    const key = flowOf(step);
    const flow: Flow = this.#flows.get(key) ?? {
      key,
      priority: step.priority,
      steps: new Heap<Waiting>((a, b) => (compare(a.dueMs, b.dueMs) || a.id - b.id) < 0),
      servedAtMs: now,
      usedMs: this.#usedMs,
    };
    this.#flows.set(key, flow);
    const together = peersOf(step);
    let peers: Heap<Waiting> | null = null;
    if (together !== null) {
      peers =
        this.#peers.get(together) ??
        new Heap<Waiting>((a, b) => (a.priority - b.priority || compare(a.dueMs, b.dueMs) || a.id - b.id) < 0);
      this.#peers.set(together, peers);
    }
    const waiting: Waiting = { ...step, gone: false, flow, peers, cost: Math.round(1_000 * costMs) };
    flow.steps.push(waiting);
    peers?.push(waiting);
    this.#steps.set(step.id, waiting);
    this.#count(waiting, waiting.cost);
  }

  /** Gives a step that waits. */
  get(id: number): Waiting | undefined {
    return this.#steps.get(id);
  }

  /** Takes a step out. */
  remove(step: Waiting): void {
    const { flow, peers } = step;
    step.gone = true;
    this.#steps.delete(step.id);
    this.#count(step, -step.cost);
    flow.steps.left();
    if (flow.steps.size === 0) this.#flows.delete(flow.key);
    peers?.left();
    if (peers?.size === 0) this.#peers.delete(peersOf(step) as string);
  }

  /** Takes a step out to run it, which its flow pays for. */
  serve(step: Waiting, ms: number, now: number): void {
    const { flow } = step;
    this.#usedMs = Math.max(this.#usedMs, flow.usedMs);
    flow.usedMs += ms;
    flow.servedAtMs = now;
    this.remove(step);
  }

  /** Gives the step that is to run next, of the flows that are not passed over. */
  next(now: number, passed: ReadonlySet<Flow>): Waiting | undefined {
    let best: Waiting | undefined;
    let bestLevel = 0;
    for (const flow of this.#flows.values()) {
      const step = passed.has(flow) ? undefined : flow.steps.first();
      if (step === undefined) continue;
      const level = flow.priority - Math.floor((now - flow.servedAtMs) / this.#ageingMs);
      const isBehind =
        best !== undefined &&
        (level - bestLevel || compare(step.dueMs, best.dueMs) || flow.usedMs - best.flow.usedMs || step.id - best.id) >
          0;
      if (isBehind) continue;
      best = step;
      bestLevel = level;
    }
    return best;
  }

  /** Gives the first step of each flow that has deadlines: the earliest there. */
  due(): Waiting[] {
    const found: Waiting[] = [];
    for (const { steps } of this.#flows.values()) {
      const step = steps.first();
      if (step !== undefined && step.dueMs < Infinity) found.push(step);
    }
    return found;
  }

  /** Counts the steps of the flow that a step belongs, or would belong, to. */
  flowSize(step: Step): number {
    return this.#flows.get(flowOf(step))?.steps.size ?? 0;
  }

  /** Gives how much work is to run before a step on the backend that it prefers, in ms. */
  aheadMs({ places: [{ backend }], priority, dueMs }: Step): number {
    let sum = 0;
    for (const [level, { total, slots }] of (this.#work.get(backend) ?? []).entries()) {
      if (level < priority) sum += total;
      else if (level === priority) for (const [slot, cost] of slots) if (slot <= slotOf(dueMs)) sum += cost;
    }
    return sum / 1_000;
  }

  #count({ places: [{ backend }], priority, arrivedMs, dueMs }: Step, cost: number): void {
    const levels = this.#work.get(backend) ?? [0, 1, 2].map((): Work => ({ total: 0, slots: new Map() }));
    this.#work.set(backend, levels);
    const level = levels[priority] as Work;
    level.total += cost;
    if (dueMs > arrivedMs + SLOT_MS * SLOTS) return;
    const slot = slotOf(dueMs);
    const sum = (level.slots.get(slot) ?? 0) + cost;
    if (sum === 0) level.slots.delete(slot);
    else level.slots.set(slot, sum);
  }
}

/** The cost of what waits at one priority: all of it, and by slot of its deadline. */
interface Work {
  total: number;
  readonly slots: Map<number, number>;
}

function flowOf({ priority, places, caller, dueMs }: Step): string {
  return [priority, places[0].modelId, caller, dueMs < Infinity].join();
}

function peersOf({ places, shape }: Step): string | null {
  return shape === null ? null : `${places[0].modelId} ${shape}`;
}

function slotOf(dueMs: number): number {
  return Math.floor(dueMs / SLOT_MS);
}

/** Compares times, of which both may be Infinity. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a - b;
}
