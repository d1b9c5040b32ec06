// `selvedge sign`.
import type { Command } from "commander";
import { createKey, signBundle } from "../compress/bundle/sign.ts";
import type { CliRun } from "./cli.ts";
import { wholeOf } from "./options.ts";
import { note, print } from "./terminal.ts";

interface Values {
  readonly key?: string;
  readonly newKey?: string;
  readonly release?: number;
  readonly days?: number;
}

/** Adds the command. */
export function sign(program: Command, _run: CliRun): Command {
  return program
    .command("sign")
    .summary("sign a bundle, or make a key")
    .description("Writes signature.json beside a bundle's bundle.json.")
    .argument("[folder]", "folder of a bundle")
    .option("--key <path>", "private key to sign with")
    .option("--new-key <path>", "make a private key there, and print the public one")
    .option("--release <n>", "grows with each release (by default the time in seconds since 1970)", wholeOf)
    .option("--days <n>", "days until it expires (365 by default); sign again before, which renews it", wholeOf)
    .addHelpText(
      "after",
      `
Examples:
  npx selvedge sign --new-key key.json
  npx selvedge sign dist/model/bundle --key key.json`,
    )
    .action(runSign);
}

async function runSign(folder: string | undefined, { key, newKey, release, days }: Values): Promise<void> {
  if (newKey !== undefined) {
    if (folder !== undefined || key !== undefined || release !== undefined || days !== undefined)
      throw new TypeError("sign --new-key only makes a key; to sign the folder, run sign again with --key");
    print(await createKey(newKey));
    note(`${newKey} is the private key: keep it secret. The line above is the public one.`);
    return;
  }
  if (key === undefined) throw new TypeError('sign needs --key <file>; "selvedge sign --new-key <file>" makes one');
  if (folder === undefined)
    throw new TypeError("sign needs the folder of a bundle: selvedge sign <folder> --key <file>");
  const signed = await signBundle(folder, { key, release, days });
  const { model, signatures, expires } = signed;
  const keys = signatures.length === 1 ? "one key" : `${signatures.length} keys`;
  print(`${model}, release ${signed.release}, signed by ${keys}, good until ${expires}`);
  for (const other of signed.dropped)
    print(
      `dropped the signature of key ${other}: it does not match this bundle, release and date; sign again with that key`,
    );
}
