// Reasons for the start of a batch: the codes that apply, and the numbers that decided. They are part of the decision,
// so that a trace records them and a replay must reproduce them; explain-run.ts writes the sentences.
import { isServer } from "../core/device.ts";
import { isUsual } from "./lane-option.ts";
import type { LaneView, StartWhy } from "./events.ts";

/** A lane as an option for a batch: its estimated finish and its queue. */
export interface LaneChoice {
  readonly lane: Pick<LaneView, "id" | "kind" | "backend">;
  readonly endMs: number;
  readonly batches: readonly unknown[];
}

/** Facts behind the decision on a batch. */
export interface StartGrounds {
  readonly now: number;
  readonly chosen: LaneChoice;
  /** All lanes that could have run it. */
  readonly options: readonly LaneChoice[];
  /** Whether the lane holds the recurrent state that it continues. */
  readonly hasState: boolean;
  /** Key of the shape that it can be batched by; null where it is never batched. */
  readonly shape: string | null;
  /** Number of requests in the batch. */
  readonly count: number;
  /** Number of rows in the batch. */
  readonly rows: number;
  /** Arrival of the first request of the batch. */
  readonly firstMs: number;
  /** Whether another queued request could have been batched with it. */
  readonly hasPeer: boolean;
  /** Number of rows with the least time per row. */
  readonly bestRows: number;
  /** Number of idle lanes that could run queued requests. */
  readonly idleLanes: number;
  /** Estimated duration of a batch of so many rows; undefined where it is not known. */
  readonly msOf: (rows: number) => number | undefined;
}

/** Returns the reasons for the start of a batch. */
export function whyStart(grounds: StartGrounds): StartWhy {
  const { now, chosen, options, count, rows, firstMs, msOf } = grounds;
  const others = options.filter((x) => x !== chosen && isUsual(x)).sort((a, b) => a.endMs - b.endMs);
  const [other] = others;
  // For a single request: a batch of two like it.
  const together = count > 1 ? rows : 2 * rows;
  const one = msOf(rows / count);
  return {
    lane: laneCode(grounds, other),
    inMs: chosen.endMs - now,
    other: other?.lane.id ?? null,
    otherInMs: other === undefined ? null : other.endMs - now,
    hereInMs: (others.find(({ lane }) => !isServer(lane))?.endMs ?? Infinity) - now,
    batch: batchCode(grounds, one),
    waitedMs: now - firstMs,
    apartMs: one === undefined ? null : (one * together * count) / rows,
    togetherMs: msOf(together) ?? null,
  };
}

function laneCode({ chosen, hasState }: StartGrounds, other: LaneChoice | undefined): StartWhy["lane"] {
  if (hasState) return "state-kept";
  if (!isUsual(chosen)) return `${chosen.lane.kind as "express" | "wide"}-lane`;
  if (!other) return "only-lane";
  return other.endMs < chosen.endMs && other.batches.length > 1 ? "lane-queue-full" : "earliest-finish";
}

function batchCode(grounds: StartGrounds, one: number | undefined): StartWhy["batch"] {
  const { shape, count, rows, hasPeer, bestRows, idleLanes, msOf } = grounds;
  if (count > 1) {
    const together = msOf(rows);
    return one !== undefined && together !== undefined && together < one * count ? "batched" : "batch-tried";
  }
  if (shape === null) return "unbatchable";
  if (!hasPeer) return "nothing-to-join";
  if (bestRows <= rows) return "batch-costs";
  return idleLanes > 1 ? "lanes-idle" : "batch-limit";
}
