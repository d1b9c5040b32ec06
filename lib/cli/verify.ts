// `selvedge verify`.
import { Option } from "commander";
import type { Command } from "commander";
import { verifyBundle } from "../compress/bundle/sign.ts";
import type { CliRun } from "./cli.ts";
import { repeatable } from "./options.ts";
import { print } from "./terminal.ts";

/** Adds the command. */
export function verify(program: Command, _run: CliRun): Command {
  return program
    .command("verify")
    .summary("check that no chunk is missing or damaged, and that one of the keys signed the bundle")
    .description("Checks every chunk of a bundle, and its signature.")
    .argument("<folder>", "folder of a bundle")
    .addOption(repeatable(new Option("--trust <key>", "a public key, as sign --new-key printed it")))
    .action(async (folder: string, { trust = [] }: { readonly trust?: readonly string[] }) => {
      if (trust.length === 0) throw new TypeError("verify needs --trust, a public key as sign --new-key printed it");
      const claim = await verifyBundle(folder, trust);
      print(
        `verified: ${claim.model}, release ${claim.release}, all chunks present, signature valid until ${claim.expires}`,
      );
    });
}
