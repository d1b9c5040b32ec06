// `selvedge init`.
import { existsSync, statSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { createInterface } from "node:readline/promises";
import { Option } from "commander";
import type { Command } from "commander";
import type { CliRun } from "./cli.ts";
import { TEMPLATE_NAMES, TEMPLATES, writeModel, writeTemplate } from "./templates.ts";
import type { TemplateName } from "./templates.ts";
import { note, print } from "./terminal.ts";

const ABOUT_MODEL = "The model is PP-OCRv4 (Apache-2.0), ocr-rec: text in Chinese and English.";

interface Values {
  readonly template?: TemplateName;
  readonly force: boolean;
  readonly modelOnly: boolean;
}

/** Adds the command. */
export function init(program: Command, run: CliRun): Command {
  return program
    .command("init")
    .summary("write a small app that reads text from pictures")
    .description("Writes an app that reads the text of a picture, with its model: from there, make it yours.")
    .argument("[folder]", "folder of the app, created if it is missing", ".")
    .addOption(new Option("--template <name>", "kind of app").choices(TEMPLATE_NAMES))
    .option("--model-only", "into an app that exists: the model and a picture alone; name its public folder", false)
    .option("--force", "overwrite files that exist", false)
    .addHelpText(
      "after",
      `
Templates:
${list().join("\n")}

Examples:
  npx selvedge init my-app --template vanilla
  npx selvedge init public --model-only`,
    )
    .action(async (given: string, { template, force, modelOnly }: Values) => {
      const folder = given === "" ? "." : given;
      if (modelOnly) {
        await addModel(folder, template, force);
        return;
      }
      const name = template ?? (await ask(run.signal));
      const files = await writeTemplate(name, folder, { force });
      print(`${name}: ${files.length} files in ${folder}\n\nNext:`);
      if (relative(".", folder) !== "") print(`  cd ${quoted(folder)}`);
      print(`  npm install\n  npm run dev\n  ${TEMPLATES[name].open}`);
      note(ABOUT_MODEL);
    });
}

async function addModel(folder: string, template: TemplateName | undefined, force: boolean): Promise<void> {
  if (template !== undefined) throw new TypeError("--model-only writes no app: leave out --template, or --model-only");
  const served = force ? null : servedInstead(folder);
  if (served !== null)
    throw new TypeError(
      `${folder} is no folder of public files: npx selvedge init ${quoted(served)} --model-only (or --force for ${folder})`,
    );
  const files = await writeModel(folder, { force });
  print(`${files.length} files in ${folder}\n\nNext:`);
  print('  import { createEngine } from "selvedge";\n\n  const engine = await createEngine();');
  print('  const model = await engine.load("/models/ocr-rec/bundle.json");');
  print('  const { answer } = await model.run({ x: await (await fetch("/sample.png")).blob() });');
  note(ABOUT_MODEL);
}

/**
 * Returns the folder of public files where another one was named: the app's own folder, whose files a bundler does not
 * serve, or `public` in an app that has `static` (SvelteKit), and the other way round. Null where the folder may be right.
 */
function servedInstead(folder: string): string | null {
  const NAMES = ["public", "static"];
  const isApp = existsSync(join(folder, "package.json"));
  const isNew = NAMES.includes(basename(folder)) && !existsSync(folder);
  const places = isApp ? NAMES.map((x) => join(folder, x)) : isNew ? NAMES.map((x) => join(dirname(folder), x)) : [];
  return places.find((x) => statSync(x, { throwIfNoEntry: false })?.isDirectory() === true) ?? null;
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
