// Servers beside a device: which of several servers gets the work, and how often the worse side is tried.
import { describe, expect, test } from "vitest";
import { Random } from "../test-support/random.ts";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";
import type { StageLane } from "../test-support/schedule-fixtures.ts";
import { Estimate } from "./cost-estimate.ts";
import type { Route, SchedulerEvent } from "./events.ts";
import { LaneStates } from "./lane-state.ts";

const DEVICE: Route = { backend: "wasm", modelId: 1, key: "m1" };
const SERVER: Route = { backend: "remote", modelId: 2, key: "m2", costMs: 100 };

const server = (id: string, models: readonly number[] = [2]): StageLane =>
  lane(id, models, { backend: "remote", endpoint: `https://${id}.test` });

/** Returns random times of arrival with a mean distance, the same for one seed. */
function arrivals(count: number, meanMs: number, seed = 1): number[] {
  const random = new Random(seed);
  let atMs = 0;
  return Array.from({ length: count }, () => (atMs -= meanMs * Math.log(1 - random.next())));
}

interface Scene {
  readonly lanes: readonly StageLane[];
  readonly costOf: (lane: string, now: number) => number;
  readonly atMs: readonly number[];
  readonly deadlineMs?: number;
}

/** Plays requests that either side may run; returns the lane of each, in their order. */
function play({ lanes, costOf, atMs, deadlineMs = Infinity }: Scene): string[] {
  const stage: Stage = new Stage(lanes, (_model, _rows, on) => costOf(on, stage.now));
  for (const [id, arrivedMs] of atMs.entries())
    stage.arrives(step(id, { routes: [DEVICE, SERVER], arrivedMs, dueMs: arrivedMs + deadlineMs }));
  stage.play();
  return atMs.map((_, id) => stage.fates.get(id)?.lane ?? "none");
}

const count = (lanes: readonly string[], id: string): number => lanes.filter((x) => x === id).length;

describe("several servers", () => {
  const cases = [
    ["slow", "fast"],
    ["fast", "slow"],
  ].flatMap((order) => [60_000, 2_000, 100].flatMap((everyMs) => [[order, everyMs] as const]));
  test.each(cases)("the fast one of %j gets the work, a request every %d ms (placement-endpoint)", (order, everyMs) => {
    for (const models of [[], [2]])
      for (const deadlineMs of [Infinity, 400]) {
        const lanes = [lane("wasm-0"), ...order.map((id) => server(id, models))];
        const costOf = (on: string): number => ({ "wasm-0": 3_000, slow: 2_000 })[on] ?? 30;
        const found = play({ lanes, costOf, atMs: arrivals(400, everyMs), deadlineMs });
        // Of an estimate that is halved by the minute little is left after a few requests at that pace.
        expect(count(found, "fast")).toBeGreaterThan(everyMs === 60_000 ? 300 : 360);
      }
  });

  test.each([60_000, 2_000])(
    "one that gets slow loses the work, and has it again once the other is slow, a request every %d ms (placement-endpoint)",
    (everyMs) => {
      const atMs = arrivals(600, everyMs);
      const costOf = (on: string, now: number): number => {
        if (on === "wasm-0") return 5_000;
        return (on === "a") === now < (atMs[300] as number) ? 30 : 2_000;
      };
      const found = play({ lanes: [lane("wasm-0"), server("a"), server("b")], costOf, atMs });
      expect(count(found.slice(0, 300), "a")).toBeGreaterThan(everyMs === 60_000 ? 230 : 260);
      expect(count(found.slice(400), "b")).toBeGreaterThan(everyMs === 60_000 ? 150 : 170);
    },
  );
});

test("a server that is always slow gets few of the requests of a model that is asked seldom (placement-old)", () => {
  const costOf = (on: string): number => (on === "wasm-0" ? 500 : 1_300);
  const found = play({ lanes: [lane("wasm-0"), server("slow")], costOf, atMs: arrivals(400, 40_000) });
  // Of the times of requests that are 40 s apart a quarter is left after 80 s: nearly every second would go there.
  expect(count(found, "slow")).toBeLessThan(50);
  expect(count(found, "slow")).toBeGreaterThan(5);
});

test("what servers can't finish in time is refused on arrival (placement-admission)", () => {
  const stage = new Stage([server("a"), server("b")], () => 100);
  const routes = [SERVER] as const;
  for (let i = 0; i < 10; i += 1) stage.arrives(step(i, { routes, arrivedMs: i * 500 }));
  for (let i = 10; i < 40; i += 1) stage.arrives(step(i, { routes, arrivedMs: 5_000, priority: 0 }));
  stage.arrives(step(40, { routes, arrivedMs: 5_001, dueMs: 5_501 }));
  stage.play();
  expect([...stage.rejected]).toEqual([[40, { code: "deadline-exceeded", atMs: 5_001 }]]);
});

test("a server is asked by what this device can't do, too, and learnt of once (placement-endpoint)", () => {
  const stage = new Stage([lane("wasm-0"), server("a")], (model) => (model === 1 ? 300 : 400));
  // Most requests may run on both; some of the first come with the server alone.
  for (let i = 0; i < 400; i += 1)
    stage.arrives(step(i, { routes: i % 9 === 0 ? [SERVER] : [DEVICE, SERVER], arrivedMs: i * 1_000 }));
  stage.play();
  const found = Array.from({ length: 400 }, (_, i) => stage.fates.get(i)?.lane);
  expect(found.filter((x, i) => i % 9 === 0 && x !== "a")).toEqual([]);
  expect(found.filter((x, i) => i % 9 !== 0 && x === "a").length).toBeLessThan(10);
});

describe("the time in which a server answered its golden", () => {
  const measured = (id: string, ms: number): SchedulerEvent => {
    return { type: "measured", key: SERVER.key, ms, endpoint: `https://${id}.test` };
  };
  const COSTS: Record<string, number> = { "wasm-0": 500, slow: 2_000, fast: 30 };
  const lanes = (): StageLane[] => [lane("wasm-0"), server("slow"), server("slow"), server("fast")];

  test("is that server's from the first request on (placement-golden)", () => {
    for (const dueMs of [Infinity, 400]) {
      const stage = new Stage(lanes(), (_model, _rows, on) => COSTS[on] ?? 0);
      stage.teach(1, [1]);
      for (const id of ["slow", "fast"]) stage.tell(measured(id, COSTS[id] ?? 0));
      stage.arrives(step(0, { routes: [SERVER], dueMs }));
      stage.play();
      expect(stage.fates.get(0)?.lane).toBe("fast");
    }
  });

  test("keeps requests on a device that is faster (placement-golden)", () => {
    const stage = new Stage(lanes().slice(0, 3), (_model, _rows, on) => COSTS[on] ?? 0);
    stage.teach(1, [1]);
    stage.tell(measured("slow", 2_000));
    for (let i = 0; i < 9; i += 1) stage.arrives(step(i, { routes: [DEVICE, SERVER], arrivedMs: i * 20_000 }));
    stage.play();
    expect([...stage.fates.values()].map((x) => x.lane)).toEqual(new Array(9).fill("wasm-0"));
  });

  test("replaces that of an earlier page, and not that of this page's runs (placement-golden)", () => {
    const stage = new Stage(lanes(), (_model, _rows, on) => COSTS[on] ?? 0);
    const own = `${SERVER.key} https://fast.test`;
    for (let i = 0; i < 3; i += 1) stage.estimate.learn(own, 1, 5_000);
    stage.tell(measured("fast", 30));
    expect(stage.estimate.ms(own, 1)).toBe(30);
    stage.tell(measured("fast", 900));
    expect(stage.estimate.ms(own, 1)).toBe(30);
  });
});

describe("a side that is always worse", () => {
  const cases = [60_000, 5_000, 100].flatMap((everyMs) => [1, 2].flatMap((seed) => [[everyMs, seed] as const]));
  test.each(cases)(
    "the device is tried by one request in 20, one every %d ms, seed %d (placement-share)",
    (everyMs, seed) => {
      for (const deadlineMs of [Infinity, 1_000]) {
        const costOf = (on: string): number => (on === "wasm-0" ? 3_000 : 40);
        const lanes = [lane("wasm-0"), server("a"), server("b")];
        const found = play({ lanes, costOf, atMs: arrivals(600, everyMs, seed), deadlineMs });
        expect(count(found, "wasm-0")).toBeLessThanOrEqual(2 + 600 / 20);
        if (everyMs >= 5_000) expect(count(found, "wasm-0")).toBeGreaterThan(15);
      }
    },
  );

  test.each([60_000, 100])(
    "a device that gets faster has the work again, a request every %d ms (placement-share)",
    (everyMs) => {
      const atMs = arrivals(2_000, everyMs);
      const costOf = (on: string, now: number): number =>
        on !== "wasm-0" ? 40 : now < (atMs[300] as number) ? 3_000 : 20;
      const found = play({ lanes: [lane("wasm-0"), server("a")], costOf, atMs });
      expect(count(found.slice(-500), "wasm-0")).toBeGreaterThan(480);
    },
  );
});

describe("requests with a deadline that this device and two lanes to a server can answer together", () => {
  /** Returns the lanes of requests, "none" for those without an answer in time. */
  function fates(models: readonly number[], costOf: (on: string) => number): string[] {
    const second = lane("a-2", models, { backend: "remote", endpoint: "https://a.test" });
    const stage = new Stage([lane("wasm-0"), server("a"), second], (_model, _rows, on) => costOf(on));
    const atMs = arrivals(400, 90);
    for (const [id, arrivedMs] of atMs.entries())
      stage.arrives(step(id, { routes: [DEVICE, SERVER], arrivedMs, dueMs: arrivedMs + 300 }));
    stage.play();
    return atMs.map((arrivedMs, id) => {
      const { endMs = Infinity, lane = "" } = stage.fates.get(id) ?? {};
      return endMs <= arrivedMs + 300 ? lane : "none";
    });
  }

  test("a lane without the model loads it, since requests are lost without it (placement-cold)", () => {
    const costOf = (on: string): number => (on === "wasm-0" ? 190 : 130);
    const [cold, warm] = [fates([], costOf), fates([2], costOf)];
    expect(count(cold, "a-2")).toBeGreaterThan(40);
    expect(count(cold, "none")).toBeLessThan(count(warm, "none") + 20);
  });

  test("few wait for this device until it is too late, where its runs vary (placement-wait)", () => {
    let runs = 0;
    const costOf = (on: string): number => (on === "wasm-0" ? ((runs += 1) % 4 === 0 ? 340 : 170) : 130);
    const found = fates([2], costOf);
    expect(count(found, "none")).toBeLessThan(30);
  });
});

test("a batch that leaves a lane from behind another one does not make that one look begun anew (server-staged)", () => {
  const lanes = new LaneStates(new Estimate());
  const batch = (id: number) => ({
    ...{ id, route: SERVER, key: SERVER.key, rows: 1, shape: null, ms: 50, startMs: 0 },
    ...{ steps: new Map(), preempt: false, isTrial: false, serverMs: Infinity },
  });
  for (const id of [1, 2]) lanes.add("a", batch(id), 0);
  lanes.end({ type: "ended", lane: "a", batch: 2, ms: null }, 700, [server("a")]);
  expect(lanes.on("a").map(({ id, startMs }) => [id, startMs])).toEqual([[1, 0]]);
  lanes.add("a", batch(3), 700);
  lanes.end({ type: "ended", lane: "a", batch: 1, ms: null }, 900, [server("a")]);
  expect(lanes.on("a").map(({ id, startMs }) => [id, startMs])).toEqual([[3, 900]]);
});
