// What waits, so that the next to run is found without looking at all of it. Steps that can run together, of one caller
// and one priority, make a *group*, with those that have a deadline apart from those that have none: in it the earliest
// deadline is first, else their order. Between groups: the priority first, which grows with each `ageingMs` in which a
// group was not served, so that none starves and yet a long backlog that aged as a whole does not overtake what is urgent;
// then the earliest deadline; then whose model and caller had the least time on lanes.
import { Heap } from "./heap.ts";
import type { Step } from "./protocol.ts";
import { Table } from "./table.ts";

/** A step that waits. */
export interface Waiting {
  readonly step: Step;
  readonly id: number;
  readonly dueMs: number;
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
  readonly priority: number;
  readonly caller: number;
  /** The model and the backend that its steps prefer. */
  readonly modelId: number;
  readonly backend: string;
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
  readonly #steps: Table<Waiting> = new Table();
  readonly #groups: Map<string, Group> = new Map();
  /** The step that came last, and its group: most that come are of the same. */
  #last: { readonly step: Step; readonly group: Group } | null = null;
  #usedMs = 0;

  constructor(ageingMs: number) {
    this.#ageingMs = ageingMs;
  }

  /** Writes down what waits, so that `restore` goes on from it. */
  save(): SavedQueue {
    const steps = new Map<Group, (readonly [Step, number])[]>();
    for (const group of this.#groups.values()) steps.set(group, []);
    for (const { group, costMs, step } of this.#steps.values()) steps.get(group)?.push([step, costMs]);
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

  /** Gives the groups, none of them empty. */
  get groups(): Iterable<Group> {
    return this.#groups.values();
  }

  /** Adds a step. */
  add(step: Step, costMs: number, now: number): void {
    const { id, dueMs } = step;
    const group = this.#groupOf(step, now);
    const waiting: Waiting = { step, id, dueMs, gone: false, group, costMs };
    group.steps.push(waiting);
    group.costMs += costMs;
    if (dueMs > group.lastDueMs) group.lastDueMs = dueMs;
    this.#steps.set(id, waiting);
  }

  /** Gives a step that waits. */
  get(id: number): Waiting | undefined {
    return this.#steps.get(id);
  }

  /** Takes a step out. */
  remove(waiting: Waiting): void {
    const { group } = waiting;
    waiting.gone = true;
    this.#steps.delete(waiting.id);
    group.costMs -= waiting.costMs;
    group.steps.left();
    if (group.steps.size === 0) this.#groups.delete(group.key);
  }

  /** Takes a step out to run it until `endMs`, which its model and caller pay for. */
  serve(waiting: Waiting, ms: number, endMs: number): void {
    const { group } = waiting;
    const { caller, modelId } = group;
    this.#usedMs = Math.max(this.#usedMs, group.usedMs);
    group.servedMs = endMs;
    for (const each of this.#groups.values()) if (each.caller === caller && each.modelId === modelId) each.usedMs += ms;
    this.remove(waiting);
  }

  /** Gives the step that is to run next, of the groups that are not passed over. */
  next(now: number, passed: ReadonlySet<Group>): Waiting | undefined {
    let best: Waiting | undefined;
    let bestLevel = 0;
    for (const group of this.#groups.values()) {
      if (passed.has(group)) continue;
      const first = firstOf(group);
      const level = group.priority - Math.max(0, Math.floor((now - group.servedMs) / this.#ageingMs));
      if (best === undefined || level < bestLevel || (level === bestLevel && isBefore(first, best))) {
        best = first;
        bestLevel = level;
      }
    }
    return best;
  }

  /** Gives a step that can run with those of a group; none, where that is through. */
  peer({ together }: Group): Waiting | undefined {
    for (const each of this.#groups.values()) if (each.together === together) return firstOf(each);
    return undefined;
  }

  /** Counts what waits and can run with the steps of a group. */
  count({ together }: Group): number {
    let count = 0;
    for (const each of this.#groups.values()) if (each.together === together) count += each.steps.size;
    return count;
  }

  /** Gives how much work is to run before a step on the backend that it prefers, in ms. */
  aheadMs({ places: [{ backend }], priority, dueMs }: Step): number {
    let sum = 0;
    for (const group of this.#groups.values()) {
      const { costMs, lastDueMs } = group;
      if (group.backend !== backend || group.priority > priority || costMs <= 0) continue;
      // Of one priority, what is due before: as if deadlines lay evenly between the first and the last.
      const isAhead = group.priority < priority || lastDueMs <= dueMs;
      const firstMs = isAhead ? 0 : firstOf(group).dueMs;
      const part = isAhead ? 1 : (dueMs - firstMs) / (lastDueMs - firstMs);
      if (part > 0) sum += part * costMs; // not so where neither ends
    }
    return sum;
  }

  #groupOf(step: Step, now: number): Group {
    const last = this.#last;
    if (last !== null && last.group.steps.size > 0 && isAlike(step, last.step)) return last.group;
    const group = this.#findGroup(step, now);
    this.#last = { step, group };
    return group;
  }

  #findGroup({ places, shape, priority, caller, dueMs }: Step, now: number): Group {
    const [{ modelId, backend }] = places;
    const models = places.length === 1 ? modelId : places.map((x) => x.modelId).join("+");
    const together = `${models} ${shape}`;
    const key = `${together} ${priority} ${caller} ${dueMs < Infinity}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const steps = new Heap<Waiting>((a, b) => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.id < b.id));
    const times = { costMs: 0, lastDueMs: dueMs, servedMs: now, usedMs: this.#usedMs };
    const group = { key, together, priority, caller, modelId, backend, steps, ...times };
    this.#groups.set(key, group);
    return group;
  }
}

/** Tells whether two steps are of one group. */
function isAlike(a: Step, b: Step): boolean {
  return (
    a.shape === b.shape &&
    a.priority === b.priority &&
    a.caller === b.caller &&
    a.dueMs < Infinity === b.dueMs < Infinity &&
    a.places.length === b.places.length &&
    a.places.every(({ modelId, backend }, i) => modelId === b.places[i]?.modelId && backend === b.places[i]?.backend)
  );
}

/** Gives the first step of a group; none is empty. */
export function firstOf({ steps }: Group): Waiting {
  return steps.first() as Waiting;
}

/** Of two steps of one level: the earlier deadline, else whose model and caller had less, else the order of arrival. */
function isBefore(a: Waiting, b: Waiting): boolean {
  if (a.dueMs !== b.dueMs) return a.dueMs < b.dueMs;
  return (a.group.usedMs - b.group.usedMs || a.id - b.id) < 0;
}
