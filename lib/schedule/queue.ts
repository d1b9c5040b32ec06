// What waits, so that the next to run is found without looking at all of it. Steps that can run together, of one caller
// and one priority, make a *group*, with those that have a deadline apart from those that have none: in it the earliest
// deadline is first, else their order. Between groups: the priority first, which grows with each `ageingMs` in which a
// group was not served, so that none starves and yet a long backlog that aged as a whole does not overtake what is urgent;
// then the earliest deadline; then whose model and caller had the least time on lanes.
import { Heap } from "./heap.ts";
import type { Step } from "./protocol.ts";

/** A step that waits. */
export interface Waiting extends Step {
  gone: boolean;
  readonly group: Group;
  /** What it was thought to cost when it came, in ms. */
  readonly costMs: number;
}

/** Steps among which only deadline and order count. */
export interface Group {
  readonly key: string;
  /** The same for groups that can run together; the model, where steps run alone. */
  readonly together: string;
  readonly steps: Heap<Waiting>;
  /** What all of it was thought to cost, in ms. */
  costMs: number;
  lastDueMs: number;
  /** Until when it was served. */
  servedMs: number;
  /** The time that its model and caller had on lanes, in ms, counted from what was served last when this one began. */
  usedMs: number;
}

/** A queue as it is written down: its groups in their order, each with the steps that wait in it. */
export interface SavedQueue {
  readonly usedMs: number;
  readonly groups: readonly (Pick<Group, "lastDueMs" | "servedMs" | "usedMs" | "costMs"> & {
    readonly steps: readonly (readonly [step: Step, costMs: number])[];
  })[];
}

/** Keeps what waits. */
export class Queue {
  readonly #ageingMs: number;
  readonly #steps: Map<number, Waiting> = new Map();
  readonly #groups: Map<string, Group> = new Map();
  #usedMs = 0;

  constructor(ageingMs: number) {
    this.#ageingMs = ageingMs;
  }

  /** Writes down what waits, so that `restore` goes on from it. */
  save(): SavedQueue {
    const steps = new Map<Group, (readonly [Step, number])[]>();
    for (const group of this.#groups.values()) steps.set(group, []);
    for (const { group, costMs, ...step } of this.#steps.values()) steps.get(group)?.push([step, costMs]);
    const groups = [...steps].map(([{ lastDueMs, servedMs, usedMs, costMs }, steps]) => {
      return { lastDueMs, servedMs, usedMs, costMs, steps };
    });
    return { usedMs: this.#usedMs, groups };
  }

  /** Takes what was written down into an empty queue. */
  restore({ usedMs, groups }: SavedQueue): void {
    this.#usedMs = usedMs;
    for (const { steps, ...kept } of groups) {
      for (const [step, costMs] of steps) this.add(step, costMs, 0);
      const [first] = steps;
      if (first !== undefined) Object.assign(this.#steps.get(first[0].id)?.group ?? {}, kept);
    }
  }

  /** Counts what waits. */
  get size(): number {
    return this.#steps.size;
  }

  /** Adds a step. */
  add(step: Step, costMs: number, now: number): void {
    const { dueMs } = step;
    const together = `${step.places[0].modelId} ${step.shape}`;
    const key = [together, step.priority, step.caller, dueMs < Infinity].join();
    let group = this.#groups.get(key);
    if (group === undefined) {
      const steps = new Heap<Waiting>((a, b) => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.id < b.id));
      group = { key, together, steps, costMs: 0, lastDueMs: dueMs, servedMs: now, usedMs: this.#usedMs };
      this.#groups.set(key, group);
    }
    const waiting: Waiting = { ...step, gone: false, group, costMs };
    group.steps.push(waiting);
    group.costMs += costMs;
    group.lastDueMs = Math.max(group.lastDueMs, dueMs);
    this.#steps.set(step.id, waiting);
  }

  /** Gives a step that waits. */
  get(id: number): Waiting | undefined {
    return this.#steps.get(id);
  }

  /** Takes a step out. */
  remove(step: Waiting): void {
    const { group } = step;
    step.gone = true;
    this.#steps.delete(step.id);
    group.costMs -= step.costMs;
    group.steps.left();
    if (group.steps.size === 0) this.#groups.delete(group.key);
  }

  /** Takes a step out to run it until `endMs`, which its model and caller pay for. */
  serve(step: Waiting, ms: number, endMs: number): void {
    const { group, caller, places } = step;
    this.#usedMs = Math.max(this.#usedMs, group.usedMs);
    group.servedMs = endMs;
    for (const first of this.firsts())
      if (first.caller === caller && first.places[0].modelId === places[0].modelId) first.group.usedMs += ms;
    this.remove(step);
  }

  /** Gives the first step of each group. */
  firsts(): Waiting[] {
    return [...this.#groups.values()].map(({ steps }) => steps.first() as Waiting);
  }

  /** Gives the step that is to run next, of the groups that are not passed over. */
  next(now: number, passed: ReadonlySet<Group>): Waiting | undefined {
    const level = ({ priority, group }: Waiting): number =>
      priority - Math.max(0, Math.floor((now - group.servedMs) / this.#ageingMs));
    let best: Waiting | undefined;
    for (const step of this.firsts()) {
      if (passed.has(step.group)) continue;
      const order =
        best === undefined ||
        level(step) - level(best) ||
        (step.dueMs === best.dueMs
          ? step.group.usedMs - best.group.usedMs || step.id - best.id
          : step.dueMs - best.dueMs);
      if (order === true || order < 0) best = step;
    }
    return best;
  }

  /** Gives how much work is to run before a step on the backend that it prefers, in ms. */
  aheadMs({ places: [{ backend }], priority, dueMs }: Step): number {
    let sum = 0;
    for (const first of this.firsts()) {
      const { costMs, lastDueMs } = first.group;
      if (first.places[0].backend !== backend || first.priority > priority || costMs <= 0) continue;
      // Of one priority, what is due before: as if deadlines lay evenly between the first and the last.
      const isBefore = first.priority < priority || lastDueMs <= dueMs;
      const part = isBefore ? 1 : (dueMs - first.dueMs) / (lastDueMs - first.dueMs);
      if (part > 0) sum += part * costMs; // not so where neither ends
    }
    return sum;
  }
}
