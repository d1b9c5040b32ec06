// Forms a batch for the picked lane: how many of the queued steps run together, with which of them it begins, and which
// join it in time for all their deadlines.
import type { Estimate } from "./cost-estimate.ts";
import type { StartWhy, ScheduledStep } from "./events.ts";
import { whyStart } from "./explain-start.ts";
import { stateOf } from "./lane-option.ts";
import type { LaneOption } from "./lane-option.ts";
import type { Queue, WaitingStep } from "./queue.ts";

/** A lane that was picked for a step. */
export interface LanePick {
  readonly waiting: WaitingStep;
  readonly option: LaneOption;
  /** When a batch there must end to be worthwhile: by then the lane that it relieves would have run all queued work. */
  readonly latestMs: number;
}

/** A batch, taken out of the queue. */
export interface Formed {
  /** The step that the others joined. */
  readonly step: ScheduledStep;
  /** All steps by id, in the order of their rows. */
  readonly steps: Map<number, ScheduledStep>;
  readonly rows: number;
  /** Estimated duration of the run. */
  readonly ms: number;
  /** Whether all steps allow the lane to be ended for them. */
  readonly preempt: boolean;
  readonly why: StartWhy;
}

/** Number of rows to run together, and the first of their steps. */
interface WantedRows {
  readonly from: WaitingStep;
  readonly rows: number;
}

/** Inputs beside the picked lane. */
interface Given {
  readonly estimate: Estimate;
  readonly queue: Queue;
  readonly options: readonly LaneOption[];
  /** Maximum duration of a batch without a deadline. */
  readonly batchMs: number;
  readonly now: number;
}

/**
 * A batch that skips the first deadlines must run so many times the rows in the same time; clearly more where it is not
 * full, since later steps could fill it.
 */
const SKIP = 1.2;
const SKIP_UNFILLED = 1.5;

/** Forms a batch and takes its steps out of the queue. */
export function formBatch(pick: LanePick, given: Given): Formed {
  const { estimate, queue, options, now } = given;
  const { key, freeMs, endMs, ms: aloneMs } = pick.option;
  const { from: first, rows: wanted } = wantedRows(pick, given);
  const { step, group } = first;
  const steps = new Map<number, ScheduledStep>();
  let { dueMs, preempt } = step;
  let rows = 0;
  let ms = 0;
  let firstMs = now;
  const at = group.steps.from(step.dueMs);
  for (let next: WaitingStep | undefined = first; next !== undefined;) {
    const withNext = estimate.ms(key, rows + next.step.rows) ?? aloneMs;
    const highMs = estimate.highMs(key, rows + next.step.rows) ?? aloneMs;
    dueMs = Math.min(dueMs, next.step.dueMs);
    if (rows > 0 && (rows + next.step.rows > wanted || endMs - aloneMs + highMs > dueMs)) break;
    queue.serve(next, withNext - ms, freeMs + withNext);
    rows += next.step.rows;
    ms = withNext;
    preempt &&= next.step.preempt;
    steps.set(next.id, next.step);
    firstMs = Math.min(firstMs, next.step.arrivedMs);
    next = group.steps.at(at) ?? (group.steps.size === 0 ? queue.peer(group) : undefined);
  }
  const why = whyStart({
    now,
    chosen: pick.option,
    options,
    hasState: step.state !== undefined && stateOf(step, pick.option) === step.state.after,
    shape: step.shape,
    count: steps.size,
    rows,
    firstMs,
    hasPeer: queue.peer(group) !== undefined,
    bestRows: estimate.rows(key, step.batching.maxBatchSize, step.shape, now),
    idleLanes: idleLanes(pick.option, options),
    msOf: (n) => estimate.ms(key, n),
  });
  return { step, steps, rows, ms, preempt, why };
}

/**
 * Returns the number of rows to run together: the cheapest size per row, shared among the idle lanes, and in time for
 * the deadlines. Where the first deadlines allow only a small batch, after which the later ones would miss theirs, the
 * batch skips the first.
 */
function wantedRows({ waiting, option, latestMs }: LanePick, given: Given): WantedRows {
  const { estimate, options, now } = given;
  const { step, group } = waiting;
  const { shape, rows, batching } = step;
  if (shape === null) return { from: waiting, rows };
  const { maxBatchSize, preferredBatchSizes } = batching;
  const { key, endMs, ms } = option;
  const startMs = endMs - ms;
  const idle = idleLanes(option, options) || 1;
  const highMs = (n: number): number => estimate.highMs(key, n) ?? 0;
  const most = Math.min(maxBatchSize, Math.ceil((given.queue.count(group) * rows) / idle));
  let best = estimate.rows(key, most, shape, now);
  best = Math.max(0, ...preferredBatchSizes.filter((size) => size <= best)) || best;
  const mostMs = Math.min(latestMs - startMs, step.dueMs < Infinity ? Infinity : given.batchMs);
  while (best > rows && (estimate.ms(key, best) ?? 0) > mostMs) best = Math.floor(best / 2);
  let fit = best;
  while (fit > rows && startMs + highMs(fit) > step.dueMs) fit = Math.floor(fit / 2);
  const after = group.steps.at(Math.floor(fit / rows));
  if (fit === best || after === undefined || after.step.dueMs >= startMs + (estimate.ms(key, fit) ?? 0) + highMs(rows))
    return { from: waiting, rows: fit };
  return skipping(best, { from: waiting, rows: fit }, option, given);
}

/**
 * Returns the batch that skips the steps with which it would be late for their deadlines, of the number of rows that
 * runs most of them in a time; the small batch that skips none where no other is clearly better.
 */
function skipping(best: number, small: WantedRows, { key, endMs, ms }: LaneOption, { estimate }: Given): WantedRows {
  const { group, step } = small.from;
  const smallMs = estimate.ms(key, small.rows) ?? 0;
  let wanted = small;
  let mostRows = 0;
  for (let size = best; size > small.rows; size = Math.floor(size / 2)) {
    const at = group.steps.from(endMs - ms + (estimate.highMs(key, size) ?? 0));
    const from = group.steps.at(at);
    const rows = Math.min(size, (group.steps.size - at) * step.rows);
    if (from === undefined || rows <= small.rows) continue;
    // Rows in the time of the small batch.
    const rowsThen = (rows * smallMs) / (estimate.ms(key, rows) ?? Infinity);
    if (rowsThen <= Math.max(mostRows, small.rows * (rows < size ? SKIP_UNFILLED : SKIP))) continue;
    mostRows = rowsThen;
    wanted = { from, rows };
  }
  return wanted;
}

/** Counts the idle lanes of the same kind that hold the model. */
function idleLanes({ key }: LaneOption, options: readonly LaneOption[]): number {
  let count = 0;
  for (const x of options) if (x.key === key && !x.isCold && x.batches.length === 0) count += 1;
  return count;
}
