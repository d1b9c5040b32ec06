// Sentences of `info.why`, with numbers: from the codes and numbers of the scheduler's decision
// (schedule/explain-start.ts), and from earlier attempts. Written when they are read, since most are never read.
import type { StartWhy } from "../schedule/events.ts";
import type { Why } from "../core/reasons.ts";

/** Reasons for where and how a request ran: the first one, and all of them. */
export interface RunWhy {
  /** Code of the first reason: the choice of the backend, or the reason that nothing had to run. */
  readonly code: Why["code"];
  /** All reasons in one sentence, with their numbers. */
  readonly text: string;
  /** Each reason: the backend, failed attempts, the lane, the batch, and lateness. */
  readonly reasons: readonly Why[];
}

/** Facts from which the reasons are written. */
export interface Grounds {
  readonly routeWhy: Why;
  readonly start: StartWhy;
  readonly lane: string;
  readonly count: number;
  /** Attempts that failed. */
  readonly failures: readonly { readonly lane: string; readonly ms: number; readonly error: string | null }[];
  /** Time between its deadline and its end; 0 or less where it was on time. */
  readonly lateMs: number;
}

/** Returns the reasons for where and how a request ran. */
export function explain({ routeWhy, start, lane, count, failures, lateMs }: Grounds): RunWhy {
  const reasons = [routeWhy];
  if (failures.length > 0) {
    const attempts = failures.map((x) => `${x.lane} failed after ${show(x.ms)} (${x.error ?? "?"})`);
    reasons.push({ code: "retried", text: `retried: ${attempts.join(", ")}` });
  }
  reasons.push({ code: start.lane, text: laneText(start, lane) }, { code: start.batch, text: batchText(start, count) });
  if (lateMs > 0) reasons.push({ code: "late", text: `finished ${show(lateMs)} late` });
  return because(reasons);
}

/** Returns the reason of a request that was coalesced with another one. */
export function whyShared(lane: string, ranMs: number): RunWhy {
  const text = `shares the answer of an equal request, which ran ${show(ranMs)} on ${lane}`;
  return because([{ code: "coalesced", text }]);
}

/** Joins reasons. */
export function because(reasons: readonly Why[]): RunWhy {
  return { code: (reasons[0] as Why).code, text: reasons.map(({ text }) => text).join("; "), reasons };
}

function laneText({ lane: code, inMs, other, otherInMs }: StartWhy, lane: string): string {
  const here = `estimated finish ${show(inMs)} on ${lane}`;
  const elsewhere = other === null ? "" : `, ${show(otherInMs)} on ${other}`;
  switch (code) {
    case "only-lane":
      return `only ${lane} can run it`;
    case "earliest-finish":
      return here + elsewhere;
    case "lane-queue-full":
      return `${here}${elsewhere} (queue full)`;
    case "express-lane":
      return `${here}${elsewhere} (short)`;
    case "wide-lane":
      return `${here} (with threads)${elsewhere}`;
    case "state-kept":
      return `${lane} holds its recurrent state`;
  }
}

function batchText({ batch, waitedMs, apartMs, togetherMs }: StartWhy, count: number): string {
  switch (batch) {
    case "batched":
      return `batched with ${count - 1}: waiting ${show(waitedMs)} saves ${show((apartMs ?? 0) - (togetherMs ?? 0))}`;
    case "batch-tried":
      return `batched with ${count - 1} to try it`;
    case "unbatchable":
      return "not batched: inputs can't be concatenated";
    case "nothing-to-join":
      return "not batched: none that fits was queued";
    case "batch-costs":
      return `not batched: a batch of two takes ${show(togetherMs)}, one by one ${show(apartMs)}`;
    case "lanes-idle":
      return "not batched: other lanes were idle";
    case "batch-limit":
      return "not batched: more would be late or exceed a limit";
  }
}

/** Formats a time. */
export function show(ms: number | null): string {
  if (ms === null) return "? ms";
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
