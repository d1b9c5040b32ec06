// The command line: one file a command. Results go to standard output, progress and errors to standard error.
// Exit codes: 0 done; 1 failed, or a wrong option; 2 and 3 as the command's help says; 130 stopped by Ctrl-C, 143
// by SIGTERM, 129 by SIGHUP.
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { Command, CommanderError } from "commander";
import type { Option } from "commander";
import { isSelvedgeError } from "../core/errors.ts";
import { diskFullText, isDiskFull } from "../compress/onnx/disk-full.ts";
import { RELEASE } from "../core/version.ts";
import { check } from "./check.ts";
import { compress } from "./compress.ts";
import { diff } from "./diff.ts";
import { doctor } from "./doctor.ts";
import { exportCommand } from "./export.ts";
import { explain } from "./explain.ts";
import { importCommand } from "./import.ts";
import { init } from "./init.ts";
import { inspect } from "./inspect.ts";
import { isRepeatable } from "./options.ts";
import { replay } from "./replay.ts";
import { serve } from "./serve.ts";
import { sign } from "./sign.ts";
import { note, print } from "./terminal.ts";
import { verify } from "./verify.ts";

/** State of one run of the command line. */
export interface CliRun {
  /** Aborted by the first Ctrl-C. */
  readonly signal: AbortSignal | undefined;
  /** Exit code of the process, 0 unless the command sets it. */
  exitCode: number;
}

/** Runs the command line and returns its exit code. */
export async function main(words: readonly string[], signal?: AbortSignal): Promise<number> {
  const run: CliRun = { signal, exitCode: 0 };
  try {
    const parser = program(run);
    checkOptions(parser.commands.find((x) => x.name() === words[0])?.options ?? [], words);
    await parser.parseAsync(words.length === 0 ? ["--help"] : [...words], { from: "user" });
    return run.exitCode;
  } catch (error) {
    // Commander has written its message or its help already.
    if (error instanceof CommanderError) return error.exitCode;
    note(`selvedge: ${textOf(error)}`);
    return 1;
  }
}

/**
 * Refuses an option in the place of another one's value, as in `--out --dry-run`, and an option that is given twice:
 * Commander takes the first as the value, and the last of two.
 * @throws TypeError that names the option
 */
function checkOptions(options: readonly Option[], words: readonly string[]): void {
  const seen = new Set<Option>();
  for (const [i, word] of words.entries()) {
    if (word === "--") return;
    const [name = ""] = word.split("=");
    const option = options.find((x) => x.long === name);
    if (option === undefined) continue;
    if (seen.has(option) && !isRepeatable(option)) throw new TypeError(`${name} is given twice`);
    seen.add(option);
    const value = word.includes("=") ? word.slice(name.length + 1) : (words[i + 1] ?? "");
    if (option.required && (value === "" || (!word.includes("=") && value.startsWith("-"))))
      throw new TypeError(`${name} needs a value${value === "" ? "" : `, but the option ${value} follows`}`);
  }
}

/** Makes the parser, with a fresh one for each call: Commander keeps the values of options in it. */
function program(run: CliRun): Command {
  const all = new Command("selvedge")
    .description("Compresses ONNX models for the browser, and packs, checks and signs them as bundles.")
    .version(RELEASE.split(" ")[0] ?? "", "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .addHelpText(
      "after",
      `
Example:
  npx selvedge compress model.onnx --out dist/model --targets webgpu,wasm --samples samples.npz

selvedge <command> --help lists the options of a command.`,
    );
  configure(all);
  for (const add of [
    init,
    compress,
    importCommand,
    exportCommand,
    serve,
    inspect,
    check,
    diff,
    sign,
    verify,
    replay,
    doctor,
    explain,
  ])
    configure(add(all, run));
  return all;
}

/** Has a command reject instead of ending the process, and print what a terminal can't be steered by. */
function configure(command: Command): void {
  command
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError("(--help lists arguments and options)")
    .allowExcessArguments(false)
    .configureOutput({
      writeOut: (text) => print(text.trimEnd()),
      writeErr: (text) => note(text.trimEnd()),
      outputError: (text, write) => write(text.replace(/^error: /, "selvedge: ")),
    });
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // One that knows its bytes has its message already.
  if (isDiskFull(error) && !("bytes" in error)) return diskFullText("path" in error ? String(error.path) : undefined);
  const file = "code" in error && "path" in error ? fileText(String(error.code), String(error.path)) : null;
  if (file !== null) return file;
  return isSelvedgeError(error) ? `${error.code}: ${error.message}` : error.message;
}

/** Describes the fault of a file, and what to do; null for an error of another kind. */
function fileText(code: string, path: string): string | null {
  switch (code) {
    case "ENOENT":
      return `${path} does not exist`;
    case "EEXIST":
    case "ENOTDIR":
      return `${code === "EEXIST" ? path : existing(path)} is in the way of a folder: a file has this name; choose another folder`;
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return `${path} can't be written or read by this user (${code}): check its permissions, or choose another place`;
    default:
      return null;
  }
}

/** Returns the path, or the nearest one above it that exists: below a file nothing does. */
function existing(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : existing(dirname(path));
}

/** Runs the command line of this process; the first Ctrl-C packs what is done, the second ends at once. */
export async function start(): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => {
    note("stopping; finished forms will be packed; press Ctrl-C again to exit now");
    stop.abort();
    process.once("SIGINT", () => process.exit(130));
  });
  // An exit takes child processes and temporary folders along; the signal's own end of a process would not.
  process.once("SIGTERM", () => process.exit(143));
  process.once("SIGHUP", () => process.exit(129));
  process.exitCode = await main(process.argv.slice(2), stop.signal);
  // ONNX Runtime's WebGPU keeps threads that would hold the process.
  process.exit();
}
