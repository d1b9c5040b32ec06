// Decodes outputs into answers, by a closed list of operations that a bundle declares. Pure, and created once per
// model, so that a label table is parsed once. Out of scope: drawing on a picture.
import type { CtcSpec, DecodeSpec, PoolSpec } from "../../core/bundle.ts";
import { SelvedgeError } from "../../core/errors.ts";
import type { Decoded } from "../../rpc/messages.ts";
import type { Tensor } from "../../core/tensor.ts";
import { decodeBoxes } from "./boxes.ts";
import type { DecodeRun } from "./decode-run.ts";
import { decodeMap, decodeSegment } from "./maps.ts";
import { decodePoints } from "./points.ts";
import { decodeTokens } from "./tokens.ts";
import { argmax, checkTable, isNaN, linesOf, mismatch, sigmoid, softmax, valuesOf } from "./values.ts";
import type { NumberList } from "./values.ts";

/** Decodes an output into one answer per item of its first axis; `run` has the rest of the same request. */
export type Decoder = (output: Tensor, run?: DecodeRun) => Decoded[];

const TOP_DEFAULT = 5;

/** Creates the decoder of an output; throws `bundle-invalid` where the asset that it names is missing. */
export function createDecoder(name: string, spec: DecodeSpec, assets: Readonly<Record<string, string>>): Decoder {
  switch (spec.op) {
    case "softmax":
      return (output) => rows(name, output).map((row) => ({ kind: "probabilities", probabilities: softmax(row) }));
    case "sigmoid":
      return (output) => rows(name, output).map((row) => ({ kind: "probabilities", probabilities: sigmoid(row) }));
    case "argmax":
      return (output) =>
        rows(name, output).map((row) => {
          const index = argmax(row);
          return { kind: "index", index, score: Number(row[index] ?? Number.NaN) };
        });
    case "labels": {
      const labels = linesOf(name, spec.asset, assets);
      return (output) =>
        rows(name, output).map((row) => {
          checkTable(name, spec.asset, labels.length, row.length);
          return { kind: "labels", labels: best(row, scoresOf(row, spec.logits), labels, spec.top) };
        });
    }
    case "pool":
      return (output, run) => pool(name, spec, output, spec.mask === undefined ? undefined : run?.input(spec.mask));
    case "ctc": {
      const table = linesOf(name, spec.asset, assets);
      const lines = spec.blank === undefined ? ["", ...table] : table;
      return (output) => ctc(name, spec, output, lines);
    }
    case "tokens":
      return decodeTokens(name, spec, linesOf(name, spec.asset, assets));
    case "detect":
      return decodeBoxes(name, spec, linesOf(name, spec.asset, assets));
    case "segment":
      return decodeSegment(name, spec, linesOf(name, spec.asset, assets));
    case "mask":
    case "depth":
      return decodeMap(name, spec);
    case "points":
      return decodePoints(name, spec, spec.asset === undefined ? null : linesOf(name, spec.asset, assets));
    default:
      // A stored description may be of a newer release.
      throw new SelvedgeError(
        "bundle-invalid",
        `Output "${name}" is decoded by "${String(Reflect.get(spec, "op"))}", which this release does not know: install a newer release of selvedge.`,
        { at: name, reason: "newer" },
      );
  }
}

function scoresOf(row: NumberList, logits: boolean | "sigmoid" | undefined): NumberList {
  return logits === true ? softmax(row) : logits === "sigmoid" ? sigmoid(row) : row;
}

/**
 * Greedy CTC decoding: the best class of each step, repeats merged, class 0 left out (Graves 2006, best path).
 * Confidence is the mean of the model's values for the kept classes; NaN where all values of a step are NaN.
 */
function ctc(name: string, spec: CtcSpec, output: Tensor, lines: readonly string[]): Decoded[] {
  const { asset, blank, logits = false } = spec;
  const [items, steps, classes] = output.dims;
  if (output.dims.length !== 3 || items === undefined || steps === undefined || classes === undefined) {
    throw mismatch(`Output "${name}" must be [batch, time, class] for ctc, not [${output.dims.join(", ")}].`);
  }
  checkTable(name, asset, lines.length, classes);
  const values = valuesOf(name, output);
  const answers: Decoded[] = [];
  for (let item = 0; item < items; item++) {
    let text = "";
    let sum = 0;
    let kept = 0;
    let previous = -1;
    for (let step = 0; step < steps; step++) {
      const offset = (item * steps + step) * classes;
      const row = values.subarray(offset, offset + classes);
      const index = argmax(row);
      if (index !== (blank ?? 0) && index !== previous) {
        text += lines[index] ?? "";
        sum += (logits ? softmax(row) : row)[index] ?? 0;
        kept += 1;
      } else if (isNaN(row[index])) sum = Number.NaN;
      previous = index;
    }
    if (blank !== undefined) text = text.trim();
    answers.push({ kind: "text", text, confidence: sum / Math.max(1, kept) });
  }
  return answers;
}

/**
 * Pools the vectors of tokens as sentence-transformers does: those of the tokens under the mask. Truncation comes before
 * scaling to length 1. A text without tokens has a vector of zeros.
 */
function pool(name: string, spec: PoolSpec, output: Tensor, mask: Tensor | undefined): Decoded[] {
  const [items, tokens, width] = output.dims;
  if (output.dims.length !== 3 || items === undefined || tokens === undefined || width === undefined)
    throw mismatch(`Output "${name}" must be [batch, token, number] to be pooled, not [${output.dims.join(", ")}].`);
  if (mask !== undefined && (mask.dims[0] !== items || mask.dims[1] !== tokens))
    throw mismatch(`The mask of output "${name}" is [${mask.dims.join(", ")}], not [${items}, ${tokens}].`);
  const values = valuesOf(name, output);
  const isOn = (at: number): boolean => mask === undefined || Number(mask.data[at]) !== 0;
  return Array.from({ length: items }, (_, item): Decoded => {
    const on = Array.from({ length: tokens }, (_, token) => token).filter((token) => isOn(item * tokens + token));
    const chosen = spec.mode === "cls" ? on.slice(0, 1) : spec.mode === "last" ? on.slice(-1) : on;
    const vector = new Float32Array(Math.min(spec.dims ?? width, width));
    const sums = new Float64Array(vector.length);
    if (spec.mode === "max" && chosen.length > 0) sums.fill(-Infinity);
    for (const token of chosen) {
      const weight = spec.mode === "weighted-mean" ? token - (chosen[0] ?? 0) + 1 : 1;
      for (let i = 0; i < sums.length; i += 1) {
        const value = weight * Number(values[(item * tokens + token) * width + i]);
        const sum = sums[i] as number;
        sums[i] = spec.mode === "max" ? Math.max(sum, value) : sum + value;
      }
    }
    const length =
      spec.normalize === true
        ? Math.sqrt(sums.reduce((sum, x) => sum + x * x, 0))
        : divisorOf(spec.mode, chosen.length);
    for (let i = 0; i < sums.length; i += 1) vector[i] = length === 0 ? 0 : (sums[i] as number) / length;
    return { kind: "vector", vector };
  });
}

/** Returns the number that the pooled sum of some tokens is divided by, unless it is normalised. */
function divisorOf(mode: PoolSpec["mode"], count: number): number {
  if (count === 0 || mode === "max") return 1;
  return mode === "sqrt-mean" ? Math.sqrt(count) : mode === "weighted-mean" ? (count * (count + 1)) / 2 : count;
}

/**
 * Classes of the largest values, in descending order; ties by index, and NaN after all numbers. Compared are the values
 * themselves: of probabilities in float32 many are equal, as all near 1.
 */
function best(
  row: NumberList,
  scores: NumberList,
  labels: readonly string[],
  top: number = TOP_DEFAULT,
): { label: string; index: number; score: number }[] {
  const found: number[] = [];
  for (let index = 0; index < row.length; index += 1) {
    const value = row[index] as number | bigint;
    let at = found.length;
    for (; at > 0; at -= 1) {
      const before = row[found[at - 1] as number] as number | bigint;
      if (!(value > before) && !(isNaN(before) && !isNaN(value))) break;
    }
    if (at >= top) continue;
    if (found.length >= top) found.pop();
    found.splice(at, 0, index);
  }
  return found.map((index) => ({ label: labels[index] ?? "", index, score: Number(scores[index]) }));
}

/** Splits [batch, class] or [class] into one row per item; axes of size 1 in between do not count. */
function rows(name: string, output: Tensor): NumberList[] {
  const { dims } = output;
  const classes = dims.at(-1) ?? 1;
  const items = dims.length > 1 ? (dims[0] ?? 1) : 1;
  if (dims.slice(1, -1).some((dim) => dim !== 1)) {
    throw mismatch(`Output "${name}" must be [batch, class] to be decoded, not [${dims.join(", ")}].`);
  }
  const values = valuesOf(name, output);
  return Array.from({ length: items }, (_, item) => values.subarray(item * classes, (item + 1) * classes));
}
