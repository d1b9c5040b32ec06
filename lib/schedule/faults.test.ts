// Lanes that fail, and runs that stall: which lane gets the work then.
import { describe, expect, test } from "vitest";
import { Estimate } from "./cost-estimate.ts";
import type { Decision, SchedulerEvent, ScheduledStep } from "./events.ts";
import { Scheduler } from "./scheduler.ts";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";

const HANGS_MS = 1e7;

/** Sends a step of 20 ms every 10 ms; wasm-1 can't load the model. Returns the lanes that got steps, by their ids. */
function besideBroken(count: number, fail: (stage: Stage) => void): Stage {
  const stage = new Stage([lane("wasm-0"), lane("wasm-1", [])], () => 20);
  stage.teach(1, [1]);
  fail(stage);
  for (let i = 0; i < count; i += 1) stage.arrives(step(i, { arrivedMs: i * 10 }));
  stage.play();
  return stage;
}

const broken = (untilMs: number | null) => (stage: Stage) => {
  stage.tell({ type: "unavailable", lane: "wasm-1", modelId: 1, untilMs });
};

test("a lane that can't load a model gets none of its work while another lane holds it (core-A5)", () => {
  const stage = besideBroken(50, broken(5_000));
  expect(new Set([...stage.fates.values()].map((x) => x.lane))).toEqual(new Set(["wasm-0"]));
  expect(stage.decisions.some((x) => x.type === "warm")).toBe(false);
  expect(stage.rejected.size).toBe(0);
});

test("a lane that can't start gets no work of any model, one that can't load a model gets that of others", () => {
  const ran = (modelId: number | null): string[] => {
    const stage = new Stage([lane("wasm-0", [1, 2]), lane("wasm-1", [2])], () => 20);
    stage.tell({ type: "unavailable", lane: "wasm-1", modelId, untilMs: 1_000 });
    for (let i = 0; i < 6; i += 1) stage.arrives(step(i, { model: 2 }));
    stage.play();
    return [...new Set([...stage.fates.values()].map((x) => x.lane))];
  };
  expect(ran(null)).toEqual(["wasm-0"]);
  expect(ran(1)).toHaveLength(2);
});

test("a lane is tried again once its time is over, later each time, and at once where nothing else can do the work", () => {
  const stage = new Stage([lane("wasm-0"), lane("wasm-1", [])], (_, __, id) => (id === "wasm-0" ? 900 : null));
  stage.teach(1, [1]);
  for (let i = 0; i < 4_000; i += 1) stage.arrives(step(i, { arrivedMs: i * 100 }));
  const tries: number[] = [];
  stage.scheduler.onEvent = (event, now) => {
    if (event.type === "unavailable" && tries.at(-1) !== now) tries.push(now);
  };
  stage.play(200_000);
  const gaps = tries.map((x, i) => x - (tries[i - 1] ?? x)).slice(1);
  for (const [i, gap] of gaps.entries()) {
    expect(gap).toBeGreaterThanOrEqual(Math.min(60_000, 1_000 * 2 ** i));
    expect(gap).toBeLessThan(Math.min(60_000, 1_000 * 2 ** i) + 2_000);
  }
  expect(gaps.length).toBeGreaterThan(5);

  const alone = new Stage([lane("wasm-1", [])], () => 20);
  broken(null)(alone);
  alone.arrives(step(1));
  alone.play();
  expect(alone.fates.has(1)).toBe(true);
});

test("a barred lane is not warmed (core-A5 warm)", () => {
  for (const isBarred of [true, false]) {
    const stage = new Stage([lane("wasm-0"), lane("wasm-1", [])], () => 110);
    stage.teach(1, [1]);
    stage.tell({ type: "loaded", modelId: 1, ms: 100, lane: "wasm-0" });
    if (isBarred)
      for (const id of ["wasm-0", "wasm-1"]) stage.tell({ type: "unavailable", lane: id, modelId: 1, untilMs: 1_000 });
    for (const id of [1, 2]) stage.arrives(step(id)); // staged: it would finish sooner where the model is loaded
    stage.play(50);
    expect([...stage.fates.values()].map((x) => x.lane)).toEqual(["wasm-0", "wasm-0"]);
    expect(stage.decisions.some((x) => x.type === "warm")).toBe(!isBarred);
  }
});

test("a batch that ends well shows that the lane can do its work again", () => {
  const stage = new Stage([lane("wasm-0", []), lane("wasm-1", [])], () => 20);
  for (const id of ["wasm-0", "wasm-1"])
    stage.tell({ type: "unavailable", lane: id, modelId: 1, untilMs: id === "wasm-0" ? 1e6 : 2e6 });
  stage.arrives(step(1)); // both are barred, so both may be tried
  stage.play();
  const on = stage.fates.get(1)?.lane;
  for (let i = 0; i < 9; i += 1) stage.arrives(step(10 + i, { arrivedMs: 100 }));
  stage.play();
  expect(new Set([...stage.fates.values()].map((x) => x.lane))).toEqual(new Set([on]));
});

test("steps staged behind a stalled run are run elsewhere in time, and its answers to them are not waited for (core-B10)", () => {
  // Runs of a minute beside a hang; the longest deadline is far later.
  for (const ms of [20, 700]) {
    const stage = new Stage([lane("wasm-0", [1, 2]), lane("wasm-1", [1, 2])], (model) => (model === 2 ? HANGS_MS : ms));
    stage.teach(1, [1]);
    stage.arrives(step(0, { model: 2 }));
    for (let i = 1; i < 30; i += 1) stage.arrives(step(i, { arrivedMs: 1 })); // one of them is staged at once
    for (let i = 30; i < 60; i += 1) stage.arrives(step(i, { arrivedMs: 1, dueMs: 1 + 100 * ms }));
    stage.play(HANGS_MS - 1);
    expect(stage.rejected.size).toBe(0);
    for (let i = 1; i < 60; i += 1) expect(stage.fates.get(i)?.endMs).toBeLessThanOrEqual(1 + 100 * ms);
    expect(stage.decisions.filter((x) => x.type === "withdraw")).toHaveLength(1);
  }
});

test("a step that is staged is rejected at its deadline where no other lane could run it (core-B10)", () => {
  const stage = new Stage([lane("wasm-0", [1, 2])], (model) => (model === 2 ? HANGS_MS : 20));
  stage.estimate.learn("m2", 1, 100); // so that they are staged shortly before it should have ended
  stage.estimate.learn("m1", 1, 20);
  stage.arrives(step(0, { model: 2 }));
  stage.arrives(step(1, { arrivedMs: 1, dueMs: 2_001 }));
  stage.arrives(step(2, { arrivedMs: 1, dueMs: 2_001, isRefusable: false }));
  stage.play(HANGS_MS - 1);
  expect(stage.decisions.some((x) => x.type === "start" && x.ids.includes(1))).toBe(true);
  expect(stage.rejected.get(1)?.code).toBe("deadline-exceeded");
  expect(stage.rejected.get(1)?.atMs).toBeLessThan(2_003);
  expect(stage.rejected.has(2)).toBe(false);
});

test("a staged step that was cancelled is not queued again", () => {
  const stage = new Stage([lane("wasm-0", [1, 2]), lane("wasm-1", [1, 2])], (model) => (model === 2 ? HANGS_MS : 20));
  stage.teach(1, [1]);
  stage.arrives(step(0, { model: 2 }));
  for (let i = 1; i < 4; i += 1) stage.arrives(step(i, { arrivedMs: 1 }));
  stage.play(1);
  const staged = [...stage.fates].find(([id, x]) => id > 0 && x.lane === stage.fates.get(0)?.lane)?.[0] as number;
  stage.tell({ type: "cancelled", id: staged });
  stage.play(HANGS_MS - 1);
  expect(stage.decisions.some((x) => x.type === "withdraw")).toBe(false);
});

test("a step staged behind a load that fails is run elsewhere in time, unless its lane holds the model by then (sched-staged)", () => {
  for (const isHeld of [true, false]) {
    const estimate = new Estimate();
    estimate.learn("m1", 1, 20);
    const scheduler = new Scheduler({ agingMs: 2_000, maxSize: 100 }, estimate);
    const [first, second] = [lane("wasm-0", []), lane("wasm-1", [1], { isOpen: false })];
    const tell = (event: SchedulerEvent, now: number): Decision[] => scheduler.handle(event, now, [first, second]);
    const start = (it: ScheduledStep): Decision[] => [
      ...tell({ type: "arrived", step: it, isAgain: false }, 0),
      ...tell({ type: "tick" }, 0),
    ];
    const [one, two] = [...start(step(1)), ...start(step(2))];
    expect([one, two]).toMatchObject([
      { type: "start", lane: "wasm-0", batch: 1 },
      { type: "start", lane: "wasm-0", batch: 2 },
    ]);
    if (isHeld) first.held.set(1, { states: new Map() });
    tell({ type: "ended", lane: "wasm-0", batch: 1, ms: null }, 500);
    tell({ type: "tick" }, 500);
    second.isOpen = true;
    const after = tell({ type: "tick" }, 2_000);
    expect(after.filter((x) => x.type === "withdraw").map((x) => x.ids)).toEqual(isHeld ? [] : [[2]]);
    expect(after.some((x) => x.type === "start" && x.lane === "wasm-1")).toBe(!isHeld);
  }
});

describe("a lane that takes long to load a model", () => {
  const LOAD_MS = 60_000;
  /** The first of two lanes loads for a minute; the second holds the model from a moment on, or never does. */
  function beside(heldFromMs: number, change: Parameters<typeof step>[1] = {}): Stage {
    const lanes = [lane("wasm-0", []), lane("wasm-1", [])];
    const stage = new Stage(lanes, () => 20);
    stage.load = (id) => (id === "wasm-0" ? LOAD_MS : 100);
    stage.teach(1, [1]);
    stage.arrives(step(1, change));
    stage.at(heldFromMs, () => {
      lanes[1]?.held.set(1, { states: new Map() });
      stage.tell({ type: "tick" });
    });
    return stage;
  }

  test("leaves its first step to a lane that holds the model meanwhile (core-B10 load)", () => {
    const stage = beside(5_000);
    stage.play();
    expect(stage.fates.get(1)).toMatchObject({ lane: "wasm-1", startMs: 5_000 });
  });

  test("has no other lane load it too, unless that looks like a hang (core-B10 load)", () => {
    const stage = beside(Infinity);
    stage.play();
    expect(stage.fates.get(1)?.lane).toBe("wasm-1");
    expect(stage.fates.get(1)?.startMs).toBeGreaterThan(20_000);
    expect(stage.fates.get(1)?.startMs).toBeLessThan(22_000);
  });

  test("has its first step rejected at its deadline, unless it runs by then (core-B10 load)", () => {
    const late = beside(Infinity, { dueMs: 10_000 });
    late.play();
    expect(late.rejected.get(1)?.atMs).toBeLessThan(10_003);
    expect(late.fates.has(1)).toBe(false);

    const begun = new Stage([lane("wasm-0", [])], () => 5_000);
    begun.load = () => 100;
    begun.arrives(step(1, { dueMs: 1_000 }));
    begun.play();
    expect(begun.rejected.size).toBe(0);
    expect(begun.fates.get(1)?.endMs).toBe(5_100);
  });
});
