// `selvedge init`.
import { relative } from "node:path";
import { createInterface } from "node:readline/promises";
import { Option } from "commander";
import type { Command } from "commander";
import type { Run } from "./cli.ts";
import { TEMPLATE_NAMES, TEMPLATES, writeTemplate } from "./templates.ts";
import type { TemplateName } from "./templates.ts";
import { note, print } from "./terminal.ts";

interface Values {
  readonly template?: TemplateName;
  readonly force: boolean;
}

/** Adds the command. */
export function init(program: Command, run: Run): Command {
  return program
    .command("init")
    .summary("write a small app that reads text from pictures")
    .description("Writes an app that reads the text of a picture, with its model: from there, make it yours.")
    .argument("[folder]", "folder of the app, created if it is missing", ".")
    .addOption(new Option("--template <name>", "kind of app").choices(TEMPLATE_NAMES))
    .option("--force", "overwrite files that exist", false)
    .addHelpText(
      "after",
      `
Templates:
${list().join("\n")}

Example:
  npx selvedge init my-app --template vanilla`,
    )
    .action(async (folder: string, { template, force }: Values) => {
      const name = template ?? (await ask(run.signal));
      const files = await writeTemplate(name, folder, { force });
      print(`${name}: ${files.length} files in ${folder}\n\nNext:`);
      if (relative(".", folder) !== "") print(`  cd ${quoted(folder)}`);
      print(`  npm install\n  npm run dev\n  ${TEMPLATES[name].open}`);
      note(`The model is PP-OCRv4 (Apache-2.0), ocr-rec: text in Chinese and English.`);
    });
}

/** Writes a folder as a shell takes it. */
function quoted(folder: string): string {
  if (/^[\p{L}\p{N}._/:][\p{L}\p{N}._/:~-]*$/u.test(folder)) return folder;
  const path = folder.startsWith("-") ? `./${folder}` : folder;
  return process.platform === "win32" ? `"${path}"` : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}

function list(): string[] {
  return TEMPLATE_NAMES.map((name) => `  ${name.padEnd(10)} ${TEMPLATES[name].summary}`);
}

/** Asks for a template in a terminal; elsewhere an option is needed. */
async function ask(signal: AbortSignal | undefined): Promise<TemplateName> {
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new TypeError(`init needs --template <name> where it can't ask: ${TEMPLATE_NAMES.join(", ")}`);
  note(`Templates:\n${list().join("\n")}`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr, ...(signal && { signal }) });
  try {
    terminal.setPrompt("Template [vanilla]: ");
    terminal.prompt();
    for await (const line of terminal) {
      const answer = line.trim() || "vanilla";
      const name = TEMPLATE_NAMES.find((x) => x === answer);
      if (name !== undefined) return name;
      note(`"${answer}" is not a template.`);
      terminal.prompt();
    }
  } finally {
    terminal.close();
  }
  signal?.throwIfAborted();
  throw new TypeError("no template was chosen: the input ended");
}
