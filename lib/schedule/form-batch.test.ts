// Batches of given steps on a given lane: how many run together, which of them, and what is recorded of it.
import { expect, test } from "vitest";
import { lane, step } from "../test-support/schedule-fixtures.ts";
import { Estimate } from "./cost-estimate.ts";
import type { ScheduledStep } from "./events.ts";
import { formBatch } from "./form-batch.ts";
import type { Formed, LanePick } from "./form-batch.ts";
import type { LaneOption } from "./lane-option.ts";
import { Queue } from "./queue.ts";
import type { WaitingStep } from "./queue.ts";

type Change = Partial<Omit<ScheduledStep, "id">>;

/** Time of a batch by its rows. */
const COSTS: Readonly<Record<number, number>> = { 1: 10, 2: 12, 4: 16, 8: 24, 16: 40 };
const START_MS = 100;

function option(change: Partial<LaneOption> = {}): LaneOption {
  const route = { backend: "wasm", modelId: 1, key: "m1" };
  return {
    ...{ lane: lane("wasm-0"), route, key: "m1", freeMs: START_MS, ms: 10, leastMs: 10, endMs: START_MS + 10 },
    ...{ isCold: false, loadMs: 0, batches: [], ...change },
  };
}

interface Setting {
  readonly costs?: Readonly<Record<number, number>>;
  /** The step for which the lane was picked. */
  readonly picked?: number;
  readonly chosen?: LaneOption;
  /** Lanes beside the chosen one. */
  readonly others?: readonly LaneOption[];
  readonly latestMs?: number;
  readonly batchMs?: number;
}

/** Forms a batch of steps, all of one shape unless they say otherwise. */
function form(
  steps: readonly Change[],
  { costs = COSTS, picked = 0, chosen = option(), others = [], latestMs = Infinity, batchMs = Infinity }: Setting = {},
): Formed & { readonly ids: readonly number[]; readonly waiting: WaitingStep } {
  const estimate = new Estimate();
  estimate.learn("clock", 1, 0.001); // a fine one
  for (const [rows, ms] of Object.entries(costs)) for (let i = 0; i < 3; i += 1) estimate.learn("m1", Number(rows), ms);
  const queue = new Queue(2_000);
  for (const [i, change] of steps.entries()) queue.add(step(i, { shape: "a", ...change }), Infinity, 0, 0);
  const waiting = queue.get(picked) as WaitingStep;
  const pick: LanePick = { waiting, option: chosen, latestMs };
  const formed = formBatch(pick, { estimate, queue, options: [chosen, ...others], batchMs, now: START_MS });
  return { ...formed, ids: [...formed.steps.keys()], waiting };
}

/** So many steps that are due at a time. */
const due = (count: number, dueMs: number): Change[] => Array.from({ length: count }, () => ({ dueMs }));

test("a batch has the steps of its shape and model, also of other priorities, until one would be late by it", () => {
  expect(form([{ dueMs: 200 }, { priority: 0, dueMs: 112 }]).ids).toEqual([0, 1]);
  expect(form([{ dueMs: 200 }, { priority: 0, dueMs: 111 }]).ids).toEqual([0]);
  expect(form([{ dueMs: 200 }, { priority: 0 }, { shape: "b" }]).ids).toEqual([0, 1]);
});

test("a step without a shape runs alone", () => {
  const alone = form([{ shape: null }, { shape: null }]);
  expect([alone.ids, alone.ms, alone.why.batch]).toEqual([[0], 10, "unbatchable"]);
});

test("steps before the picked one are left in the queue", () => {
  expect(form([{ dueMs: 200 }, { dueMs: 300 }], { picked: 1 }).ids).toEqual([1]);
});

test("the rows of steps count, not the steps", () => {
  const two = { rows: 2 };
  expect(form([two, two])).toMatchObject({ ids: [0, 1], rows: 4, ms: 16 });
  const batching = { maxBatchSize: 4, maxQueueDelayMs: 0, preferredBatchSizes: [] };
  expect(form([two, two, two].map((x) => ({ ...x, batching }))).ids).toEqual([0, 1]);
  // Two of three steps are in time; the third, which is due later, is as well.
  expect(form([two, two, two].map((x, i) => ({ ...x, dueMs: i < 2 ? 117 : 200 }))).ids).toEqual([0, 1]);
});

test("a class is charged for the batch once, and what is left of the group ages from its end on", () => {
  const { waiting, ms } = form(due(3, 112));
  expect(ms).toBe(12);
  expect(waiting.group.class.usedMs).toBe(12);
  expect([waiting.group.steps.size, waiting.group.servedMs]).toEqual([1, 112]);
});

test("a lane may be ended for a batch only where all its steps allow it", () => {
  for (const [first, second] of [
    [true, false],
    [false, true],
    [true, true],
  ] as const)
    expect(form([{ preempt: first }, { preempt: second }]).preempt).toBe(first && second);
});

test("the preferred size is the largest that the queued steps fill", () => {
  const withSizes = (preferredBatchSizes: readonly number[]): Setting & { steps: Change[] } => ({
    steps: due(5, Infinity).map((x) => ({
      ...x,
      batching: { maxBatchSize: 64, maxQueueDelayMs: 0, preferredBatchSizes },
    })),
  });
  for (const [sizes, count] of [
    [[2, 4, 8], 4],
    [[2, 5], 2],
    [[8], 4],
    [[], 4],
  ] as const)
    expect(form(withSizes(sizes).steps).ids).toHaveLength(count);
});

test("a batch without deadlines is as long as the settings allow, and ends by when it is worthwhile", () => {
  const eight = due(8, Infinity);
  for (const [setting, count] of [
    [{ batchMs: 24 }, 8],
    [{ batchMs: 23 }, 4],
    [{ batchMs: 5 }, 1],
    [{ latestMs: START_MS + 24 }, 8],
    [{ latestMs: START_MS + 23 }, 4],
  ] as const)
    expect(form(eight, setting).ids).toHaveLength(count);
  expect(form(due(8, 200), { batchMs: 5 }).ids).toHaveLength(8);
});

test("a batch is as large as its first deadline allows", () => {
  for (const [dueMs, count] of [
    [124, 8],
    [123, 4],
    [116, 4],
    [115, 2],
  ] as const)
    expect(form([...due(1, dueMs), ...due(7, 1_000)]).ids).toHaveLength(count);
  // Those that could join have no deadline, and are in another group.
  expect(form([{ dueMs: 110 }, {}, {}, {}]).ids).toEqual([0]);
});

test("the idle lanes that hold the model share the steps", () => {
  const eight = due(8, Infinity);
  const idle = option({ lane: lane("wasm-1") });
  const others = [
    option({ isCold: true }),
    option({ key: "m1 express" }),
    option({ batches: [{} as LaneOption["batches"][number]] }),
  ];
  expect(form(eight).ids).toHaveLength(8);
  expect(form(eight, { others: [idle] }).ids).toHaveLength(4);
  for (const other of others) expect(form(eight, { others: [idle, other] }).ids).toHaveLength(4);
});

test("the state is kept only where the lane holds it as of the step before", () => {
  const chosen = option();
  (chosen.lane.held.get(1)?.states as Map<number, number>).set(7, 3);
  expect(form([{ state: { id: 7, after: 3 } }], { chosen }).why.lane).toBe("state-kept");
  expect(form([{ state: { id: 7, after: 2 } }], { chosen }).why.lane).toBe("only-lane");
  expect(form([{}], { chosen }).why.lane).toBe("only-lane");
});

test("where the first deadlines allow only a small batch, and later ones would be missed, it skips the first", () => {
  expect(form([...due(1, 110), ...due(5, 117)]).ids).toEqual([1, 2, 3, 4]);
  expect(form([...due(1, 105), ...due(4, 117)]).ids, "the first is late in any case").toEqual([1, 2, 3, 4]);
  expect(form([...due(1, 110), ...due(4, 120)]).ids, "another one is in time after the first").toEqual([0]);
  expect(form([...due(1, 110), ...due(2, 113), ...due(8, 119)]).ids, "more rows").toEqual([3, 4, 5, 6]);
  const two = due(3, 118).map((x) => ({ ...x, rows: 2 }));
  expect(form([{ dueMs: 112, rows: 2 }, ...two]).ids).toEqual([1, 2]);
});

test("it skips the first only for clearly more rows in the same time: a fifth, or half where it is not full", () => {
  const skips = (ms: number, count: number): boolean =>
    form([...due(2, 112), ...due(count, 121)], { costs: { 1: 10, 2: 12, 4: ms, 8: 60 } }).ids[0] === 2;
  expect([skips(19.9, 4), skips(20, 4)]).toEqual([true, false]);
  expect(skips(16, 3)).toBe(false);
  // A size that was measured at a bad moment: one row alone would be quicker than its share of two.
  expect(form([...due(3, 137), ...due(1, 140)], { costs: { 1: 10, 2: 36, 4: 38 } }).ids).toEqual([0, 1]);
});
