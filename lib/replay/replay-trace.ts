// Decides a recorded trace again, and with other settings, for `selvedge replay`.
import { decideAgain } from "./again.ts";
import type { Change } from "./change.ts";
import type { TraceFile } from "./file.ts";
import { reportOf } from "./report.ts";
import type { Report } from "./report.ts";
import { recorded, whatIf } from "./what-if.ts";

/** Repeats a trace's decisions; with a change also simulates it. */
export function replayTrace(trace: TraceFile, change: Change | null): Report {
  const again = decideAgain(trace);
  const happened = recorded(trace);
  const notes: string[] = [];
  // Requests still open at the end of the record can't be compared.
  const ids = new Set(happened.requests.filter((x) => x.outcome !== "open").map((x) => x.step.id));
  const left = happened.requests.length - ids.size;
  if (left > 0) notes.push(`${left} requests were open at the end of the record; they are left out.`);
  if (trace.isCut) notes.push("The record was cut because it had become too long.");
  const simulated = change === null ? null : whatIf(trace, happened, {});
  const changed = change === null ? null : whatIf(trace, happened, change);
  if (simulated !== null) {
    const { failures = 0, unknown = new Set<number>() } = simulated.costs ?? {};
    if (failures > 0) notes.push(`${failures} batches failed during the record; the simulation has no faults.`);
    for (const id of unknown)
      notes.push(`${trace.models.get(id)?.name ?? `model ${id}`} did not run during the record: its cost is a guess.`);
    notes.push(
      "Simulated: same arrivals, measured costs; callers that await answers would have called at other times.",
    );
    if (change?.lanes !== undefined)
      notes.push("More lanes than cores slow each other down; the measured costs do not include that.");
  }
  return {
    seconds: (trace.endMs - trace.startMs) / 1_000,
    isCut: trace.isCut,
    again,
    change,
    recorded: reportOf(happened, ids),
    simulated: simulated && reportOf(simulated, ids),
    changed: changed && reportOf(changed, ids),
    notes,
  };
}
