// Options that several commands share, and how their words are read.
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import type { BrowserName } from "../compress/check/browser.ts";
import { describePorts } from "../compress/bundle/inspect.ts";
import { smallestTable } from "../compress/bundle/describe.ts";
import { synthesizeSamples } from "../compress/evaluate-source.ts";
import { TARGETS } from "../compress/forms/forms.ts";
import type { Target } from "../compress/forms/forms.ts";
import type { OnnxModel } from "../compress/onnx/model.ts";
import { readModelFile } from "../compress/onnx/model-file.ts";
import { writeModel } from "../compress/onnx/written-model.ts";
import type { OnnxSource, Scratch } from "../compress/onnx/written-model.ts";
import type { Feed } from "../compress/run/feeds.ts";
import { firstFeeds, openSamples } from "../compress/run/samples.ts";
import { hintsFor } from "../compress/run/model-hints.ts";
import { resolveShapes } from "../compress/run/shape-option.ts";
import { declaredSizes } from "../compress/run/synthetic-inputs.ts";
import { tryModel } from "../compress/run/trial.ts";

/** Samples that a comparison reads into memory by default. */
const FEEDS = 64;

/** `--targets`. */
export function targetsOption(): Option {
  return new Option("--targets <list>", `comma-separated: ${TARGETS.join(", ")} (all by default)`).argParser(targetsOf);
}

/** `--samples`. */
export function samplesOption(): Option {
  return new Option("--samples <path>", "inputs to measure on (synthesized by default); see selvedge compress --help");
}

/** `--limit`. */
export function limitOption(what: string): Option {
  return new Option("--limit <n>", what).argParser(countOf);
}

/** `--shape`. */
export function shapeOption(): Option {
  const what = "size of synthesized inputs, as pixel_values=1x3x224x224, or sequence_length=64 by dim";
  return repeatable(new Option("--shape <name=sizes>", what));
}

/** `--browser`. */
export function browserOption(): Option {
  const what = "check in this browser instead of onnxruntime-node (needs playwright-core)";
  return new Option("--browser <name>", what).choices(["chromium", "firefox"] satisfies BrowserName[]);
}

/**
 * Refuses a command without `--out`, as a hook before its action: Commander looks for its own required options before it
 * looks for unknown ones, so that a misspelt `--out` would not be named.
 */
export function needOut(_: Command, command: Command): void {
  if (command.getOptionValue("out") === undefined)
    command.error("error: required option '--out <folder>' not specified");
}

/** Options that may be given again. */
const REPEATABLE = new WeakSet<Option>();

/** Lets an option be given again, and says so in its help; `read` reads one value. The value is the list of all. */
export function repeatable(option: Option, read: (text: string) => string = (text) => text): Option {
  REPEATABLE.add(option);
  option.description += "; may be given again";
  return option.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), read(value)]);
}

/** Whether an option may be given again. */
export function isRepeatable(option: Option): boolean {
  return REPEATABLE.has(option);
}

/**
 * Refuses options that were given and would have no effect.
 * @throws TypeError that gives the reason and names each
 */
export function refuseUnused(command: Command, names: readonly string[], why: string): void {
  const given = names.filter((name) => {
    const option = command.options.find(({ long }) => long === name);
    return option !== undefined && command.getOptionValueSource(option.attributeName()) === "cli";
  });
  if (given.length > 0) throw new TypeError(`${why}: leave out ${given.join(", ")}`);
}

/**
 * Reads a whole number from 0.
 * @throws InvalidArgumentError for anything else
 */
export function wholeOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError(`Expected a whole number, got "${text}".`);
  return Number(text);
}

/**
 * Reads a count of samples.
 * @throws InvalidArgumentError for anything but a number from 1 to 9,999,999
 */
export function countOf(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text))
    throw new InvalidArgumentError(`Expected a number of samples from 1 to 9999999, got "${text}".`);
  return Number(text);
}

/** Options of `feedsFor`. */
export interface FeedOptions {
  /** Path of the samples. Default: inputs are synthesized. */
  readonly samples?: string | undefined;
  /** Maximum number of samples. Default 64. */
  readonly limit?: number | undefined;
  /** Sizes of synthesized inputs (`--shape`). Default: guessed. */
  readonly shape?: readonly string[] | undefined;
}

/** A model file of a comparison. */
export interface ComparedModel {
  /** Path as given. */
  readonly path: string;
  readonly model: OnnxModel;
  /** Source that runs as `model` does: the path, or the model written anew where it was mended as it was read. */
  readonly source: OnnxSource;
}

/**
 * Opens a model file for a comparison.
 * @throws SelvedgeError `model-invalid`, also where ONNX Runtime crashes on it
 */
export async function openCompared(path: string, scratch: Scratch): Promise<ComparedModel> {
  const model = readModelFile(path);
  const source = model.mended.length === 0 ? path : (await writeModel(model, scratch)).source;
  await tryModel(source, { path });
  return { path, model, source };
}

/** Reads up to `limit` samples into memory, or synthesizes inputs. */
export async function feedsFor(
  { path, model, source }: ComparedModel,
  { samples, limit = FEEDS, shape = [] }: FeedOptions,
): Promise<Feed[]> {
  const { inputs, outputs } = await describePorts(model);
  const typical = resolveShapes(shape, inputs);
  if (samples !== undefined) return firstFeeds(await openSamples(samples, inputs, limit), limit);
  const notes: string[] = [];
  const synthetic = await synthesizeSamples(
    source,
    inputs,
    { typical, others: declaredSizes(outputs), bound: smallestTable(model), ...hintsFor(path, model) },
    notes,
  );
  const feeds = await firstFeeds(synthetic, limit);
  if (feeds.length === 0) throw new TypeError(notes.join(" "));
  return feeds;
}

function targetsOf(text: string): readonly Target[] {
  const named = text.split(",").map((word) => {
    const target = TARGETS.find((x) => x === word.trim());
    if (target === undefined)
      throw new InvalidArgumentError(`Unknown target "${word.trim()}"; choose from ${TARGETS.join(", ")}.`);
    return target;
  });
  return TARGETS.filter((x) => named.includes(x));
}
