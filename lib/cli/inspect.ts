// `selvedge inspect`.
import type { Command } from "commander";
import { inspect as describeModel } from "../compress/bundle/inspect.ts";
import { readModelFile } from "../compress/onnx/model-file.ts";
import type { Run } from "./cli.ts";
import { print } from "./terminal.ts";

/** Adds the command. */
export function inspect(program: Command, _run: Run): Command {
  return program
    .command("inspect")
    .summary("what a model holds")
    .description("Prints a model's inputs, outputs, operators and weights.")
    .argument("<model>", "path of an .onnx file")
    .action((path: string) => print(describeModel(readModelFile(path))));
}
