// Each code of a start, forced: by queued steps, lanes and learned costs.
import { expect, test } from "vitest";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";
import type { Decision } from "./events.ts";
import { whyStart } from "./explain-start.ts";
import type { LaneChoice, StartGrounds } from "./explain-start.ts";

type Start = Decision & { readonly type: "start" };

function starts({ decisions }: Stage): Start[] {
  return decisions.filter((x) => x.type === "start");
}

const last = (stage: Stage): Start["why"] => (starts(stage).at(-1) as Start).why;
const joined = { shape: "a", batching: { maxBatchSize: 8, maxQueueDelayMs: 0, preferredBatchSizes: [] } };

test("only-lane, unbatchable: one lane, and a step that runs alone", () => {
  const stage = new Stage([lane("wasm-0")], () => 10);
  stage.teach(1, [1]);
  stage.arrives(step(1));
  stage.play();
  expect(last(stage)).toMatchObject({ lane: "only-lane", inMs: 10, other: null, batch: "unbatchable" });
});

test("earliest-finish, nothing-to-join: an idle lane beside a busy one, and no other request", () => {
  const stage = new Stage([lane("wasm-0"), lane("wasm-1")], () => 10);
  stage.teach(1, [1]);
  stage.arrives(step(1, joined));
  stage.arrives(step(2, { ...joined, arrivedMs: 4 }));
  stage.play();
  expect(last(stage)).toMatchObject({
    ...{ lane: "earliest-finish", inMs: 10, other: "wasm-0", otherInMs: 16 },
    ...{ batch: "nothing-to-join", waitedMs: 0, apartMs: 20 },
  });
});

test("lane-full: the fast lane holds two batches, so the slow one finishes first", () => {
  const lanes = [lane("webgpu-0", [1], { backend: "webgpu" }), lane("wasm-0")];
  const stage = new Stage(lanes, (_, __, id) => (id === "wasm-0" ? 35 : 10));
  for (let i = 0; i < 3; i += 1) {
    stage.estimate.learn("fast", 1, 10);
    stage.estimate.learn("slow", 1, 35);
  }
  const routes = [
    { backend: "webgpu", modelId: 1, key: "fast" },
    { backend: "wasm", modelId: 1, key: "slow" },
  ] as const;
  for (let i = 0; i < 6; i += 1) stage.arrives(step(i, { routes }));
  stage.play();
  expect(starts(stage).map(({ why }) => why.lane)).toContain("lane-queue-full");
});

test("express-lane: short, and late on the others", () => {
  const stage = new Stage([lane("wasm-0", [1, 2]), lane("express-0", [2], { kind: "express" })], (model) =>
    model === 1 ? 100 : 3,
  );
  stage.teach(1, [1]);
  stage.teach(2, [1]);
  stage.arrives(step(1));
  stage.arrives(step(2, { model: 2, priority: 0, arrivedMs: 5, dueMs: 20 }));
  stage.play();
  const why = starts(stage).find((x) => x.ids.includes(2))?.why;
  expect(why).toMatchObject({ lane: "express-lane", inMs: 3, other: "wasm-0" });
  expect(why?.otherInMs).toBeGreaterThan(15);
});

test("wide-lane: requests came one after the other, and threads are faster", () => {
  const wide = lane("wasm-wide", [1], { kind: "wide" });
  const stage = new Stage([lane("wasm-0"), wide], (_, __, id) => (id === "wasm-wide" ? 12 : 20));
  for (let i = 0; i < 20; i += 1) stage.arrives(step(i, { arrivedMs: 50 * i }));
  stage.play();
  expect(last(stage)).toMatchObject({ lane: "wide-lane", inMs: 12, other: "wasm-0", otherInMs: 20 });
});

test("state-kept: that lane holds its state", () => {
  const lanes = [lane("wasm-0"), lane("wasm-1")];
  lanes[1]?.held.set(1, { states: new Map([[7, 3]]) });
  const stage = new Stage(lanes, () => 10);
  stage.arrives(step(1, { state: { id: 7, after: 3 } }));
  stage.play();
  expect(starts(stage)[0]).toMatchObject({ lane: "wasm-1", why: { lane: "state-kept" } });
});

test("batched: together they take less than one by one, including the wait", () => {
  const stage = new Stage([lane("wasm-0")], (_, rows) => 10 + rows);
  stage.teach(1, [1, 2, 4, 8]);
  const batching = { ...joined.batching, maxBatchSize: 4, maxQueueDelayMs: 50 };
  for (let i = 0; i < 4; i += 1) stage.arrives(step(i, { ...joined, batching, arrivedMs: i }));
  stage.play();
  expect(starts(stage)).toHaveLength(1);
  expect(last(stage)).toMatchObject({ batch: "batched", waitedMs: 3, apartMs: 44, togetherMs: 14 });
});

test("batch-tried: the cost of that batch size is not known yet", () => {
  const stage = new Stage([lane("wasm-0")], (_, rows) => 10 * rows);
  stage.teach(1, [1]);
  for (let i = 0; i < 3; i += 1) stage.arrives(step(i, joined));
  stage.play();
  expect(starts(stage).map(({ why }) => why.batch)).toContain("batch-tried");
});

test("batch-costs: a batch of two costs as much as two alone", () => {
  // As a fine clock shows it: not all multiples of 10 ms.
  const stage = new Stage([lane("wasm-0")], (_, rows) => 10 * rows + 0.001);
  stage.teach(1, [1, 2]);
  for (let i = 0; i < 3; i += 1) stage.arrives(step(i, joined));
  stage.play();
  expect(starts(stage)[0]?.why).toMatchObject({ batch: "batch-costs", apartMs: 20.002, togetherMs: 20.001 });
});

test("lanes-idle: two wait, and two lanes are free for them", () => {
  const stage = new Stage([lane("wasm-0"), lane("wasm-1")], (_, rows) => 10 + rows);
  stage.teach(1, [1, 2, 4]);
  for (let i = 0; i < 2; i += 1) stage.arrives(step(i, joined));
  stage.play();
  expect(starts(stage)[0]?.why).toMatchObject({ batch: "lanes-idle" });
});

test("batch-limit: with another one it would be late", () => {
  const stage = new Stage([lane("wasm-0")], (_, rows) => 10 + 6 * rows);
  stage.teach(1, [1, 2, 4]);
  for (let i = 0; i < 2; i += 1) stage.arrives(step(i, { ...joined, dueMs: 18, isRefusable: false }));
  stage.play();
  expect(starts(stage)[0]?.why).toMatchObject({ batch: "batch-limit" });
});

/** A usual lane as an option; `held` is the number of batches that it holds. */
const option = (
  id: string,
  endMs: number,
  held: number,
  backend: LaneChoice["lane"]["backend"] = "wasm",
): LaneChoice => ({
  lane: { id, kind: "usual", backend },
  endMs,
  batches: Array.from({ length: held }, () => null),
});

/** A single request of a row that started at 100 ms, changed by `own`. */
const why = (chosen: LaneChoice, others: readonly LaneChoice[], own: Partial<StartGrounds> = {}): Start["why"] =>
  whyStart({
    ...{ now: 100, chosen, options: [...others, chosen], hasState: false, shape: "a", count: 1, rows: 1 },
    ...{ firstMs: 90, hasPeer: false, bestRows: 1, idleLanes: 1, msOf: (rows) => 10 + rows },
    ...own,
  });

test("the other lane is the one with the earliest end, and the one here the earliest that is no server", () => {
  const here = option("wasm-1", 160, 1);
  const others = [option("wasm-2", 190, 1), here, option("remote-0", 130, 1, "remote")];
  const chosen = option("wasm-0", 120, 0);
  expect(why(chosen, others)).toMatchObject({ inMs: 20, other: "remote-0", otherInMs: 30, hereInMs: 60, waitedMs: 10 });
  expect(why(chosen, others.slice(2))).toMatchObject({ other: "remote-0", hereInMs: Infinity });
});

test("the queue of the other lane is full only where that lane ends earlier and holds two batches", () => {
  const laneOf = (other: LaneChoice): string => why(option("wasm-0", 150, 0), [other]).lane;
  expect(laneOf(option("wasm-1", 149, 2))).toBe("lane-queue-full");
  for (const other of [option("wasm-1", 149, 1), option("wasm-1", 150, 2), option("wasm-1", 151, 2)])
    expect(laneOf(other)).toBe("earliest-finish");
});

test("a single request is compared with two like it, a batch with its requests one by one", () => {
  const chosen = option("wasm-0", 120, 0);
  expect(why(chosen, [], { rows: 3 })).toMatchObject({ apartMs: 26, togetherMs: 16 });
  expect(why(chosen, [], { rows: 6, count: 2 })).toMatchObject({ batch: "batched", apartMs: 26, togetherMs: 16 });
  const unknown = why(chosen, [], { rows: 6, count: 2, msOf: () => undefined });
  expect(unknown).toMatchObject({ batch: "batch-tried", apartMs: null, togetherMs: null });
});
