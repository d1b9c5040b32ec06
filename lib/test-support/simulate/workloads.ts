// Families of workloads for the bound: each draws costs, deadlines, arrivals and lanes from a seed.
import type { Random } from "../random.ts";
import type { Job, ModelCosts, Workload } from "./workload.ts";

/** A family of workloads. */
export interface Family {
  readonly name: string;
  readonly draw: (random: Random) => Workload;
}

/** A class of requests. */
interface WorkloadClass {
  readonly model: number;
  readonly deadlineMs: number;
  /** Share of all requests. */
  readonly share: number;
}

/** Requests of a workload. */
const JOBS = 600;
/** Spread of requests' own costs around the model's, and the share that costs three times as much. */
const SPREAD = 0.1;
const OUTLIERS = 0.005;
const NOISE = 0.05;
/** Largest batch of most families: small, so that few requests make many batches. */
const ROWS = 16;
/** Share of the requests that do not count if costs are learned during the workload. */
const LEARNING = 0.5;

/** All families. */
export const FAMILIES: readonly Family[] = [
  {
    name: "three classes at 90 %",
    draw: (random) => threeClasses(random, 0.9),
  },
  { name: "three classes at 200 %", draw: (random) => threeClasses(random, 2) },
  {
    name: "one model, one by one",
    draw: (random) => {
      const costMs = between(random, 2, 500);
      const models = [affine({ wasm: [0, costMs] }, 1)];
      const classes = [{ model: 0, deadlineMs: costMs * between(random, 1.3, 12), share: 1 }];
      return make(random, { lanes: wasm(1 + random.below(4)), models, classes, load: between(random, 0.4, 2.5) });
    },
  },
  {
    name: "one model, batched",
    draw: (random) => {
      const fixedMs = between(random, 1, 100);
      const rowMs = fixedMs * between(random, 0.02, 0.5);
      const models = [affine({ wasm: [fixedMs, rowMs] }, ROWS)];
      const classes = [{ model: 0, deadlineMs: (fixedMs + rowMs) * between(random, 2.5, 20), share: 1 }];
      return make(random, { lanes: wasm(1 + random.below(4)), models, classes, load: between(random, 0.3, 1.5) });
    },
  },
  {
    name: "several models",
    draw: (random) => {
      const models = Array.from({ length: 2 + random.below(3) }, () => {
        const costMs = between(random, 2, 60);
        const fixed = random.chance(0.5) ? between(random, 0.3, 0.9) : 0;
        return affine({ wasm: [fixed * costMs, (1 - fixed) * costMs] }, fixed > 0 ? ROWS : 1);
      });
      const classes = models.map(({ msOn }, model) => {
        const deadlineMs = (msOn["wasm"]?.(1) ?? 0) * between(random, 3, 20);
        return { model, deadlineMs, share: between(random, 1, 6) };
      });
      return make(random, { lanes: wasm(1 + random.below(4)), models, classes, load: between(random, 0.4, 1.5) });
    },
  },
  {
    name: "runs of 0.1 to 30 s",
    draw: (random) => {
      const models = Array.from({ length: 1 + random.below(2) }, () =>
        affine({ wasm: [0, between(random, 100, 30_000)] }, 1),
      );
      const classes = models.map(({ msOn }, model) => {
        const deadlineMs = (msOn["wasm"]?.(1) ?? 0) * between(random, 1.5, 8);
        return { model, deadlineMs, share: 1 };
      });
      return make(random, { lanes: wasm(1 + random.below(2)), models, classes, load: between(random, 0.5, 3) });
    },
  },
  {
    name: "GPU with a wasm fallback",
    draw: (random) => {
      const gpuMs = between(random, 5, 200);
      const wasmMs = gpuMs * between(random, 2, 30);
      const models = [affine({ webgpu: [0, gpuMs], wasm: [0, wasmMs] }, 1)];
      const classes = [{ model: 0, deadlineMs: gpuMs * between(random, 1.5, 10), share: 1 }];
      const lanes = ["webgpu", ...wasm(1 + random.below(2))];
      return make(random, { lanes, models, classes, load: between(random, 0.5, 3) });
    },
  },
  {
    name: "clocks of 0.02, 1 and 100 ms",
    draw: (random) => {
      const clockMs = random.pick([0.02, 1, 100]);
      const fixedMs = clockMs * between(random, 0.2, 5);
      const models = [affine({ wasm: [fixedMs, fixedMs * between(random, 0.05, 0.4)] }, ROWS)];
      const deadlineMs = Math.max(6 * clockMs, (models[0]?.msOn["wasm"]?.(1) ?? 0) * between(random, 5, 20));
      const classes = [{ model: 0, deadlineMs, share: 1 }];
      const load = between(random, 0.3, 1.2);
      return { ...make(random, { lanes: wasm(1 + random.below(2)), models, classes, load }), clockMs };
    },
  },
  {
    name: "costs learned meanwhile",
    draw: (random) => {
      const fixedMs = between(random, 1, 30);
      const models = [affine({ wasm: [fixedMs, fixedMs * between(random, 0.05, 0.4)] }, 8)];
      const deadlineMs = (models[0]?.msOn["wasm"]?.(1) ?? 0) * between(random, 5, 20);
      const classes = [{ model: 0, deadlineMs, share: 1 }];
      const load = between(random, 0.3, 1.2);
      return make(random, { lanes: wasm(1 + random.below(2)), models, classes, load, count: 2_000, isLearned: false });
    },
  },
  {
    name: "bursts",
    draw: (random) => {
      const fixedMs = between(random, 1, 30);
      const models = [affine({ wasm: [fixedMs, fixedMs * between(random, 0.05, 0.5)] }, ROWS)];
      const alone = models[0]?.msOn["wasm"]?.(1) ?? 0;
      const classes = [
        { model: 0, deadlineMs: alone * between(random, 3, 8), share: 1 },
        { model: 0, deadlineMs: alone * between(random, 10, 40), share: 3 },
      ];
      const burst = 2 + random.below(30);
      return make(random, {
        lanes: wasm(1 + random.below(4)),
        models,
        classes,
        load: between(random, 0.3, 1.2),
        burst,
      });
    },
  },
  { name: "slow for a while", draw: (random) => slowWhile(random, false) },
  { name: "slow for a while, beside a server", draw: (random) => slowWhile(random, true) },
  {
    name: "no deadlines beside unmeetable ones",
    draw: (random) => {
      const fixedMs = between(random, 5, 50);
      const models = [affine({ wasm: [fixedMs, fixedMs * between(random, 0.05, 0.3)] }, ROWS)];
      const classes = [
        { model: 0, deadlineMs: Infinity, share: 20 },
        { model: 0, deadlineMs: between(random, 0.05, 0.6) * fixedMs, share: 1 },
      ];
      return make(random, { lanes: wasm(1 + random.below(2)), models, classes, load: between(random, 0.8, 1.2) });
    },
  },
];

/** Parameters from which a workload is drawn. */
interface Draw {
  readonly lanes: readonly string[];
  readonly models: readonly ModelCosts[];
  readonly classes: readonly WorkloadClass[];
  /** Offered load as a multiple of the lanes' capacity with the cheapest batches. */
  readonly load: number;
  /** Mean number of requests that arrive at once. */
  readonly burst?: number;
  readonly count?: number;
  readonly isLearned?: boolean;
}

function make(
  random: Random,
  { lanes, models, classes, load, burst = 1, count = JOBS, isLearned = true }: Draw,
): Workload {
  const shares = classes.reduce((sum, { share }) => sum + share, 0);
  /** Arrivals per ms: the offered load. */
  let rate = 0;
  for (const backend of lanes) {
    let meanMs = 0;
    for (const { model, share } of classes) meanMs += (share / shares) * leastMs(models[model] as ModelCosts, backend);
    rate += load / meanMs;
  }
  const jobs: Job[] = [];
  let atMs = 0;
  while (jobs.length < count) {
    atMs += (-Math.log(1 - random.next()) * burst) / rate;
    const together = burst === 1 ? 1 : 1 + random.below(2 * burst - 1);
    for (let i = 0; i < together && jobs.length < count; i += 1) {
      const { model, deadlineMs } = pick(random, classes, shares);
      const factor = (1 + SPREAD * (2 * random.next() - 1)) * (random.chance(OUTLIERS) ? 3 : 1);
      jobs.push({ id: jobs.length, atMs, dueMs: atMs + deadlineMs, model, factor });
    }
  }
  const countsFromMs = isLearned ? 0 : (jobs[Math.floor(LEARNING * jobs.length)]?.atMs ?? 0);
  return { lanes, models, jobs, isLearned, countsFromMs, endMs: atMs, clockMs: 0, noise: NOISE };
}

/** Draws a class by the shares. */
function pick(random: Random, classes: readonly WorkloadClass[], shares: number): WorkloadClass {
  let at = random.upTo(shares);
  return classes.find(({ share }) => (at -= share) < 0) ?? (classes.at(-1) as WorkloadClass);
}

/**
 * Three classes as in the benchmark: a model that gains little from batching, within 10 ms, and one that gains much,
 * within 100 and 200.
 */
function threeClasses(random: Random, load: number): Workload {
  const scale = between(random, 0.7, 2);
  const models = [affine({ wasm: [0.3 * scale, 0.35 * scale] }, 64), affine({ wasm: [1.2 * scale, 0.28 * scale] }, 64)];
  const classes = [
    { model: 0, deadlineMs: 10, share: 1 },
    { model: 1, deadlineMs: 100, share: 3 },
    { model: 1, deadlineMs: 200, share: 6 },
  ];
  return make(random, { lanes: wasm(2), models, classes, load, count: 2_000 });
}

/**
 * Runs take some times as long for a part of the time, everywhere: the machine, or the line, does something else. Deadlines
 * are such that most can't be met then.
 */
function slowWhile(random: Random, hasServer: boolean): Workload {
  const costMs = between(random, 20, 300);
  const serverMs = costMs * between(random, 0.5, 1.5);
  const models = [affine({ wasm: [0, costMs], ...(hasServer && { remote: [0, serverMs] }) }, 1)];
  const classes = [{ model: 0, deadlineMs: Math.max(costMs, serverMs) * between(random, 1.3, 3), share: 1 }];
  const lanes = [...wasm(1 + random.below(2)), ...(hasServer ? ["remote", "remote"] : [])];
  const workload = make(random, { lanes, models, classes, load: between(random, 0.4, 1), count: 1_500 });
  const fromMs = workload.endMs * between(random, 0.1, 0.4);
  const untilMs = fromMs + workload.endMs * between(random, 0.05, 0.3);
  const times = between(random, 2, 6);
  const jobs = workload.jobs.map((job) =>
    job.atMs >= fromMs && job.atMs < untilMs ? { ...job, factor: times * job.factor } : job,
  );
  return { ...workload, jobs };
}

/** Affine costs by backend: fixed per batch and per row. */
function affine(
  costs: Readonly<Record<string, readonly [fixedMs: number, rowMs: number]>>,
  maxRows: number,
): ModelCosts {
  const msOn = Object.fromEntries(
    Object.entries(costs).map(([backend, [fixedMs, rowMs]]) => [backend, (rows: number) => fixedMs + rowMs * rows]),
  );
  return { msOn, maxRows };
}

/** Returns the cost of a row in the cheapest batch. */
function leastMs({ msOn, maxRows }: ModelCosts, backend: string): number {
  return (msOn[backend]?.(maxRows) ?? Infinity) / maxRows;
}

function wasm(count: number): string[] {
  return Array.from({ length: count }, () => "wasm");
}

/** Draws a number between two, log-uniformly. */
function between(random: Random, low: number, high: number): number {
  return low * (high / low) ** random.next();
}
