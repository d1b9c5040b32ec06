// A recipe: all options of a compression, as a file that can be kept, edited and passed back in.
import { readFileSync } from "node:fs";
import * as v from "valibot";
import { TARGETS } from "./forms/forms.ts";
import type { Target } from "./forms/forms.ts";
import type { PruneRequest } from "./forms/prune-forms.ts";

/** Contents of a recipe. Paths are as given: relative to the folder in which the command runs. */
export interface Recipe {
  readonly schema: "selvedge/recipe@1";
  readonly targets?: readonly Target[] | undefined;
  /** Names of the forms to make. Default: those that suit the targets. */
  readonly forms?: readonly string[] | undefined;
  readonly samples?: string | undefined;
  readonly labels?: string | undefined;
  readonly metric?: string | undefined;
  readonly maxDrop?: string | undefined;
  readonly bundle?: string | undefined;
  readonly repository?: string | undefined;
  readonly image?: string | undefined;
  readonly classes?: string | undefined;
  readonly top?: number | undefined;
  readonly logits?: boolean | undefined;
  readonly limit?: number | undefined;
  /** How much to prune of which units; shares are from 0 to 1. */
  readonly prune?: PruneRequest | undefined;
  readonly mask?: string | undefined;
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
