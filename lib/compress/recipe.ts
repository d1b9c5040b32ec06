// A recipe: all options of a compression, as a file that can be kept, edited and passed back in.
import { readFileSync } from "node:fs";
import * as v from "valibot";
import { TARGETS } from "./forms/forms.ts";
import type { Target } from "./forms/forms.ts";
import type { PruneRequest } from "./forms/prune-forms.ts";

/** Contents of a recipe. Paths are as given: relative to the folder in which the command runs. */
export interface Recipe {
  /** Format of the recipe. */
  readonly schema: "selvedge/recipe@1";
  /** Backends to make forms for. Default: both. */
  readonly targets?: readonly Target[] | undefined;
  /** Names of the forms to make. Default: those that suit the targets. */
  readonly forms?: readonly string[] | undefined;
  /** Path of the inputs to measure on, as `--samples` takes it. Default: inputs are synthesized. */
  readonly samples?: string | undefined;
  /** Path of the right answers of the samples, as `--labels` takes it. */
  readonly labels?: string | undefined;
  /** Name of a metric, or path of a module that exports one. Default: the one that suits the model's use. */
  readonly metric?: string | undefined;
  /** Largest loss of the metric, as `0.5%`; for sqnr the least ratio, as `30dB`. */
  readonly maxDrop?: string | undefined;
  /** Path of a `bundle.json` whose name and processing steps are taken over. */
  readonly bundle?: string | undefined;
  /** Path of the repository in the Hugging Face layout that the model came from. */
  readonly repository?: string | undefined;
  /** How an image becomes the input, as `--image` takes it. */
  readonly image?: string | undefined;
  /** Path of the names of the model's classes. */
  readonly classes?: string | undefined;
  /** Number of best classes in an answer. Default 5. */
  readonly top?: number | undefined;
  /** Whether the output needs a softmax. Default: if the graph does not end in one. */
  readonly logits?: boolean | undefined;
  /** Number of samples to use. Default: as many as the model answers in a minute. */
  readonly limit?: number | undefined;
  /** How much to prune of which units; shares are from 0 to 1. */
  readonly prune?: PruneRequest | undefined;
  /** Which weights are set to 0, as `50%` or `2:4`. Default none. */
  readonly mask?: string | undefined;
  /** Sizes of open dims, as `--shape` takes them. */
  readonly shape?: readonly string[] | undefined;
}

const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

/** Schema of a recipe's pruning options. */
const PRUNE_REQUEST: v.GenericSchema<unknown, PruneRequest> = v.strictObject({
  share,
  heads: v.optional(share),
  width: v.optional(share),
  groups: v.optional(v.record(v.string(), share)),
  multipleOf: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  importance: v.optional(v.picklist(["magnitude", "activation", "reconstruction"])),
  repair: v.optional(v.boolean()),
}) as v.GenericSchema<unknown, PruneRequest>;

const text = v.pipe(v.string(), v.minLength(1));
const SCHEMA: v.GenericSchema<unknown, Recipe> = v.strictObject({
  schema: v.literal("selvedge/recipe@1"),
  targets: v.optional(v.pipe(v.array(v.picklist(TARGETS)), v.minLength(1))),
  forms: v.optional(v.array(text)),
  samples: v.optional(text),
  labels: v.optional(text),
  metric: v.optional(text),
  maxDrop: v.optional(text),
  bundle: v.optional(text),
  repository: v.optional(text),
  image: v.optional(text),
  classes: v.optional(text),
  top: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
  logits: v.optional(v.boolean()),
  limit: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
  prune: v.optional(PRUNE_REQUEST),
  mask: v.optional(text),
  shape: v.optional(v.array(text)),
});

/**
 * Reads a recipe file.
 * @throws TypeError naming the invalid field.
 */
export function readRecipe(path: string): Recipe {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new TypeError(`recipe: ${path} cannot be read as JSON; "selvedge compress --dry-run" writes a valid one`, {
      cause: error,
    });
  }
  const result = v.safeParse(SCHEMA, json);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new TypeError(`recipe: ${path}: ${v.getDotPath(issue) ?? "the recipe"}: ${issue.message}`);
}
