// Many groups of steps that can't run together: distinct sizes of inputs, or recurrent states. Costs are counted, not
// timed.
import { expect, test } from "vitest";
import { Estimate } from "./cost-estimate.ts";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";
import type { SchedulerEvent, ScheduledStep } from "./events.ts";
import { Scheduler } from "./scheduler.ts";

const DECISIONS = 400;
/** The mark of the states that the two lanes hold, in turn. */
const KEPT = 7;

/** Makes a step that counts how often its deadline is read: once or twice per comparison. */
function counted(it: ScheduledStep, count: () => void): ScheduledStep {
  const { dueMs } = it;
  return Object.defineProperty({ ...it }, "dueMs", {
    enumerable: true,
    get: () => {
      count();
      return dueMs;
    },
  });
}

/** Returns the reads per decision, over arrivals, ends and ticks, where so many groups are queued. */
function readsOf(groups: number, change: (id: number) => Partial<ScheduledStep>): number {
  const scheduler = new Scheduler({ agingMs: 2_000, maxSize: 1e6 }, new Estimate());
  const lanes = [lane("wasm-0"), lane("wasm-1")];
  for (let i = 1; i <= groups + DECISIONS; i += 1) lanes[i % 2]?.held.get(1)?.states.set(i, KEPT);
  const running: { readonly lane: string; readonly batch: number }[] = [];
  let [reads, now, id, ends] = [0, 0, 0, 0];
  const tell = (event: SchedulerEvent): void => {
    for (const x of scheduler.handle(event, now, lanes)) if (x.type === "start") running.push(x);
  };
  const arrive = (): void => {
    id += 1;
    const it = step(id, { shape: `${id}`, arrivedMs: now, ...change(id) });
    tell({ type: "arrived", isAgain: false, step: counted(it, () => (reads += 1)) });
  };
  for (let i = 0; i < groups; i += 1) arrive();
  tell({ type: "tick" });
  reads = 0;
  for (let i = 0; i < DECISIONS; i += 1, now += 5) {
    const first = running.shift();
    if (first !== undefined) tell({ type: "ended", lane: first.lane, batch: first.batch, ms: 5 });
    ends += Number(first !== undefined);
    arrive();
    tell({ type: "tick" });
  }
  expect(ends).toBeGreaterThan(DECISIONS / 4);
  return reads / DECISIONS;
}

test.each<[string, (id: number) => Partial<ScheduledStep>]>([
  ["without deadlines", () => ({})],
  ["with deadlines", (id) => ({ dueMs: 1e7 + ((id * 7_919) % 1e6) })],
  ["of recurrent states that no lane keeps", (id) => ({ shape: null, caller: id, state: { id, after: 0 } })],
  ["of recurrent states on two lanes", (id) => ({ shape: null, caller: id, state: { id, after: KEPT } })],
  [
    "for others to join them",
    (id) => ({ batching: { maxBatchSize: 64, maxQueueDelayMs: id % 2 === 0 ? 0 : 1e6, preferredBatchSizes: [] } }),
  ],
  ["of all priorities", (id) => ({ priority: id % 3, dueMs: id % 2 === 0 ? Infinity : 1e7 + id })],
])("a decision costs little more where 10,000 groups wait %s than where 10 do (core-B12)", (_, change) => {
  const [few, many] = [readsOf(10, change), readsOf(10_000, change)];
  expect(many).toBeLessThanOrEqual(4 * few);
});

test("recurrent states that wait for a busy lane hide none whose lane idles, nor other work (core-B12 states)", () => {
  const lanes = [lane("wasm-0"), lane("wasm-1"), lane("wasm-2")];
  for (let i = 1; i <= 50; i += 1) lanes[0]?.held.get(1)?.states.set(i, KEPT);
  lanes[1]?.held.get(1)?.states.set(51, KEPT);
  const stage = new Stage(lanes, () => 1_000);
  for (let i = 1; i <= 51; i += 1) stage.arrives(step(i, { caller: i, state: { id: i, after: KEPT } }));
  stage.arrives(step(52));
  stage.play(10);
  expect(stage.fates.get(51)).toMatchObject({ lane: "wasm-1", startMs: 0 });
  expect(stage.fates.get(52)).toMatchObject({ lane: "wasm-2", startMs: 0 });
  stage.play();
  expect(new Set(Array.from({ length: 50 }, (_, i) => stage.fates.get(i + 1)?.lane))).toEqual(new Set(["wasm-0"]));
});

test.each<[string, (id: number) => Partial<ScheduledStep>]>([
  ["callers", (caller) => ({ caller })],
  ["priorities", (id) => ({ priority: id % 3 })],
  ["kinds of deadline", (id) => ({ dueMs: id % 2 === 0 ? 5_000 : Infinity })],
])("a full batch does not wait for more where its requests are of several %s (sched-company)", (_, change) => {
  for (const count of [3, 4]) {
    const stage = new Stage([lane("wasm-0")], (__, rows) => 18 + 2 * rows);
    stage.teach(1, [1, 2, 4]);
    const batching = { maxBatchSize: 4, maxQueueDelayMs: 100, preferredBatchSizes: [] };
    for (let i = 0; i < count; i += 1) stage.arrives(step(i, { shape: "a", batching, arrivedMs: i, ...change(i) }));
    stage.play();
    const [first] = stage.fates.values();
    expect(first?.startMs).toBe(count === 4 ? 3 : 100);
    expect(new Set([...stage.fates.values()].map((x) => x.batch)).size).toBe(count === 4 ? 1 : 2);
  }
});

test("groups that only wait for others to join hide no full batch (core-B12 company)", () => {
  const stage = new Stage([lane("wasm-0")], (_, rows) => 10 + rows / 10);
  stage.teach(1, [1, 2, 4, 8, 16, 32, 64]);
  const batching = { maxBatchSize: 64, maxQueueDelayMs: 500, preferredBatchSizes: [] };
  for (let i = 0; i < 20; i += 1) stage.arrives(step(i, { shape: `few ${i}`, batching }));
  for (let i = 0; i < 64; i += 1) stage.arrives(step(100 + i, { shape: "many", batching }));
  stage.arrives(step(50, { shape: "few 0", batching, arrivedMs: 100 }));
  stage.play();
  expect(stage.fates.get(100)?.startMs).toBe(0);
  for (let i = 0; i < 20; i += 1) expect(stage.fates.get(i)?.startMs).toBeGreaterThanOrEqual(500);
  for (let i = 0; i < 20; i += 1) expect(stage.fates.get(i)?.startMs).toBeLessThan(800);
  expect(stage.fates.get(50)?.batch).toBe(stage.fates.get(0)?.batch);
});
