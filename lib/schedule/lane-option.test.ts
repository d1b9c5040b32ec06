// Functions of a lane as an option for a step: its finish there, and which of two is better.
import { expect, test } from "vitest";
import { lane, step } from "../test-support/schedule-fixtures.ts";
import { costOf, countStates, earliestMs, endOf, homeOf, isSooner, runs, soonest, stateOf } from "./lane-option.ts";
import type { Batch, LaneOption } from "./lane-option.ts";

const ROUTE = { backend: "wasm", modelId: 1, key: "m1" };

function batch(change: Partial<Batch> = {}): Batch {
  return { id: 1, route: ROUTE, key: "m1", rows: 1, ms: 50, startMs: 100, steps: new Map(), preempt: false, ...change };
}

function option(change: Partial<LaneOption> = {}): LaneOption {
  return {
    ...{ lane: lane("wasm-0"), route: ROUTE, key: "m1", freeMs: 0, ms: 10, leastMs: 5, endMs: 10 },
    ...{ isCold: false, loadMs: 0, batches: [], ...change },
  };
}

test("a run ends after its time, an overdue one after a quarter of its time so far, a staged one begins at once", () => {
  expect(endOf(batch(), 120)).toBe(150);
  expect(endOf(batch(), 150)).toBe(150);
  expect(endOf(batch(), 300)).toBe(350);
  expect(endOf(batch(), 60)).toBe(110);
});

test("a load and the cost of a route make a lane later: the load by all of its time there, by a quarter against others", () => {
  const route = { ...ROUTE, costMs: 100 };
  expect(costOf(option({ endMs: 50 }))).toBe(50);
  expect(costOf(option({ endMs: 50, loadMs: 40, route }))).toBe(160);
  expect(earliestMs(option({ freeMs: 20, loadMs: 40, leastMs: 5 }))).toBe(65);
});

test("the soonest lane is the one with the least cost, among equal ones the one with the least work", () => {
  const [early, late] = [option({ endMs: 9 }), option({ endMs: 10 })];
  const [busy, idle] = [option({ batches: [batch()] }), option()];
  for (const [options, best] of [
    [[early, late], early],
    [[late, early], early],
    [[busy, idle], idle],
    [[idle, busy], idle],
  ] as const)
    expect(soonest(options)).toBe(best);
  expect(soonest([])).toBeUndefined();
});

test("a step waits for its lane's load unless another lane is sooner, which loads only where that load is stalled", () => {
  const loading = batch({ startMs: 100_000, ms: 500 });
  const isMoved = (endMs: number, isCold: boolean, now: number): boolean =>
    isSooner(option({ endMs, isCold }), loading, now);
  expect([100_499, 100_500, 100_501].map((endMs) => isMoved(endMs, false, 100_400))).toEqual([true, false, false]);
  expect([101_000, 120_000, 120_001].map((now) => isMoved(now, true, now))).toEqual([false, false, true]);
  expect(isMoved(101_000, false, 101_000)).toBe(true);
});

test("the home of a step is the lane that holds its state as of the step before, on that lane's own backend", () => {
  const routes = [ROUTE, { backend: "webgpu", modelId: 2, key: "m2" }] as const;
  const keeping = (id: string, model: number, mark: number, backend: "wasm" | "webgpu"): ReturnType<typeof lane> => {
    const made = lane(id, [model], { backend });
    made.held.get(model)?.states.set(1, mark);
    return made;
  };
  const lanes = [
    lane("wasm-0", []),
    keeping("wasm-1", 1, 2, "wasm"), // an older mark
    keeping("wasm-2", 2, 3, "wasm"), // the other backend's model
    keeping("webgpu-0", 2, 3, "webgpu"),
  ];
  const own = step(9, { routes, state: { id: 1, after: 3 } });
  expect(homeOf(own, lanes)).toBe("webgpu-0");
  expect(homeOf(own, lanes.slice(0, 3))).toBe("");
  expect(homeOf(step(9, { routes }), lanes)).toBe("");
  const at = { lane: lanes[1] as (typeof lanes)[0], route: ROUTE };
  expect([stateOf(own, at), stateOf(step(9), at)]).toEqual([2, undefined]);
});

test("a lane runs the models of its batches, and holds the states of all its models", () => {
  const busy = option({ batches: [batch({ route: { ...ROUTE, modelId: 2 } }), batch()] });
  expect([runs(busy), runs({ ...busy, batches: busy.batches.slice(0, 1) })]).toEqual([true, false]);
  const two = lane("wasm-0", [1, 2, 3]);
  two.held.get(1)?.states.set(1, 0);
  for (const id of [2, 3]) two.held.get(2)?.states.set(id, 0);
  expect(countStates(option({ lane: two }))).toBe(3);
});
