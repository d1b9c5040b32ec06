// `selvedge compress`.
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { join } from "node:path";
import { compress as compressModel, compressRepository, planCompression } from "../compress/compress.ts";
import type { CompressOptions } from "../compress/compress-options.ts";
import type { BrowserName } from "../compress/check/browser.ts";
import { formsFor } from "../compress/forms/forms.ts";
import type { Target } from "../compress/forms/forms.ts";
import { parseShare } from "../compress/forms/prune-forms.ts";
import { readModelFile, writeWhole } from "../compress/onnx/model-file.ts";
import { readRecipe } from "../compress/recipe.ts";
import { isFolder, openRepository } from "../compress/repository.ts";
import { terminalReport } from "../compress/report/markdown.ts";
import type { CompressReport } from "../compress/report/report.ts";
import type { CliRun } from "./cli.ts";
import { browserOption, limitOption, needOut, shapeOption, targetsOption } from "./options.ts";
import { note, print } from "./terminal.ts";

interface Values {
  readonly out: string;
  readonly targets?: readonly Target[];
  readonly samples?: string;
  readonly labels?: string;
  readonly metric?: string;
  readonly maxDrop?: string;
  readonly bundle?: string;
  readonly image?: string;
  readonly classes?: string;
  readonly top?: number;
  readonly logits?: boolean;
  readonly forms?: readonly string[];
  readonly recipe?: string;
  readonly limit?: number;
  readonly shape?: readonly string[];
  readonly prune?: number;
  readonly mask?: string;
  readonly search?: boolean;
  readonly budgetMinutes?: number;
  readonly browser?: BrowserName;
  readonly dryRun?: boolean;
}

/** Adds the command. */
export function compress(program: Command, run: CliRun): Command {
  return program
    .command("compress")
    .summary("make every form that the targets need, measured, checked and packed")
    .description("Makes every form that the targets need, checks each against the model, and packs what passed.")
    .argument("<model>", "path of an .onnx file, or of a folder as Hugging Face exports it")
    .option("--out <folder>", "written to: f32.onnx and the other forms, bundle/, report.{json,md,html}")
    .hook("preAction", needOut)
    .addOption(targetsOption())
    .option("--samples <path>", "inputs to measure on (synthesized by default); formats below")
    .option("--labels <path>", "right answers to measure with: .npy, or a line of whole numbers for each sample")
    .option(
      "--metric <name>",
      "sqnr, top1, exact, perplexity, agreement, kl, cosine, or a module that exports score(samples)",
    )
    .option("--max-drop <drop>", "what the metric may lose: 0.5% by default; for sqnr the least ratio, 30dB by default")
    .option("--image <words>", "how an image becomes the input, as 224x224,rgb,imagenet; words below")
    .option("--classes <file>", "names of the model's classes, so that an answer has labels: one a line, or JSON")
    .option("--top <n>", "best classes in an answer, with --classes (5 by default)", topOf)
    .option(
      "--logits",
      "the output needs a softmax (by default if the graph does not end in one); --no-logits: it does not",
    )
    .addOption(new Option("--no-logits").hideHelp())
    .option("--bundle <path>", "a bundle.json that describes the inputs and how images become them")
    .option("--forms <list>", "forms to make beside f32 (by default those that suit the targets)", listOf)
    .addOption(limitOption("use the first n samples (by default as many as the model answers in a minute)"))
    .addOption(shapeOption())
    .option("--prune <share>", "remove this share, as 25%, of hidden units and channels: pruned, pruned-int8", shareOf)
    .option("--search", "search for the smallest and the fastest model within --max-drop; resumes: searched*")
    .option("--budget-minutes <n>", "time of the search (10 by default)", minutesOf)
    .option("--mask <pattern>", "set weights to 0, as 50% or 2:4: smaller on the wire, no faster: masked")
    .addOption(browserOption())
    .option("--dry-run", "write the plan to FOLDER/recipe.json and make nothing")
    .option("--recipe <path>", "run such a plan; options on the command line override it")
    .addHelpText("after", AFTER)
    .action(async (path: string, values: Values) => {
      run.exitCode = await runCompress(path, values, run.signal);
    });
}

const AFTER = `
Words of --image, in any order, each only where the model does not say it:
  224x224 (width x height); rgb, bgr, gray; nchw, nhwc; exact (stretch, by default), fit (pad), crop (centre), crop=256
  imagenet, clip, 0..1 (by default), -1..1, 0..255, or mean=0.5/0.5/0.5,std=0.25/0.25/0.25 of pixels in 0..1
  NAME=224x224,rgb names the input of a model with several; --classes NAME=FILE names the output

--classes names what the model can answer, once for the model. --labels are the right answers of the samples.

Samples:
  .npz with an array per input; .npy for a model of one input; samples along the first axis
  .jsonl, a sample a line: {"input": [[…]], "other": …}, or the bare list for one input
  a folder of images, of .npz, or of <input>.npy; a folder of images for each class, whose names are the labels
  .wav, or a folder of them, for a folder whose preprocessor_config.json is of sounds
  for a folder with a tokenizer.json: .txt with a text a line, .tsv with a pair a line, or JSON with text and text_pair
  .ts or .js that exports samples: a list, or a function that yields the same objects

Exit codes: 0 done; 1 failed; 2 a form of --forms, --prune, --search or --mask missed its budget or failed a check, or a
target is left with float32; 3 a target could not be checked on this machine, or there are too few samples to tell;
130 stopped by Ctrl-C, with the finished forms packed; 143 ended by SIGTERM, 129 by SIGHUP.

A folder as Hugging Face exports it (config.json, tokenizer.json, preprocessor_config.json, onnx/*.onnx) describes its
model: sizes, images, texts, labels, pooling. Several graphs are written to a folder each.

Examples:
  npx selvedge compress all-MiniLM-L6-v2 --out dist/minilm --samples sentences.txt
  npx selvedge compress model.onnx --out dist/model --image 224x224,rgb,imagenet --classes labels.txt
  npx selvedge compress mobilenet.onnx --out dist/mobilenet --targets wasm --samples photos/ --bundle bundle.json
  npx selvedge compress classifier.onnx --out dist/classifier --samples x.npz --labels y.npy --max-drop 1%
  npx selvedge compress model.onnx --out dist/model --dry-run
  npx selvedge compress model.onnx --out dist/model --recipe dist/model/recipe.json`;

async function runCompress(path: string, values: Values, signal: AbortSignal | undefined): Promise<number> {
  const recipe = values.recipe === undefined ? undefined : readRecipe(values.recipe);
  const { out, search = false, budgetMinutes, prune } = values;
  if (budgetMinutes !== undefined && !search)
    throw new TypeError("--budget-minutes limits --search: add --search, or leave it out");
  const options: CompressOptions = {
    out,
    targets: values.targets ?? recipe?.targets,
    samples: values.samples ?? recipe?.samples,
    labels: values.labels ?? recipe?.labels,
    metric: values.metric ?? recipe?.metric,
    maxDrop: values.maxDrop ?? recipe?.maxDrop,
    bundle: values.bundle ?? recipe?.bundle,
    repository: isFolder(path) ? path : recipe?.repository,
    image: values.image ?? recipe?.image,
    classes: values.classes ?? recipe?.classes,
    top: values.top ?? recipe?.top,
    logits: values.logits ?? recipe?.logits,
    forms: values.forms ?? recipe?.forms,
    limit: values.limit ?? recipe?.limit,
    shape: values.shape ?? recipe?.shape,
    prune: prune === undefined ? recipe?.prune : { ...recipe?.prune, share: prune },
    mask: values.mask ?? recipe?.mask,
    search: search ? { budgetMs: budgetMinutes === undefined ? undefined : budgetMinutes * 60_000 } : undefined,
    browser: values.browser,
    signal,
    onProgress: note,
  };
  if (values.dryRun === true) {
    for (const graph of isFolder(path) ? openRepository(path).graphs.map((x) => x.path) : [path]) readModelFile(graph);
    const plan = `${JSON.stringify(await planCompression(options), null, 2)}\n`;
    await writeWhole(join(out, "recipe.json"), [new TextEncoder().encode(plan)]);
    print(plan.trimEnd());
    return 0;
  }
  if (isFolder(path)) return runFolder(path, options);
  const report = await compressModel(path, options);
  print(terminalReport(report));
  return exitCode(report, options.forms);
}

/** Compresses the graphs of a folder; the exit code is the most serious one. */
async function runFolder(path: string, options: CompressOptions): Promise<number> {
  const reports = await compressRepository(path, options);
  for (const { base, report } of reports) {
    if (reports.length > 1) print(`\n${base}:`);
    print(terminalReport(report));
  }
  const codes = reports.map((x) => exitCode(x.report, options.forms));
  return [130, 1, 2, 3].find((x) => codes.includes(x)) ?? 0;
}

/**
 * Returns the exit code. Without --forms the usual ones are tried, and that some of them miss is no failure while each
 * target gets one; those of --prune, --search and --mask were asked for.
 */
function exitCode(report: CompressReport, asked: readonly string[] | undefined): number {
  if (report.isStopped) return 130;
  const isLeft = report.targets.some((target) => (report.defaults[target] ?? "f32") === "f32");
  const tried = asked === undefined && !isLeft ? formsFor(report.targets).map((x): string => x.id) : [];
  const forms = report.forms.filter(({ id }) => !tried.includes(id));
  const isTooFew = report.forms.some((x) => x.isTooFewToTell === true);
  const isMissed = forms.some((x) => !x.isWithinBudget && x.isTooFewToTell !== true && report.samples.n > 0);
  const checks = report.forms.flatMap((x) => x.checks);
  if (isMissed || forms.some((x) => x.checks.some(({ verdict }) => verdict === "failed"))) return 2;
  if (isTooFew || report.samples.n === 0 || checks.some((x) => x.verdict === "unchecked")) return 3;
  return report.bundle === null && report.targets.length > 0 ? 1 : 0;
}

function listOf(text: string): readonly string[] {
  return text.split(",").map((x) => x.trim());
}

function shareOf(text: string): number {
  try {
    return parseShare(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function topOf(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text))
    throw new InvalidArgumentError(`Expected a number of classes from 1 to 9999, got "${text}".`);
  return Number(text);
}

function minutesOf(text: string): number {
  if (!(Number(text) > 0 && Number(text) < 1e6))
    throw new InvalidArgumentError(`Expected a number of minutes above 0, got "${text}".`);
  return Number(text);
}
