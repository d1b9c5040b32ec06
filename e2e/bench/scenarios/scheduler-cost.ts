// Cost of a decision: only the scheduler, in Node, with many queued requests. Each sample takes a thousand requests
// from arrival to end at a constant queue depth.
import { Estimate } from "../../../lib/schedule/cost-estimate.ts";
import type { LaneView, ScheduledStep } from "../../../lib/schedule/events.ts";
import { Scheduler } from "../../../lib/schedule/scheduler.ts";
import type { Case, Subject } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

const REQUESTS = 1_000;
const LENGTHS = [10, 10_000, 100_000] as const;

/** Yields the only case: µs per request, by queue depth. */
export function* schedulerCost(bench: Bench): Generator<Case> {
  const nameOf = (length: number): string => `${length} queued`;
  yield {
    name: "scheduling, cost of a request",
    unit: "µs",
    statistic: "median",
    subjects: LENGTHS.map((length): Subject => {
      const run = fill(length);
      return {
        name: nameOf(length),
        sample: async () => ({ value: run(), backend: "none", model: "none", variant: "none" }),
      };
    }),
    of: nameOf(10),
    goals: [{ subject: nameOf(10_000), on: "value", atMost: 20 }],
    rounds: bench.rounds(12),
    warmups: 3,
  };
}

/** Fills a scheduler; returns a function that passes requests through it and returns µs per request. */
function fill(length: number): () => number {
  const scheduler = new Scheduler({ agingMs: 2_000, maxSize: 1_000_000 }, new Estimate(null));
  const held = new Map([1, 2, 3].map((modelId) => [modelId, { states: new Map<number, number>() }]));
  const lanes = [0, 1].map((i): LaneView => ({
    id: `wasm-${i}`,
    backend: "wasm",
    kind: "usual",
    isOpen: true,
    held,
  }));
  let nextId = 1;
  let now = 0;
  const running: { lane: string; batch: number; size: number }[] = [];
  let through = 0;
  const arrive = (): void => {
    const id = nextId++;
    const modelId = 1 + (id % 3);
    const step: ScheduledStep = {
      id,
      routes: [{ backend: "wasm", modelId, key: `m${modelId}` }],
      priority: id % 3,
      arrivedMs: now,
      dueMs: id % 2 === 0 ? now + 1e9 : Infinity,
      isRefusable: true,
      caller: 0,
      rows: 1,
      shape: "784",
      batching: { maxBatchSize: 64, maxQueueDelayMs: 0, preferredBatchSizes: [] },
      concurrency: 64,
      preempt: false,
    };
    scheduler.handle({ type: "arrived", step, isAgain: false }, now, lanes);
  };
  const turn = (): void => {
    for (const decision of scheduler.handle({ type: "tick" }, now, lanes))
      if (decision.type === "start")
        running.push({ lane: decision.lane, batch: decision.batch, size: decision.ids.length });
    const next = running.shift();
    if (next === undefined) return;
    now += next.size;
    through += next.size;
    scheduler.handle({ type: "ended", lane: next.lane, batch: next.batch, ms: next.size }, now, lanes);
  };
  for (let i = 0; i < length; i += 1) arrive();
  return () => {
    const startMs = performance.now();
    const target = through + REQUESTS;
    while (through < target) {
      while (scheduler.queued < length) arrive();
      turn();
    }
    return (1_000 * (performance.now() - startMs)) / REQUESTS;
  };
}
