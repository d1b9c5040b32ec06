// `selvedge inspect`.
import type { Command } from "commander";
import { bundleFolder, inspectBundle } from "../compress/bundle/inspect-bundle.ts";
import { inspect as describeModel } from "../compress/bundle/inspect.ts";
import { readModelFile } from "../compress/onnx/model-file.ts";
import type { CliRun } from "./cli.ts";
import { print } from "./terminal.ts";

/** Adds the command. */
export function inspect(program: Command, run: CliRun): Command {
  return program
    .command("inspect")
    .summary("what a model or a bundle holds")
    .description(
      "Prints a model's inputs, outputs, operators and weights, or what a bundle declares and where it runs.",
    )
    .argument("<model>", "path of an .onnx file, or of the folder of a bundle")
    .addHelpText(
      "after",
      "\nExit codes: 0 done; 1 failed; 3 the bundle was not checked on a backend.\n\nExamples:\n  npx selvedge inspect model.onnx\n  npx selvedge inspect dist/model/bundle",
    )
    .action(async (path: string) => {
      const folder = bundleFolder(path);
      if (folder === null) {
        print(describeModel(readModelFile(path)));
        return;
      }
      const { text, unchecked } = await inspectBundle(folder);
      print(text);
      if (unchecked.length > 0) run.exitCode = 3;
    });
}
