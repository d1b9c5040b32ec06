// `selvedge diff`.
import type { Command } from "commander";
import { whyUnlike } from "../compress/bundle/compare-ports.ts";
import { compare, describePorts } from "../compress/bundle/inspect.ts";
import { Scratch } from "../compress/onnx/written-model.ts";
import type { Feed } from "../compress/run/feeds.ts";
import type { Outputs } from "../compress/run/metric.ts";
import { runTrial } from "../compress/run/trial.ts";
import type { CliRun } from "./cli.ts";
import { feedsFor, limitOption, openCompared, samplesOption, shapeOption } from "./options.ts";
import type { ComparedModel, FeedOptions } from "./options.ts";
import { print } from "./terminal.ts";

interface Values {
  readonly samples?: string;
  readonly limit?: number;
  readonly shape?: readonly string[];
}

/** Adds the command. */
export function diff(program: Command, _run: CliRun): Command {
  return program
    .command("diff")
    .summary("how far one model's outputs are from another's")
    .description("Runs two models on the same inputs and prints how far B's outputs are from A's.")
    .argument("<a>", "path of an .onnx file")
    .argument("<b>", "path of another with the same inputs and outputs")
    .addOption(samplesOption())
    .addOption(limitOption("use the first n samples (64 by default)"))
    .addOption(shapeOption())
    .addHelpText("after", "\nExample:\n  npx selvedge diff model.onnx dist/model/int8.onnx")
    .action(async (a: string, b: string, { samples, limit, shape }: Values) => {
      const scratch = new Scratch();
      try {
        await diffModels(a, b, { samples, limit, shape }, scratch);
      } finally {
        await scratch.close();
      }
    });
}

async function diffModels(a: string, b: string, options: FeedOptions, scratch: Scratch): Promise<void> {
  const models = [await openCompared(a, scratch), await openCompared(b, scratch)] as const;
  const why = whyUnlike(
    { path: a, ...(await describePorts(models[0].model)) },
    { path: b, ...(await describePorts(models[1].model)) },
  );
  if (why !== undefined) throw new TypeError(`diff: ${why}`);
  const feeds = await feedsFor(models[0], options);
  const pair = [await runOn(models[0], feeds), await runOn(models[1], feeds)] as const;
  print(`over ${feeds.length} ${options.samples === undefined ? "synthesized inputs" : "samples"}:`);
  for (const line of compare(...pair)) print(line);
}

/** Runs a model on all inputs; an error names the model. */
async function runOn({ path, source }: ComparedModel, feeds: readonly Feed[]): Promise<Outputs[]> {
  try {
    return await runTrial(source, feeds);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TypeError(`diff: ${path} does not run on the inputs: ${reason}`, { cause: error });
  }
}
