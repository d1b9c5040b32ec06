// A server as one more lane: when steps with deadlines go there, and how they come back to this device.
import { describe, expect, test } from "vitest";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";

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
