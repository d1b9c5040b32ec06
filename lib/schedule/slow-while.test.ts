// A while in which all runs take longer: another program, a bad line. Afterwards the scheduler must not go on to reject
// what is in time again, and a lane that stays slow must not work in vain for long.
import { expect, test } from "vitest";
import { drive } from "../test-support/simulate/drive.ts";
import { Random } from "../test-support/random.ts";
import type { Job, Workload } from "../test-support/simulate/workload.ts";

const DEADLINE_MS = 300;
const EVERY_MS = 125;
/** When runs take longer, and by how much. */
interface Slow {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly times: number;
}

/** Sends a request each 125 ms on average for a minute; returns the share that was in time after the slow while. */
function onTimeAfter(msOn: Readonly<Record<string, number>>, lanes: readonly string[], slow: Slow): number {
  const random = new Random(1);
  const jobs: Job[] = [];
  for (let atMs = 0; atMs < 60_000; atMs -= EVERY_MS * Math.log(1 - random.next())) {
    const isSlow = atMs >= slow.fromMs && atMs < slow.untilMs;
    const factor = random.between(0.9, 1.1) * (isSlow ? slow.times : 1);
    jobs.push({ id: jobs.length, atMs, dueMs: atMs + DEADLINE_MS, model: 0, factor });
  }
  const costs = Object.entries(msOn).map(([backend, ms]) => [backend, (rows: number) => rows * ms] as const);
  const workload: Workload = {
    lanes,
    models: [{ maxRows: 1, msOn: Object.fromEntries(costs) }],
    jobs,
    ...{ isLearned: true, countsFromMs: 0, endMs: Infinity, clockMs: 0, noise: 0 },
  };
  const late = new Set(jobs.filter(({ atMs }) => atMs >= slow.untilMs).map(({ id }) => id));
  const all = late.size;
  for (const { jobs: ran, endMs } of drive(workload, 1).runs)
    for (const { id, dueMs } of ran) if (endMs <= dueMs) late.delete(id);
  return 1 - late.size / all;
}

const NEVER: Slow = { fromMs: 0, untilMs: 0, times: 1 };
const SERVER = ["remote", "remote"];

test.each([
  ["this device", { wasm: 190 }, ["wasm", "wasm"]],
  ["a server", { remote: 190 }, SERVER],
  ["this device beside a server", { wasm: 250, remote: 190 }, ["wasm", ...SERVER]],
] as const)(
  "after three seconds in which runs took twice as long, %s answers as before (slow while)",
  (_, msOn, lanes) => {
    const before = onTimeAfter(msOn, lanes, NEVER);
    expect(before).toBeGreaterThan(0.7);
    expect(onTimeAfter(msOn, lanes, { fromMs: 5_000, untilMs: 8_000, times: 2 })).toBeGreaterThan(0.95 * before);
  },
);

test("a server that took five times as long for twenty seconds is tried again (slow server)", () => {
  const lanes = ["wasm", ...SERVER];
  const before = onTimeAfter({ wasm: 250, remote: 190 }, lanes, NEVER);
  const after = onTimeAfter({ wasm: 250, remote: 190 }, lanes, { fromMs: 5_000, untilMs: 25_000, times: 5 });
  expect(after).toBeGreaterThan(0.7 * before);
});

test("a lane that is too slow for the deadline seldom runs in vain", () => {
  const jobs = Array.from({ length: 480 }, (_, id): Job => {
    return { id, atMs: id * EVERY_MS, dueMs: id * EVERY_MS + DEADLINE_MS, model: 0, factor: 1 };
  });
  const models = [{ maxRows: 1, msOn: { wasm: (rows: number) => rows * 350 } }];
  const rest = { isLearned: true, countsFromMs: 0, endMs: Infinity, clockMs: 0, noise: 0.1 };
  const { runs } = drive({ lanes: ["wasm"], models, jobs, ...rest }, 1);
  expect(runs.length).toBeLessThan(25);
});

test("requests that are nearly always late leave the lane to work that is as urgent (slow for good)", () => {
  // The first ones are short, and then one in sixteen: that must not let the others, which take too long, in front.
  const late = Array.from({ length: 400 }, (_, i): Job => {
    const atMs = i * EVERY_MS;
    return { id: i, atMs, dueMs: atMs + DEADLINE_MS, model: 0, factor: i < 16 || i % 16 === 0 ? 0.05 : 1 };
  });
  const bulk = Array.from({ length: 3_000 }, (_, i): Job => {
    return { id: 400 + i, atMs: 0, dueMs: Infinity, model: 1, factor: 1 };
  });
  const models = [350, 20].map((ms) => ({ maxRows: 1, msOn: { wasm: (rows: number) => rows * ms } }));
  const rest = { isLearned: true, countsFromMs: 0, endMs: Infinity, clockMs: 0, noise: 0 };
  const jobs = [...bulk.slice(0, 1), ...late, ...bulk.slice(1)].sort((a, b) => a.atMs - b.atMs);
  const { runs } = drive({ lanes: ["wasm"], models, jobs, ...rest }, 1);
  const untilMs = 50_000;
  const done = runs.filter(({ jobs: [job], endMs }) => job?.model === 1 && endMs <= untilMs).length;
  expect(done).toBeGreaterThan(0.85 * (untilMs / 20));
});
