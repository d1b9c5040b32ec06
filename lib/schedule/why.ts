// Why a batch starts where and as it does: which code fits, and the numbers that the decision was made by. Part of the
// decision, so that a trace tells it and a replay must find the same; sentences are made of it elsewhere.
import { isUsual } from "./lanes.ts";
import type { LaneView, StartWhy } from "./protocol.ts";

/** A lane as its reason is found: what is expected of it, and what it has. */
export interface Option {
  readonly lane: Pick<LaneView, "id" | "kind">;
  readonly endMs: number;
  readonly batches: readonly unknown[];
}

/** What a batch was decided by. */
export interface Grounds {
  readonly now: number;
  readonly chosen: Option;
  /** All lanes on which it could have run. */
  readonly options: readonly Option[];
  /** Whether the state that it goes on from lies there. */
  readonly hasState: boolean;
  /** Null where it runs alone whatever waits. */
  readonly shape: string | null;
  /** How many steps run together, and their rows. */
  readonly count: number;
  readonly rows: number;
  /** When the first of them came. */
  readonly firstMs: number;
  /** Whether something else waits that could have run with it. */
  readonly hasPeer: boolean;
  /** How many rows are cheapest together. */
  readonly bestRows: number;
  /** On how many lanes what waits could be spread. */
  readonly idleLanes: number;
  /** What so many rows take together; undefined where that is not known. */
  readonly msOf: (rows: number) => number | undefined;
}

/** Gives the reasons for a start. */
export function whyStart(grounds: Grounds): StartWhy {
  const { now, chosen, options, count, rows, firstMs, msOf } = grounds;
  const others = options.filter((x) => x !== chosen && isUsual(x)).sort((a, b) => a.endMs - b.endMs);
  const [other] = others;
  // For one that runs alone: what it would take with another one like it.
  const together = count > 1 ? rows : 2 * rows;
  const one = msOf(rows / count);
  return {
    lane: laneCode(grounds, other),
    inMs: chosen.endMs - now,
    other: other?.lane.id ?? null,
    otherInMs: other === undefined ? null : other.endMs - now,
    batch: batchCode(grounds, one),
    waitedMs: now - firstMs,
    apartMs: one === undefined ? null : (one * together * count) / rows,
    togetherMs: msOf(together) ?? null,
  };
}

function laneCode({ chosen, hasState }: Grounds, other: Option | undefined): StartWhy["lane"] {
  if (hasState) return "state-kept";
  if (!isUsual(chosen)) return `${chosen.lane.kind as "express" | "wide"}-lane`;
  if (other === undefined) return "only-lane";
  return other.endMs < chosen.endMs && other.batches.length > 1 ? "lane-full" : "first-through";
}

function batchCode(grounds: Grounds, one: number | undefined): StartWhy["batch"] {
  const { shape, count, rows, hasPeer, bestRows, idleLanes, msOf } = grounds;
  if (count > 1) {
    const together = msOf(rows);
    return one !== undefined && together !== undefined && together < one * count ? "batched" : "batch-tried";
  }
  if (shape === null) return "unbatchable";
  if (!hasPeer) return "nothing-to-join";
  if (bestRows <= rows) return "batch-costs";
  return idleLanes > 1 ? "batch-spread" : "batch-bounded";
}
