// `selvedge check`.
import type { Command } from "commander";
import { describe } from "../compress/bundle/describe.ts";
import { describePorts } from "../compress/bundle/inspect.ts";
import { bundleFolder } from "../compress/bundle/inspect-bundle.ts";
import type { BrowserName } from "../compress/check/browser.ts";
import { checkGolden } from "../compress/check/check-golden.ts";
import type { GoldenVerdict } from "../compress/check/check-golden.ts";
import { Checker } from "../compress/check/check.ts";
import type { CheckResult } from "../compress/check/check.ts";
import { TARGETS } from "../compress/forms/forms.ts";
import type { Target } from "../compress/forms/forms.ts";
import type { OnnxModel } from "../compress/onnx/model.ts";
import {
  describeDropouts,
  EXPORT_FOR_INFERENCE,
  randomOutputs,
  trainingDropouts,
} from "../compress/onnx/random-outputs.ts";
import { Scratch, writeModel } from "../compress/onnx/written-model.ts";
import { requirePackages } from "../compress/run/optional-peers.ts";
import { runTrial } from "../compress/run/trial.ts";
import { answerTwoRows } from "../compress/run/two-rows.ts";
import type { CliRun } from "./cli.ts";
import {
  browserOption,
  feedsFor,
  limitOption,
  openCompared,
  refuseUnused,
  samplesOption,
  shapeOption,
  targetsOption,
} from "./options.ts";
import { print } from "./terminal.ts";

interface Values {
  readonly targets?: readonly Target[];
  readonly samples?: string;
  readonly limit?: number;
  readonly shape?: readonly string[];
  readonly browser?: BrowserName;
  readonly bundle?: string;
  readonly golden?: boolean;
}

/** Adds the command. */
export function check(program: Command, run: CliRun): Command {
  return program
    .command("check")
    .summary("where a model runs, and whether it answers the same there")
    .description(
      "Runs a model on each target: where its operators are placed, and whether it answers as on the CPU. With --golden: whether a bundle's variants give its known answers.",
    )
    .argument("<model>", "path of an .onnx file; with --golden of the folder of a bundle")
    .addOption(targetsOption())
    .addOption(samplesOption())
    .addOption(limitOption("use the first n samples (64 by default)"))
    .addOption(shapeOption())
    .addOption(browserOption())
    .option("--bundle <path>", "a bundle.json that describes the inputs, with --browser")
    .option("--golden", "compare the variants of a bundle with its known answers")
    .addHelpText("after", "\nExit codes: 0 passed; 1 failed to run; 2 a check failed; 3 a target could not be checked.")
    .action(async (path: string, values: Values, command: Command) => {
      if (values.golden === true)
        refuseUnused(command, ["--samples", "--limit", "--shape", "--bundle"], "--golden brings its own inputs");
      else if (values.browser === undefined)
        refuseUnused(command, ["--bundle"], "only a check with --browser reads a description of the inputs");
      run.exitCode = await (values.golden === true ? runGolden(path, values) : runCheck(path, values));
    });
}

async function runGolden(path: string, { targets = TARGETS, browser }: Values): Promise<number> {
  if (browser !== undefined)
    throw new TypeError(
      "--golden runs in Node; a page compares by itself, and says so in info.why: leave --browser out",
    );
  const folder = bundleFolder(path);
  if (folder === null) throw new TypeError(`--golden needs the folder of a bundle, got ${path}`);
  requirePackages(["onnxruntime-node"]);
  const backends = [...new Set(targets.map((x) => (x === "wasm" ? x : "webgpu")))];
  const verdicts = await checkGolden(folder, backends);
  for (const one of verdicts) print(goldenLine(one));
  const [{ random } = { random: [] }] = verdicts;
  warnRandom(random);
  return codeOf(verdicts);
}

function goldenLine({ variant, target, verdict, why, outputs }: GoldenVerdict): string {
  const errors = outputs.flatMap(({ name, error, tolerance }) =>
    error === null ? [] : [`${name} error ${error.toExponential(1)} of ${tolerance}`],
  );
  return `${variant} on ${target}: ${[verdict, ...(why === undefined ? [] : [why]), ...errors].join("; ")}`;
}

function warnRandom(names: readonly string[]): void {
  if (names.length === 0) return;
  const list = names.map((x) => `"${x}"`).join(", ");
  print(
    `warning: ${list} ${names.length === 1 ? "is" : "are"} random: no check compares the values, so a GPU that computes them wrongly is not found`,
  );
}

function warnTraining(model: OnnxModel): void {
  const dropouts = trainingDropouts(model);
  if (dropouts.length > 0) print(`warning: ${describeDropouts(dropouts)}: ${EXPORT_FOR_INFERENCE}`);
}

/** Returns the exit code for verdicts. */
function codeOf(verdicts: readonly Pick<CheckResult, "verdict">[]): number {
  if (verdicts.some((x) => x.verdict === "failed")) return 2;
  return verdicts.some((x) => x.verdict === "unchecked") ? 3 : 0;
}

async function runCheck(path: string, values: Values): Promise<number> {
  const scratch = new Scratch();
  try {
    return await checkModel(path, values, scratch);
  } finally {
    await scratch.close();
  }
}

async function checkModel(path: string, values: Values, scratch: Scratch): Promise<number> {
  requirePackages(["onnxruntime-node", ...(values.browser === undefined ? [] : ["playwright-core"])]);
  const opened = await openCompared(path, scratch);
  const { model } = opened;
  const feeds = await feedsFor(opened, values);
  const written = await writeModel(model, scratch);
  const { inputs } = await describePorts(model);
  const expected = await runTrial(written.source, feeds);
  const rows = await answerTwoRows(written.source, inputs, feeds);
  const form = { id: "f32", needs: [] } as const;
  const { browser, targets = TARGETS } = values;
  const where = browser && { browser, model: await describe(model, path, values.bundle) };
  const checker = new Checker(written.source, feeds, { rows: rows?.feed, where });
  const checks = await checker.check({ form, ...written, expected, expectedRows: rows?.reference }, targets);
  await checker.close();
  for (const result of checks) print(lineOf(result));
  warnRandom(randomOutputs(model));
  warnTraining(model);
  return codeOf(checks);
}

function lineOf({ target, verdict, why, assignment, parityDb, rowsNote }: CheckResult): string {
  const parts = [
    why,
    assignment &&
      `${assignment.device} operators there, ${assignment.shape} of shapes and ${assignment.cpu} others on the CPU, ${assignment.copies} copies a run`,
    parityDb === undefined ? undefined : `${parityDb.toFixed(1)} dB beside the CPU`,
    rowsNote && `a batch of two samples did not run and was not compared: ${rowsNote}`,
  ];
  return `${target}: ${verdict}; ${parts.filter((x) => x !== undefined).join("; ")}`;
}
