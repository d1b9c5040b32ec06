// Why a request ran where and as it did, in sentences with the numbers behind them: of the codes and numbers that came
// with the scheduler's decision (schedule/why.ts), and of what was tried before. Made when they are read: most answers'
// reasons never are.
import type { StartWhy } from "./schedule/protocol.ts";
import type { Why } from "./why.ts";

/** Why a request ran where and as it did: the first reason, and all of them. */
export interface RunWhy {
  /** Names the first reason: why on that backend, or why it did not run at all. */
  readonly code: Why["code"];
  /** All reasons in one sentence, with the numbers behind them. */
  readonly text: string;
  /** Each reason: why on that backend, after what other tries, why on that lane, and with how many others. */
  readonly reasons: readonly Why[];
}

/** What the reasons are made of. */
export interface Grounds {
  readonly placed: Why;
  readonly start: StartWhy;
  readonly lane: string;
  readonly count: number;
  /** The tries that failed. */
  readonly failures: readonly { readonly lane: string; readonly ms: number; readonly error: string | null }[];
  /** By how much its deadline was missed; 0 or less where it was not. */
  readonly lateMs: number;
}

/** Says why a request ran where and as it did. */
export function explain({ placed, start, lane, count, failures, lateMs }: Grounds): RunWhy {
  const reasons = [placed];
  if (failures.length > 0) {
    const tries = failures.map((x) => `${x.lane} failed after ${show(x.ms)} (${x.error ?? "unknown"})`);
    reasons.push({ code: "again", text: `tried again: ${tries.join(", ")}` });
  }
  reasons.push({ code: start.lane, text: laneText(start, lane) }, { code: start.batch, text: batchText(start, count) });
  if (lateMs > 0) reasons.push({ code: "late", text: `finished ${show(lateMs)} late` });
  return because(reasons);
}

/** Says that an answer was kept. */
export function whyKept(lane: string, ranMs: number): RunWhy {
  const text = `answered from memory: the same inputs were asked before, and took ${show(ranMs)} on ${lane}`;
  return because([{ code: "kept", text }]);
}

/** Says that an answer is that of another request. */
export function whyShared(lane: string, ranMs: number): RunWhy {
  const text = `shares the answer of a request that asked the same meanwhile, and ran ${show(ranMs)} on ${lane}`;
  return because([{ code: "shared", text }]);
}

function because(reasons: readonly Why[]): RunWhy {
  return { code: (reasons[0] as Why).code, text: reasons.map(({ text }) => text).join("; "), reasons };
}

function laneText({ lane: code, inMs, other, otherInMs }: StartWhy, lane: string): string {
  const here = `estimated finish ${show(inMs)} on ${lane}`;
  const elsewhere = other === null ? "" : `, ${show(otherInMs)} on ${other}`;
  switch (code) {
    case "only-lane":
      return `only ${lane} could run it`;
    case "first-through":
      return here + elsewhere;
    case "lane-full":
      return `${here}${elsewhere} (its queue is full)`;
    case "express-lane":
      return `${here}${elsewhere}${other === null ? "" : ", past the deadline"}`;
    case "wide-lane":
      return `${here} (with threads)${elsewhere}`;
    case "state-kept":
      return `${lane} holds its state`;
  }
}

function batchText({ batch, waitedMs, apartMs, togetherMs }: StartWhy, count: number): string {
  switch (batch) {
    case "batched":
      return `batched with ${count - 1}: waiting ${show(waitedMs)} saves ${show((apartMs ?? 0) - (togetherMs ?? 0))}`;
    case "batch-tried":
      return `batched with ${count - 1}: to learn what ${count} take together`;
    case "unbatchable":
      return "alone: its model or its inputs can't be joined with others";
    case "nothing-to-join":
      return "alone: nothing else waited that could run with it";
    case "batch-costs":
      return `alone: two together take ${show(togetherMs)}, one by one ${show(apartMs)}`;
    case "batch-spread":
      return "alone: other lanes were free for what else waited";
    case "batch-bounded":
      return "alone: more would break a deadline or a bound";
  }
}

function show(ms: number | null): string {
  if (ms === null) return "? ms";
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
