// The lane of a step: by the lanes' estimated finishes, and over time with a server as one more lane, to which steps with
// deadlines go, and from which they come back to this device.
import { describe, expect, test } from "vitest";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";
import { isTaken, LaneChooser } from "./choose-lane.ts";
import type { Estimate } from "./cost-estimate.ts";
import type { ScheduledStep } from "./events.ts";
import type { Batch, LaneOption } from "./lane-option.ts";
import { UNKNOWN_MS } from "./lane-state.ts";
import type { LiveDeadlines } from "./live-deadlines.ts";
import { Queue } from "./queue.ts";
import type { WaitingStep } from "./queue.ts";
import type { WarmUps } from "./warm-ups.ts";

/** Cost of a batch of model 1 by its rows. */
const COSTS: Readonly<Record<number, number>> = { 1: 10, 2: 12, 4: 16, 8: 24 };
const WASM = { backend: "wasm", modelId: 1, key: "m1" };

/** An idle lane that runs a step in 10 ms. */
function option(id: string, change: Partial<LaneOption> = {}, view: Parameters<typeof lane>[2] = {}): LaneOption {
  return {
    ...{ lane: lane(id, [1], view), route: WASM, key: "m1", freeMs: 0, ms: 10, leastMs: 10, endMs: 10 },
    ...{ isCold: false, loadMs: 0, batches: [], ...change },
  };
}

/** An idle lane on which a step takes so long. */
const slow = (id: string, ms: number, change: Partial<LaneOption> = {}): LaneOption =>
  option(id, { ms, leastMs: ms, endMs: ms, ...change });

/** A lane that is busy until a time, with so many batches of `ms`. */
function busy(id: string, freeMs: number, { count = 1, ms = 40 } = {}, change: Partial<LaneOption> = {}): LaneOption {
  const batches = Array.from({ length: count }, () => ({ ms }) as Batch);
  return option(id, { freeMs, endMs: freeMs + 10, batches, ...change });
}

const server = (endMs: number, change: Partial<LaneOption> = {}): LaneOption =>
  option("remote-0", {
    route: { backend: "remote", modelId: 2, key: "m2", costMs: 1_000 },
    key: "m2",
    endMs,
    ...change,
  });

const express = (change: Partial<LaneOption> = {}): LaneOption => option("express", change, { kind: "express" });

interface Facts {
  /** A high quantile of a run of one row, where it is another time than that of the lane. */
  readonly highMs?: number;
  /** Lanes that must be left to urgent steps. */
  readonly kept?: readonly LaneOption[];
  readonly isUrgent?: boolean;
  readonly costs?: Readonly<Record<number, number>>;
}

/** A chooser over the queued steps of one group, of which the first is next. */
function chooserOf(
  steps: readonly Partial<ScheduledStep>[],
  { highMs, kept = [], isUrgent = false, costs = COSTS }: Facts = {},
) {
  const queue = new Queue(2_000);
  for (const [i, change] of steps.entries()) queue.add(step(i, { dueMs: 1_000, ...change }), Infinity, 0, 0);
  const estimate = {
    ms: (_: string, rows: number) => costs[rows],
    highMs: () => highMs,
    rows: (_: string, most: number) => Math.min(8, most),
  };
  const urgency = {
    leavesRoom: (_: unknown, x: LaneOption) => !kept.includes(x),
    isUrgent: () => isUrgent,
    isLong: (ms: number) => ms > 45,
  };
  const warmed: string[] = [];
  const warmUps = { start: (_: unknown, x: LaneOption) => warmed.push(x.lane.id) };
  const chooser = new LaneChooser(
    estimate as unknown as Estimate,
    queue,
    urgency as unknown as LiveDeadlines,
    warmUps as unknown as WarmUps,
  );
  return { chooser, waiting: queue.get(0) as WaitingStep, warmed };
}

/** Chooses a lane for the first of some steps: the lane's id, the step's, and until when a batch is worthwhile. */
function choose(
  steps: readonly Partial<ScheduledStep>[],
  options: readonly LaneOption[],
  { tried, ...facts }: Facts & { readonly tried?: string } = {},
): readonly [lane: string, id: number, latestMs: number] | undefined {
  const { chooser, waiting } = chooserOf(steps, facts);
  const pick = chooser.choose(waiting, options, tried, 0, []);
  return pick && [pick.option.lane.id, pick.waiting.id, pick.latestMs];
}

const due = (dueMs: number): Partial<ScheduledStep> => ({ dueMs });

describe("a step", () => {
  test("without a lane, or with full ones alone, waits", () => {
    expect(choose([{}], [])).toBeUndefined();
    expect(choose([due(Infinity)], [busy("a", 20, { count: 2 })])).toBeUndefined();
    expect(choose([due(Infinity)], [busy("a", 20)])).toEqual(["a", 0, Infinity]);
  });

  test("waits where its lane is left to urgent steps, unless it has aged past them", () => {
    const [idle, taken] = [option("a"), busy("a", 100)];
    for (const lane of [idle, taken]) expect(choose([{}], [lane], { kept: [lane] })).toBeUndefined();
    const { chooser, waiting } = chooserOf([{}], { kept: [idle] });
    waiting.group.level = waiting.group.priority - 1;
    expect(chooser.choose(waiting, [idle], undefined, 0, [])?.option).toBe(idle);
  });

  test("that a busy lane finishes first is queued for it, unless a later step is in time on an idle one", () => {
    const best = busy("a", 50);
    const two = [due(70), due(120)];
    expect(choose(two, [best])).toEqual(["a", 0, Infinity]);
    const five = Array.from({ length: 5 }, () => due(70));
    expect(choose(five, [best, slow("b", 90)]), "none is in time there").toEqual(["a", 0, Infinity]);
    // Until 70 ms the busy lane has run both: an idle one must be sooner.
    expect(choose(two, [best, slow("b", 69)])).toEqual(["b", 0, 70]);
    expect(choose(two, [best, slow("b", 70)])).toEqual(["a", 0, Infinity]);
    expect(choose([due(65), due(120)], [best, slow("b", 69)])).toEqual(["b", 1, 70]);
    const idle = slow("b", 69);
    expect(choose(two, [best, idle], { kept: [idle] }), "left to urgent steps").toEqual(["a", 0, Infinity]);
  });

  test("is run elsewhere only before its lane has run all of its group, in batches where they pay", () => {
    const latestMs = (count: number, change: Partial<ScheduledStep>, costs?: Facts["costs"]): number | undefined =>
      choose(
        Array.from({ length: count }, () => ({ dueMs: 90, ...change })),
        [busy("a", 50), slow("b", 61)],
        costs && { costs },
      )?.[2];
    expect(latestMs(3, {})).toBe(60 + 2 * 10);
    expect(latestMs(9, { shape: "s" })).toBe(60 + 24);
    expect(latestMs(5, { shape: "s", rows: 2 })).toBe(60 + 24);
    const batching = { maxBatchSize: 2, maxQueueDelayMs: 0, preferredBatchSizes: [] };
    expect(latestMs(9, { shape: "s", batching })).toBe(60 + 4 * 12);
    expect(latestMs(9, { shape: "s" }, {}), "one by one where nothing is known").toBe(60 + 10);
    expect(latestMs(1, { shape: "s" }), "there is no other step").toBe(Infinity);
  });

  test("goes behind those that a high quantile of the last runs would make late", () => {
    const steps = [due(35), due(60)];
    expect(choose(steps, [option("a")], { highMs: 50 })).toEqual(["a", 1, Infinity]);
    expect(choose(steps, [option("a")], { highMs: 35 })).toEqual(["a", 0, Infinity]);
    expect(choose(steps, [option("a")], { highMs: 100 }), "none is in time by it").toEqual(["a", 0, Infinity]);
  });

  test("that may be late here is sent to a server that is in time, whatever that costs", () => {
    const here = option("a");
    const chosen = (dueMs: number, other: LaneOption, first = here) =>
      choose([due(dueMs)], [first, other], { highMs: 50 });
    const there = ["remote-0", 0, Infinity];
    expect([chosen(49, server(30)), chosen(50, server(30))]).toEqual([there, ["a", 0, Infinity]]);
    const taken = busy("a", 20);
    expect([chosen(60, server(60), taken), chosen(60, server(61), taken)]).toEqual([there, ["a", 0, Infinity]]);
    const full = busy("b", 20, { count: 2 }, { route: server(30).route });
    expect(chosen(49, full)).toEqual(["a", 0, Infinity]);
    expect(chosen(49, slow("b", 30)), "another lane of this device is no safer").toEqual(["a", 0, Infinity]);
  });

  test("is tried on an idle lane of this device, where its cost is to be known, in place of a server", () => {
    const cheap = server(30, { route: { ...server(30).route, costMs: 0 } });
    const local = slow("a", 100);
    expect(choose([due(60)], [local, cheap], { tried: "m1" })).toEqual(["a", 0, Infinity]);
    expect(choose([due(60)], [local, cheap])).toEqual(["remote-0", 0, Infinity]);
    for (const lane of [busy("a", 90), local])
      expect(choose([due(60)], [lane, cheap], { tried: "m1", kept: [local] })).toEqual(["remote-0", 0, Infinity]);
  });

  test("that is late on its busy lane is tried on the idle one whose cost is to be known", () => {
    const gpu = slow("gpu", 100, { route: { ...WASM, key: "m3" } });
    const options = [busy("a", 60), gpu];
    expect(choose([due(69)], options, { tried: "m3" })).toEqual(["gpu", 0, Infinity]);
    expect(choose([due(70)], options, { tried: "m3" })).toEqual(["a", 0, Infinity]);
    const sooner = [busy("a", 50), slow("gpu", 69, { route: { ...WASM, key: "m3" } })];
    expect(choose([due(65), due(68)], sooner, { tried: "m3" })).toEqual(["gpu", 0, 70]);
    expect(choose([due(65), due(68)], sooner)).toEqual(["a", 0, Infinity]);
  });

  test("that is late everywhere has a last chance on an idle lane, if one of the last runs was short enough", () => {
    const late = (dueMs: number, ...options: readonly LaneOption[]) => choose([due(dueMs - 1), due(dueMs)], options);
    const varying = slow("a", 100, { leastMs: 30 });
    expect([late(30, varying), late(29, varying)]).toEqual([["a", 1, Infinity], undefined]);
    const taken = busy("a", 60);
    expect(late(50, taken, slow("b", 100, { leastMs: 40 }))).toEqual(["b", 1, Infinity]);
    expect(late(50, taken, slow("b", 100)), "no run was short enough").toEqual(["a", 0, Infinity]);
    const short = { leastMs: 5 };
    expect(late(29, slow("a", 100), express({ ms: 100, endMs: 100, ...short }))).toBeUndefined();
    expect(late(29, slow("a", 100), busy("b", 20, {}, { endMs: 120, ...short }))).toBeUndefined();
    expect(choose([due(30)], [varying], { kept: [varying] })).toBeUndefined();
  });

  test("that is short and may be late elsewhere takes the express lane, and has its model loaded there (sched-unsure)", () => {
    const taken = busy("a", 50);
    const chosen = (dueMs: number, lane: LaneOption, isUrgent = true): string | undefined =>
      choose([due(dueMs)], [taken, lane], { isUrgent })?.[0];
    expect([chosen(59, express()), chosen(60, express())]).toEqual(["express", "a"]);
    expect(chosen(59, express(), false), "others have shorter deadlines").toBe("a");
    expect(chosen(59, express({ ms: 46 })), "long").toBe("a");
    expect([chosen(55, express({ endMs: 59 })), chosen(55, express({ endMs: 60 }))]).toEqual(["express", "a"]);
    expect(chosen(59, express({ batches: [{} as Batch] }))).toBe("express");
    const unsure = choose([due(70)], [busy("b", 50, { ms: 46 }), express()], { isUrgent: true });
    expect(unsure, "behind a long run").toEqual(["express", 0, Infinity]);
    expect(chosen(59, express({ batches: [{} as Batch, {} as Batch] }))).toBe("a");
    for (const isCold of [true, false]) {
      const { chooser, waiting, warmed } = chooserOf([due(59)], { isUrgent: true });
      expect(chooser.choose(waiting, [taken, express({ isCold })], undefined, 0, [])?.option.lane.id).toBe(
        isCold ? "a" : "express",
      );
      expect(warmed).toEqual(isCold ? ["express"] : []);
    }
    expect(choose([due(59)], [express({ batches: [{} as Batch, {} as Batch] })], { isUrgent: true })).toBeUndefined();
  });
});

test("a step with a deadline is staged a quarter of the run before its lane is free, another one 5 ms before", () => {
  const taken = busy("a", 100, { ms: 8 });
  for (const [dueMs, stagedMs] of [
    [200, 98],
    [Infinity, 95],
  ] as const) {
    expect(isTaken(step(0, { dueMs }), taken, stagedMs - 1)).toBe(dueMs < Infinity);
    expect(isTaken(step(0, { dueMs }), taken, stagedMs)).toBe(false);
    const { chooser, waiting } = chooserOf([{ dueMs, shape: "s" }]);
    expect(chooser.waitsUntil(waiting, taken, stagedMs - 1)).toBe(stagedMs);
    expect(chooser.waitsUntil(waiting, taken, stagedMs)).toBe(0);
  }
  expect(isTaken(step(0, { dueMs: 200 }), option("a"), 0)).toBe(false);
});

test("a step waits on a free lane for others, as long as the model allows, unless they are there or it would be late", () => {
  const batching = { maxBatchSize: 4, maxQueueDelayMs: 20, preferredBatchSizes: [] };
  const waits = (count: number, change: Partial<ScheduledStep> = {}, costs?: Facts["costs"]): number => {
    const steps = Array.from({ length: count }, () => ({ shape: "s", batching, ...change }));
    const { chooser, waiting } = chooserOf(steps, costs && { costs });
    return chooser.waitsUntil(waiting, option("a"), 5);
  };
  expect([waits(1), waits(3), waits(4)]).toEqual([20, 20, 0]);
  expect([waits(1, { rows: 2 }), waits(2, { rows: 2 })]).toEqual([20, 0]);
  expect(waits(1, { shape: null })).toBe(0);
  expect([waits(1, { dueMs: 36 }), waits(1, { dueMs: 35 })]).toEqual([20, 0]);
  expect([waits(1, { dueMs: 20 + UNKNOWN_MS }, {}), waits(1, { dueMs: 19 + UNKNOWN_MS }, {})]).toEqual([20, 0]);
});

const SERVER_MS = 40;
const DEADLINE_MS = 100;

interface Device {
  /** Time between two requests, and their deadline. */
  readonly everyMs?: number;
  readonly deadlineMs?: number;
  readonly count?: number;
  /** Time of a run on this device. */
  readonly costOf: (run: number) => number;
  /** Cost of the server's route. */
  readonly costMs?: number;
  /** Time of a run that was learnt before. */
  readonly learntMs?: number;
  /** A second lane of this device. */
  readonly hasTwo?: boolean;
}

/** Plays a request every 50 ms for two minutes, each with a deadline; returns lanes and late answers in their order. */
function play(device: Device): { lanes: string[]; late: number } {
  const { costOf, costMs = 0, learntMs, hasTwo = false } = device;
  const { everyMs = 50, deadlineMs = DEADLINE_MS, count = 2_400 } = device;
  let runs = 0;
  const lanes = [lane("wasm-0"), ...(hasTwo ? [lane("wasm-1")] : []), lane("remote-0", [2], { backend: "remote" })];
  const stage = new Stage(lanes, (model) => (model === 2 ? SERVER_MS : costOf(runs++)));
  stage.teach(2, [1]);
  if (learntMs !== undefined) for (let i = 0; i < 3; i += 1) stage.estimate.learn("m1", 1, learntMs);
  const routes = [
    { backend: "wasm", modelId: 1, key: "m1" },
    { backend: "remote", modelId: 2, key: "m2", costMs },
  ] as const;
  for (let i = 0; i < count; i += 1)
    stage.arrives(step(i, { routes, arrivedMs: i * everyMs, dueMs: i * everyMs + deadlineMs }));
  stage.play();
  expect(stage.rejected.size).toBe(0);
  const fates = [...stage.fates].sort(([a], [b]) => a - b);
  const late = fates.filter(([id, { endMs }]) => endMs > id * everyMs + deadlineMs).length;
  return { lanes: fates.map(([, fate]) => fate.lane), late };
}

describe("with a server and deadlines", () => {
  test.each([0, 10_000])(
    "a device of unknown cost is tried, and keeps the work (placement-trial, cost %d)",
    (costMs) => {
      const { lanes, late } = play({ costOf: () => 20, costMs });
      // Where a server costs nothing, it is asked once a minute whether it is faster by now.
      expect(lanes.filter((x) => x !== "wasm-0").length).toBeLessThanOrEqual(costMs === 0 ? 2 : 0);
      expect(late).toBe(0);
    },
  );

  test.each([0, 10_000])("a device that was slow for a while gets work again (placement-trial, cost %d)", (costMs) => {
    const { lanes, late } = play({ costOf: (run) => (run < 3 ? 400 : 20), costMs, learntMs: 400 });
    expect(lanes.slice(0, 20)).toContain("remote-0");
    expect(lanes.slice(-1_000).filter((x) => x !== "wasm-0").length).toBeLessThanOrEqual(costMs === 0 ? 2 : 0);
    expect(late).toBeLessThanOrEqual(3);
  });

  test.each([0, 10_000])(
    "a server takes over from a device of which each fifth run is late (placement-trial, cost %d)",
    (costMs) => {
      const { late } = play({ costOf: (run) => (run % 5 === 4 ? 140 : 30), costMs });
      // On the device alone, 480 of them are late.
      expect(late).toBeLessThan(120);
    },
  );

  test.each([false, true])("a device that stays slow is tried rarely (placement-trial, two lanes: %s)", (hasTwo) => {
    const { lanes, late } = play({ costOf: () => 300, hasTwo });
    const local = lanes.filter((x) => x.startsWith("wasm")).length;
    expect(local).toBeGreaterThan(5);
    expect(local).toBeLessThan(2_400 / 40);
    expect(late).toBeLessThanOrEqual(local);
  });

  test.each([1_000, Infinity])(
    "a device that a server beats is tried rarely, though it is in time (placement-trial, deadline %d ms)",
    (deadlineMs) => {
      const { lanes, late } = play({ costOf: () => 300, costMs: 100, everyMs: 1_000, deadlineMs, count: 600 });
      const local = lanes.flatMap((x, i) => (x === "wasm-0" ? [i] : []));
      expect(local.length).toBeGreaterThan(5);
      expect(local.length).toBeLessThan(600 / 25);
      // Seldom, not for ever: a minute passes at the most.
      expect(local.at(-1)).toBeGreaterThan(600 - 65);
      expect(late).toBe(0);
    },
  );

  test.each([1_000, Infinity])(
    "and gets the work back once it is faster (placement-trial, deadline %d ms)",
    (deadlineMs) => {
      const costOf = (run: number): number => (run < 8 ? 300 : 20);
      const { lanes } = play({ costOf, costMs: 100, everyMs: 1_000, deadlineMs, count: 600 });
      expect(lanes.slice(5, 100).filter((x) => x === "remote-0").length).toBeGreaterThan(60);
      expect(new Set(lanes.slice(-300))).toEqual(new Set(["wasm-0"]));
    },
  );

  test.each([
    [3_000, Infinity, 5_000],
    [700, Infinity, 900],
    [300, Infinity, 5_000],
    [3_000, 10_000, 12_000],
    [3_000, 500, 2_000],
  ])(
    "a server that was slow for a minute is asked again: %d ms here, deadline %d ms, then %d ms there (placement-old)",
    (localMs, deadlineMs, slowMs) => {
      const lanes = [lane("wasm-0"), lane("remote-0", [2], { backend: "remote" })];
      const stage: Stage = new Stage(lanes, (model) => (model === 1 ? localMs : stage.now < 60_000 ? slowMs : 30));
      stage.teach(2, [1]);
      for (let i = 0; i < 3; i += 1) stage.estimate.learn("m1", 1, localMs);
      const routes = [
        { backend: "wasm", modelId: 1, key: "m1" },
        { backend: "remote", modelId: 2, key: "m2", costMs: 100 },
      ] as const;
      for (let i = 0; i < 200; i += 1)
        stage.arrives(step(i, { routes, arrivedMs: i * 10_000, dueMs: i * 10_000 + deadlineMs }));
      stage.play();
      const last = Array.from({ length: 100 }, (_, i) => stage.fates.get(100 + i)?.lane);
      expect(last.filter((x) => x === "remote-0").length).toBeGreaterThan(80);
    },
  );

  test("a server that was never used is asked where this device can't meet a deadline (placement-old)", () => {
    const lanes = [lane("wasm-0"), lane("remote-0", [2], { backend: "remote" })];
    const stage = new Stage(lanes, (model) => (model === 2 ? 30 : 820));
    for (let i = 0; i < 3; i += 1) stage.estimate.learn("m1", 1, 820);
    const routes = [
      { backend: "wasm", modelId: 1, key: "m1" },
      { backend: "remote", modelId: 2, key: "m2", costMs: 100 },
    ] as const;
    for (let i = 0; i < 300; i += 1) stage.arrives(step(i, { routes, arrivedMs: i * 2_000, dueMs: i * 2_000 + 200 }));
    stage.play();
    expect(stage.rejected.size).toBe(0);
    expect([...stage.fates.values()].filter((x) => x.lane === "remote-0").length).toBeGreaterThan(270);
  });
});
