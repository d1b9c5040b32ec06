// The queued steps, indexed so that the next to run is found without a scan: any operation costs O(log n), but for moves
// within a group's list (deadline-list.ts). Steps that can run together, of one caller and one priority, form a *group*, those with
// a deadline apart from those without: within it the earliest deadline is first, else the order of arrival. Groups of one
// model and caller form a *class*; recurrent states that one lane keeps form one class together, since they wait for the
// same lane. Between groups: the priority first, which rises with each `agingMs` in which a group was not served, up to one
// past the highest, so that none starves, but a long backlog that aged as a whole does not overtake urgent steps; then the
// earliest deadline; then the class with the least lane time; then the order of arrival.
import { Heap } from "./heap.ts";
import { DeadlineList } from "./deadline-list.ts";
import type { ScheduledStep } from "./events.ts";
import { IdMap } from "../core/id-map.ts";

/** A queued step. */
export interface WaitingStep {
  readonly step: ScheduledStep;
  readonly id: number;
  readonly group: Group;
  /** Its latest start, by the estimate; Infinity without a deadline. */
  latestMs: number;
  /** Its estimated cost at arrival, in ms. */
  readonly costMs: number;
  /** Position in the heap of latest starts. */
  lateAt: number;
}

/** Steps that are ordered by deadline and arrival alone; never empty. */
export interface Group {
  readonly key: string;
  /** Equal for groups that can run together; the model, where steps run alone. */
  readonly together: string;
  readonly priority: number;
  readonly class: Class;
  readonly hasDue: boolean;
  readonly steps: DeadlineList<WaitingStep>;
  /** Time of its last service, or of its creation. */
  servedMs: number;
  /** Its current level, and when it rises next. */
  level: number;
  risesMs: number;
  /** Positions in heaps: that of its class and level, and that of the rising groups. */
  at: number;
  riseAt: number;
  /** Until when it is passed over, and its position in the heap of resting groups; -1 where it is not resting. */
  restsMs: number;
  restAt: number;
}

/** Groups of one model and its fallbacks, and one caller; for recurrent states, those that one lane keeps. */
export interface Class {
  readonly key: string;
  /** The lane that keeps the states; empty where there are none, or no lane keeps them. */
  readonly home: string;
  /** Heaps by level, from the least on, of groups with deadlines and of those without. */
  readonly heaps: readonly (readonly [due: Heap<"at", Group>, other: Heap<"at", Group>])[];
  count: number;
  /** Its lane time in ms; starts at that of the class served last. */
  usedMs: number;
  /** Estimated cost of its steps, by priority. */
  readonly costsMs: number[];
}

/** Snapshot of a queue: its groups in their order, each with its queued steps. */
export interface SavedQueue {
  readonly usedMs: number;
  readonly groups: readonly {
    readonly servedMs: number;
    readonly usedMs: number;
    readonly level: number;
    readonly home: string;
    /** Not in older traces. */
    readonly costsMs?: readonly number[] | undefined;
    readonly restsMs?: number | undefined;
    /** Latest start of each step, and its cost. */
    readonly steps: readonly (readonly [step: ScheduledStep, latestMs: number, costMs: number])[];
  }[];
}

/** One past the highest priority: the steps that wait longest are served before all others. */
const LEAST = -1;
const LEVELS = 4;
/** Positions of a new group. */
const PLACES = { at: -1, riseAt: -1, restsMs: 0, restAt: -1 };

/** Keeps the queued steps. */
export class Queue {
  readonly #agingMs: number;
  readonly #steps: IdMap<WaitingStep> = new IdMap();
  readonly #groups: Map<string, Group> = new Map();
  /** Groups that can run together. */
  readonly #peers: Map<string, Set<Group>> = new Map();
  readonly #classes: Map<string, Class> = new Map();
  readonly #late: Heap<"lateAt", WaitingStep> = new Heap(
    "lateAt",
    (a, b) => (a.latestMs - b.latestMs || a.id - b.id) < 0,
  );
  readonly #rising: Heap<"riseAt", Group> = new Heap("riseAt", (a, b) => a.risesMs < b.risesMs);
  /** Groups that are passed over until a time: they are in no heap of their class. */
  readonly #resting: Heap<"restAt", Group> = new Heap("restAt", (a, b) => a.restsMs < b.restsMs);
  /** Groups and classes that are passed over until `resume`. */
  readonly #aside: Set<Group> = new Set();
  readonly #blocked: Set<Class> = new Set();
  #usedMs = 0;

  constructor(agingMs: number) {
    this.#agingMs = agingMs;
  }

  /** Returns a snapshot, from which `restore` continues. */
  save(): SavedQueue {
    const steps = new Map<Group, (readonly [ScheduledStep, number, number])[]>();
    for (const group of this.#groups.values()) steps.set(group, []);
    for (const { group, step, latestMs, costMs } of this.#steps.values())
      steps.get(group)?.push([step, latestMs, costMs]);
    const groups = [...steps].map(([group, steps]) => {
      const { servedMs, level } = group;
      const restsMs = group.restAt < 0 ? undefined : group.restsMs;
      const { usedMs, costsMs, home } = group.class;
      return { servedMs, usedMs, level, costsMs: [...costsMs], home, restsMs, steps };
    });
    return { usedMs: this.#usedMs, groups };
  }

  /** Restores a snapshot into an empty queue. */
  restore({ usedMs, groups }: SavedQueue): void {
    this.#usedMs = usedMs;
    for (const { steps, servedMs, usedMs, level, home, restsMs } of groups) {
      for (const [step, latestMs, costMs] of steps) this.add(step, latestMs, costMs, servedMs, home);
      const group = this.#steps.get(steps[0]?.[0].id ?? 0)?.group;
      if (group === undefined) continue;
      group.class.usedMs = usedMs;
      this.#rank(group, servedMs, level);
      if (restsMs !== undefined) this.rest(group, restsMs);
    }
    // Floating-point sums depend on the order of additions.
    for (const { steps, costsMs = [] } of groups)
      Object.assign(this.#steps.get(steps[0]?.[0].id ?? 0)?.group.class.costsMs ?? [], costsMs);
  }

  /** Number of steps. */
  get size(): number {
    return this.#steps.size;
  }

  /** Adds a step that must start by `latestMs`; `home` is the lane that keeps its recurrent state. */
  add(step: ScheduledStep, latestMs: number, costMs: number, now: number, home: string = ""): void {
    const group = this.#groupOf(step, home, now);
    const waiting: WaitingStep = { step, id: step.id, group, latestMs, costMs, lateAt: -1 };
    (group.class.costsMs[group.priority] as number) += costMs;
    group.steps.add(waiting);
    this.#steps.set(step.id, waiting);
    if (latestMs < Infinity) this.#late.put(waiting);
    this.#resting.remove(group);
    this.#sort(group);
  }

  /** Returns a queued step. */
  get(id: number): WaitingStep | undefined {
    return this.#steps.get(id);
  }

  /** Removes a step. */
  remove(waiting: WaitingStep): void {
    const { group } = waiting;
    this.#steps.delete(waiting.id);
    this.#late.remove(waiting);
    (group.class.costsMs[group.priority] as number) -= waiting.costMs;
    group.steps.remove(waiting);
    if (group.steps.size > 0) {
      this.#sort(group);
      return;
    }
    const { key, together } = group;
    this.#heapOf(group).remove(group);
    this.#rising.remove(group);
    this.#resting.remove(group);
    this.#aside.delete(group);
    this.#groups.delete(key);
    const peers = this.#peers.get(together);
    peers?.delete(group);
    if (peers?.size === 0) this.#peers.delete(together);
    group.class.count -= 1;
    if (group.class.count === 0) this.#classes.delete(group.class.key);
  }

  /** Removes a step that runs until `endMs`, and charges its time to its class. */
  serve(waiting: WaitingStep, ms: number, endMs: number): void {
    const { group } = waiting;
    this.#usedMs = Math.max(this.#usedMs, group.class.usedMs);
    group.class.usedMs += ms;
    this.remove(waiting);
    if (group.steps.size > 0) this.#rank(group, endMs, group.priority);
  }

  /**
   * Returns the cost of the steps that will certainly run before a step on the same lanes: those of a higher priority,
   * until it ages.
   */
  aheadMs({ priority, dueMs, ...step }: ScheduledStep, home: string, now: number): number {
    if (dueMs > now + this.#agingMs) return 0;
    const { costsMs = [] } = this.#classes.get(classKey(step, home)) ?? {};
    return costsMs.slice(0, priority).reduce((sum, ms) => sum + ms, 0);
  }

  /** Returns the step with the earliest latest start, if that is past by `now`. */
  late(now: number): WaitingStep | undefined {
    const first = this.#late.first();
    return first !== undefined && first.latestMs < now ? first : undefined;
  }

  /** When the next step is too late to start. */
  get lateMs(): number {
    return this.#late.first()?.latestMs ?? Infinity;
  }

  /** Sets the latest start of a step. */
  delay(waiting: WaitingStep, latestMs: number): void {
    waiting.latestMs = latestMs;
    this.#late.put(waiting);
  }

  /**
   * Returns the next step to run, of the groups that are not passed over; with `hasDue` only of those with deadlines.
   */
  next(now: number, hasDue: boolean): WaitingStep | undefined {
    for (let group; (group = this.#rising.first()) !== undefined && group.risesMs <= now;)
      this.#rank(group, group.servedMs, group.level - 1);
    for (let group; (group = this.#resting.first()) !== undefined && group.restsMs <= now;) {
      this.#resting.remove(group);
      this.#sort(group);
    }
    let best: Group | undefined;
    for (const each of this.#classes.values()) {
      if (this.#blocked.has(each)) continue;
      for (const [due, other] of each.heaps) {
        const group = due.firstBut(this.#aside) ?? (hasDue ? undefined : other.firstBut(this.#aside));
        if (group === undefined) continue;
        if (best === undefined || isBefore(group, best)) best = group;
        break;
      }
    }
    return best && firstOf(best);
  }

  /**
   * Passes a group over until a time, or until a step is added to it; the cost does not depend on the number of resting
   * groups.
   */
  rest(group: Group, untilMs: number): void {
    this.#heapOf(group).remove(group);
    group.restsMs = untilMs;
    this.#resting.put(group);
  }

  /** When the first resting group becomes eligible again. */
  get restMs(): number {
    return this.#resting.first()?.restsMs ?? Infinity;
  }

  /** Passes a group over until `resume`. */
  pass(group: Group): void {
    this.#aside.add(group);
  }

  /** Passes all groups of a class over until `resume`. */
  block(each: Class): void {
    this.#blocked.add(each);
  }

  /** Ends `pass` and `block` of all groups and classes. */
  resume(): void {
    this.#aside.clear();
    this.#blocked.clear();
  }

  /** Returns a step that can run with those of a group; undefined where there is none. */
  peer({ together }: Group): WaitingStep | undefined {
    for (const each of this.#peers.get(together) ?? []) return firstOf(each);
    return undefined;
  }

  /** Returns the number of steps that can run with those of a group. */
  count({ together }: Group): number {
    let count = 0;
    for (const { steps } of this.#peers.get(together) ?? []) count += steps.size;
    return count;
  }

  /** Sets from when a group ages, and its level. */
  #rank(group: Group, servedMs: number, level: number): void {
    this.#heapOf(group).remove(group);
    group.servedMs = servedMs;
    group.level = Math.max(LEAST, level);
    group.risesMs = servedMs + this.#agingMs * (group.priority - group.level + 1);
    if (group.level > LEAST) this.#rising.put(group);
    else this.#rising.remove(group);
    this.#sort(group);
  }

  /** Updates the position of a group whose first step changed. */
  #sort(group: Group): void {
    if (group.restAt < 0) this.#heapOf(group).put(group);
  }

  #heapOf({ class: { heaps }, level, hasDue }: Group): Heap<"at", Group> {
    return (heaps[level - LEAST] as Class["heaps"][number])[hasDue ? 0 : 1];
  }

  #groupOf(step: ScheduledStep, home: string, now: number): Group {
    const { routes, shape, priority, caller, dueMs } = step;
    const models = routes.map((x) => x.modelId).join("+");
    const together = `${models} ${shape}`;
    const hasDue = dueMs < Infinity;
    const key = `${together} ${priority} ${caller} ${hasDue} ${home}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const ofClass = this.#classOf(classKey(step, home), home);
    const steps = new DeadlineList<WaitingStep>();
    const times = { servedMs: now, level: priority, risesMs: now + this.#agingMs };
    const group: Group = { key, together, priority, class: ofClass, hasDue, steps, ...times, ...PLACES };
    ofClass.count += 1;
    this.#groups.set(key, group);
    this.#rising.put(group);
    const peers = this.#peers.get(together);
    if (peers === undefined) this.#peers.set(together, new Set([group]));
    else peers.add(group);
    return group;
  }

  #classOf(key: string, home: string): Class {
    const known = this.#classes.get(key);
    if (known !== undefined) return known;
    const heap = (): Heap<"at", Group> => new Heap("at", (a, b) => isSooner(firstOf(a), firstOf(b)));
    const heaps = Array.from({ length: LEVELS }, () => [heap(), heap()] as const);
    const each: Class = { key, home, heaps, count: 0, usedMs: this.#usedMs, costsMs: [0, 0, 0] };
    this.#classes.set(key, each);
    return each;
  }
}

function classKey({ routes, caller, state }: Pick<ScheduledStep, "routes" | "caller" | "state">, home: string): string {
  return `${routes.map((x) => x.modelId).join("+")} ${state === undefined ? caller : `states ${home}`}`;
}

/** Returns the first step of a group, which is never empty. */
export function firstOf({ steps }: Group): WaitingStep {
  return steps.at(0) as WaitingStep;
}

/** Whether a step precedes another: by deadline, else by order of arrival. */
function isSooner(a: WaitingStep, b: WaitingStep): boolean {
  const [due, other] = [a.step.dueMs, b.step.dueMs];
  return due === other ? a.id < b.id : due < other;
}

/** Whether a group precedes one of another class: by level, deadline, lane time of the class, then order of arrival. */
function isBefore(a: Group, b: Group): boolean {
  if (a.level !== b.level) return a.level < b.level;
  const [x, y] = [firstOf(a).step, firstOf(b).step];
  if (x.dueMs !== y.dueMs) return x.dueMs < y.dueMs;
  return (a.class.usedMs - b.class.usedMs || x.id - y.id) < 0;
}
