// The command line: parses, calls, prints. Results go to standard output, progress to standard error.
// Exit codes: 0 done; 1 failed; 2 a form missed its budget or failed a check; 3 a target could not be checked here.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isSelvedgeError } from "../errors.ts";
import { Checker } from "./check.ts";
import { compress, planCompression, runAll } from "./compress.ts";
import type { CompressOptions } from "./compress.ts";
import { readModelFile, writeWhole } from "./files.ts";
import { TARGETS } from "./forms.ts";
import type { Target } from "./forms.ts";
import { compare, describePorts, inspect } from "./inspect.ts";
import { terminalReport } from "./report.ts";
import { readSamples } from "./samples.ts";

const HELP = `selvedge compress MODEL.onnx --out FOLDER [options]   every form that the targets need, measured and packed
selvedge inspect MODEL.onnx                            what a model holds
selvedge check MODEL.onnx [--targets …] [--samples …]  where it runs, and whether it answers the same there
selvedge diff A.onnx B.onnx [--samples …]              how far B's outputs are from A's

  --targets LIST   of webgpu-f16, webgpu, wasm (all)
  --samples PATH   .npy, .npz, .jsonl, a folder of arrays or images, a module (made-up inputs)
  --labels PATH    .npy, or whole numbers, a line for each sample
  --metric NAME    sqnr, top1, exact, perplexity, or a module that exports score (top1 with labels, else sqnr)
  --max-drop DROP  what the metric may lose, as 0.5%; for sqnr the least ratio, as 30dB
  --bundle PATH    a bundle.json that describes inputs and preprocessing
  --forms LIST     of int8, int4, f16, int8-dynamic (those that suit the targets)
  --recipe PATH    forms and targets as --dry-run wrote them
  --limit N        samples that are used (256)
  --dry-run        writes recipe.json to --out, and makes nothing
`;

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
  "dry-run": { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

/** Runs the command line and gives its exit code. */
export async function main(words: readonly string[], signal?: AbortSignal): Promise<number> {
  try {
    const { values, positionals } = parseArgs({ args: [...words], options: OPTIONS, allowPositionals: true });
    const [command = "help", ...paths] = positionals;
    if (values.help || command === "help") {
      process.stdout.write(HELP);
      return 0;
    }
    const [first, second] = paths;
    if (first === undefined) throw new TypeError(`${command} needs the path of a model`);
    switch (command) {
      case "compress":
        return await runCompress(first, values, signal);
      case "inspect":
        process.stdout.write(`${inspect(readModelFile(first))}\n`);
        return 0;
      case "check":
        return await runCheck(first, values);
      case "diff":
        if (second === undefined) throw new TypeError("diff needs the paths of two models");
        return await runDiff(first, second, values);
      default:
        throw new TypeError(`"${command}" is none of compress, inspect, check, diff`);
    }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    process.stderr.write(`selvedge: ${isSelvedgeError(error) ? `${error.code}: ` : ""}${text}\n`);
    return 1;
  }
}

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>["values"];

async function runCompress(path: string, values: Values, signal: AbortSignal | undefined): Promise<number> {
  if (values.out === undefined) throw new TypeError("compress needs --out, the folder to write to");
  const recipe = values.recipe === undefined ? undefined : readRecipe(values.recipe);
  const options: CompressOptions = {
    out: values.out,
    targets:
      values.targets === undefined && recipe !== undefined
        ? targetsOf(recipe.targets.join())
        : targetsOf(values.targets),
    samples: values.samples,
    labels: values.labels,
    metric: values.metric,
    maxDrop: values["max-drop"],
    bundle: values.bundle,
    forms: values.forms?.split(",") ?? recipe?.forms,
    limit: limitOf(values.limit),
    ...(signal && { signal }),
    onProgress: (line) => void process.stderr.write(`${line}\n`),
  };
  if (values["dry-run"]) {
    const plan = `${JSON.stringify(await planCompression(options), null, 2)}\n`;
    await writeWhole(join(values.out, "recipe.json"), [new TextEncoder().encode(plan)]);
    process.stdout.write(plan);
    return 0;
  }
  const report = await compress(path, options);
  process.stdout.write(`${terminalReport(report)}\n`);
  if (report.forms.some((x) => !x.isWithinBudget)) return 2;
  return report.forms.some((x) => x.checks.some((y) => y.verdict === "unchecked")) ? 3 : 0;
}

async function runCheck(path: string, values: Values): Promise<number> {
  const model = readModelFile(path);
  const bytes = model.write();
  const { inputs } = await describePorts(model);
  const { feeds } = await readSamples(values.samples, inputs, { limit: limitOf(values.limit), typical: {}, bound: 16 });
  const expected = await runAll(bytes, feeds, {});
  const form = { id: "f32", needs: [] } as const;
  const checks = await new Checker(bytes, feeds).check({ form, bytes, expected }, targetsOf(values.targets));
  let code = 0;
  for (const check of checks) {
    process.stdout.write(`${JSON.stringify(check)}\n`);
    if (check.verdict === "failed") code = 2;
    if (check.verdict === "unchecked" && code === 0) code = 3;
  }
  return code;
}

async function runDiff(first: string, second: string, values: Values): Promise<number> {
  const { inputs } = await describePorts(readModelFile(first));
  const { feeds } = await readSamples(values.samples, inputs, { limit: limitOf(values.limit), typical: {}, bound: 16 });
  const pair = [await runAll(first, feeds, {}), await runAll(second, feeds, {})] as const;
  for (const line of compare(...pair)) process.stdout.write(`${line}\n`);
  return 0;
}

function targetsOf(text: string | undefined): readonly Target[] {
  if (text === undefined) return TARGETS;
  return text.split(",").map((word) => {
    const target = TARGETS.find((x) => x === word.trim());
    if (target === undefined) throw new TypeError(`targets: "${word}" is none of ${TARGETS.join(", ")}`);
    return target;
  });
}

function limitOf(text: string | undefined): number {
  if (text === undefined) return 256;
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new TypeError(`limit: "${text}" is no count of samples`);
  return Number(text);
}

function readRecipe(path: string): { targets: readonly string[]; forms: readonly string[] } {
  const json = JSON.parse(readFileSync(path, "utf8")) as { schema?: unknown; targets?: unknown; forms?: unknown };
  const isList = (x: unknown): x is string[] => Array.isArray(x) && x.every((y) => typeof y === "string");
  if (json.schema !== "selvedge/recipe@1" || !isList(json.targets) || !isList(json.forms))
    throw new TypeError(`recipe: ${path} is no selvedge/recipe@1`);
  return { targets: json.targets, forms: json.forms };
}

/** Runs the command line of this process; the first Ctrl-C packs what is done, the second ends at once. */
export async function start(): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => {
    process.stderr.write("stopping after this form; once more to end now\n");
    stop.abort();
  });
  process.exitCode = await main(process.argv.slice(2), stop.signal);
  // ONNX Runtime's WebGPU keeps threads that would hold the process.
  process.exit();
}
