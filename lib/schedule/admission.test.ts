// Deadlines: requests that can be on time are, no run is in vain, and a deadline that can't be met harms nobody else.
import { describe, expect, test } from "vitest";
import { lane, Stage, step } from "./fixtures.ts";

const within = (arrivedMs: number, deadlineMs: number) => ({ arrivedMs, dueMs: arrivedMs + deadlineMs });

/** Counts runs that ended in time, and too late, of the steps from an id on. */
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
      expect(late).toBeLessThanOrEqual(1); // the first may be a try
    },
  );

  test("a model that runs seldom is not run in vain each time, and tried again within a minute (core-A1)", () => {
    const stage = new Stage([lane("wasm-0")], () => 4_000);
    stage.teach(1, [1]);
    for (let i = 0; i < 30; i += 1) stage.arrives(step(i, within(i * 6_000, 2_000)));
    stage.play();
    expect(stage.fates.size).toBeGreaterThan(1);
    expect(stage.fates.size).toBeLessThan(8);
  });
});

describe("a fast backend with slow lanes to go down to", () => {
  const places = [
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
      stage.arrives(step(i, { places: hasFallback ? places : [places[0]], ...within(i * 33, deadlineMs) }));
    stage.play();
    const { onTime, late } = count(stage, (id) => id * 33 + deadlineMs);
    const atOnce = [...stage.rejected].filter(([id, { atMs }]) => atMs === id * 33).length;
    return { onTime, late, atOnce };
  }

  test.each([true, false])(
    "deadlines hold beside lanes that are too slow for them, known or not: %s (core-A2)",
    (isKnown) => {
      const alone = play(150, 2_000, isKnown, false);
      const both = play(150, 2_000, isKnown);
      expect(both.onTime).toBeGreaterThanOrEqual(alone.onTime - 2);
      expect(both.onTime).toBeGreaterThanOrEqual(95);
      expect(both.late).toBeLessThanOrEqual(2);
    },
  );

  test("what no lane can do in time is refused at once (core-A2)", () => {
    expect(play(50, 2_000, true)).toMatchObject({ onTime: 0 });
    expect(play(50, 2_000, true).late).toBeLessThanOrEqual(11);
    expect(play(50, 2_000, true).atOnce).toBeGreaterThan(285);
  });

  test("slow lanes take what they can do in time (core-A2)", () => {
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
    const places = [
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
    for (let i = 0; i < count; i += 1) stage.arrives(step(i, { places, arrivedMs: i * everyMs }));
    stage.play();
    return Array.from({ length: count }, (_, i) => stage.fates.get(i)?.lane ?? "");
  }

  test("gets it once the slower one wasted as much, while it is used steadily (core-B5)", () => {
    const lanes = play(500, 100);
    expect(lanes.slice(0, 2)).toEqual(["wasm-0", "wasm-0"]);
    expect(lanes.slice(20).every((x) => x === "webgpu-0")).toBe(true);
  });
});

test("what is behind more urgent work of its model that takes longer than its deadline is refused at once", () => {
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
