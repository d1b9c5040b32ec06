// `selvedge replay`: reads a trace of `engine.trace()`, decides it again, and says what other settings would have
// changed. Needs Node alone: no model is run.
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

/** Says what replay takes and gives. */
export const REPLAY_HELP = `selvedge replay TRACE.json [--set NAME=VALUE …] [--json]

Decides a trace of engine.trace() again, and says whether every decision is the same. With --set it also plays the same
arrivals with other settings, on lanes whose runs take what they took while it was recorded, and prints what would have
changed: who was on time, p50 and p99 by class, batch sizes. No model is run, and nothing beside Node is needed.

  --set NAME=VALUE   may be given more than once:
${Object.entries(SETTINGS)
  .map(([name, [min, max, what]]) => `    ${name.padEnd(20)} ${what} (${min} to ${max})`)
  .join("\n")}
  --json             the same numbers for programs

Exit codes: 0 decided the same; 1 not a trace, or a wrong option; 2 decided otherwise.

  npx selvedge replay trace.json
  npx selvedge replay trace.json --set maxQueueDelayMs=4 --set maxBatchSize=16
`;

/** A trace of 500,000 events has some hundred megabytes. */
const MAX_BYTES = 1_000_000_000;

/**
 * Runs the command and gives its exit code. Results go to `print`, which must escape what a terminal obeys: names in a
 * trace are those of files that somebody loaded.
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
  if (path === undefined) throw new TypeError("replay needs the path of a trace, as: selvedge replay trace.json");
  if (other !== undefined) throw new TypeError(`replay takes one trace, and "${other}" is a second`);
  const change = parseChange([...values.set, ...positionals.filter(isSetting)]);
  const trace = readAt(path);
  const report = replayTrace(trace, Object.keys(change).length === 0 ? null : change);
  print(values.json ? JSON.stringify(report, null, 2) : toText(path, trace, report));
  return report.again.difference === null ? 0 : 2;
}

/** Decides a trace again, and with a change plays it. */
export function replayTrace(trace: TraceFile, change: Change | null): Report {
  const again = decideAgain(trace);
  const happened = recorded(trace);
  const notes: string[] = [];
  // What had not ended when the record did can't be compared.
  const ids = new Set(happened.requests.filter((x) => x.outcome !== "open").map((x) => x.step.id));
  const left = happened.requests.length - ids.size;
  if (left > 0) notes.push(`${left} requests had not ended when the record did, and are left out.`);
  if (trace.isCut) notes.push("The record had become too long, and ended before its time.");
  const simulated = change === null ? null : whatIf(trace, happened, {});
  const changed = change === null ? null : whatIf(trace, happened, change);
  if (simulated !== null) {
    const { failures = 0, unknown = new Set<number>() } = simulated.costs ?? {};
    if (failures > 0) notes.push(`${failures} batches failed while it was recorded; a simulation has no faults.`);
    for (const id of unknown)
      notes.push(
        `${trace.models.get(id)?.name ?? `model ${id}`} did not run while it was recorded: its cost is guessed.`,
      );
    notes.push(
      "Simulated: the same arrivals, costs as measured; callers who wait for answers would have asked otherwise.",
    );
    if (change?.lanes !== undefined)
      notes.push("More lanes than cores slow each other down, which the measured costs do not know.");
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
  if (size > MAX_BYTES) throw new TypeError(`${path}: ${size} bytes are more than a trace has (${MAX_BYTES} at most)`);
  try {
    return readTrace(readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw new TypeError(`${path}: ${error.message}`);
    throw error;
  }
}
