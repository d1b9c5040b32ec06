// `selvedge replay`: reads a trace of `engine.trace()`, decides it again, and reports what it recorded. Needs Node alone:
// no model is run.
import type { Command } from "commander";
import { readFileSync, statSync } from "node:fs";
import { readTrace } from "../replay/file.ts";
import type { TraceFile } from "../replay/file.ts";
import { replayTrace } from "../replay/replay-trace.ts";
import { toText } from "../replay/report.ts";
import type { CliRun } from "./cli.ts";
import { print } from "./terminal.ts";

/** A trace of 500,000 events has some hundred megabytes. */
const MAX_BYTES = 1_000_000_000;

interface Values {
  readonly json: boolean;
}

/** Adds the command. */
export function replay(program: Command, run: CliRun): Command {
  return program
    .command("replay")
    .summary("decide a trace of engine.trace() again")
    .description(
      "Feeds a trace of engine.trace() to the scheduler again, and reports whether every decision is the same, and " +
        "how many requests of each class were in time. No model is run.",
    )
    .argument("<trace>", "JSON of engine.trace()")
    .option("--json", "print the same numbers as JSON", false)
    .addHelpText(
      "after",
      `
Exit codes: 0 decided the same; 1 not a trace, or a wrong option; 2 decided otherwise.

Example:
  npx selvedge replay trace.json`,
    )
    .action((path: string, { json }: Values) => {
      const trace = readAt(path);
      const report = replayTrace(trace);
      print(json ? JSON.stringify(report, null, 2) : toText(path, trace, report));
      run.exitCode = report.again.difference === null ? 0 : 2;
    });
}

function readAt(path: string): TraceFile {
  const info = statSync(path);
  if (!info.isFile()) throw new TypeError(`${path} is not a file`);
  const { size } = info;
  if (size > MAX_BYTES) throw new TypeError(`${path}: ${size} bytes are more than a trace has (${MAX_BYTES} at most)`);
  try {
    return readTrace(readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw new TypeError(`${path}: ${error.message}`);
    throw error;
  }
}
