// The work of a decision, counted rather than timed: entries of functions and loops in lib/schedule according to V8's
// precise coverage, while much queued work can't start.
import { Session } from "node:inspector";
import type { Profiler } from "node:inspector";
import { expect, test } from "vitest";
import { lane, step } from "../schedule-fixtures.ts";
import { Estimate } from "../../schedule/cost-estimate.ts";
import { Scheduler } from "../../schedule/scheduler.ts";

/** Number of decisions that are counted. */
const DECISIONS = 20;

/** Runs `work` with V8's coverage; returns the total entries of the scheduler's blocks. */
function countEntries(work: () => void): number {
  const session = new Session();
  session.connect();
  let count = 0;
  const post = (method: string, params: object = {}): void => {
    session.post(method, params, (error, result) => {
      if (error !== null) throw error;
      for (const { url, functions } of (result as Partial<Profiler.TakePreciseCoverageReturnType>).result ?? [])
        if (/\/lib\/schedule\/(?!fixtures)/.test(url))
          for (const { ranges } of functions) for (const range of ranges) count += range.count;
    });
  };
  post("Profiler.enable");
  post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  work();
  count = 0;
  post("Profiler.takePreciseCoverage");
  post("Profiler.stopPreciseCoverage");
  session.disconnect();
  return count;
}

/** Returns the entries per decision while so many steps wait behind full lanes; `change` says how they differ. */
function entriesAt(count: number, change: (id: number) => Parameters<typeof step>[1]): number {
  const scheduler = new Scheduler({ agingMs: 2_000, maxSize: 1_000_000 }, new Estimate());
  const lanes = [lane("wasm-0"), lane("wasm-1")];
  const arrive = (id: number): void => {
    scheduler.handle({ type: "arrived", step: step(id, change(id)), isAgain: false }, 0, lanes);
  };
  scheduler.handle({ type: "measured", key: "m1", ms: 10 }, 0, lanes);
  for (let id = 1; id <= count; id += 1) arrive(id);
  const running = scheduler
    .handle({ type: "tick" }, 0, lanes)
    .flatMap((decision) => (decision.type === "start" ? [decision] : []));
  let id = count + 1;
  return (
    countEntries(() => {
      for (let i = 0; i < DECISIONS; i += 1) {
        // A lane becomes free, and one more arrives.
        const ended = running.shift();
        const now = 10 * (i + 1);
        if (ended !== undefined)
          scheduler.handle({ type: "ended", lane: ended.lane, batch: ended.batch, ms: 10 }, now, lanes);
        arrive(id++);
        for (const decision of scheduler.handle({ type: "tick" }, now, lanes))
          if (decision.type === "start") running.push(decision);
      }
    }) / DECISIONS
  );
}

/** Each shape is a group; half of the steps have deadlines. */
const inGroups =
  (groups: number) =>
  (id: number): Parameters<typeof step>[1] => ({ shape: `${id % groups}`, dueMs: id % 2 === 0 ? 1e9 : Infinity });

test("a decision at 10,000 groups takes at most four times the work of one at 10 (core-B12)", () => {
  const few = entriesAt(10, inGroups(10));
  expect(few).toBeGreaterThan(20);
  // Ascending: where work grows with the square of the count, the last would take minutes.
  for (const groups of [100, 1_000, 10_000])
    expect(entriesAt(groups, inGroups(groups)), `at ${groups}`).toBeLessThanOrEqual(4 * few);
}, 60_000);

test("a decision at 100,000 queued steps of one model takes at most four times the work of one at 100", () => {
  const change = (id: number): Parameters<typeof step>[1] => ({ dueMs: 1e6 + ((id * 7_919) % 1e6) });
  const few = entriesAt(100, change);
  expect(few).toBeGreaterThan(20);
  for (const count of [1_000, 10_000, 100_000])
    expect(entriesAt(count, change), `at ${count}`).toBeLessThanOrEqual(4 * few);
}, 60_000);
