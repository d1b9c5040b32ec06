import fc from "fast-check";
import { expect, test } from "vitest";
import { bestPolicy, POLICIES, runPolicy, upperBound } from "./bound.ts";
import { drive } from "./drive.ts";
import { judge, summarise } from "./judge.ts";
import { Random } from "../random.ts";
import { batchMs, countsUntilMs, goodput } from "./workload.ts";
import type { Job, Run, Workload } from "./workload.ts";
import { FAMILIES } from "./workloads.ts";

/** A family and a seed. */
const drawn = fc
  .tuple(fc.constantFrom(...FAMILIES), fc.integer({ min: 1, max: 1e6 }))
  .map(([family, seed]) => ({ name: family.name, seed, workload: short(family.draw(new Random(seed))) }));

/** The first few requests of a workload: what holds for all holds for few. */
function short(workload: Workload): Workload {
  return { ...workload, jobs: workload.jobs.slice(0, 150) };
}

/** Requests of one model, each with its arrival and its deadline. */
function workloadOf(
  times: readonly (readonly [atMs: number, dueMs: number])[],
  change: Partial<Workload> = {},
): Workload {
  const jobs = times.map(([atMs, dueMs], id): Job => ({ id, atMs, dueMs, model: 0, factor: 1 }));
  const models = [{ maxRows: 1, msOn: { wasm: (rows: number) => 10 * rows } }];
  return {
    lanes: ["wasm"],
    models,
    jobs,
    isLearned: true,
    countsFromMs: 0,
    endMs: 1_000,
    clockMs: 0,
    noise: 0,
    ...change,
  };
}

/** Lists the faults of a schedule. */
function faultsOf(workload: Workload, runs: readonly Run[], noise: number): string[] {
  const faults: string[] = [];
  const seen = new Set<number>();
  const freeMs = new Map<number, number>();
  for (const run of [...runs].sort((a, b) => a.startMs - b.startMs)) {
    const { lane, startMs, endMs, jobs } = run;
    if (startMs < (freeMs.get(lane) ?? 0) - 1e-9) faults.push("two batches on a lane at once");
    freeMs.set(lane, endMs);
    if (new Set(jobs.map(({ model }) => model)).size > 1) faults.push("a batch of two models");
    if (jobs.length > (workload.models[jobs[0]?.model ?? 0]?.maxRows ?? 0)) faults.push("a batch that is too large");
    const ratio = (endMs - startMs) / batchMs(workload, lane, jobs);
    if (Math.abs(ratio - 1) > noise + 1e-9) faults.push("a run with a cost that is not its own");
    for (const { id, atMs } of jobs) {
      if (seen.has(id)) faults.push(`request ${id} ran twice`);
      if (startMs < atMs - 1e-9) faults.push(`request ${id} ran before it arrived`);
      seen.add(id);
    }
  }
  return faults;
}

test("policies make schedules that lanes can execute, and start nothing in vain", () => {
  fc.assert(
    fc.property(drawn, fc.constantFrom(...POLICIES), ({ workload }, policy) => {
      const runs = runPolicy(workload, policy);
      expect(faultsOf(workload, runs, 0)).toEqual([]);
      for (const { endMs, jobs } of runs)
        for (const job of jobs) expect(endMs).toBeLessThanOrEqual(countsUntilMs(workload, job));
    }),
    { numRuns: 60 },
  );
});

test("the scheduler's schedules can be executed too, and each request is answered or rejected once", () => {
  fc.assert(
    fc.property(drawn, ({ workload, seed }) => {
      const { runs, rejectedMs } = drive(workload, seed);
      expect(faultsOf(workload, runs, workload.noise)).toEqual([]);
      const ran = runs.flatMap(({ jobs }) => jobs.map(({ id }) => id));
      expect([...ran, ...rejectedMs.keys()].sort((a, b) => a - b)).toEqual(workload.jobs.map(({ id }) => id));
    }),
    { numRuns: 60 },
  );
});

test("no schedule exceeds the upper bound", () => {
  fc.assert(
    fc.property(drawn, ({ workload, seed }) => {
      const upper = upperBound(workload);
      expect(upper).toBeLessThanOrEqual(workload.jobs.length);
      expect(bestPolicy(workload).goodput).toBeLessThanOrEqual(upper + 1e-6);
      // Runs may be shorter than their cost by the noise.
      const exact = { ...workload, noise: 0 };
      expect(goodput(exact, drive(exact, seed).runs)).toBeLessThanOrEqual(upper + 1e-6);
    }),
    { numRuns: 60 },
  );
});

test("the upper bound is reached where one lane is enough, and falls where it is not", () => {
  const apart = workloadOf([
    [0, 10],
    [10, 20],
    [20, 30],
  ]);
  expect(upperBound(apart)).toBe(3);
  expect(bestPolicy(apart).goodput).toBe(3);
  // Three at once of which two fit: at most half of the third is finished.
  const crowded = workloadOf([
    [0, 25],
    [0, 25],
    [0, 25],
  ]);
  expect(upperBound(crowded)).toBe(2.5);
  expect(bestPolicy(crowded).goodput).toBe(2);
  // A request due earlier than its own run takes is never answered, whatever the load.
  expect(upperBound(workloadOf([[0, 9]]))).toBe(0);
});

test("the upper bound prefers the cheapest requests", () => {
  const models = [
    { maxRows: 1, msOn: { wasm: () => 10 } },
    { maxRows: 1, msOn: { wasm: () => 1 } },
  ];
  const jobs = [0, 1, 1, 1, 1].map((model, id): Job => ({ id, atMs: 0, dueMs: 10, model, factor: 1 }));
  expect(upperBound(workloadOf([], { models, jobs }))).toBeCloseTo(4.6);
});

test("a plan on arrival rejects requests that would make others late; dropping at start may answer fewer", () => {
  // Batches of two cost as much as one. By deadline the short one goes first, alone, and both others are late.
  const models = [
    { maxRows: 1, msOn: { wasm: () => 10 } },
    { maxRows: 2, msOn: { wasm: () => 10 } },
  ];
  const jobs = [
    { id: 0, atMs: 0, dueMs: 15, model: 1, factor: 1 },
    { id: 1, atMs: 0, dueMs: 15, model: 1, factor: 1 },
    { id: 2, atMs: 0, dueMs: 12, model: 0, factor: 1 },
  ];
  const workload = workloadOf([], { models, jobs });
  const by = (admission: (typeof POLICIES)[number]["admission"]): number =>
    goodput(workload, runPolicy(workload, { order: "earliest deadline", admission }));
  expect(by("plan on arrival")).toBe(2);
  expect(by("drop at start")).toBe(1);
});

test("requests without a deadline count where they are answered by the end", () => {
  const workload = workloadOf(
    [
      [0, Infinity],
      [0, Infinity],
      [0, Infinity],
    ],
    { endMs: 20 },
  );
  expect(bestPolicy(workload).goodput).toBe(2);
  expect(goodput(workload, drive(workload, 1).runs)).toBe(2);
});

test("the same seed is judged alike twice, and families are summed up by their worst seed", () => {
  const [family] = FAMILIES;
  if (family === undefined) throw new Error("there are no families");
  const tiny = { ...family, draw: (random: Random) => short(family.draw(random)) };
  const verdicts = [1, 2, 3].map((seed) => judge(tiny, seed));
  expect(judge(tiny, 2)).toEqual(verdicts[1]);
  const { least, leastSeed, workloads, mean } = summarise("x", verdicts);
  const ratios = verdicts.map(({ ours, best }) => ours / best);
  expect(least).toBe(Math.min(...ratios));
  expect(leastSeed).toBe(1 + ratios.indexOf(least));
  expect(workloads).toBe(3);
  expect(mean).toBeCloseTo(ratios.reduce((a, b) => a + b) / 3);
});
