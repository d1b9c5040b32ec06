// `selvedge replay`: reads a trace of `engine.trace()`, repeats its decisions, and simulates it with other settings.
// Needs Node only: no model is run.
import { readFileSync, statSync } from "node:fs";
import { parseArgs } from "node:util";
import { decideAgain } from "./again.ts";
import { parseChange, SETTINGS } from "./change.ts";
import type { Change } from "./change.ts";
import { readTrace } from "./file.ts";
import type { TraceFile } from "./file.ts";
import { reportOf, toText } from "./report.ts";
import type { Report } from "./report.ts";
import { recorded, whatIf } from "./what-if.ts";

/** Help text of `selvedge replay`. */
export const REPLAY_HELP = `selvedge replay TRACE.json [--set NAME=VALUE …] [--json]

Repeats the scheduler's decisions of a trace of engine.trace(), and reports whether all are the same. With --set it also
simulates the same arrivals with other settings, on lanes whose runs take as long as the recorded ones, and prints the
difference: requests on time, p50 and p99 by class, batch sizes. No model is run; only Node is needed.

  --set NAME=VALUE   may be given more than once:
${Object.entries(SETTINGS)
  .map(([name, [min, max, what]]) => `    ${name.padEnd(20)} ${what} (${min} to ${max})`)
  .join("\n")}
  --json             the same numbers for programs

Exit codes: 0 same decisions; 1 not a trace, or a wrong option; 2 a different decision.

  npx selvedge replay trace.json
  npx selvedge replay trace.json --set maxQueueDelayMs=4 --set maxBatchSize=16
`;

/** A trace of 500,000 events has several hundred megabytes. */
const MAX_BYTES = 1_000_000_000;

/**
 * Runs the command and returns its exit code. Results go to `print`, which must escape terminal control characters:
 * names in a trace come from files that somebody loaded.
 */
export function replay(words: readonly string[], print: (text: string) => void): number {
  const { values, positionals } = parseArgs({
    args: [...words],
    options: {
      set: { type: "string", multiple: true, default: [] },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
    allowPositionals: true,
  });
  if (values.help) {
    print(REPLAY_HELP.trimEnd());
    return 0;
  }
  const isSetting = (word: string): boolean => Object.hasOwn(SETTINGS, word.split("=")[0] ?? "");
  const [path, other] = positionals.filter((word) => !isSetting(word));
  if (path === undefined)
    throw new TypeError("replay needs the path of a trace, for example: selvedge replay trace.json");
  if (other !== undefined) throw new TypeError(`replay takes one trace; remove "${other}"`);
  const change = parseChange([...values.set, ...positionals.filter(isSetting)]);
  const trace = readAt(path);
  const report = replayTrace(trace, Object.keys(change).length === 0 ? null : change);
  print(values.json ? JSON.stringify(report, null, 2) : toText(path, trace, report));
  return report.again.difference === null ? 0 : 2;
}

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

function readAt(path: string): TraceFile {
  const { size } = statSync(path);
  if (size > MAX_BYTES) throw new TypeError(`${path}: ${size} bytes exceed the limit for a trace, ${MAX_BYTES}`);
  try {
    return readTrace(readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw new TypeError(`${path}: ${error.message}`);
    throw error;
  }
}
