// `selvedge import`.
import type { Command } from "commander";
import { signBundle } from "../compress/bundle/sign.ts";
import { importRepository } from "../compress/import-repository.ts";
import { HUB } from "../source/hub-address.ts";
import type { CliRun } from "./cli.ts";
import { needOut } from "./options.ts";
import { note, print } from "./terminal.ts";

interface Values {
  readonly out: string;
  readonly revision?: string;
  readonly host?: string;
  readonly tokenEnv?: string;
  readonly dtype?: string;
  readonly file?: string;
  readonly key?: string;
}

/** Adds the command. */
export function importCommand(program: Command, run: CliRun): Command {
  return program
    .command("import")
    .summary("pack a Hugging Face repository as a bundle for one's own origin")
    .description(
      "Packs a repository, or a folder in its layout, as a bundle: its files as they are, with their hashes.",
    )
    .argument("<repository>", "owner/name, or a folder with config.json and onnx/")
    .option("--out <folder>", "folder for the bundle, and for the files that were fetched")
    .hook("preAction", needOut)
    .option("--dtype <list>", "encodings, as fp32,q8 (all by default)")
    .option("--file <name>", "graph, as encoder_model (model, or the only one, by default)")
    .option("--revision <name>", "branch, tag or commit (main by default)")
    .option("--host <url>", "address of the hub (https://huggingface.co by default)")
    .option("--token-env <name>", "environment variable with an access token (HF_TOKEN by default, without --host)")
    .option("--key <path>", "private key to sign the bundle with")
    .addHelpText(
      "after",
      `
Examples:
  npx selvedge import owner/name --out dist/model --dtype q8,fp16
  npx selvedge compress dist/model/source --out dist/smaller --targets webgpu,wasm`,
    )
    .action(async (from: string, values: Values) => {
      await runImport(from, values, run);
    });
}

async function runImport(from: string, { tokenEnv, dtype, key, ...values }: Values, run: CliRun): Promise<void> {
  const dtypes = dtype?.split(",").map((x) => x.trim());
  const token = tokenOf(process.env, tokenEnv, values.host);
  const { signal } = run;
  const imported = await importRepository(from, { ...values, dtypes, token, signal, onProgress: note });
  const { folder, bundle, identity, wireBytes, notes } = imported;
  for (const each of notes) note(each);
  if (key !== undefined) await signBundle(folder, { key });
  const ids = bundle.variants.map((x) => x.id).join(", ");
  print(`${folder} holds ${ids}: ${wireBytes} bytes over the wire, identity ${identity}`);
  print(`engine.load("/${folder.split("/").at(-2) ?? "model"}/bundle/bundle.json")`);
}

/**
 * Returns the access token: of the named variable; of HF_TOKEN where none is named, for the Hugging Face hub alone, since
 * another host must not see it.
 */
export function tokenOf(
  env: Readonly<Record<string, string | undefined>>,
  named: string | undefined,
  host: string | undefined,
): string | undefined {
  const isHub = host === undefined || host.replace(/\/+$/, "") === HUB;
  return (named === undefined ? (isHub ? env["HF_TOKEN"] : undefined) : env[named]) || undefined;
}
