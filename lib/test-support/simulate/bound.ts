// A bound for the scheduler: the goodput of the field's policies that know the true costs, on the same lanes with the
// same batching, with requests revealed as they arrive: earliest deadline first (EDF), least slack first, shortest job
// first. All are non-preemptive. Each runs with two kinds of admission: requests that can no longer be on time are
// dropped at start (as in Clockwork, OSDI 2020), or a request is accepted only where a plan of all that waits keeps its
// deadlines (the schedulability test of real-time systems). `upperBound` is an optimum of a relaxation: no schedule
// exceeds it.
import { countsUntilMs, goodput, rowsMs } from "./workload.ts";
import type { Job, ModelCosts, Run, Workload } from "./workload.ts";

/** Orders in which a policy starts queued requests. */
export const ORDERS = ["earliest deadline", "least slack", "shortest job"] as const;
/** Admission control of a policy: at start, or on arrival by a plan. */
export const ADMISSIONS = ["drop at start", "plan on arrival"] as const;

/** A policy: an order and an admission control. */
export interface SchedulingPolicy {
  readonly order: (typeof ORDERS)[number];
  readonly admission: (typeof ADMISSIONS)[number];
}

/** Every policy. */
export const POLICIES: readonly SchedulingPolicy[] = ORDERS.flatMap((order) =>
  ADMISSIONS.map((admission) => ({ order, admission })),
);

/** A further row must make a batch cheaper per row at least by this factor. */
const PAYS = 0.999;
/** Number of values that densities are rounded up to for the upper bound: each takes one pass over all requests. */
const DENSITIES = 32;

/** A queued request with its sort key. */
interface Entry {
  readonly job: Job;
  readonly key: number;
  /** Last moment at which an answer counts. */
  readonly untilMs: number;
  /** Duration alone on the fastest lane. */
  readonly leastMs: number;
}

/** The best policy of a workload. */
export interface Best {
  readonly policy: SchedulingPolicy;
  readonly goodput: number;
}

/** Returns the best of the policies and its goodput. */
export function bestPolicy(workload: Workload): Best {
  let best: Best | null = null;
  for (const policy of POLICIES) {
    const count = goodput(workload, runPolicy(workload, policy));
    if (best === null || count > best.goodput) best = { policy, goodput: count };
  }
  return best as Best;
}

/** Executes a workload by a policy; returns the runs. */
export function runPolicy(workload: Workload, { order, admission }: SchedulingPolicy): Run[] {
  const { lanes, jobs } = workload;
  const freeMs = lanes.map(() => 0);
  const waiting: Entry[] = [];
  const runs: Run[] = [];
  let next = 0;
  for (let now = 0; ;) {
    for (; (jobs[next]?.atMs ?? Infinity) <= now; next += 1) {
      const entry = entryOf(workload, jobs[next] as Job, order);
      const at = place(waiting, entry);
      waiting.splice(at, 0, entry);
      if (admission === "plan on arrival" && !isSchedulable(workload, waiting, freeMs, now)) waiting.splice(at, 1);
    }
    startAll(workload, waiting, freeMs, now, (run) => runs.push(run));
    let then = jobs[next]?.atMs ?? Infinity;
    if (waiting.length > 0) for (const ms of freeMs) if (ms > now && ms < then) then = ms;
    if (then === Infinity) return runs;
    now = then;
  }
}

function entryOf(workload: Workload, job: Job, order: SchedulingPolicy["order"]): Entry {
  const { lanes, models } = workload;
  const model = models[job.model] as ModelCosts;
  const leastMs = Math.min(...lanes.map((backend) => rowsMs(model, backend, 1, job.factor)));
  const key = order === "shortest job" ? leastMs : order === "least slack" ? job.dueMs - leastMs : job.dueMs;
  return { job, key, untilMs: countsUntilMs(workload, job), leastMs };
}

/** Returns the insertion index of an entry: by its key, then by arrival. */
function place(waiting: readonly Entry[], { key }: Entry): number {
  let low = 0;
  let high = waiting.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((waiting[middle] as Entry).key <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Starts all that can start, on the fastest lanes first; drops requests that can't be on time. Returns whether any was
 * dropped.
 */
function startAll(
  workload: Workload,
  waiting: Entry[],
  freeMs: number[],
  now: number,
  onRun: (run: Run) => void,
): boolean {
  let isDropped = false;
  for (let i = waiting.length - 1; i >= 0; i -= 1) {
    const { untilMs, leastMs } = waiting[i] as Entry;
    if (now + leastMs <= untilMs) continue;
    waiting.splice(i, 1);
    isDropped = true;
  }
  for (let lane = 0; lane < freeMs.length && waiting.length > 0; lane += 1) {
    if ((freeMs[lane] as number) > now) continue;
    const run = takeBatch(workload, waiting, lane, now);
    if (run === null) continue;
    freeMs[lane] = run.endMs;
    onRun(run);
  }
  return isDropped;
}

/**
 * Takes the first request that a lane can answer in time, and those of its model that make the batch cheaper per row.
 */
function takeBatch(workload: Workload, waiting: Entry[], lane: number, now: number): Run | null {
  const { lanes, models } = workload;
  const backend = lanes[lane] as string;
  const fits = ({ job, untilMs }: Entry): boolean =>
    now + rowsMs(models[job.model] as ModelCosts, backend, 1, job.factor) <= untilMs;
  const from = waiting.findIndex(fits);
  const head = waiting[from];
  if (head === undefined) return null;
  const model = models[head.job.model] as ModelCosts;
  const taken = [from];
  let factors = head.job.factor;
  let untilMs = head.untilMs;
  let endMs = now + rowsMs(model, backend, 1, factors);
  for (let i = from + 1; i < waiting.length && taken.length < model.maxRows; i += 1) {
    const { job, untilMs: itsMs } = waiting[i] as Entry;
    if (job.model !== head.job.model) continue;
    const rows = taken.length + 1;
    if (rowsMs(model, backend, rows, 1) >= PAYS * rowsMs(model, backend, rows - 1, 1)) break;
    const withIt = now + rowsMs(model, backend, rows, factors + job.factor);
    if (withIt > Math.min(untilMs, itsMs)) continue;
    taken.push(i);
    factors += job.factor;
    untilMs = Math.min(untilMs, itsMs);
    endMs = withIt;
  }
  const jobs = taken.map((i) => (waiting[i] as Entry).job);
  for (const i of taken.reverse()) waiting.splice(i, 1);
  return { lane, startMs: now, endMs, jobs };
}

/** Whether all queued requests are answered in time if nothing else arrives. */
function isSchedulable(
  workload: Workload,
  entries: readonly Entry[],
  lanesFreeMs: readonly number[],
  from: number,
): boolean {
  const waiting = [...entries];
  const freeMs = [...lanesFreeMs];
  for (let now = from; ;) {
    if (startAll(workload, waiting, freeMs, now, () => undefined)) return false;
    if (waiting.length === 0) return true;
    let then = Infinity;
    for (const ms of freeMs) if (ms > now && ms < then) then = ms;
    if (then === Infinity) return false;
    now = then;
  }
}

/**
 * Returns a goodput that no schedule exceeds: requests may be interrupted, moved and answered in part, each lane is as
 * fast as with its cheapest batch per row, and all lanes work on any request. This relaxation is one machine of that
 * speed, on which EDF completes the most work of any set of requests; these amounts are a polymatroid's ranks, so
 * taking sets by falling requests per ms is optimal (Edmonds 1970).
 */
export function upperBound(workload: Workload): number {
  const { lanes, models, jobs } = workload;
  const leastMs = models.map((model) => lanes.map((backend) => cheapestMs(model, backend)));
  const fastest = leastMs.map((byLane) => Math.min(...byLane));
  let speed = 0;
  for (const lane of lanes.keys())
    speed += Math.max(...leastMs.map((byLane, i) => (fastest[i] as number) / (byLane[lane] as number)));
  const possible = jobs.flatMap((job) => {
    const untilMs = countsUntilMs(workload, job);
    const alone = Math.min(...lanes.map((backend) => rowsMs(models[job.model] as ModelCosts, backend, 1, job.factor)));
    if (
      job.atMs < workload.countsFromMs ||
      job.atMs + Math.min(alone, (fastest[job.model] as number) * job.factor) > untilMs
    )
      return [];
    return [{ atMs: job.atMs, untilMs, work: (fastest[job.model] as number) * job.factor }];
  });
  const works = possible.map(({ work }) => work).sort((a, b) => a - b);
  const limits = Array.from(
    { length: DENSITIES },
    (_, i) => works[Math.ceil(((i + 1) * works.length) / DENSITIES) - 1],
  );
  let count = 0;
  let before = 0;
  let largest = 0;
  for (const limit of new Set(limits)) {
    if (limit === undefined) break;
    const done = edfWork(
      possible.filter(({ work }) => work <= limit),
      speed,
    );
    // All of this step count as its smallest.
    count += (done - before) / (works.find((work) => work > largest) as number);
    [before, largest] = [done, limit];
  }
  return Math.min(possible.length, count);
}

/** Returns the minimum cost of a row on a lane: in the batch that is cheapest per row. */
function cheapestMs(model: ModelCosts, backend: string): number {
  let least = Infinity;
  for (let rows = 1; rows <= model.maxRows; rows += 1) least = Math.min(least, rowsMs(model, backend, rows, 1));
  return least;
}

/** Returns how much work one preemptive machine completes by the deadlines, earliest deadline first. */
function edfWork(
  jobs: readonly { readonly atMs: number; readonly untilMs: number; readonly work: number }[],
  speed: number,
): number {
  const waiting: { untilMs: number; left: number }[] = [];
  let total = 0;
  let now = 0;
  const workUntil = (then: number): void => {
    while (now < then && waiting.length > 0) {
      const first = waiting[waiting.length - 1] as { untilMs: number; left: number };
      const endMs = Math.min(then, first.untilMs, now + first.left / speed);
      if (endMs > now) {
        const done = endMs === now + first.left / speed ? first.left : (endMs - now) * speed;
        first.left -= done;
        total += done;
        now = endMs;
      }
      if (first.left <= 0 || first.untilMs <= now) waiting.pop();
    }
    now = then;
  };
  for (const { atMs, untilMs, work } of jobs) {
    workUntil(atMs);
    let at = waiting.length;
    while (at > 0 && (waiting[at - 1] as { untilMs: number }).untilMs < untilMs) at -= 1;
    waiting.splice(at, 0, { untilMs, left: work });
  }
  workUntil(Infinity);
  return total;
}
