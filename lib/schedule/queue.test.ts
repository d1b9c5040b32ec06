// The queue alone: which step is next, which is late, what is ahead of one, and a snapshot of all that.
import { expect, test } from "vitest";
import { step } from "../test-support/schedule-fixtures.ts";
import type { Route, ScheduledStep } from "./events.ts";
import { Queue } from "./queue.ts";
import type { Group, SavedQueue, WaitingStep } from "./queue.ts";

type Change = Partial<Omit<ScheduledStep, "id">>;

const AGING_MS = 1_000;
const route = (modelId: number): Route => ({ backend: "wasm", modelId, key: `m${modelId}` });
const models = (first: number, ...others: number[]): Change => ({ routes: [route(first), ...others.map(route)] });

/** Adds steps; the ids are those of the entries. */
function queueOf(steps: Readonly<Record<number, Change>>): Queue {
  const queue = new Queue(AGING_MS);
  for (const [id, change] of Object.entries(steps)) queue.add(step(Number(id), change), Infinity, 0, 0);
  return queue;
}

const waiting = (queue: Queue, id: number): WaitingStep => queue.get(id) as WaitingStep;
const groupOf = (queue: Queue, id: number): Group => waiting(queue, id).group;
const nextOf = (queue: Queue, now = 0, hasDue = false): number | undefined => queue.next(now, hasDue)?.id;

/** Takes all steps out, one after another. */
function drain(queue: Queue, first: () => WaitingStep | undefined = () => queue.next(0, false)): number[] {
  const ids: number[] = [];
  for (let next; (next = first()) !== undefined;) {
    ids.push(next.id);
    queue.remove(next);
  }
  expect(queue.size).toBe(0);
  return ids;
}

test("the earliest deadline is next, of equal ones and of those without the first, whatever group or caller they are of", () => {
  const dues = [Infinity, 40, 10, Infinity, 30, 10, 20, 50, Infinity, 25];
  const sorted = [2, 5, 6, 9, 4, 1, 7, 0, 3, 8];
  for (const change of [
    () => ({}),
    (i: number) => ({ shape: `${i}` }),
    (i: number) => ({ caller: i }),
    (i: number) => ({ caller: i % 3, shape: `${i % 2}` }),
  ]) {
    for (const order of [dues.map((_, i) => i), dues.map((_, i) => dues.length - 1 - i)]) {
      const queue = new Queue(AGING_MS);
      for (const i of order) queue.add(step(i, { ...change(i), dueMs: dues[i] as number }), Infinity, 0, 0);
      expect(drain(queue)).toEqual(sorted);
    }
  }
});

test("of two callers whose steps have no deadline the one with less lane time is next, then the first step", () => {
  const queue = queueOf({ 1: { caller: 1 }, 2: { caller: 2 }, 5: { caller: 1 }, 6: { caller: 2 } });
  queue.remove(waiting(queue, 1));
  expect(nextOf(queue)).toBe(2);
  queue.serve(waiting(queue, 2), 10, 10);
  expect(nextOf(queue)).toBe(5);
  queue.serve(waiting(queue, 5), 20, 20);
  queue.add(step(7, { caller: 1 }), Infinity, 0, 0);
  // Its first caller left nothing behind, so it has no more lane time than another that begins.
  expect(groupOf(queue, 7).class.usedMs).toBe(0);
  expect(nextOf(queue)).toBe(7);
});

test("a caller that begins has the lane time of the one served last", () => {
  const queue = queueOf({ 1: { caller: 1 }, 2: { caller: 1 }, 3: { caller: 1 } });
  for (const id of [1, 2]) queue.serve(waiting(queue, id), 10, 10);
  queue.add(step(4, { caller: 2 }), Infinity, 0, 0);
  expect([3, 4].map((id) => groupOf(queue, id).class.usedMs)).toEqual([20, 10]);
});

test("where only deadlines count, a step without one is not next", () => {
  const queue = queueOf({ 1: {} });
  expect(nextOf(queue, 0, true)).toBeUndefined();
  queue.add(step(2, { dueMs: 90 }), Infinity, 0, 0);
  expect(nextOf(queue, 0, true)).toBe(2);
});

test("a group that is not served rises by one priority for each time of aging, up to one past the highest", () => {
  const queue = queueOf({ 1: { priority: 2 } });
  for (const [now, priority, isAged] of [
    [999, 1, false],
    [1_000, 1, true],
    [1_999, 0, false],
    [2_000, 0, true],
  ] as const) {
    queue.add(step(9, { priority }), Infinity, 0, now);
    expect(nextOf(queue, now)).toBe(isAged ? 1 : 9);
    queue.remove(waiting(queue, 9));
  }
  queue.add(step(9, { priority: 0, dueMs: 9_999 }), Infinity, 0, 2_999);
  expect([nextOf(queue, 2_999), nextOf(queue, 3_000)]).toEqual([9, 1]);
  nextOf(queue, 9_000);
  expect([1, 9].map((id) => groupOf(queue, id).level)).toEqual([-1, -1]);
});

test("each group rises in its own time, however long none was looked at, and begins anew once it is served", () => {
  const levels = (queue: Queue, now: number): number[] => {
    nextOf(queue, now);
    return [1, 2, 3].map((id) => groupOf(queue, id).level);
  };
  const make = (): Queue => {
    const queue = new Queue(AGING_MS);
    for (const [id, now] of [
      [1, 0],
      [2, 500],
      [3, 700],
    ] as const)
      for (const more of [0, 10])
        queue.add(step(id + more, { priority: 2, shape: `${id}`, caller: id }), Infinity, 0, now);
    return queue;
  };
  const queue = make();
  expect([1_000, 1_500, 1_700, 2_500].map((now) => levels(queue, now))).toEqual([
    [1, 2, 2],
    [1, 1, 2],
    [1, 1, 1],
    [0, 0, 1],
  ]);
  expect(levels(make(), 2_500)).toEqual([0, 0, 1]);
  queue.serve(waiting(queue, 11), 10, 2_600);
  expect([3_599, 3_600].map((now) => levels(queue, now)[0])).toEqual([2, 1]);
});

test("groups rest until their times, in whatever order they were put to rest", () => {
  const queue = queueOf({ 1: { shape: "a" }, 2: { shape: "b" }, 3: { shape: "c" }, 4: { shape: "c" } });
  expect(queue.restMs).toBe(Infinity);
  for (const [id, untilMs] of [
    [1, 300],
    [2, 100],
    [3, 200],
  ] as const)
    queue.rest(groupOf(queue, id), untilMs);
  expect([queue.restMs, nextOf(queue, 99)]).toEqual([100, undefined]);
  queue.remove(waiting(queue, 4));
  expect(nextOf(queue, 99), "a step that is gone wakes none").toBeUndefined();
  expect(nextOf(queue, 100)).toBe(2);
  queue.remove(waiting(queue, 2));
  expect([queue.restMs, nextOf(queue, 199), nextOf(queue, 200)]).toEqual([200, undefined, 3]);
  queue.add(step(5, { shape: "a" }), Infinity, 0, 200);
  expect([queue.restMs, nextOf(queue, 200)], "a step that joins wakes its group").toEqual([Infinity, 1]);
  queue.rest(groupOf(queue, 5), 900);
  queue.remove(waiting(queue, 1));
  expect(nextOf(queue, 200)).toBe(3);
});

test("groups and callers are passed over until all are looked at again", () => {
  const queue = queueOf({ 1: { shape: "a" }, 2: { shape: "b" }, 3: { caller: 1 } });
  queue.pass(groupOf(queue, 1));
  expect(nextOf(queue)).toBe(2);
  queue.block(groupOf(queue, 2).class);
  expect(nextOf(queue)).toBe(3);
  queue.resume();
  expect(nextOf(queue)).toBe(1);
});

test("the step that must start first is late first; one without a latest start never is", () => {
  const queue = new Queue(AGING_MS);
  const latest = [50, 30, 30, 10, Infinity, 20, 60, 40];
  for (const [i, latestMs] of [...latest.entries()].reverse()) queue.add(step(i), latestMs, 0, 0);
  expect([queue.lateMs, queue.late(10), queue.late(11)?.id]).toEqual([10, undefined, 3]);
  queue.delay(waiting(queue, 3), 45);
  expect([queue.lateMs, waiting(queue, 3).latestMs]).toEqual([20, 45]);
  const late: number[] = [];
  for (let next; (next = queue.late(1_000)) !== undefined;) {
    late.push(next.id);
    queue.remove(next);
  }
  expect(late).toEqual([5, 1, 2, 7, 3, 0, 6]);
  expect([queue.lateMs, queue.size]).toEqual([Infinity, 1]);
});

test("steps of one model and shape can run together, of whatever priority, caller or deadline", () => {
  const queue = queueOf({
    1: { shape: "a" },
    2: { shape: "a", priority: 0 },
    3: { shape: "a", caller: 1 },
    4: { shape: "a", dueMs: 90 },
    5: { shape: "b" },
    6: { shape: "a", ...models(2) },
    7: { shape: "a", ...models(1, 23) },
    8: { shape: "a", ...models(12, 3) },
  });
  const groups = [1, 2, 3, 4, 5, 6, 7, 8].map((id) => groupOf(queue, id));
  expect(groups.map((x) => queue.count(x))).toEqual([4, 4, 4, 4, 1, 1, 1, 1]);
  const [first, , , , alone] = groups as [Group, Group, Group, Group, Group];
  queue.remove(waiting(queue, 2));
  expect([queue.count(first), queue.peer(first)?.id]).toEqual([3, 1]);
  queue.remove(waiting(queue, 1));
  expect(queue.peer(first)?.id).toBe(3);
  queue.remove(waiting(queue, 5));
  expect([queue.count(alone), queue.peer(alone)]).toEqual([0, undefined]);
});

test("ahead of a step is the cost of more urgent ones of its caller and models, until it ages", () => {
  const queue = new Queue(AGING_MS);
  for (const [id, change, costMs, home = ""] of [
    [1, { priority: 0 }, 5],
    [2, { priority: 1 }, 7],
    [3, { priority: 2 }, 100],
    [4, { priority: 0, caller: 1 }, 1_000],
    [5, { priority: 0, ...models(1, 23) }, 2_000],
    [6, { priority: 0, caller: 1, state: { id: 1, after: 0 } }, 3, "a"],
    [7, { priority: 0, caller: 2, state: { id: 2, after: 0 } }, 4, "a"],
    [8, { priority: 0, caller: 3, state: { id: 3, after: 0 } }, 9, "b"],
  ] as const)
    queue.add(step(id, change), Infinity, costMs, 0, home);
  const ahead = (change: Change, home = "", now = 0): number =>
    queue.aheadMs(step(99, { priority: 2, dueMs: AGING_MS, ...change }), home, now);
  expect([ahead({}), ahead({ priority: 1 }), ahead({ priority: 0 })]).toEqual([12, 5, 0]);
  expect([ahead({ dueMs: AGING_MS + 1 }), ahead({ dueMs: AGING_MS + 1 }, "", 1)]).toEqual([0, 12]);
  expect([ahead({ caller: 1 }), ahead(models(1, 23)), ahead(models(12, 3)), ahead(models(2))]).toEqual([
    1_000, 2_000, 0, 0,
  ]);
  const state = { id: 4, after: 0 };
  expect([ahead({ state, caller: 4 }, "a"), ahead({ state, caller: 4 }, "b"), ahead({ state }, "c")]).toEqual([
    7, 9, 0,
  ]);
  queue.remove(waiting(queue, 1));
  expect(ahead({})).toBe(7);
  expect([groupOf(queue, 3).class.home, groupOf(queue, 6).class.home]).toEqual(["", "a"]);
});

test("a snapshot has all of a queue, and goes on as it would", () => {
  const queue = new Queue(AGING_MS);
  for (const [id, change, latestMs, costMs, home = ""] of [
    [1, { priority: 2 }, Infinity, 0.1],
    [2, { priority: 2 }, 50, 0.2],
    [3, { priority: 2 }, 40, 0.3],
    [4, { caller: 1, shape: "a" }, Infinity, 1],
    [5, { caller: 1, shape: "b" }, Infinity, 1],
    [6, { caller: 2, state: { id: 1, after: 0 } }, Infinity, 1, "wasm-1"],
    [7, { caller: 1, shape: "c" }, Infinity, 1],
  ] as const)
    queue.add(step(id, change), latestMs, costMs, 0, home);
  queue.serve(waiting(queue, 3), 12, 0); // the sum of the other costs is not that of adding them
  queue.serve(waiting(queue, 7), 5, 20);
  queue.rest(groupOf(queue, 5), 2_500);
  nextOf(queue, 2_000);
  const saved = queue.save();
  const restored = new Queue(AGING_MS);
  restored.restore(structuredClone(saved));
  expect(restored.save()).toEqual(saved);
  const play = (of: Queue): unknown[] => [
    ...[of.size, of.lateMs, of.restMs, of.late(45)?.id, of.late(60)?.id, groupOf(of, 6).class.home],
    of.aheadMs(step(9, { priority: 2, dueMs: 2_000 }), "", 2_000),
    ...[1, 4, 5, 6].flatMap((id) => [
      groupOf(of, id).level,
      groupOf(of, id).class.usedMs,
      groupOf(of, id).class.costsMs,
    ]),
    ...[2_499, 2_500].map((now) => {
      const next = of.next(now, false) as WaitingStep;
      of.remove(next);
      return next.id;
    }),
    drain(of, () => of.next(9_000, false)),
  ];
  expect(play(restored)).toEqual(play(queue));
});

test("the snapshot of an older trace, without the sums of costs, is read", () => {
  const steps = [
    [step(1, { priority: 2 }), 70, 5],
    [step(2, { priority: 2 }), Infinity, 0],
  ] as const;
  const saved: SavedQueue = {
    usedMs: 30,
    groups: [
      { servedMs: 0, usedMs: 0, level: 0, home: "", steps: [] },
      { servedMs: 100, usedMs: 40, level: 2, home: "", steps },
    ],
  };
  const queue = new Queue(AGING_MS);
  queue.restore(saved);
  const { level, servedMs, class: own } = groupOf(queue, 1);
  expect([level, servedMs, own.usedMs, own.costsMs, own.home]).toEqual([2, 100, 40, [0, 0, 5], ""]);
  expect([queue.lateMs, queue.restMs, waiting(queue, 2).latestMs, waiting(queue, 2).costMs]).toEqual([
    70,
    Infinity,
    Infinity,
    0,
  ]);
  queue.add(step(3, { caller: 1 }), Infinity, 0, 0);
  expect(groupOf(queue, 3).class.usedMs).toBe(30);
  expect(drain(queue)).toEqual([3, 1, 2]);
});
