// Decides a recorded trace again, and counts what it recorded, for `selvedge replay`.
import { repeatDecisions } from "./repeat-decisions.ts";
import type { TraceFile } from "./file.ts";
import { reportOf } from "./report.ts";
import type { ReplayReport } from "./report.ts";

/** Repeats a trace's decisions. */
export function replayTrace(trace: TraceFile): ReplayReport {
  const again = repeatDecisions(trace);
  const { recorded, open } = reportOf(trace);
  const notes: string[] = [];
  if (open > 0) notes.push(`${open} requests were open at the end of the record; they are left out.`);
  if (trace.isCut) notes.push("The record was cut because it had become too long.");
  return { seconds: (trace.endMs - trace.startMs) / 1_000, isCut: trace.isCut, again, recorded, notes };
}
