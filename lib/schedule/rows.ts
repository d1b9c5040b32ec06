// Batch size: how many of the queued steps run together on the picked lane, and with which of them the batch begins.
import type { Estimate } from "./cost-estimate.ts";
import type { Chance } from "./lane-state.ts";
import type { Waiting } from "./queue.ts";

/** A lane that was picked for a step. */
export interface Pick {
  readonly waiting: Waiting;
  readonly chance: Chance;
  /** When a batch there must end to be worthwhile: by then the lane that it relieves would have run all queued work. */
  readonly latestMs: number;
}

/** Number of rows to run together, and the first of their steps. */
export interface Wanted {
  readonly from: Waiting;
  readonly rows: number;
}

/** Inputs of the choice of rows, beside the lane. */
interface Given {
  readonly estimate: Estimate;
  readonly chances: readonly Chance[];
  /** Number of queued steps that can run together. */
  readonly waiting: number;
  /** Maximum duration of the batch. */
  readonly batchMs: number;
  readonly now: number;
}

/** A batch that skips the first deadlines must run so many times the rows in the same time. */
const SKIP = 1.2;

/**
 * Returns the number of rows to run together: the cheapest size per row, shared among the idle lanes, and in time for
 * the deadlines. Where the first deadlines allow only a small batch, after which the later ones would miss theirs, the
 * batch skips the first.
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

/** Counts the idle lanes of the same kind that hold the model. */
export function idleLanes({ key }: Chance, chances: readonly Chance[]): number {
  let count = 0;
  for (const x of chances) if (x.key === key && !x.isCold && x.batches.length === 0) count += 1;
  return count;
}
