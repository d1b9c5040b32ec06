// The command line: parses, calls, prints. Results go to standard output, progress to standard error.
// Exit codes: 0 done; 1 failed; 2 a form missed its budget or failed a check; 3 a target could not be checked here;
// 130 stopped by Ctrl-C, with what was done until then written and packed.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isSelvedgeError } from "../core/errors.ts";
import { Checker } from "../compress/check/check.ts";
import type { Check } from "../compress/check/check.ts";
import { compress, planCompression, runAll } from "../compress/compress.ts";
import { makeUpSamples } from "../compress/evaluate-source.ts";
import type { CompressOptions } from "../compress/compress.ts";
import type { BrowserName } from "../compress/check/browser.ts";
import { describe, smallestTable } from "../compress/bundle/describe.ts";
import type { Feed } from "../compress/run/feeds.ts";
import { readModelFile, writeWhole } from "../compress/onnx/model-file.ts";
import { TARGETS } from "../compress/forms/forms.ts";
import type { Target } from "../compress/forms/forms.ts";
import { COMPRESS_HELP, HELP } from "./help.ts";
import { compare, describePorts, inspect } from "../compress/bundle/inspect.ts";
import type { OnnxModel } from "../compress/onnx/model.ts";
import type { CompressReport } from "../compress/report/report.ts";
import { parseShare } from "../compress/forms/prune-forms.ts";
import { readRecipe } from "../compress/recipe.ts";
import { terminalReport } from "../compress/report/markdown.ts";
import { firstFeeds, openSamples } from "../compress/run/samples.ts";
import { createKey, signBundle, verifyBundle } from "../compress/bundle/sign.ts";
import { note, print } from "./terminal.ts";

const OPTIONS = {
  out: { type: "string" },
  targets: { type: "string" },
  samples: { type: "string" },
  labels: { type: "string" },
  metric: { type: "string" },
  "max-drop": { type: "string" },
  bundle: { type: "string" },
  forms: { type: "string" },
  recipe: { type: "string" },
  limit: { type: "string" },
  prune: { type: "string" },
  mask: { type: "string" },
  search: { type: "boolean", default: false },
  "budget-minutes": { type: "string" },
  browser: { type: "string" },
  "dry-run": { type: "boolean", default: false },
  key: { type: "string" },
  "new-key": { type: "string" },
  release: { type: "string" },
  days: { type: "string" },
  trust: { type: "string", multiple: true },
  help: { type: "boolean", short: "h", default: false },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>["values"];

/** Runs the command line and gives its exit code. */
export async function main(words: readonly string[], signal?: AbortSignal): Promise<number> {
  try {
    if (words[0] === "replay") return (await import("../replay/command.ts")).replay(words.slice(1), print);
    const { values, positionals } = parseArgs({ args: [...words], options: OPTIONS, allowPositionals: true });
    const [command = "help", ...paths] = positionals;
    if (values.help || command === "help") {
      print(([command, ...paths].includes("compress") ? COMPRESS_HELP : HELP).trimEnd());
      return 0;
    }
    const run = COMMANDS[command];
    if (run === undefined)
      throw new TypeError(
        `"${command}" is none of ${[...Object.keys(COMMANDS), "replay"].join(", ")}; selvedge --help says more`,
      );
    return await run(paths, values, signal);
  } catch (error) {
    note(`selvedge: ${textOf(error)}`);
    return 1;
  }
}

type Command = (paths: readonly string[], values: Values, signal: AbortSignal | undefined) => Promise<number>;

const COMMANDS: Readonly<Record<string, Command>> = {
  compress: runCompress,
  inspect: async (paths) => {
    print(inspect(readModelFile(only(paths, "inspect"))));
    return 0;
  },
  check: runCheck,
  diff: runDiff,
  sign: runSign,
  verify: runVerify,
};

async function runCompress(paths: readonly string[], values: Values, signal: AbortSignal | undefined): Promise<number> {
  const path = only(paths, "compress");
  if (values.out === undefined)
    throw new TypeError(
      "compress needs --out, the folder to write to, as: selvedge compress model.onnx --out dist/model",
    );
  const recipe = values.recipe === undefined ? undefined : readRecipe(values.recipe);
  const options: CompressOptions = {
    out: values.out,
    targets: values.targets === undefined ? recipe?.targets : targetsOf(values.targets),
    samples: values.samples ?? recipe?.samples,
    labels: values.labels ?? recipe?.labels,
    metric: values.metric ?? recipe?.metric,
    maxDrop: values["max-drop"] ?? recipe?.maxDrop,
    bundle: values.bundle ?? recipe?.bundle,
    forms: values.forms?.split(",").map((x) => x.trim()) ?? recipe?.forms,
    limit: limitOf(values.limit) ?? recipe?.limit,
    prune: values.prune === undefined ? recipe?.prune : { ...recipe?.prune, share: parseShare(values.prune) },
    mask: values.mask ?? recipe?.mask,
    search: values.search ? { budgetMs: minutesOf(values["budget-minutes"]) } : undefined,
    browser: browserOf(values.browser),
    signal,
    onProgress: note,
  };
  if (values["dry-run"]) {
    readModelFile(path);
    const plan = `${JSON.stringify(await planCompression(options), null, 2)}\n`;
    await writeWhole(join(values.out, "recipe.json"), [new TextEncoder().encode(plan)]);
    print(plan.trimEnd());
    return 0;
  }
  const report = await compress(path, options);
  print(terminalReport(report));
  return exitCode(report);
}

/** Gives the exit code that a report means. */
function exitCode(report: CompressReport): number {
  if (report.isStopped) return 130;
  const isMissed = report.forms.some((x) => !x.isWithinBudget && report.samples.n > 0);
  const checks = report.forms.flatMap((x) => x.checks);
  if (isMissed || checks.some((x) => x.verdict === "failed")) return 2;
  return report.samples.n === 0 || checks.some((x) => x.verdict === "unchecked") ? 3 : 0;
}

async function runCheck(paths: readonly string[], values: Values): Promise<number> {
  const path = only(paths, "check");
  const model = readModelFile(path);
  const bytes = model.write();
  const feeds = await feedsFor(path, model, values);
  const expected = await runAll(bytes, feeds, {});
  const form = { id: "f32", needs: [] } as const;
  const browser = browserOf(values.browser);
  const checker = new Checker(bytes, feeds, browser && { browser, model: await describe(model, path, values.bundle) });
  const checks = await checker.check({ form, bytes, expected }, targetsOf(values.targets));
  await checker.close();
  for (const check of checks) print(checkLine(check));
  if (checks.some((x) => x.verdict === "failed")) return 2;
  return checks.some((x) => x.verdict === "unchecked") ? 3 : 0;
}

function checkLine({ target, verdict, why, assignment, parityDb }: Check): string {
  const parts = [
    why,
    assignment &&
      `${assignment.device} operators there, ${assignment.shape} of shapes and ${assignment.cpu} others on the CPU, ${assignment.copies} copies a run`,
    parityDb === undefined ? undefined : `${parityDb.toFixed(1)} dB beside the CPU`,
  ];
  return `${target}: ${verdict}; ${parts.filter((x) => x !== undefined).join("; ")}`;
}

async function runDiff(paths: readonly string[], values: Values): Promise<number> {
  const [first, second] = paths;
  if (first === undefined || second === undefined)
    throw new TypeError("diff needs the paths of two models, as: selvedge diff model.onnx dist/model/int8.onnx");
  const feeds = await feedsFor(first, readModelFile(first), values);
  const pair = [await runAll(first, feeds, {}), await runAll(second, feeds, {})] as const;
  print(`over ${feeds.length} ${values.samples === undefined ? "made-up inputs" : "samples"}:`);
  for (const line of compare(...pair)) print(line);
  return 0;
}

async function runSign(paths: readonly string[], values: Values): Promise<number> {
  const { key, release, days } = values;
  if (values["new-key"] !== undefined) {
    print(await createKey(values["new-key"]));
    note(`${values["new-key"]} is the private key: keep it secret. The line above is the public one.`);
    return 0;
  }
  if (key === undefined) throw new TypeError("sign needs --key, or --new-key to make one");
  const options = { key, release: numberOf("release", release), days: numberOf("days", days) };
  const signed = await signBundle(only(paths, "sign"), options);
  const { model, signatures, expires } = signed;
  const keys = signatures.length === 1 ? "one key" : `${signatures.length} keys`;
  print(`${model}, release ${signed.release}, signed by ${keys}, good until ${expires}`);
  for (const other of signed.dropped)
    print(
      `dropped the signature of key ${other}: it does not match this bundle, release and date; sign again with that key`,
    );
  return 0;
}

async function runVerify(paths: readonly string[], { trust = [] }: Values): Promise<number> {
  if (trust.length === 0) throw new TypeError("verify needs --trust, the public key that sign --new-key printed");
  const claim = await verifyBundle(only(paths, "verify"), trust);
  print(`whole and trusted: ${claim.model}, release ${claim.release}, until ${claim.expires}`);
  return 0;
}

function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new TypeError(`${option}: expected a whole number, got "${text}"`);
  return Number(text);
}

/** Reads some samples into memory, or makes inputs up. */
async function feedsFor(path: string, model: OnnxModel, values: Values): Promise<Feed[]> {
  const { inputs } = await describePorts(model);
  const limit = limitOf(values.limit) ?? 64;
  if (values.samples !== undefined) return firstFeeds(await openSamples(values.samples, inputs, limit), limit);
  const notes: string[] = [];
  const feeds = await firstFeeds(
    await makeUpSamples(path, inputs, { typical: {}, bound: smallestTable(model) }, notes),
    limit,
  );
  if (feeds.length === 0) throw new TypeError(notes.join(" "));
  return feeds;
}

function only(paths: readonly string[], command: string): string {
  const [path, other] = paths;
  if (path === undefined) throw new TypeError(`${command} needs the path of a model`);
  if (other !== undefined) throw new TypeError(`${command} takes one model, and "${other}" is a second`);
  return path;
}

function targetsOf(text: string | undefined): readonly Target[] {
  if (text === undefined) return TARGETS;
  const named = text.split(",").map((word) => {
    const target = TARGETS.find((x) => x === word.trim());
    if (target === undefined) throw new TypeError(`targets: "${word}" is none of ${TARGETS.join(", ")}`);
    return target;
  });
  return TARGETS.filter((x) => named.includes(x));
}

function browserOf(text: string | undefined): BrowserName | undefined {
  if (text === undefined || text === "chromium" || text === "firefox") return text;
  throw new TypeError(`browser: "${text}" is none of chromium, firefox`);
}

function minutesOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!(Number(text) > 0)) throw new TypeError(`budget-minutes: expected a number of minutes, got "${text}"`);
  return Number(text) * 60_000;
}

function limitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new TypeError(`limit: "${text}" is no count of samples`);
  return Number(text);
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ("code" in error && error.code === "ENOENT" && "path" in error) return `${String(error.path)} is not there`;
  return isSelvedgeError(error) ? `${error.code}: ${error.message}` : error.message;
}

/** Runs the command line of this process; the first Ctrl-C packs what is done, the second ends at once. */
export async function start(): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => {
    note("stopping; what is done will be packed; once more to end now");
    stop.abort();
    process.once("SIGINT", () => process.exit(130));
  });
  process.exitCode = await main(process.argv.slice(2), stop.signal);
  // ONNX Runtime's WebGPU keeps threads that would hold the process.
  process.exit();
}
