import { expect, test } from "vitest";
import { Estimate } from "./cost-estimate.ts";
import type { Route, ScheduledStep } from "./events.ts";
import type { LaneOption } from "./lane-option.ts";
import { LaneStates } from "./lane-state.ts";
import { LiveDeadlines } from "./live-deadlines.ts";

/** Live deadlines over models whose durations, on the express lane and elsewhere, are known by their key. */
function over(durations: Readonly<Record<string, number>> = {}, express: Readonly<Record<string, number>> = {}) {
  const lanes = new LaneStates(new Estimate());
  return new LiveDeadlines({ ms: (key: string) => durations[key] } as unknown as Estimate, {
    expressMs: (lane, { key }) => (lane === "wasm-express" ? (express[key] ?? 0) : NaN),
    note: (what, now) => {
      lanes.note(what, now);
    },
    sinceMs: (...args) => lanes.sinceMs(...args),
  });
}

const route = (key: string): Route => ({ key, modelId: 1, backend: key.startsWith("gpu") ? "webgpu" : "wasm" });

/** A step of a deadline of so many ms, on the routes of these keys. */
const due = (lengthMs: number, keys: readonly string[] = ["a"], arrivedMs = 0): ScheduledStep =>
  ({ arrivedMs, dueMs: arrivedMs + lengthMs, rows: 1, routes: keys.map(route) }) as unknown as ScheduledStep;

test.each([
  [50, 30, 3_000],
  [200, 120, 5_000],
])("a deadline of %i ms keeps batches at %i ms for 20 times its length, and at least 2 s", (ms, batchMs, untilMs) => {
  const live = over({ a: 10 });
  live.note(due(ms, ["a"], 900), 1_000);
  live.pass(untilMs);
  expect(live.batchMs("wasm")).toBe(batchMs);
  live.pass(untilMs + 1);
  expect(live.batchMs("wasm")).toBe(Infinity);
});

test("the shortest deadline of a model counts, and one as short renews it", () => {
  const live = over({ a: 10 });
  live.note(due(50), 1_000);
  live.note(due(60), 2_000);
  live.pass(3_000);
  expect(live.batchMs("wasm")).toBe(30);
  live.note(due(50), 3_000);
  live.pass(5_000);
  expect(live.batchMs("wasm")).toBe(30);
});

test("the deadlines of another model stay live when the shortest ends (sched-models)", () => {
  const live = over({ a: 10, b: 10 });
  live.note(due(50), 1_000);
  live.note(due(60, ["b"]), 2_000);
  live.pass(3_001);
  expect(live.batchMs("wasm")).toBe(36);
  live.pass(4_001);
  expect(live.batchMs("wasm")).toBe(Infinity);
});

test("a deadline limits the backends that can meet it alone (sched-backends)", () => {
  const live = over({ gpu: 10, a: 60, b: 10 });
  live.note(due(50, ["gpu", "a"]), 0);
  expect([live.batchMs("webgpu"), live.batchMs("wasm")]).toEqual([30, Infinity]);
  expect([live.isLong(26, "webgpu"), live.isLong(1e6, "wasm")]).toEqual([true, false]);
  expect(live.isUrgent(due(1e6))).toBe(true);
  live.note(due(100, ["b", "gpu"]), 0);
  expect([live.batchMs("webgpu"), live.batchMs("wasm")]).toEqual([30, 60]);
  expect([live.isUrgent(due(200)), live.isUrgent(due(201))]).toEqual([true, false]);
});

test("a step without a deadline leaves nothing behind", () => {
  const live = over({ a: 10 });
  live.note(due(Infinity), 1_000);
  live.note(due(Infinity, ["new"]), 1_000);
  expect(live.save()).toEqual(new Map());
});

test("nothing is kept short for a deadline that no route meets; one that takes as long meets it", () => {
  const live = over({ a: 51, b: 50 });
  live.note(due(50, ["a"]), 0);
  expect(live.batchMs("wasm")).toBe(Infinity);
  live.note(due(50, ["a", "b"]), 0);
  expect(live.batchMs("wasm")).toBe(30);
});

test.each([
  [10_999, 30],
  [11_000, Infinity],
])("a model of unknown cost counts as short for 10 s after its first request: at %i ms", (now, batchMs) => {
  const live = over();
  live.note(due(50), 1_000);
  expect(live.batchMs("wasm")).toBe(30);
  live.pass(now);
  live.note(due(50), now);
  expect(live.batchMs("wasm")).toBe(batchMs);
});

test("a snapshot keeps the live deadlines", () => {
  const live = over();
  live.note(due(50), 1_000);
  const same = over();
  same.restore(structuredClone(live.save()));
  expect(same.save()).toEqual(new Map([["a", { route: route("a"), lengthMs: 50, untilMs: 3_000 }]]));
  expect(same.batchMs("wasm")).toBe(30);
});

test("work is long above half the shortest deadline, and a deadline urgent up to twice it", () => {
  const live = over({ a: 10 });
  live.note(due(50), 0);
  expect([25, 25.1].map((ms) => live.isLong(ms, "wasm"))).toEqual([false, true]);
  expect([100, 101].map((ms) => live.isUrgent(due(ms)))).toEqual([true, false]);
});

/** A lane of the CPU with batches of these durations, on which a step takes `ms`. */
const lane = (kind: string, batches: readonly number[], ms = 26, backend = "wasm"): LaneOption =>
  ({
    lane: { id: `${backend}-${kind}`, kind, backend },
    batches: batches.map((x) => ({ ms: x })),
    ms,
    endMs: 1_030,
  }) as unknown as LaneOption;

/** Whether a step leaves room on the first lane, beside a live deadline of 50 ms whose model takes so long on express. */
function hasRoom(step: ScheduledStep, lanes: readonly [LaneOption, ...LaneOption[]], expressMs = 0, now = 1_000) {
  const live = over({ a: 10 }, { a: expressMs });
  live.note(due(50), 0);
  return live.leavesRoom(step, lanes[0], lanes, now);
}

test("a step is staged only where the lane is free within three fifths of the shortest deadline", () => {
  expect(hasRoom(due(50), [lane("usual", [1])])).toBe(true);
  expect(hasRoom(due(50), [lane("usual", [1])], undefined, 999)).toBe(false);
  expect(hasRoom(due(50), [lane("usual", [])], undefined, 999)).toBe(true);
});

test("a deadline as short as the shortest, and short work, need not leave room", () => {
  const busy = lane("usual", [26]);
  expect(hasRoom(due(1.05 * 50), [lane("usual", []), busy, busy])).toBe(true);
  expect(hasRoom(due(50, ["a"], 1_000), [lane("usual", []), busy, busy])).toBe(true);
  expect(hasRoom(due(53), [lane("usual", []), busy, busy])).toBe(false);
  expect(hasRoom(due(53), [lane("usual", [], 25), busy, busy])).toBe(true);
});

test("long work leaves room where another lane of its backend has no long batch, the wide one apart", () => {
  const [long, busy] = [lane("usual", []), lane("usual", [26])];
  expect(hasRoom(due(500), [long])).toBe(true);
  expect(hasRoom(due(500), [long, busy, lane("usual", [])])).toBe(true);
  expect(hasRoom(due(500), [long, busy, lane("usual", [25])])).toBe(true);
  expect(hasRoom(due(500), [long, busy, busy, lane("usual", [], 26, "webgpu")])).toBe(false);
  expect(hasRoom(due(500), [long, busy, busy, lane("wide", [])])).toBe(false);
});

test("of two lanes one is kept free from long work, and from work without a deadline (sched-half)", () => {
  const [long, busy, express] = [lane("usual", []), lane("usual", [26]), lane("express", [])];
  expect(hasRoom(due(Infinity), [long, busy])).toBe(false);
  expect(hasRoom(due(Infinity), [long, lane("usual", [25])])).toBe(true);
  expect(hasRoom(due(Infinity), [long])).toBe(true);
  expect(hasRoom(due(500), [long, busy])).toBe(true);
  expect(hasRoom(due(500), [lane("usual", [], 100), busy])).toBe(true);
  expect(hasRoom(due(500), [lane("usual", [], 101), busy])).toBe(false);
  expect(hasRoom(due(500), [long, busy, express], 26)).toBe(true);
  expect(hasRoom(due(500), [long, busy, busy])).toBe(false);
});

test("the express lane is room where the urgent model is quick there, or is the only other lane", () => {
  const [long, busy, express] = [lane("usual", []), lane("usual", [26]), lane("express", [])];
  for (const step of [due(500), due(Infinity)]) {
    expect(hasRoom(step, [long, busy, busy, express])).toBe(true);
    expect(hasRoom(step, [long, busy, busy, express], 25)).toBe(true);
    expect(hasRoom(step, [long, busy, busy, express], 26)).toBe(false);
    expect(hasRoom(step, [long, express], 26)).toBe(true);
  }
  expect(hasRoom(due(Infinity), [long, busy, express], 26)).toBe(false);
});

test("the express lane is room where each model that could not wait is quick there (sched-route)", () => {
  const live = over({ gpu: 10, a: 10, b: 10 }, { gpu: 99, a: 25, b: 26 });
  const lanes = [lane("usual", []), lane("usual", [26]), lane("usual", [26]), lane("express", [])] as const;
  const isRoom = (): boolean => live.leavesRoom(due(Infinity), lanes[0], lanes, 1_000);
  live.note(due(50, ["gpu"]), 0);
  live.note(due(50, ["a"]), 0);
  expect(isRoom()).toBe(true);
  // Work of 26 ms is short for it.
  live.note(due(52, ["b"]), 0);
  expect(isRoom()).toBe(true);
  live.note(due(51, ["b"]), 0);
  expect(isRoom()).toBe(false);
});
