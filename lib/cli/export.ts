// `selvedge export`.
import { join } from "node:path";
import type { Command } from "commander";
import { Argument, InvalidArgumentError, Option } from "commander";
import { bundleFolder } from "../compress/bundle/inspect-bundle.ts";
import { exportBundle, SERVERS } from "../export/export.ts";
import type { Exported, ExportOptions, ServerName } from "../export/export.ts";
import type { ServerPort } from "../export/exported-model.ts";
import type { CliRun } from "./cli.ts";
import { needOut, refuseUnused, wholeOf } from "./options.ts";
import { note, print } from "./terminal.ts";

/** Adds the command. */
export function exportCommand(program: Command, _run: CliRun): Command {
  return program
    .command("export")
    .summary("write a bundle's model for an inference server")
    .description(
      "Writes the model of a bundle for an inference server: a Triton model repository, that and a KServe InferenceService, or a folder for MLServer.",
    )
    .addArgument(new Argument("<server>", "the server").choices(SERVERS))
    .argument("<bundle>", "folder of a bundle")
    .option("--out <folder>", "folder to write to")
    .hook("preAction", needOut)
    .option("--variant <id>", "variant of the bundle (float32 by default)")
    .option("--name <name>", "name of the model on the server (the bundle's by default)")
    .addOption(
      countOption("--max-batch <n>", "rows that run together; 1 for no batching (16 by default)", "maxBatchSize"),
    )
    .addOption(
      countOption(
        "--instances <n>",
        "Triton, KServe: instances of the model on each server (1 by default)",
        "instances",
      ),
    )
    .addOption(countOption("--min-replicas <n>", "KServe: fewest servers (1 by default)", "minReplicas", wholeOf))
    .addOption(countOption("--max-replicas <n>", "KServe: most servers (4 by default)", "maxReplicas"))
    .option("--storage-uri <uri>", "KServe: where the folder models will be (a volume claim by default)")
    .addHelpText(
      "after",
      `
Examples:
  npx selvedge export triton dist/model/bundle --out models
  npx selvedge export kserve dist/model/bundle --out deploy --storage-uri s3://bucket/models
  npx selvedge export mlserver dist/model/bundle --out models`,
    )
    .action(async (server: ServerName, path: string, options: ExportOptions, command: Command) => {
      if (server !== "kserve")
        refuseUnused(
          command,
          ["--min-replicas", "--max-replicas", "--storage-uri"],
          "only an export for KServe takes these",
        );
      if (server === "mlserver")
        refuseUnused(command, ["--instances"], "the number of workers is set in MLServer's own settings.json");
      const folder = bundleFolder(path);
      if (folder === null) throw new TypeError(`export needs the folder of a bundle, got ${path}`);
      report(server, options.out, await exportBundle(server, folder, options));
    });
}

function countOption(flags: string, description: string, attribute: string, read = countOf): Option {
  const option = new Option(flags, description).argParser(read);
  option.attributeName = () => attribute;
  return option;
}

function countOf(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError(`Expected a number from 1 to 9999, got "${text}".`);
  return Number(text);
}

function report(server: ServerName, out: string, { model, paths, storageUri }: Exported): void {
  const { name, variant, bytes, inputs, outputs, isBatchable } = model;
  for (const path of paths) note(`wrote ${join(out, path)}`);
  print(`${name}: variant ${variant.id}, ${bytes} bytes${isBatchable ? "" : "; requests are not batched"}`);
  for (const port of inputs) print(`takes ${portText(port)}`);
  for (const port of outputs) print(`returns ${portText(port)}`);
  for (const line of [...scalars(server, model), ...leftOut(model)]) print(line);
  if (storageUri !== undefined) print(`copy ${join(out, name, "models")} to ${storageUri}, the manifest's storageUri`);
  print(`client: connectRemote({ endpoints: [address] }).model("${name}"), of selvedge/remote`);
}

function portText({ name, datatype, dims }: ServerPort): string {
  return `${name} ${datatype} [${dims.join(", ")}]`;
}

/** Names the tensors whose shape on Triton is another one: it declares none without axes. */
function scalars(server: ServerName, { inputs, outputs }: Exported["model"]): string[] {
  const names = [...inputs, ...outputs].filter((x) => x.dims.length === 0).map((x) => x.name);
  return server === "mlserver" || names.length === 0 ? [] : [`the shape of ${names.join(", ")} is [1] there`];
}

/** Lists what the bundle does and the server does not. */
function leftOut({ bundle, variant }: Exported["model"]): string[] {
  const { inputs, outputs } = bundle.model;
  const steps = [
    ...inputs.flatMap(({ name, image, text }) => [
      ...(image === undefined ? [] : [`images to ${name}`]),
      ...(text === undefined ? [] : [`texts to ${name}`]),
    ]),
    ...outputs.flatMap(({ name, decode }) => (decode === undefined ? [] : [`${name} to answers (${decode.op})`])),
  ];
  const states = outputs.flatMap(({ name, feeds }) => (feeds === undefined ? [] : [`${name} as ${feeds}`]));
  const entries = Object.keys({ ...variant.session?.wasm, ...variant.session?.webgpu });
  return [
    ...(steps.length === 0 ? [] : [`the client converts: ${steps.join("; ")}`]),
    ...(states.length === 0 ? [] : [`the client sends with the next request: ${states.join("; ")}`]),
    ...(entries.length === 0 ? [] : [`the server does not set ${entries.join(", ")}: its answers may differ`]),
  ];
}
