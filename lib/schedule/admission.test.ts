// Deadlines: requests that can be on time are, no run is wasted, and a deadline that can't be met harms no other
// request.
import { describe, expect, test } from "vitest";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";

const within = (arrivedMs: number, deadlineMs: number) => ({ arrivedMs, dueMs: arrivedMs + deadlineMs });

/** Counts the runs that ended on time, and late, of the steps from an id on. */
function count(stage: Stage, due: (id: number) => number): { onTime: number; late: number } {
  const ends = [...stage.fates].map(([id, { endMs }]) => endMs <= due(id));
  return { onTime: ends.filter(Boolean).length, late: ends.filter((x) => !x).length };
}

describe("runs of any length", () => {
  test.each([100, 900, 1_100, 2_000, 5_000, 30_000, 90_000])(
    "deadlines hold for runs of %d ms as for short ones (core-A1)",
    (ms) => {
      const stage = new Stage([lane("wasm-0")], () => ms);
      stage.teach(1, [1]);
      for (let i = 0; i < 180; i += 1) stage.arrives(step(i, within((i * ms) / 3, 1.5 * ms)));
      stage.play();
      const { onTime, late } = count(stage, (id) => (id * ms) / 3 + 1.5 * ms);
      expect(onTime).toBeGreaterThanOrEqual(55);
      expect(late).toBeLessThanOrEqual(1); // the first may be a trial
    },
  );

  test("a model that runs seldom is not run in vain each time, and is retried within a minute (core-A1)", () => {
    const stage = new Stage([lane("wasm-0")], () => 4_000);
    stage.teach(1, [1]);
    for (let i = 0; i < 30; i += 1) stage.arrives(step(i, within(i * 6_000, 2_000)));
    stage.play();
    expect(stage.fates.size).toBeGreaterThan(1);
    expect(stage.fates.size).toBeLessThan(8);
  });
});

describe("an estimate that is too high", () => {
  /**
   * Sends a request every 100 ms with a deadline of 60 ms; returns the longest time without an answer from a moment on.
   */
  function longestGap(costOf: (run: number) => number, fromMs: number, teach = false): number {
    let runs = 0;
    const stage = new Stage([lane("wasm-0")], () => costOf(runs++));
    if (teach) stage.teach(1, [1]);
    for (let i = 0; i < 1_200; i += 1) stage.arrives(step(i, within(i * 100, 60)));
    stage.play();
    const onTime = [...stage.fates].filter(([id, { endMs }]) => endMs >= fromMs && endMs <= id * 100 + 60);
    const ends = [fromMs, ...onTime.map(([, { endMs }]) => endMs), 120_000];
    return Math.max(...ends.map((x, i) => x - (ends[i - 1] ?? x)));
  }

  test.each([2_000, 4_000, 8_000])(
    "a first run of %d ms, with all shaders to compile, refuses no deadline after it (core-A1 first)",
    (ms) => {
      expect(longestGap((run) => (run === 0 ? ms : 5), ms)).toBeLessThan(300);
    },
  );

  test("several slow runs cause rejections no longer than a few such runs take (core-A1 first)", () => {
    expect(longestGap((run) => (run < 2 ? 4_000 : 5), 8_000)).toBeLessThan(8_500);
    expect(longestGap((run) => (run < 4 ? 500 : 5), 1_000, true)).toBeLessThan(5_000);
  });

  test("where deadlines can't be met, trials take no more than an eighth of an idle lane (core-A1 first)", () => {
    for (const ms of [500, 2_000, 5_000]) {
      const stage = new Stage([lane("wasm-0")], () => ms);
      for (let i = 0; i < 6_000; i += 1) stage.arrives(step(i, within(i * 100, 60)));
      stage.play();
      expect(stage.fates.size * ms).toBeLessThan(600_000 / 8);
      expect(stage.fates.size).toBeGreaterThan(8);
    }
  });
});

describe("trials of several models", () => {
  /** Each of the models has a deadline of 60 ms every 100 ms, for ten minutes. */
  function play(models: readonly number[], lanes: number, costOf: (model: number, now: number) => number): Stage {
    const stage: Stage = new Stage(
      Array.from({ length: lanes }, (_, i) => lane(`wasm-${i}`, models)),
      (model) => costOf(model, stage.now),
    );
    for (const model of models) stage.estimate.learn(`m${model}`, 1, costOf(model, 0));
    const ask = (i: number): void => {
      for (const model of models) stage.arrives(step(100 * i + model, { model, ...within(100 * i, 60) }));
      if (i < 5_999)
        stage.at(100 * i + 100, () => {
          ask(i + 1);
        });
    };
    ask(0);
    stage.play();
    return stage;
  }

  test.each([
    [500, 2, 1],
    [500, 12, 1],
    [2_000, 8, 2],
    [5_000, 4, 1],
    [5_000, 8, 3],
  ])(
    "take together no more than an eighth of a lane, and each gets one: runs of %d ms, %d models, %d lanes (sched-trials)",
    (ms, count, lanes) => {
      const models = Array.from({ length: count }, (_, i) => i);
      const { fates } = play(models, lanes, () => ms);
      const runs = [...fates.keys()].map((id) => id % 100);
      expect(runs.length * ms).toBeLessThan(600_000 / 8);
      expect(new Set(runs).size).toBe(count);
    },
  );

  test("do not keep a model that has become fast from its own (sched-trials)", () => {
    const { fates } = play([0, 1, 2, 3], 1, (model, now) => (model === 2 && now > 0 ? 5 : 1_000));
    const runs = (one: number): number => [...fates.keys()].filter((id) => id % 100 === one).length;
    expect(runs(2)).toBeGreaterThan(4_500);
    for (const one of [0, 1, 3]) expect(runs(one)).toBeGreaterThan(8);
  });

  test("count where the requests are cancelled once they are late, and not where they are on time (sched-trials)", () => {
    for (const isLate of [true, false]) {
      const stage = new Stage([lane("wasm-0")], () => (isLate ? 4_000 : 5));
      for (let i = 0; i < 16; i += 1) stage.estimate.learn("m1", 1, 4_000);
      for (let i = 0; i < 3_000; i += 1) {
        stage.arrives(step(i, within(i * 100, 60)));
        stage.at(i * 100 + 61, () => {
          stage.tell({ type: "cancelled", id: i });
        });
      }
      stage.play();
      if (isLate) expect(stage.fates.size * 4_000).toBeLessThan(300_000 / 6);
      else expect(stage.fates.size).toBeGreaterThan(2_900);
    }
  });
});

test("a step that seems too slow is tried on one lane, not on all idle ones (core-A1 first)", () => {
  const stage = new Stage([lane("wasm-0"), lane("wasm-1"), lane("wasm-2")], () => 4_000);
  stage.estimate.learn("m1", 1, 4_000);
  for (let i = 0; i < 30; i += 1) stage.arrives(step(i, within(i * 100, 60)));
  stage.play();
  expect([...stage.fates.keys()]).toEqual([0]);
});

describe("a fast backend with slow fallback lanes", () => {
  const routes = [
    { backend: "webgpu", modelId: 1, key: "gpu" },
    { backend: "wasm", modelId: 2, key: "cpu" },
  ] as const;

  function play(deadlineMs: number, slowMs: number, isKnown: boolean, hasFallback = true) {
    const lanes = [lane("webgpu-0", [1], { backend: "webgpu" }), lane("wasm-0", [2]), lane("wasm-1", [2])];
    const stage = new Stage(lanes, (model) => (model === 1 ? 100 : slowMs));
    for (let i = 0; i < 3; i += 1) {
      stage.estimate.learn("gpu", 1, 100);
      if (isKnown) stage.estimate.learn("cpu", 1, slowMs);
    }
    for (let i = 0; i < 300; i += 1)
      stage.arrives(step(i, { routes: hasFallback ? routes : [routes[0]], ...within(i * 33, deadlineMs) }));
    stage.play();
    const { onTime, late } = count(stage, (id) => id * 33 + deadlineMs);
    const atOnce = [...stage.rejected].filter(([id, { atMs }]) => atMs === id * 33).length;
    const inVain = [...stage.rejected].filter(([id, { atMs }]) => atMs > id * 33 + deadlineMs - 98).length;
    return { onTime, late, atOnce, inVain };
  }

  test.each([true, false])(
    "deadlines hold beside lanes that are too slow for them, known or not: %s (core-A2)",
    (isKnown) => {
      const alone = play(150, 2_000, isKnown, false);
      const both = play(150, 2_000, isKnown);
      expect(both.onTime).toBeGreaterThanOrEqual(alone.onTime - 2);
      expect(both.onTime).toBeGreaterThanOrEqual(95);
      expect(both.late).toBeLessThanOrEqual(2);
      expect(both.inVain).toBeLessThanOrEqual(2); // none waits when it is certain to be late
    },
  );

  test("a step that no lane can finish in time is rejected at once (core-A2)", () => {
    expect(play(50, 2_000, true)).toMatchObject({ onTime: 0 });
    expect(play(50, 2_000, true).late).toBeLessThanOrEqual(11);
    expect(play(50, 2_000, true).atOnce).toBeGreaterThan(285);
  });

  test("where the preferred backend can't be used, a step that the other can't finish in time is rejected at once (core-A2 barred)", () => {
    for (const hasLane of [true, false]) {
      const gpu = hasLane ? [lane("webgpu-0", [], { backend: "webgpu" })] : [];
      const stage = new Stage([...gpu, lane("wasm-0", [2])], () => 2_000);
      for (let i = 0; i < 3; i += 1) stage.estimate.learn("cpu", 1, 2_000);
      stage.tell({ type: "unavailable", lane: "webgpu-0", modelId: null, untilMs: 1e6 });
      for (let i = 0; i < 300; i += 1) stage.arrives(step(i, { routes, ...within(i * 200, 500) }));
      stage.play();
      const atOnce = [...stage.rejected].filter(([id, { atMs }]) => atMs === id * 200).length;
      expect(stage.fates.size).toBeGreaterThan(0); // trials
      expect(stage.fates.size).toBeLessThan(6);
      expect(atOnce).toBeGreaterThan(290);
    }
  });

  test.each([true, false])(
    "while no lane of the preferred backend is open, the other one is tried, whether the cost of the former is known: %s (sched-closed)",
    (isKnown) => {
      const gpu = lane("webgpu-0", [1], { backend: "webgpu", isOpen: false });
      const stage = new Stage([gpu, lane("wasm-0", [2]), lane("wasm-1", [2], { kind: "express" })], () => 50);
      for (let i = 0; i < 16; i += 1) {
        stage.estimate.learn("cpu", 1, 3_000);
        if (isKnown) stage.estimate.learn("gpu", 1, 20);
      }
      for (let i = 0; i < 100; i += 1) stage.arrives(step(i, { routes, ...within(i * 1_000, 500) }));
      stage.play(50_000);
      expect(stage.fates.size).toBeGreaterThan(45);
      gpu.isOpen = true;
      stage.play();
      expect(count(stage, (id) => id * 1_000 + 500).onTime).toBeGreaterThan(95);
      const lanes = new Set([...stage.fates].filter(([id]) => id > 50).map(([, x]) => x.lane));
      expect(lanes).toEqual(new Set([isKnown ? "webgpu-0" : "wasm-0"]));
    },
  );

  test("a backend of which only the wide lane is open, which takes no queued work, is not tried (sched-closed)", () => {
    const gpu = lane("webgpu-0", [1], { backend: "webgpu", isOpen: false });
    const wide = lane("webgpu-1", [1], { backend: "webgpu", kind: "wide" });
    const stage = new Stage([gpu, wide, lane("wasm-0", [2])], () => 50);
    for (let i = 0; i < 16; i += 1) stage.estimate.learn("cpu", 1, 3_000);
    for (let i = 0; i < 50; i += 1) stage.arrives(step(i, { routes, ...within(i * 1_000, 500) }));
    stage.play();
    expect(stage.fates.size).toBeGreaterThan(45);
  });

  test("an idle preferred route is tried, not the slower one with the earlier estimate (core-A2 barred)", () => {
    const lanes = [lane("webgpu-0", [], { backend: "webgpu" }), lane("wasm-0", [2])];
    const stage = new Stage(lanes, (model) => (model === 1 ? 20 : 400));
    for (let i = 0; i < 3; i += 1) stage.estimate.learn("cpu", 1, 400);
    for (let i = 0; i < 20; i += 1) stage.arrives(step(i, { routes, ...within(i * 1_000, 200) }));
    stage.play();
    expect(new Set([...stage.fates.values()].map((x) => x.lane))).toEqual(new Set(["webgpu-0"]));
    expect(stage.fates.size).toBe(20);
  });

  test("slow lanes take the steps that they finish in time (core-A2)", () => {
    expect(play(400, 300, true).onTime).toBeGreaterThan(150);
    expect(play(400, 300, true).late).toBe(0);
  });
});

describe("a deadline that can't be met", () => {
  function play(urgent: Parameters<typeof step>[1]): { done: number; mean: number } {
    const cost = (model: number, rows: number): number => (model === 1 ? 18 + 2 * rows : 40);
    const stage = new Stage([lane("wasm-0", [1, 2]), lane("wasm-1", [1, 2])], cost);
    stage.teach(1, [1, 2, 4, 8, 16, 32, 64]);
    stage.teach(2, [1]);
    for (let i = 0; i < 4_000; i += 1) stage.arrives(step(i, { shape: "a" }));
    for (let i = 0; i < 5; i += 1)
      stage.arrives(step(10_000 + i, { model: 2, ...within(50 + i * 1_000, 1), ...urgent }));
    stage.play(5_000);
    const bulk = [...stage.fates].filter(([id, x]) => id < 4_000 && x.endMs <= 5_000);
    return { done: bulk.length, mean: bulk.length / new Set(bulk.map(([, x]) => x.batch)).size };
  }

  test.each([{}, { priority: 0 }, { priority: 2 }, { isRefusable: false }])(
    "cuts no batch of other work: %o (core-A6)",
    (urgent) => {
      const { done, mean } = play(urgent);
      expect(done).toBe(4_000);
      expect(mean).toBeGreaterThan(40);
    },
  );

  test("keeps batches short for a while only where its model never succeeds (core-A6 failing)", () => {
    const stage = new Stage([lane("wasm-0")], (_, rows) => 18 + 2 * rows);
    stage.teach(1, [1, 2, 4, 8, 16, 32, 64]);
    for (let i = 0; i < 60; i += 1)
      stage.arrives(step(10_000 + i, { model: 2, concurrency: 0, ...within(i * 1_000, 50) })); // no lane may run it
    for (let i = 0; i < 1_500; i += 1)
      stage.arrives(step(i, { shape: "a", arrivedMs: 1_000 * (i < 500 ? 1 : 30) + 500 }));
    stage.play(1e5);
    const largest = (fromMs: number, toMs: number): number => {
      const sizes = new Map<number, number>();
      for (const { batch, startMs } of stage.fates.values())
        if (startMs >= fromMs && startMs < toMs) sizes.set(batch, (sizes.get(batch) ?? 0) + 1);
      return Math.max(...sizes.values());
    };
    expect(largest(1_500, 2_500)).toBeLessThan(16); // its first success may be near
    expect(largest(30_500, 31_500)).toBe(64);
  });

  test("one that can be met keeps batches short", () => {
    const { mean } = play({ isRefusable: true, dueMs: 1e4 });
    expect(mean).toBeGreaterThan(40);
    const cost = (model: number, rows: number): number => (model === 1 ? 18 + 2 * rows : 40);
    const stage = new Stage([lane("wasm-0", [1, 2])], cost);
    stage.teach(1, [1, 2, 4, 8, 16, 32, 64]);
    stage.teach(2, [1]);
    stage.arrives(step(9_999, { model: 2, ...within(0, 100) }));
    for (let i = 0; i < 400; i += 1) stage.arrives(step(i, { shape: "a", arrivedMs: 1 }));
    stage.play(1_000);
    const sizes = stage.decisions.flatMap((x) => (x.type === "start" ? [x.ids.length] : []));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(21);
  });
});

describe("a better lane that must load the model first", () => {
  function play(everyMs: number, count: number): string[] {
    const routes = [
      { backend: "webgpu", modelId: 1, key: "gpu" },
      { backend: "wasm", modelId: 2, key: "cpu" },
    ] as const;
    const gpu = lane("webgpu-0", [], { backend: "webgpu" });
    const stage = new Stage([gpu, lane("wasm-0", [2])], (model) => (model === 1 ? 20 : 99));
    for (let i = 0; i < 3; i += 1) {
      stage.estimate.learn("gpu", 1, 20);
      stage.estimate.learn("cpu", 1, 99);
    }
    stage.scheduler.onEvent = (_, now, __, decisions) => {
      for (const x of decisions)
        if (x.type === "warm")
          stage.at(now + 400, () => {
            gpu.held.set(1, { states: new Map() });
          });
    };
    for (let i = 0; i < count; i += 1) stage.arrives(step(i, { routes, arrivedMs: i * everyMs }));
    stage.play();
    return Array.from({ length: count }, (_, i) => stage.fates.get(i)?.lane ?? "");
  }

  test("gets it once the slower one lost as much time, while it is used steadily (core-B5)", () => {
    const lanes = play(500, 100);
    expect(lanes.slice(0, 2)).toEqual(["wasm-0", "wasm-0"]);
    expect(lanes.slice(20).every((x) => x === "webgpu-0")).toBe(true);
  });
});

test("a step behind more urgent work of its model that takes longer than its deadline is rejected at once", () => {
  const stage = new Stage([lane("wasm-0")], () => 20);
  stage.teach(1, [1]);
  for (let i = 0; i < 60; i += 1) stage.arrives(step(i, { priority: 0 }));
  stage.arrives(step(100, within(2, 500)));
  stage.arrives(step(101, within(2, 1_500)));
  stage.arrives(step(102, { priority: 0, ...within(2, 500) }));
  stage.play();
  expect(stage.rejected.get(100)?.atMs).toBe(2);
  expect(stage.fates.get(101)?.endMs).toBeLessThanOrEqual(1_502);
  expect(stage.fates.get(102)?.endMs).toBeLessThanOrEqual(502);
});

describe("a batch that skips the first deadlines", () => {
  /** A long fixed cost: 4 rows take 7.0 ms, 8 take 7.5, 13 take 8.2. */
  const cost = (_: number, rows: number): number => 6.4 + 0.14 * rows;
  const batching = { maxBatchSize: 16, maxQueueDelayMs: 0, preferredBatchSizes: [] };

  test("has as many of the later ones as wait, where they are no full size (sched-skip)", () => {
    const stage = new Stage([lane("wasm-0")], cost);
    stage.teach(1, [1, 2, 4, 8, 16]);
    const dueMs = (id: number): number => (id < 6 ? 7 : 9.5);
    for (let id = 0; id < 19; id += 1) stage.arrives(step(id, { shape: "a", batching, dueMs: dueMs(id) }));
    stage.play();
    expect(count(stage, dueMs)).toEqual({ onTime: 13, late: 0 });
    expect(new Set([...stage.fates.values()].map(({ batch }) => batch)).size).toBe(1);
    expect([...stage.rejected.keys()].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("is not formed where it has hardly more rows than the small one", () => {
    const stage = new Stage([lane("wasm-0")], cost);
    stage.teach(1, [1, 2, 4, 8, 16]);
    const dueMs = (id: number): number => (id < 4 ? 7 : 9.5);
    for (let id = 0; id < 9; id += 1) stage.arrives(step(id, { shape: "a", batching, dueMs: dueMs(id) }));
    stage.play();
    expect(stage.fates.get(0)?.endMs).toBeLessThanOrEqual(7);
  });
});
