// The scheduler told one event at a time: what each decides, at a limit and beside it.
import { describe, expect, test } from "vitest";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";
import type { Decision, Route, SchedulerEvent } from "./events.ts";

type Change = Parameters<typeof step>[1];

const to = (backend: string, modelId: number): Route => ({ backend, modelId, key: `m${modelId}` });
const due = (arrivedMs: number, dueMs: number): Change => ({ arrivedMs, dueMs });

/** A stage that the test tells everything; returns the decisions on each event. */
class Desk {
  readonly stage: Stage;

  /** Runs of each model take so long, of one row and of two; a model that is not given is unknown. */
  constructor(lanes: Stage["lanes"], runs: Readonly<Record<number, number>> = { 1: 10 }, maxSize = 100) {
    this.stage = new Stage(lanes, () => 0, { maxSize });
    this.stage.estimate.learn("else", 1, 0.001); // the clock is fine
    for (const [model, ms] of Object.entries(runs)) this.learn(`m${model}`, ms);
  }

  learn(key: string, ms: number, rows = 1): void {
    for (let i = 0; i < 3; i += 1) this.stage.estimate.learn(key, rows, ms, this.stage.now);
  }

  tell(now: number, event: SchedulerEvent): Decision[] {
    const before = this.stage.decisions.length;
    this.stage.now = now;
    this.stage.tell(event);
    return this.stage.decisions.slice(before);
  }

  arrive(id: number, change: Change = {}, isAgain = false): Decision[] {
    return this.tell(change.arrivedMs ?? 0, { type: "arrived", step: step(id, change), isAgain });
  }

  /** Ticks; returns the lane and the steps of each batch that starts. */
  tick(now = 0): (readonly [lane: string, ...ids: number[]])[] {
    return starts(this.tell(now, { type: "tick" }));
  }

  /** Ends the batch of a step. */
  end(id: number, now: number, ms: number | null = now): void {
    for (const x of this.stage.decisions)
      if (x.type === "start" && x.ids.includes(id)) this.tell(now, { type: "ended", lane: x.lane, batch: x.batch, ms });
  }

  get wakeMs(): number {
    return this.stage.scheduler.wakeMs;
  }
}

const starts = (decisions: readonly Decision[]): (readonly [string, ...number[]])[] =>
  decisions.flatMap((x) => (x.type === "start" ? [[x.lane, ...x.ids] as const] : []));

describe("a step", () => {
  test("waits from its arrival to its start", () => {
    const desk = new Desk([lane("wasm-0")]);
    const { scheduler } = desk.stage;
    desk.arrive(1);
    expect([scheduler.waits(1), scheduler.waits(2)]).toEqual([true, false]);
    desk.tick();
    expect(scheduler.waits(1)).toBe(false);
  });

  test("of a state, or that is tried again, is taken by a full queue", () => {
    const desk = new Desk([lane("wasm-0")], {}, 1);
    expect(desk.arrive(1)).toEqual([]);
    expect(desk.arrive(2)).toEqual([{ type: "reject", id: 2, code: "overloaded", expected: 1 }]);
    expect(desk.arrive(3, { state: { id: 3, after: 0 } })).toEqual([]);
    expect(desk.arrive(4, {}, true)).toEqual([]);
    expect(desk.stage.scheduler.queued).toBe(3);
  });

  test("takes as long as was measured, with the load where its lane lacks the model", () => {
    const desk = new Desk([lane("wasm-0"), lane("wasm-1", [])], {});
    desk.tell(0, { type: "measured", key: "m1", ms: 100 });
    const msOf = (decisions: readonly Decision[]): number[] =>
      decisions.flatMap((x) => (x.type === "start" ? [x.ms] : []));
    desk.arrive(1);
    expect(msOf(desk.tell(0, { type: "tick" }))).toEqual([100]);
    const cold = new Desk([lane("wasm-0", [])], { 1: 20 });
    cold.tell(0, { type: "loaded", modelId: 1, ms: 70 });
    cold.arrive(1);
    expect(msOf(cold.tell(0, { type: "tick" }))).toEqual([90]);
  });
});

describe("a deadline on arrival", () => {
  /** A lane that is busy until 10 ms; runs of 1, 2, 4 and 8 rows take 8 ms and 2 a row. */
  function busy(lanes = [lane("wasm-0")]): Desk {
    const desk = new Desk(lanes);
    for (const rows of [2, 4, 8]) desk.learn("m1", 8 + 2 * rows, rows);
    lanes.forEach((_, i) => desk.arrive(100 + i));
    desk.tick();
    return desk;
  }
  const batching = { maxBatchSize: 8, maxQueueDelayMs: 0, preferredBatchSizes: [] };
  const expected = (decisions: readonly Decision[]): number[] =>
    decisions.flatMap((x) => (x.type === "reject" ? [x.expected] : []));

  test.each<[string, Change, number]>([
    ["alone take their own time", {}, 10],
    ["alone of two rows take their own time", { rows: 2 }, 12],
    ["can run together take their share of the best batch", { shape: "a", batching }, 3],
    ["of two rows can run together take the share of both", { shape: "a", batching, rows: 2 }, 6],
    ["are larger than the best batch take their own time", { shape: "a", batching, rows: 16 }, 48],
  ])("is that of the lane and the work before it, where more urgent steps %s", (_, change, costMs) => {
    for (const count of [1, 3]) {
      const desk = busy();
      for (let id = 1; id <= count; id += 1) desk.arrive(id, { priority: 0, ...change });
      const endMs = 10 + 10 + count * costMs;
      expect(expected(desk.arrive(50, due(0, endMs)))).toEqual([]);
      expect(expected(desk.arrive(51, due(0, endMs - 1)))).toEqual([endMs]);
    }
  });

  test("is met with the work before it shared among the lanes, and counts from the arrival", () => {
    const desk = busy([lane("wasm-0"), lane("wasm-1")]);
    for (const id of [1, 2, 3, 4]) desk.arrive(id, { priority: 0 });
    expect(expected(desk.arrive(50, due(4, 39)))).toEqual([40 - 4]);
    expect(expected(desk.arrive(51, due(4, 40)))).toEqual([]);
  });

  test("is met by the express lane where it is one of the shortest, and not counted where all lanes are closed", () => {
    const desk = busy([lane("wasm-0"), lane("express-0", [1], { kind: "express", isOpen: false })]);
    desk.learn("m1 express", 4);
    const [usual, express] = desk.stage.lanes as [Stage["lanes"][number], Stage["lanes"][number]];
    express.isOpen = true;
    expect(expected(desk.arrive(2, due(0, 10)))).toEqual([]);
    expect(expected(desk.arrive(3, due(0, 20)))).toEqual([]);
    expect(expected(desk.arrive(4, due(0, 21)))).toEqual([30]);
    usual.isOpen = false;
    expect(expected(desk.arrive(5, due(0, 21)))).toEqual([]);
  });
});

describe("a cancelled step", () => {
  /** A run of 2,000 ms of the first step; the second is staged, the third queued. */
  function run(change: Change = {}, runs: Readonly<Record<number, number>> = { 1: 2_000 }, ids = [1, 2, 3]): Desk {
    const desk = new Desk([lane("wasm-0"), lane("wasm-1", [], { isOpen: false })], runs);
    for (const id of ids) desk.arrive(id, { preempt: true, ...change });
    desk.tick();
    return desk;
  }
  const cancel = (desk: Desk, id: number, now = 10): string[] =>
    desk.tell(now, { type: "cancelled", id }).map((x) => x.type);

  test("ends its lane once, while others are queued", () => {
    const desk = run();
    expect(cancel(desk, 99)).toEqual([]);
    expect(cancel(desk, 2)).toEqual([]);
    expect(cancel(desk, 1)).toEqual(["end"]);
    expect(cancel(desk, 99)).toEqual([]);
    const alone = run({}, { 1: 2_000 }, [1, 2]);
    expect(cancel(alone, 1)).toEqual([]);
  });

  test("ends no lane whose other steps are wanted, or that runs nothing", () => {
    const both = run({ shape: "a", batching: { maxBatchSize: 2, maxQueueDelayMs: 0, preferredBatchSizes: [] } });
    expect(both.stage.decisions).toMatchObject([{ ids: [1, 2] }]);
    expect(cancel(both, 1)).toEqual([]);
    expect(cancel(both, 2)).toEqual(["end"]);
    const idle = run();
    idle.end(1, 2_000);
    idle.end(2, 4_000);
    expect(cancel(idle, 3, 4_000)).toEqual([]);
  });

  test("ends its lane only where the rest of its run takes longer than to load the model again", () => {
    expect(cancel(run(), 1, 1_700)).toEqual([]);
    expect(cancel(run(), 1, 1_699)).toEqual(["end"]);
    const unknown = run({}, {});
    unknown.tell(1, { type: "loaded", modelId: 1, ms: 100 });
    expect(cancel(unknown, 1)).toEqual([]);
    const known = run({}, { 1: 250 });
    known.tell(1, { type: "loaded", modelId: 1, ms: 100 });
    expect(cancel(known, 1)).toEqual(["end"]);
  });
});

describe("a step that can't start", () => {
  const [gpu, cpu] = [to("webgpu", 1), to("wasm", 2)];
  const webgpu = (id: string): Stage["lanes"][number] => lane(id, [1, 3], { backend: "webgpu" });
  const wasm = (id: string): Stage["lanes"][number] => lane(id, [2]);

  test("keeps a busy lane for which it waits from less urgent ones, and no other lane", () => {
    const desk = new Desk([webgpu("gpu-0"), wasm("cpu-0")], { 1: 40, 2: 100 });
    desk.arrive(1, { routes: [gpu] });
    desk.tick();
    // It is sooner there than on the slower lane.
    desk.arrive(2, { routes: [gpu, cpu], dueMs: 200 });
    desk.arrive(3, { routes: [gpu], caller: 1 });
    desk.arrive(4, { routes: [cpu] });
    expect(desk.tick(1)).toEqual([["cpu-0", 4]]);
    expect(desk.wakeMs).toBe(35);
    expect(desk.tick(34)).toEqual([]);
    expect(desk.tick(35)).toEqual([["gpu-0", 2]]);
  });

  test("with a deadline keeps all lanes that are busy for longer, too", () => {
    const desk = new Desk([webgpu("gpu-0"), webgpu("gpu-1")], { 1: 40, 3: 60 });
    desk.arrive(1, { routes: [gpu] });
    desk.arrive(2, { routes: [to("webgpu", 3)] });
    desk.tick();
    desk.arrive(3, { routes: [gpu], dueMs: 200 });
    desk.arrive(4, { routes: [gpu], caller: 1 });
    expect(desk.tick(1)).toEqual([]);
  });

  test("without a deadline keeps the lane where its batch may grow, and no other", () => {
    const batching = { maxBatchSize: 2, maxQueueDelayMs: 0, preferredBatchSizes: [] };
    const desk = new Desk([webgpu("gpu-0"), webgpu("gpu-1")], { 1: 40, 3: 60 });
    desk.learn("m1", 50, 2);
    desk.arrive(1, { routes: [gpu] });
    desk.arrive(2, { routes: [to("webgpu", 3)] });
    desk.tick();
    desk.arrive(3, { routes: [gpu], shape: "a", batching, priority: 0 });
    desk.arrive(4, { routes: [gpu], caller: 1 });
    expect(desk.tick(1)).toEqual([["gpu-1", 4]]);
  });

  test("and waits on an idle lane for others to join keeps it from none, and hides none", () => {
    const batching = { maxBatchSize: 2, maxQueueDelayMs: 20, preferredBatchSizes: [] };
    const desk = new Desk([lane("wasm-0")]);
    desk.learn("m1", 12, 2);
    for (let id = 1; id <= 9; id += 1) desk.arrive(id, { shape: `${id}`, batching, priority: 0 });
    expect(desk.tick()).toEqual([]);
    expect(desk.wakeMs).toBe(20);
    expect(desk.tick(5)).toEqual([]);
    expect(desk.wakeMs).toBe(20);
    desk.arrive(10, { arrivedMs: 6 });
    expect(desk.tick(6)).toEqual([["wasm-0", 10]]);
  });

  test("and rests past its time since all lanes are full wakes nobody", () => {
    const batching = { maxBatchSize: 2, maxQueueDelayMs: 20, preferredBatchSizes: [] };
    const desk = new Desk([lane("wasm-0")], { 1: 100 });
    desk.learn("m1", 110, 2);
    desk.arrive(1, { shape: "a", batching });
    desk.tick();
    for (const id of [2, 3]) desk.arrive(id, { caller: 1, arrivedMs: 1 });
    expect(desk.tick(1)).toEqual([
      ["wasm-0", 2],
      ["wasm-0", 3],
    ]);
    expect(desk.wakeMs).toBe(20);
    for (const now of [20, 30]) {
      desk.tick(now);
      expect(desk.wakeMs).toBe(1_001); // the first run is stalled then
    }
  });

  test("hides a step behind it only where eight of its model can't start", () => {
    const startsBehind = (count: number): number => {
      // Steps of eight rows leave no room for a deadline of 50 ms beside a long run.
      const desk = new Desk([lane("wasm-0", [1, 2]), lane("wasm-1", [1, 2])], { 1: 10, 2: 100 });
      desk.learn("m1", 80, 8);
      desk.arrive(100, { model: 2 });
      desk.tick();
      desk.arrive(101, due(0, 50));
      expect(desk.tick()).toEqual([["wasm-1", 101]]);
      desk.end(101, 10);
      for (let id = 1; id <= count; id += 1) desk.arrive(id, { shape: `${id}`, rows: 8, arrivedMs: 10 });
      desk.arrive(50, { arrivedMs: 10 });
      return desk.tick(10).length;
    };
    expect([startsBehind(7), startsBehind(8)]).toEqual([1, 0]);
  });

  test("hides those of its model behind it where all of their lanes are full", () => {
    const desk = new Desk([webgpu("gpu-0"), wasm("cpu-0")], { 1: 40, 2: 1 });
    for (const id of [1, 2]) desk.arrive(id, { routes: [gpu] });
    desk.tick();
    desk.arrive(3, { routes: [gpu], shape: "a" });
    desk.arrive(4, { routes: [gpu], shape: "b" });
    desk.arrive(5, { routes: [cpu] });
    expect(desk.tick()).toEqual([["cpu-0", 5]]);
  });

  test("without a deadline hides none for the express lane", () => {
    const desk = new Desk([lane("wasm-0"), lane("express-0", [1], { kind: "express" })], { 1: 10 });
    for (const id of [1, 2]) desk.arrive(id);
    desk.tick();
    desk.arrive(3, { priority: 0 });
    desk.arrive(4, { dueMs: 25 });
    expect(desk.tick()).toEqual([["express-0", 4]]);
  });
});

describe("a queued deadline", () => {
  /** A run that takes longer than its 20 ms, and behind it a step of 30 ms that came at 30 and is due at 90. */
  function queued(): Desk {
    const desk = new Desk([lane("wasm-0", [1, 2])], { 1: 30, 2: 20 });
    desk.arrive(1);
    desk.tick();
    desk.end(1, 30);
    desk.arrive(2, { model: 2, arrivedMs: 30 });
    desk.tick(30);
    expect(desk.arrive(3, due(30, 90))).toEqual([]);
    desk.tick(31);
    expect(desk.wakeMs).toBe(61);
    return desk;
  }

  test("that could no longer be met rejects its step, and says when it would have ended", () => {
    const desk = queued();
    expect(desk.tell(61, { type: "tick" })).toEqual([
      { type: "reject", id: 3, code: "deadline-exceeded", expected: 61 },
    ]);
  });

  test("that can be met after all, if only just, since runs have become shorter, keeps its step", () => {
    const desk = queued();
    desk.stage.estimate.learn("m1", 1, 10, 50);
    expect(desk.tell(80, { type: "tick" })).toEqual([]);
    expect(desk.tell(81, { type: "tick" })).toMatchObject([{ type: "reject", id: 3, expected: 61 }]);
  });
});

test("a rejected step has its model loaded where it could have run in time", () => {
  const types = (arrivedMs: number, lengthMs: number): string[] => {
    const desk = new Desk([lane("wasm-0"), lane("wasm-1", [])], { 1: 40 });
    desk.arrive(1);
    desk.tick();
    return desk.arrive(2, due(arrivedMs, arrivedMs + lengthMs)).map((x) => x.type);
  };
  expect(types(5, 40)).toEqual(["warm", "reject"]);
  expect(types(5, 39)).toEqual(["reject"]);
});

describe("a step that is staged", () => {
  /** Runs of model 2 never end, and a step of model 1 is staged behind one; the other lane is closed. */
  function staged(change: Change = {}, kind: "usual" | "express" = "usual"): Desk {
    const lanes = [lane("wasm-0", [1, 2]), lane("wasm-1", [1, 2], { isOpen: false, kind })];
    lanes[0]?.held.get(1)?.states.set(3, 7);
    const desk = new Desk(lanes, { 1: 10, 2: 200 });
    desk.arrive(1, { model: 2 });
    desk.tick();
    desk.arrive(2, change);
    expect(desk.tick(change.dueMs === undefined ? 2 : 197)).toEqual([["wasm-0", 2]]);
    return desk;
  }
  const open = (desk: Desk): void => {
    (desk.stage.lanes[1] as Stage["lanes"][number]).isOpen = true;
  };
  const withdrawn = (desk: Desk, now: number): (readonly number[])[] =>
    desk.tell(now, { type: "tick" }).flatMap((x) => (x.type === "withdraw" ? [x.ids] : []));

  test("is withdrawn once the run before it is stalled, for another lane that is not", () => {
    const desk = staged();
    expect(desk.wakeMs).toBe(1_000);
    open(desk);
    expect(desk.tell(999, { type: "tick" })).toEqual([]);
    expect(desk.tell(1_000, { type: "tick" })).toMatchObject([
      { type: "withdraw", lane: "wasm-0", batch: 2, ids: [2] },
      { type: "start", lane: "wasm-1", ids: [2] },
    ]);
  });

  test("is withdrawn for a lane that is busy, whatever it holds, but not for one that is stalled as well", () => {
    for (const [fromMs, isStalled] of [
      [900, false],
      [0, true],
    ] as const) {
      const desk = staged();
      open(desk);
      for (const id of [5, 6]) desk.arrive(id, { model: 2, arrivedMs: fromMs });
      expect(desk.tick(fromMs)).toEqual([
        ["wasm-1", 5],
        ["wasm-1", 6],
      ]);
      expect(withdrawn(desk, 1_000)).toEqual(isStalled ? [] : [[2]]);
    }
  });

  test("is not withdrawn where no other lane is for it, nor of a state", () => {
    const alone = staged();
    expect(alone.tell(1_000, { type: "tick" })).toEqual([]);
    expect(alone.wakeMs).toBe(Infinity);
    const express = staged({}, "express");
    open(express);
    expect(express.tell(1_000, { type: "tick" })).toEqual([]);
    const state = staged({ state: { id: 3, after: 7 } });
    open(state);
    state.stage.lanes[0]?.held.get(1)?.states.clear();
    expect(state.tell(1_000, { type: "tick" })).toEqual([]);
  });

  test("is rejected past its deadline, with the end that was expected; one that may be late is not", () => {
    const desk = staged(due(2, 300));
    expect(desk.wakeMs).toBe(301);
    expect(desk.tell(300, { type: "tick" })).toEqual([]);
    const expected = 301 + 301 / 4 + 10 - 2; // an overdue run takes a part of its time again
    expect(desk.tell(301, { type: "tick" })).toEqual([{ type: "reject", id: 2, code: "deadline-exceeded", expected }]);
    const late = staged({ ...due(2, 300), isRefusable: false });
    expect(late.wakeMs).toBe(1_000);
    expect(late.tell(301, { type: "tick" })).toEqual([]);
  });

  test("behind nothing but the load of its model is rejected past its deadline, and compared again each second", () => {
    const load = (dueMs: number): Desk => {
      const desk = new Desk([lane("wasm-0", [])]);
      desk.stage.load = () => 1e6;
      desk.arrive(1, due(2, dueMs));
      expect(desk.tick(2)).toEqual([["wasm-0", 1]]);
      return desk;
    };
    expect(load(200).tell(201, { type: "tick" })).toMatchObject([{ type: "reject", expected: 310 }]);
    const stalled = load(Infinity);
    const stalledMs = 2 + 4 * 310;
    expect(stalled.wakeMs).toBe(stalledMs);
    stalled.tick(stalledMs);
    expect(stalled.wakeMs).toBe(stalledMs + 1_000);
  });
});

describe("a single stream stays on its lane", () => {
  /** Lanes of a request every 100 ms. */
  function stream(lanes: Stage["lanes"], change: Change, before: Change | null = null): Set<string> {
    const stage = new Stage(lanes, (_, __, id) => (id === "wide" ? 12 : 20));
    if (before !== null) stage.arrives(step(100, before));
    for (let i = 0; i < 12; i += 1) stage.arrives(step(i, { ...change, arrivedMs: 100 * i }));
    stage.play();
    return new Set([...stage.fates.values()].map((x) => x.lane));
  }

  test("where only another backend has a wide lane, or a step of another model waits for a lane", () => {
    const routes = [to("webgpu", 1), to("wasm", 2)] as const;
    const lanes = (): Stage["lanes"] => [lane("gpu", [1], { backend: "webgpu" }), lane("wide", [2], { kind: "wide" })];
    expect(stream(lanes(), { routes })).toEqual(new Set(["gpu"]));
    const both = (): Stage["lanes"] => [lane("cpu", [2]), lane("wide", [2], { kind: "wide" })];
    expect(stream(both(), { model: 2 })).toEqual(new Set(["cpu", "wide"]));
    expect(stream(both(), { model: 2 }, { routes: [to("webgpu", 9)] })).toEqual(new Set(["cpu"]));
  });
});

describe("a run is a trial", () => {
  /** The first batch on the device's lane, of a model that takes 100 ms there. */
  function first(dueMs: number, runs: Readonly<Record<number, number>> = { 1: 100 }, ran = false, shortMs = 100) {
    const desk = new Desk([lane("wasm-0")], runs);
    if (ran) {
      desk.arrive(1);
      desk.tick();
      desk.end(1, 100, shortMs);
    }
    const now = ran ? 100 : 0;
    desk.arrive(2, due(now, now + dueMs));
    expect(desk.tick(now)).toEqual([["wasm-0", 2]]);
    return desk.stage.scheduler.save().batches.get("wasm-0")?.[0];
  }

  test("where it is expected past its deadline, and nothing recent is known", () => {
    expect(first(99)?.isTrial).toBe(true);
    expect(first(100)).toMatchObject({ isTrial: false, serverMs: Infinity });
    expect(first(60, {})?.isTrial).toBe(false);
    // A last chance, by the shortest of the last runs, is none.
    expect(first(60, { 1: 100 }, true, 50)?.isTrial).toBe(false);
  });

  test("where a server is expected to answer sooner", () => {
    const server = (id: string): Stage["lanes"][number] => lane(id, [2], { backend: "remote" });
    for (const isBusy of [false, true]) {
      const desk = new Desk([lane("wasm-0"), server("remote-0"), server("remote-1")], { 1: 100, 2: 40 });
      const remote = { ...to("remote", 2), costMs: 5 };
      for (const id of isBusy ? [10, 11, 12] : [10]) desk.arrive(id, { routes: [remote] });
      desk.tick();
      desk.arrive(1, { routes: [to("wasm", 1), remote] });
      expect(desk.tick()).toEqual([["wasm-0", 1]]);
      expect(desk.stage.scheduler.save().batches.get("wasm-0")).toMatchObject([
        { isTrial: true, serverMs: isBusy ? 85 : 45 },
      ]);
    }
  });
});
