// The forms of a pruned model: float32 and 8 bits. A model without prunable units has none, and the report says why.
import { isSelvedgeError } from "../../core/errors.ts";
import type { Form, FormId } from "./forms.ts";
import { formsFor, TARGETS } from "./forms.ts";
import { totalMacs } from "../run/macs.ts";
import { maskWeights, parseMask } from "../prune/mask-weights.ts";
import type { OnnxModel } from "../onnx/model.ts";
import type { WrittenModel } from "../onnx/written-model.ts";
import { Pruner } from "../prune/pruner.ts";
import type { PrunedGroup, PruneOptions, PruneShares } from "../prune/pruner.ts";
import type { Feed } from "../run/feeds.ts";

/** Pruning options in a recipe. */
export type PruneRequest = PruneShares & PruneOptions;

/** Result of pruning, for the report. */
export interface PruneOutcome {
  /** Groups that units were removed from. */
  readonly groups: readonly PrunedGroup[];
  /** Names of groups for which the proof of prunability failed. */
  readonly refused: readonly string[];
  /** Multiply-adds of one run before and after; null where no input is available. */
  readonly macs: { readonly before: number; readonly after: number } | null;
}

/**
 * Parses a share from the command line: "25%", or "0.25".
 * @throws TypeError for anything else.
 */
export function parseShare(text: string): number {
  const value = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  const number = value === null ? Number.NaN : Number(value[1]) / (value[2] === "%" ? 100 : 1);
  if (!(number > 0 && number < 1))
    throw new TypeError(`Expected a share between 0 and 1, such as "25%" or "0.25", got "${text}".`);
  return number;
}

/**
 * Prunes a simplified model and returns its forms; none, with the reason among `notes`, where nothing can be pruned.
 */
export async function pruneForms(
  simple: WrittenModel,
  request: PruneRequest,
  { feeds, isSynthetic }: { readonly feeds: readonly Feed[]; readonly isSynthetic: boolean },
  notes: string[],
): Promise<{ forms: Form[]; outcome: PruneOutcome | null }> {
  const nothing = { forms: [], outcome: null };
  try {
    const pruner = await Pruner.open(simple.model.write(), isSynthetic ? [] : feeds, feeds[0], request);
    const { model, groups } = await pruner.prune(request);
    if (groups.every((x) => x.removed === 0)) {
      notes.push(
        pruner.groups.length === 0
          ? "Nothing could be pruned: no channels or hidden units that only this model sees were found."
          : `Nothing was pruned: the share is less than one unit of each of ${pruner.groups.length} groups, or the groups are heads and widths, which only a recipe prunes.`,
      );
      return nothing;
    }
    const [feed] = feeds;
    const macs =
      feed === undefined ? null : { before: await totalMacs(simple.model, feed), after: await totalMacs(model, feed) };
    const outcome = { groups, refused: pruner.refused, macs };
    notes.push(...describeOutcome(outcome, isSynthetic ? 0 : feeds.length));
    const plain = formsFor(TARGETS, ["int8"]);
    const forms = plain.map((x) => formOn(x, x.id === "f32" ? "pruned" : "pruned-int8", model));
    return { forms, outcome };
  } catch (error) {
    if (error instanceof TypeError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    notes.push(`Nothing was pruned: ${isSelvedgeError(error) ? reason : `pruning failed (${reason})`}.`);
    return nothing;
  }
}

/** Makes a form from another model than the simplified one. */
export function formOn(base: Form, id: FormId, other: OnnxModel, isLeft?: (name: string) => boolean): Form {
  return {
    ...base,
    id,
    make: async (model, feeds, options) => {
      become(model, other.copy());
      await base.make(model, feeds, { ...options, ...(isLeft && { isLeft }) });
    },
  };
}

/** Makes the form whose smallest weights are 0, which reduces the download only. */
export function maskedForm(pattern: string, notes: string[]): Form {
  const parsed = parseMask(pattern);
  const [whole] = formsFor(TARGETS, []);
  if (whole === undefined) throw new TypeError("mask: there is no float32 form");
  return {
    ...whole,
    id: "masked",
    make: async (model) => {
      const zeros = maskWeights(model, parsed);
      notes.push(
        `masked: ${(zeros * 100).toFixed(0)} % of the weights are 0. That reduces the download size; no target gets faster.`,
      );
    },
  };
}

function become(model: OnnxModel, other: OnnxModel): void {
  Object.assign(model.graph.proto, other.graph.proto);
  model.proto.opsetImport = other.proto.opsetImport;
  model.graph.changed();
}

function describeOutcome({ groups, refused, macs }: PruneOutcome, fitted: number): string[] {
  const [units, gone] = [groups.reduce((a, x) => a + x.size, 0), groups.reduce((a, x) => a + x.removed, 0)];
  const work = macs === null ? "" : `, ${((1 - macs.after / macs.before) * 100).toFixed(1)} % fewer multiply-adds`;
  const notes = [`pruned: ${gone} of ${units} units in ${groups.length} groups were removed${work}.`];
  if (fitted === 0)
    notes.push("Without samples units were ranked by the size of their weights, and nothing compensates for them.");
  else notes.push(`The remaining weights were fitted to the first ${fitted} samples.`);
  if (refused.length > 0) notes.push(`Not pruned, since the proof that it is safe failed: ${refused.join(", ")}.`);
  return notes;
}
