// `selvedge verify`.
import type { Command } from "commander";
import { verifyBundle } from "../compress/bundle/sign.ts";
import type { Run } from "./cli.ts";
import { print } from "./terminal.ts";

/** Adds the command. */
export function verify(program: Command, _run: Run): Command {
  return program
    .command("verify")
    .summary("whether a bundle is whole, and signed by one of the keys")
    .description("Checks every chunk of a bundle, and its signature.")
    .argument("<folder>", "folder of a bundle")
    .requiredOption("--trust <key...>", "public keys, as sign --new-key printed them")
    .action(async (folder: string, { trust }: { readonly trust: readonly string[] }) => {
      const claim = await verifyBundle(folder, trust);
      print(`whole and trusted: ${claim.model}, release ${claim.release}, until ${claim.expires}`);
    });
}
