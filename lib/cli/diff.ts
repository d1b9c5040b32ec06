// `selvedge diff`.
import type { Command } from "commander";
import { compare } from "../compress/bundle/inspect.ts";
import { readModelFile } from "../compress/onnx/model-file.ts";
import { runAll } from "../compress/run/session.ts";
import type { Run } from "./cli.ts";
import { feedsFor, limitOption, samplesOption, shapeOption } from "./options.ts";
import { print } from "./terminal.ts";

interface Values {
  readonly samples?: string;
  readonly limit?: number;
  readonly shape?: readonly string[];
}

/** Adds the command. */
export function diff(program: Command, _run: Run): Command {
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
      const feeds = await feedsFor(a, readModelFile(a), { samples, limit, shape });
      const pair = [await runAll(a, feeds), await runAll(b, feeds)] as const;
      print(`over ${feeds.length} ${samples === undefined ? "synthesized inputs" : "samples"}:`);
      for (const line of compare(...pair)) print(line);
    });
}
