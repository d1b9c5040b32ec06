import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Estimate } from "./cost-estimate.ts";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";
import type { Decision } from "./events.ts";
import { Scheduler } from "./scheduler.ts";
import type { SavedScheduler } from "./scheduler.ts";

const at = (arrivedMs: number, deadlineMs = Infinity) => ({ arrivedMs, dueMs: arrivedMs + deadlineMs });
const order = (stage: Stage): number[] =>
  [...stage.fates].sort(([, a], [, b]) => a.startMs - b.startMs || a.batch - b.batch).map(([id]) => id);

test("sums and differences of times that are rounded differently never keep a step late for ever", () => {
  let reads = 0;
  const only = lane("wasm-0");
  Object.defineProperty(only, "backend", {
    get: () => {
      if ((reads += 1) > 1_000) throw new Error("The scheduler reads the lanes again and again.");
      return "wasm";
    },
  });
  const tick = (now: number, dueMs: number, ms: number): void => {
    reads = 0;
    const estimate = new Estimate();
    const learn = (runMs: number): void => {
      estimate.delete("m1");
      for (let i = 0; i < 3; i += 1) estimate.learn("m1", 1, runMs);
    };
    const scheduler = new Scheduler({ agingMs: 2_000, maxSize: 100 }, estimate);
    const arrives = (id: number, due: number): void => {
      const its = step(id, { concurrency: 1, arrivedMs: now, dueMs: due, isRefusable: false });
      scheduler.handle({ type: "arrived", step: its, isAgain: false }, now, [only]);
    };
    learn(4 * ms);
    arrives(1, Infinity);
    scheduler.handle({ type: "tick" }, now, [only]);
    arrives(2, dueMs);
    // Late by what was assumed as it came; in time by what was learned since, if only just.
    learn(ms);
    reads = 0;
    scheduler.handle({ type: "tick" }, now, [only]);
  };
  const clock = fc.integer({ min: 1, max: 1e6 }).map((x) => 0.02 * x);
  fc.assert(
    fc.property(clock, fc.integer({ min: 1, max: 500 }), (now, ticks) => {
      const dueMs = now + 0.02 * ticks;
      // The time left, as two clock readings give it.
      tick(now, dueMs, dueMs - now);
      tick(now, dueMs, 0.02 * ticks);
    }),
    { numRuns: 2_000 },
  );
});

describe("order", () => {
  test("the more urgent priority goes first, and within one the earliest deadline", () => {
    const stage = new Stage([lane("wasm-0")], () => 10);
    stage.teach(1, [1]);
    stage.arrives(step(1, { priority: 2 }));
    stage.arrives(step(2, { priority: 0 }));
    stage.arrives(step(3, { priority: 1, ...at(0, 900) }));
    stage.arrives(step(4, { priority: 1, ...at(0, 300) }));
    stage.arrives(step(5, { priority: 1 }));
    stage.play();
    expect(order(stage)).toEqual([2, 4, 3, 5, 1]);
  });

  test("earliest deadline first within a priority, whatever order they came in", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 5_000, max: 9_000 }), { minLength: 2, maxLength: 40 }), (deadlines) => {
        const stage = new Stage([lane("wasm-0")], () => 10);
        stage.teach(1, [1]);
        deadlines.forEach((deadlineMs, id) => {
          stage.arrives(step(id, at(0, deadlineMs)));
        });
        stage.play();
        const dues = order(stage).map((id) => deadlines[id] as number);
        expect(dues).toEqual([...dues].sort((a, b) => a - b));
      }),
    );
  });

  test("a step that waits long enough is served under any load of more urgent ones, and an aged backlog does not overtake them all", () => {
    const stage = new Stage([lane("wasm-0")], () => 10, { agingMs: 500 });
    stage.teach(1, [1]);
    for (let i = 0; i < 1_000; i += 1) stage.arrives(step(i, { priority: 0, ...at(i * 9) }));
    for (let i = 0; i < 50; i += 1) stage.arrives(step(5_000 + i, { priority: 2, caller: 1 }));
    stage.play(9_000);
    const starts = [...stage.fates].filter(([id]) => id >= 5_000).map(([, { startMs }]) => startMs);
    expect(Math.min(...starts)).toBeLessThan(1_200);
    expect(starts.length).toBeGreaterThan(5); // about one per two periods
    expect(starts.length).toBeLessThan(20);
  });

  test("aged work is not held back for short deadlines of others (core-A6 aged)", () => {
    const stage = new Stage(
      [lane("wasm-0", [1, 2, 3]), lane("wasm-1", [1, 2, 3])],
      (model) => [1, 50, 10_000][model - 1]!,
      {
        agingMs: 500,
      },
    );
    for (const model of [1, 2, 3]) stage.teach(model, [1]);
    stage.arrives(step(1, { model: 3 })); // one lane is busy, and the other is kept free for short steps
    for (let i = 0; i < 200; i += 1) stage.arrives(step(1_000 + i, { ...at(i * 30, 10) }));
    stage.arrives(step(2, { model: 2, ...at(100) }));
    stage.play();
    expect(stage.fates.get(2)?.startMs).toBeGreaterThanOrEqual(600);
    expect(stage.fates.get(2)?.startMs).toBeLessThan(1_500);
  });

  test("callers, and models, of one priority get equal time", () => {
    const stage = new Stage([lane("wasm-0", [1, 2])], (model) => (model === 1 ? 10 : 30));
    stage.teach(1, [1]);
    stage.teach(2, [1]);
    for (let i = 0; i < 300; i += 1) {
      stage.arrives(step(i, { model: 1, caller: 1 }));
      stage.arrives(step(1_000 + i, { model: 2, caller: 2 }));
    }
    stage.play(3_000);
    const used = (from: number): number =>
      [...stage.fates].reduce((sum, [id, x]) => (id >= from && id < from + 1_000 ? sum + x.endMs - x.startMs : sum), 0);
    expect(used(0) / used(1_000)).toBeGreaterThan(0.9);
    expect(used(0) / used(1_000)).toBeLessThan(1.1);
  });
});

describe("batches", () => {
  const SHARED = { shape: "a" };

  test("never mix models or shapes, and hold no more than they may", () => {
    const kind = fc.record({
      model: fc.integer({ min: 1, max: 3 }),
      shape: fc.constantFrom("a", "b", null),
      arrivedMs: fc.integer({ min: 0, max: 200 }),
      priority: fc.integer({ min: 0, max: 2 }),
      caller: fc.integer({ min: 0, max: 2 }),
      deadlineMs: fc.option(fc.integer({ min: 1, max: 500 })),
      isRefusable: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(kind, { maxLength: 120 }), fc.integer({ min: 1, max: 16 }), (kinds, maxBatchSize) => {
        const stage = new Stage([lane("wasm-0", [1, 2]), lane("wasm-1", [3])], (_, rows) => 5 + rows / 10);
        const batching = { maxBatchSize, maxQueueDelayMs: 3, preferredBatchSizes: [] };
        const steps = kinds.map(({ deadlineMs, ...rest }, id) =>
          step(id, { ...rest, ...at(rest.arrivedMs, deadlineMs ?? Infinity), batching }),
        );
        for (const it of steps) stage.arrives(it);
        stage.play();
        for (const decision of stage.decisions) {
          if (decision.type !== "start") continue;
          const together = decision.ids.map((id) => steps[id]!);
          expect(new Set(together.map((x) => `${x.routes[0].modelId} ${x.shape}`)).size).toBe(1);
          expect(together.length).toBeLessThanOrEqual(together[0]?.shape === null ? 1 : maxBatchSize);
        }
        // And each step is either run once or rejected, never both or neither.
        for (const { id } of steps) expect(Number(stage.fates.has(id)) + Number(stage.rejected.has(id))).toBe(1);
        expect(stage.scheduler.queued).toBe(0);
      }),
    );
  });

  test("grow where a row gets cheaper, and stay at one where it does not", () => {
    const sizes = (cost: (rows: number) => number): number[] => {
      const stage = new Stage([lane("wasm-0")], (_, rows) => cost(rows));
      for (let i = 0; i < 1_200; i += 1) stage.arrives(step(i, SHARED));
      stage.play();
      return stage.decisions.flatMap((x) => (x.type === "start" ? [x.ids.length] : []));
    };
    const perceptron = sizes((rows) => 2.5 + 0.2 * rows);
    expect(Math.max(...perceptron)).toBe(64);
    expect(perceptron.length).toBeLessThan(50);
    const convolution = sizes((rows) => 54 * rows * (rows > 1 ? 1.04 : 1));
    expect(convolution.filter((size) => size > 1).length).toBeLessThan(convolution.length / 50);
  });

  test("shrink again where batches are no longer cheaper", () => {
    let isCheap = true;
    const stage = new Stage([lane("wasm-0")], (_, rows) => (isCheap ? 10 + rows / 10 : 10 * rows ** 1.1));
    for (let i = 0; i < 1_500; i += 1) stage.arrives(step(i, SHARED));
    stage.at(150, () => {
      isCheap = false;
    });
    stage.play();
    const sizes = stage.decisions.flatMap((x) => (x.type === "start" ? [x.ids.length] : []));
    expect(Math.max(...sizes)).toBe(64);
    expect(sizes.slice(-20).every((size) => size <= 2)).toBe(true);
  });

  test("grow no further than their earliest deadline allows", () => {
    const stage = new Stage([lane("wasm-0")], (_, rows) => 10 + rows);
    stage.teach(1, [1, 2, 4, 8, 16, 32, 64]);
    for (let i = 0; i < 64; i += 1) stage.arrives(step(i, { ...SHARED, ...at(0, i === 0 ? 30 : 10_000) }));
    stage.play();
    expect(stage.fates.get(0)?.endMs).toBeLessThanOrEqual(30);
    expect(stage.rejected.size).toBe(0);
  });

  test("wait on a free lane for as long as the model allows, no longer, and not where it does not pay", () => {
    const batching = { maxBatchSize: 64, maxQueueDelayMs: 20, preferredBatchSizes: [] };
    const startOf = (cost: (rows: number) => number): number | undefined => {
      const stage = new Stage([lane("wasm-0")], (_, rows) => cost(rows));
      stage.teach(1, [1, 2, 4, 8, 16, 32, 64]);
      stage.arrives(step(1, { ...SHARED, batching }));
      stage.arrives(step(2, { ...SHARED, batching, ...at(7) }));
      stage.play();
      return stage.fates.get(1)?.startMs;
    };
    expect(startOf((rows) => 10 + rows / 10)).toBe(20);
    // As a fine clock shows it: not all multiples of 10 ms.
    expect(startOf((rows) => 10 * rows + 0.001)).toBe(0);
  });

  test("have a preferred size where one fits", () => {
    const stage = new Stage([lane("wasm-0")], (_, rows) => 10 + rows / 10);
    stage.teach(1, [1, 2, 4, 8, 16, 32, 64]);
    const batching = { maxBatchSize: 64, maxQueueDelayMs: 0, preferredBatchSizes: [4, 12] };
    for (let i = 0; i < 40; i += 1) stage.arrives(step(i, { ...SHARED, batching }));
    stage.play();
    expect(stage.decisions.flatMap((x) => (x.type === "start" ? [x.ids.length] : []))).toEqual([12, 12, 12, 4]);
  });
});

describe("deadlines", () => {
  test("requests with deadlines of one length take all lanes, however their sums are rounded (sched-same)", () => {
    // Of two lanes none is kept free from work with deadlines.
    const stage = new Stage([lane("wasm-0"), lane("wasm-1"), lane("wasm-2")], () => 6.5);
    stage.teach(1, [1]);
    // 0.1 + 0.2 is not 0.3: dueMs - arrivedMs differs in its last digits.
    for (let i = 0; i < 100; i += 1) stage.arrives(step(i, at(2.2 * i, 8.57)));
    stage.play();
    const onTime = [...stage.fates].filter(([id, { endMs }]) => endMs <= 2.2 * id + 8.57);
    expect(onTime.length).toBeGreaterThan(95);
  });

  test("a short deadline is never rejected while a lane that can meet it is free", () => {
    const arrival = fc.record({
      arrivedMs: fc.integer({ min: 0, max: 1_000 }),
      model: fc.integer({ min: 1, max: 2 }),
      deadlineMs: fc.option(fc.constantFrom(12, 40, 300)),
      priority: fc.integer({ min: 0, max: 2 }),
    });
    fc.assert(
      fc.property(fc.array(arrival, { maxLength: 150 }), (arrivals) => {
        const cost = (model: number): number => (model === 1 ? 8 : 60);
        const stage = new Stage([lane("wasm-0", [1, 2]), lane("wasm-1", [1, 2])], cost);
        stage.teach(1, [1]);
        stage.teach(2, [1]);
        arrivals.forEach(({ deadlineMs, ...rest }, id) => {
          stage.arrives(step(id, { ...rest, ...at(rest.arrivedMs, deadlineMs ?? Infinity) }));
        });
        stage.play();
        for (const [id, { atMs }] of stage.rejected) {
          const { model, deadlineMs, arrivedMs } = arrivals[id]!;
          if (atMs > arrivedMs) continue; // rejected later, after others came in between
          const isBusy = (name: string): boolean =>
            [...stage.fates.values()].some((x) => x.lane === name && x.startMs <= atMs && x.endMs > atMs);
          expect(cost(model) > (deadlineMs ?? Infinity) || (isBusy("wasm-0") && isBusy("wasm-1"))).toBe(true);
        }
      }),
    );
  });

  test("a request that can't be on time is rejected at once, one to be finished late is, and an unknown one is accepted", () => {
    const stage = new Stage([lane("wasm-0", [1, 2])], () => 100);
    stage.arrives(step(1, { model: 2, ...at(0, 1_000) })); // unknown
    stage.teach(1, [1]);
    for (let i = 10; i < 15; i += 1) stage.arrives(step(i, at(1)));
    stage.arrives(step(20, at(2, 150)));
    stage.arrives(step(21, { isRefusable: false, ...at(3, 150) }));
    stage.play();
    expect(stage.rejected.get(20)).toEqual({ code: "deadline-exceeded", atMs: 2 });
    expect(stage.fates.has(1)).toBe(true);
    expect(stage.fates.has(21)).toBe(true);
  });

  test("admission control checks each lane instead of the average: short work beside a free lane is accepted", () => {
    const stage = new Stage([lane("wasm-0", [1, 2]), lane("wasm-1", [1, 2])], (model) => (model === 1 ? 5 : 400));
    stage.teach(1, [1]);
    stage.teach(2, [1]);
    stage.arrives(step(1, { model: 2 }));
    stage.arrives(step(2, { model: 1, ...at(10) }));
    stage.arrives(step(3, { model: 1, ...at(50, 10) })); // the average backlog is 175 ms a lane
    stage.play();
    expect(stage.fates.get(3)?.endMs).toBe(55);
  });

  test("an estimate that was never right again does not refuse forever", () => {
    const stage = new Stage([lane("wasm-0")], () => 5);
    for (let i = 0; i < 9; i += 1) stage.estimate.learn("m1", 1, 500); // it was slow once
    for (let i = 0; i < 400; i += 1) stage.arrives(step(i, at(i * 100, 60)));
    stage.play();
    expect([...stage.fates.keys()].filter((id) => id >= 350).length).toBe(50);
  });

  test("a step that waits past its deadline is rejected then, and no rejected step runs", () => {
    const stage = new Stage([lane("wasm-0")], () => 300);
    stage.arrives(step(1));
    stage.arrives(step(2, at(0))); // staged
    stage.arrives(step(3, at(1, 50)));
    stage.play();
    expect(stage.rejected.get(3)?.atMs).toBeLessThan(60);
    expect(stage.fates.has(3)).toBe(false);
  });

  test("the queue is bounded", () => {
    const stage = new Stage([lane("wasm-0")], () => 10, { maxSize: 5 });
    for (let i = 0; i < 10; i += 1) stage.arrives(step(i));
    stage.play();
    expect([...stage.rejected].map(([id, { code }]) => [id, code])).toEqual(
      [5, 6, 7, 8, 9].map((id) => [id, "overloaded"]),
    );
  });
});

describe("lanes", () => {
  test("each holds one batch and at most one staged, which is always there while work is queued", () => {
    const stage = new Stage([lane("wasm-0"), lane("wasm-1")], () => 50);
    stage.teach(1, [1]);
    for (let i = 0; i < 10; i += 1) stage.arrives(step(i));
    stage.play(0);
    expect([...stage.fates.values()].map((x) => x.lane).sort()).toEqual(["wasm-0", "wasm-0", "wasm-1", "wasm-1"]);
  });

  test("a slow lane gets work only when that finishes sooner", () => {
    const lanes = [lane("webgpu-0", [1], { backend: "webgpu" }), lane("wasm-0", [2])];
    const routes = [
      { backend: "webgpu", modelId: 1, key: "m1 webgpu" },
      { backend: "wasm", modelId: 2, key: "m1 wasm" },
    ] as const;
    const stage = new Stage(lanes, (_, __, on) => (on === "wasm-0" ? 100 : 10));
    for (let i = 0; i < 3; i += 1) {
      stage.estimate.learn("m1 webgpu", 1, 10);
      stage.estimate.learn("m1 wasm", 1, 100);
    }
    for (let i = 0; i < 6; i += 1) stage.arrives(step(i, { routes: [...routes] }));
    for (let i = 6; i < 40; i += 1) stage.arrives(step(i, { routes: [...routes], ...at(1_000) }));
    stage.play();
    const slow = [...stage.fates].filter(([, x]) => x.lane === "wasm-0").map(([id]) => id);
    expect(slow.filter((id) => id < 6)).toEqual([]);
    expect(slow.length).toBeGreaterThan(1);
    expect(slow.length).toBeLessThan(6);
  });

  test("a lane that idles without the model loads it once its work has waited for as long as that takes", () => {
    const stage = new Stage([lane("wasm-0"), lane("wasm-1", [])], () => 20);
    stage.teach(1, [1]);
    const pairs = (count: number, fromMs: number): void => {
      for (let i = 0; i < 2 * count; i += 1) stage.arrives(step(fromMs + i, at(fromMs + 40 * (i >> 1))));
    };
    pairs(10, 0);
    stage.play();
    expect(stage.decisions.some((x) => x.type === "warm")).toBe(false);
    pairs(10, 1_000);
    stage.play();
    expect(stage.decisions.filter((x) => x.type === "warm")).toMatchObject([{ lane: "wasm-1" }]);
  });

  test("while short deadlines are live the express lane takes steps that would be late elsewhere, and none that are long", () => {
    const express = lane("wasm-express", [1, 2], { kind: "express" });
    const stage = new Stage([lane("wasm-0", [1, 2]), lane("wasm-1", [1, 2]), express], (model) =>
      model === 1 ? 1 : 50,
    );
    stage.teach(1, [1]);
    stage.teach(2, [1]);
    for (let i = 0; i < 200; i += 1) stage.arrives(step(i, { model: 2 }));
    for (let i = 0; i < 100; i += 1) stage.arrives(step(1_000 + i, { ...at(1 + i * 30, 10) }));
    stage.play();
    expect(stage.rejected.size).toBe(0);
    const on = [...stage.fates].filter(([, x]) => x.lane === "wasm-express").map(([id]) => id);
    expect(on.length).toBeGreaterThan(50);
    expect(on.every((id) => id >= 1_000)).toBe(true);
  });

  test("without an express lane one of the others is kept free of long steps", () => {
    const stage = new Stage([lane("wasm-0", [1, 2]), lane("wasm-1", [1, 2])], (model) => (model === 1 ? 1 : 50));
    stage.teach(1, [1]);
    stage.teach(2, [1]);
    stage.arrives(step(999, at(0, 10)));
    for (let i = 0; i < 100; i += 1) stage.arrives(step(i, { model: 2, ...at(1) }));
    for (let i = 0; i < 60; i += 1) stage.arrives(step(1_000 + i, at(20 + i * 30, 10)));
    stage.play();
    expect(stage.rejected.size).toBe(0);
  });

  describe("wide", () => {
    const EVERY_MS = 100;
    /** A caller that awaits each answer, on two lanes and a wide one; returns the lane of each step. */
    function stream(
      cost: (lane: string) => number,
      {
        count = 30,
        change = {},
        held = [1],
      }: Partial<Record<"count", number>> & {
        readonly change?: Parameters<typeof step>[1];
        readonly held?: readonly number[];
      } = {},
    ): { readonly stage: Stage; readonly lanes: () => (string | undefined)[] } {
      const wide = lane("wasm-wide", held, { kind: "wide" });
      const stage = new Stage([lane("wasm-0"), lane("wasm-1"), wide], (_, __, id) => cost(id));
      for (let i = 0; i < count; i += 1) stage.arrives(step(i, { ...at(i * EVERY_MS), ...change }));
      return { stage, lanes: () => Array.from({ length: count }, (_, i) => stage.fates.get(i)?.lane) };
    }
    const faster = (id: string): number => (id === "wasm-wide" ? 12 : 20);

    test("a single stream gets it once it was seen for a while, where threads pay", () => {
      const { stage, lanes } = stream(faster);
      stage.play();
      expect(lanes().slice(0, 8)).not.toContain("wasm-wide");
      expect(new Set(lanes().slice(8))).toEqual(new Set(["wasm-wide"]));
    });

    test("where threads take nearly as long as one they are not used, except for a trial each minute", () => {
      const { stage, lanes } = stream((id) => (id === "wasm-wide" ? 19 : 20), { count: 150_000 / EVERY_MS });
      stage.play();
      const tries = lanes().flatMap((id, i) => (id === "wasm-wide" ? [i] : []));
      const later = 60_000 / EVERY_MS + 1;
      expect(tries).toEqual([8, 9, 9 + later, 9 + 2 * later]);
    });

    test("a step that is short, keeps a state or failed there never gets it", () => {
      const short = stream((id) => faster(id) / 4);
      short.stage.play();
      expect(short.lanes()).not.toContain("wasm-wide");
      const state = stream(faster, { change: { state: { id: 3, after: 7 } } });
      state.stage.play();
      expect(state.lanes()).not.toContain("wasm-wide");
      const failed = stream(faster);
      failed.stage.tell({ type: "unavailable", lane: "wasm-wide", modelId: 1, untilMs: 1e6 });
      failed.stage.play();
      expect(failed.lanes()).not.toContain("wasm-wide");
    });

    test("a run that fails there is the last one", () => {
      const { stage } = stream(faster, { count: 0 });
      stage.teach(1, [1]);
      const ran: string[] = [];
      for (let i = 0; i < 20; i += 1) {
        const now = i * EVERY_MS;
        stage.scheduler.handle({ type: "arrived", step: step(i, at(now)), isAgain: false }, now, stage.lanes);
        for (const x of stage.scheduler.handle({ type: "tick" }, now, stage.lanes)) {
          if (x.type !== "start") continue;
          ran.push(x.lane);
          const ms = x.lane === "wasm-wide" ? null : 20;
          stage.scheduler.handle({ type: "ended", lane: x.lane, batch: x.batch, ms }, now + 20, stage.lanes);
        }
      }
      expect(ran.filter((id) => id === "wasm-wide")).toHaveLength(1);
    });

    test("two streams never get it, though few of their steps meet", () => {
      const { stage, lanes } = stream(faster, { count: 100 });
      for (let i = 0; i < 60; i += 1) stage.arrives(step(1_000 + i, { caller: 1, ...at(10 + i * 170) }));
      stage.play();
      expect(lanes()).not.toContain("wasm-wide");
    });

    test("it is left at once when other work arrives, which finds the other lanes free", () => {
      const { stage, lanes } = stream(faster, { count: 40 });
      stage.arrives(step(1_000, at(20 * EVERY_MS + 1)));
      stage.play();
      expect(stage.fates.get(1_000)).toMatchObject({ lane: "wasm-0", startMs: 20 * EVERY_MS + 1 });
      expect(lanes()[20]).toBe("wasm-wide");
      expect(lanes().slice(21, 28)).not.toContain("wasm-wide");
      expect(lanes().at(-1)).toBe("wasm-wide");
    });

    test("its model is loaded in parallel to the stream, and not repeatedly", () => {
      const { stage, lanes } = stream(faster, { count: 200, held: [] });
      stage.load = () => Infinity; // the load never ends
      stage.play();
      expect(lanes()).not.toContain("wasm-wide");
      expect(stage.decisions.filter((x) => x.type === "warm")).toHaveLength(1);
    });

    test("a deadline that threads may miss is no try, and nothing beside a wide run is rejected for it", () => {
      const tight = stream(faster, { count: 0 });
      for (let i = 0; i < 40; i += 1) tight.stage.arrives(step(i, at(i * EVERY_MS, 30)));
      tight.stage.play();
      expect([...tight.stage.fates.values()].map((x) => x.lane)).not.toContain("wasm-wide");
      const { stage, lanes } = stream(faster, { count: 16 });
      for (const id of [1_000, 1_001]) stage.arrives(step(id, at(15 * EVERY_MS + 1, 25)));
      stage.play();
      expect(lanes()[15]).toBe("wasm-wide");
      expect(stage.rejected.size).toBe(0);
      expect([1_000, 1_001].map((id) => stage.fates.get(id)?.lane)).toEqual(["wasm-0", "wasm-1"]);
    });

    test("while short deadlines of others are live, long steps do not take all cores", () => {
      const { stage, lanes } = stream(faster, { count: 40 });
      stage.arrives(step(1_000, { model: 1, isRefusable: false, ...at(20 * EVERY_MS + 50, 25) }));
      stage.play();
      expect(lanes().slice(21, 40)).not.toContain("wasm-wide");
    });
  });

  test("a model runs on no more lanes than it may", () => {
    const stage = new Stage([lane("wasm-0"), lane("wasm-1")], () => 10);
    for (let i = 0; i < 10; i += 1) stage.arrives(step(i, { concurrency: 1 }));
    stage.play();
    expect(new Set([...stage.fates.values()].map((x) => x.lane)).size).toBe(1);
  });

  test("a step of a state waits for the lane that holds it, and blocks no other step; else it goes to the lane with the fewest states", () => {
    const lanes = [lane("wasm-0"), lane("wasm-1")];
    lanes[1]?.held.set(1, { states: new Map([[3, 7]]) });
    const stage = new Stage(lanes, () => 10);
    stage.tell({ type: "arrived", isAgain: false, step: step(1, { caller: 3, state: { id: 3, after: 7 } }) });
    stage.tell({ type: "arrived", isAgain: false, step: step(2, { caller: 4, state: { id: 4, after: 1 } }) });
    stage.tell({ type: "tick" });
    expect(stage.fates.get(1)?.lane).toBe("wasm-1");
    expect(stage.fates.get(2)?.lane).toBe("wasm-0");
  });
});

test("a cancelled step is gone from the queue, and one that runs frees its lane only where that is cheaper", () => {
  const stage = new Stage([lane("wasm-0")], () => 2_000);
  stage.teach(1, [1]);
  for (let id = 1; id <= 4; id += 1) stage.arrives(step(id, { preempt: id !== 3 }));
  stage.play(0);
  stage.tell({ type: "cancelled", id: 4 });
  expect(stage.scheduler.queued).toBe(1);
  stage.tell({ type: "cancelled", id: 1 });
  expect(stage.decisions.at(-1)).toEqual({ type: "end", lane: "wasm-0" });
});

test("cancelling preemptible work ends no lane that still loads its model (sched-preempt)", () => {
  for (const isLoading of [true, false]) {
    const stage = new Stage([lane("wasm-0", [])], () => 10_000);
    stage.load = () => 3_000;
    stage.teach(1, [1]);
    for (let id = 1; id <= 3; id += 1) stage.arrives(step(id, { preempt: true }));
    stage.play(isLoading ? 2_999 : 3_000);
    stage.at(stage.now, () => {
      stage.tell({ type: "cancelled", id: 1 });
    });
    stage.play(3_000);
    expect(stage.decisions.some((x) => x.type === "end")).toBe(!isLoading);
  }
});

test("the state per model is bounded, however many come and go (core-C8)", () => {
  const stage = new Stage([lane("wasm-0", [])], () => 1);
  stage.load = () => 1;
  for (let i = 0; i < 1_100; i += 1) stage.arrives(step(i, { model: i, ...at(10 * i) }));
  stage.play();
  const { notedMs, loadMs, wastedMs, vain, arrived, used } = stage.scheduler.save();
  for (const map of [notedMs, loadMs, wastedMs, vain, arrived, used]) expect(map?.size).toBeLessThanOrEqual(1_024);
  expect(loadMs.size).toBe(1_024);
});

test("the same events give the same decisions", () => {
  const arrival = fc.record({
    arrivedMs: fc.integer({ min: 0, max: 300 }),
    deadlineMs: fc.option(fc.integer({ min: 1, max: 200 })),
    priority: fc.integer({ min: 0, max: 2 }),
    shape: fc.constantFrom("a", null),
    model: fc.integer({ min: 1, max: 2 }),
  });
  fc.assert(
    fc.property(fc.array(arrival, { maxLength: 80 }), (arrivals) => {
      const stage = new Stage([lane("wasm-0", [1]), lane("wasm-1", [2])], (model, rows) => 4 * model + rows / 3);
      arrivals.forEach(({ deadlineMs, ...rest }, id) => {
        stage.arrives(step(id, { ...rest, ...at(rest.arrivedMs, deadlineMs ?? Infinity) }));
      });
      stage.play();
      const again = new Scheduler({ agingMs: 2_000, maxSize: 100_000 }, new Estimate());
      const decisions = structuredClone(stage.told).flatMap(({ event, now, lanes }) => again.handle(event, now, lanes));
      expect(decisions).toEqual(stage.decisions);
    }),
  );
});

test("a scheduler restored after late trials has the same budget for more (sched-trials)", () => {
  const stage = new Stage([lane("wasm-0")], () => 4_000);
  for (let i = 0; i < 16; i += 1) stage.estimate.learn("m1", 1, 4_000);
  for (let i = 0; i < 100; i += 1) stage.arrives(step(i, at(i * 100, 60)));
  stage.play();
  const saved = stage.scheduler.save();
  expect(saved.owedMs).toBeGreaterThan(stage.now);
  expect(Scheduler.restore(structuredClone(saved)).save()).toEqual(saved);
});

test("a scheduler restored midway decides like the saved one", () => {
  const arrival = fc.record({
    arrivedMs: fc.integer({ min: 0, max: 300 }),
    deadlineMs: fc.option(fc.integer({ min: 1, max: 200 })),
    priority: fc.integer({ min: 0, max: 2 }),
    shape: fc.constantFrom("a", null),
    model: fc.integer({ min: 1, max: 2 }),
    caller: fc.integer({ min: 1, max: 2 }),
  });
  fc.assert(
    fc.property(fc.array(arrival, { minLength: 5, maxLength: 80 }), fc.nat(150), (arrivals, from) => {
      const stage = new Stage(
        [lane("wasm-0", [1]), lane("wasm-1", [2]), lane("express-0", [1, 2], { kind: "express" })],
        (model, rows) => 4 * model + rows / 3,
      );
      arrivals.forEach(({ deadlineMs, ...rest }, id) => {
        stage.arrives(step(id, { ...rest, ...at(rest.arrivedMs, deadlineMs ?? Infinity) }));
      });
      let saved: SavedScheduler | null = null;
      const after: Decision[] = [];
      stage.scheduler.onEvent = (_event, _now, _lanes, decisions) => {
        if (saved !== null) after.push(...decisions);
        else if (stage.told.length > from) saved = structuredClone(stage.scheduler.save());
      };
      stage.play();
      if (saved === null) return; // the run was shorter
      const again = Scheduler.restore(saved);
      const told = structuredClone(stage.told.slice(from + 1));
      expect(told.flatMap(({ event, now, lanes }) => again.handle(event, now, lanes))).toEqual(after);
    }),
  );
});

test.each([
  { runMs: 4, atMs: 2.5 },
  { runMs: 40, atMs: 34 },
])(
  "an earlier deadline that arrives $atMs ms into a run of $runMs ms goes before one that waits",
  ({ runMs, atMs }) => {
    const stage = new Stage([lane("wasm-0")], () => runMs);
    stage.teach(1, [1]);
    for (const [id, arrivedMs, dueMs] of [
      [1, 0, Infinity],
      [2, 1, 5 * runMs],
      [3, atMs, 2.2 * runMs],
    ] as const)
      stage.arrives(step(id, { arrivedMs, dueMs }));
    stage.play();
    expect(order(stage)).toEqual([1, 3, 2]);
    expect(stage.rejected.size).toBe(0);
  },
);

test("where nothing more urgent can come, a step is staged before the lane is free", () => {
  const stage = new Stage([lane("wasm-0")], () => 4);
  stage.teach(1, [1]);
  stage.arrives(step(1));
  stage.arrives(step(2, { arrivedMs: 1, dueMs: 100 }));
  stage.at(3.5, () => {
    expect(stage.decisions.filter((x) => x.type === "start")).toHaveLength(2);
  });
  stage.play();
  expect(order(stage)).toEqual([1, 2]);
});
