// How many of the steps that wait run together on the lane that was picked, and with which of them the batch begins.
import type { Estimate } from "./cost-estimate.ts";
import type { Chance } from "./lane-state.ts";
import type { Waiting } from "./queue.ts";

/** A lane that was picked for a step. */
export interface Pick {
  readonly waiting: Waiting;
  readonly chance: Chance;
  /** When a batch there must be through to be worth it: the lane that it is spared would be through with all then. */
  readonly latestMs: number;
}

/** The rows that are to run together, and the first of their steps. */
export interface Wanted {
  readonly from: Waiting;
  readonly rows: number;
}

/** All that a choice of rows depends on beside the lane. */
interface Given {
  readonly estimate: Estimate;
  readonly chances: readonly Chance[];
  /** How many steps wait that can run together. */
  readonly waiting: number;
  /** How long the batch may take at the most. */
  readonly batchMs: number;
  readonly now: number;
}

/** A batch that begins behind the first deadlines must do so many times the rows in the same time. */
const SKIP = 1.2;

/**
 * How many rows are to run together: what is cheapest a row, shared among the lanes that idle, and soon enough. Where
 * the first deadlines allow a small batch only, and those behind them would be late after it, the batch begins behind
 * them.
 */
export function wantedRows({ waiting, chance, latestMs }: Pick, given: Given): Wanted {
  const { estimate, chances, now } = given;
  const { step, group } = waiting;
  const { shape, rows, batching } = step;
  if (shape === null) return { from: waiting, rows };
  const { maxBatchSize, preferredBatchSizes } = batching;
  const { key, endMs, ms } = chance;
  const startMs = endMs - ms;
  const idle = idleLanes(chance, chances) || 1;
  const highMs = (n: number): number => estimate.highMs(key, n) ?? 0;
  const most = Math.min(maxBatchSize, Math.ceil((given.waiting * rows) / idle));
  let best = estimate.rows(key, most, shape, now);
  best = Math.max(0, ...preferredBatchSizes.filter((size) => size <= best)) || best;
  const mostMs = Math.min(latestMs - startMs, given.batchMs);
  while (best > rows && (estimate.ms(key, best) ?? 0) > mostMs) best = Math.floor(best / 2);
  let fit = best;
  while (fit > rows && startMs + highMs(fit) > step.dueMs) fit = Math.floor(fit / 2);
  const after = group.steps.at(Math.floor(fit / rows));
  if (fit === best || after === undefined || after.step.dueMs >= startMs + (estimate.ms(key, fit) ?? 0) + highMs(rows))
    return { from: waiting, rows: fit };
  for (let size = best; size > fit; size = Math.floor(size / 2)) {
    const at = group.steps.from(startMs + highMs(size));
    const from = group.steps.at(at);
    if (from === undefined || (group.steps.size - at) * rows < size) continue;
    const pays = (size * (estimate.ms(key, fit) ?? 0)) / (estimate.ms(key, size) ?? Infinity);
    if (pays > SKIP * fit) return { from, rows: size };
  }
  return { from: waiting, rows: fit };
}

/** Counts the lanes like one that idle and hold the model. */
export function idleLanes({ key }: Chance, chances: readonly Chance[]): number {
  let count = 0;
  for (const x of chances) if (x.key === key && !x.isCold && x.batches.length === 0) count += 1;
  return count;
}
