// Decodes outputs into answers, by a closed list of operations that a bundle declares. Pure, and created once per
// model, so that a label table is parsed once. Pooling alone reads an input, the attention mask. Out of scope: operations
// that need the picture, such as drawing boxes over it.
import type { DecodeSpec, PoolSpec } from "../../core/bundle.ts";
import { SelvedgeError } from "../../core/errors.ts";
import type { Decoded } from "../../rpc/messages.ts";
import type { Tensor } from "../../core/tensor.ts";

/** Elements of an output without conversion: int64 and float64 compare exactly. */
type Values = ArrayLike<number | bigint>;

/** Decodes an output into one answer per item of its first axis; `input` returns an input of the same run. */
export type Decoder = (output: Tensor, input?: (name: string) => Tensor | undefined) => Decoded[];

const TOP_DEFAULT = 5;

/** Creates the decoder of an output; throws `bundle-invalid` where the asset that it names is missing. */
export function createDecoder(name: string, spec: DecodeSpec, assets: Readonly<Record<string, string>>): Decoder {
  switch (spec.op) {
    case "softmax":
      return (output) => rows(name, output).map((row) => ({ kind: "probabilities", probabilities: softmax(row) }));
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
          return { kind: "labels", labels: best(spec.logits === true ? softmax(row) : row, labels, spec.top) };
        });
    }
    case "pool":
      return (output, input) => pool(name, spec, output, spec.mask === undefined ? undefined : input?.(spec.mask));
    case "ctc": {
      const table = linesOf(name, spec.asset, assets);
      return (output) => ctc(name, spec.asset, output, table);
    }
  }
}

/**
 * Softmax, shifted by the largest value so that no exponential overflows. The whole row is NaN if one of its values is
 * NaN or positive infinity: this shows that a model overflowed.
 */
export function softmax(row: Values): Float32Array {
  let largest = -Infinity;
  for (let i = 0; i < row.length; i += 1) largest = Math.max(largest, Number(row[i]));
  const result = new Float32Array(row.length);
  let sum = 0;
  for (let i = 0; i < row.length; i += 1) sum += result[i] = Math.fround(Math.exp(Number(row[i]) - largest));
  for (let i = 0; i < row.length; i += 1) result[i] = (result[i] as number) / sum;
  return result;
}

/**
 * Greedy CTC decoding: the best class of each step, repeats merged, class 0 left out (Graves 2006, best path).
 * Confidence is the mean of the model's values for the kept classes; NaN where all values of a step are NaN.
 */
function ctc(name: string, asset: string, output: Tensor, table: readonly string[]): Decoded[] {
  const [items, steps, classes] = output.dims;
  if (output.dims.length !== 3 || items === undefined || steps === undefined || classes === undefined) {
    throw mismatch(`Output "${name}" must be [batch, time, class] for ctc, not [${output.dims.join(", ")}].`);
  }
  checkTable(name, asset, table.length + 1, classes);
  const values = valuesOf(name, output);
  const answers: Decoded[] = [];
  for (let item = 0; item < items; item++) {
    let text = "";
    let sum = 0;
    let kept = 0;
    let previous = 0;
    for (let step = 0; step < steps; step++) {
      const offset = (item * steps + step) * classes;
      const row = values.subarray(offset, offset + classes);
      const index = argmax(row);
      if (index !== 0 && index !== previous) {
        text += table[index - 1] ?? "";
        sum += row[index] ?? 0;
        kept += 1;
      } else if (isNaN(row[index])) sum = Number.NaN;
      previous = index;
    }
    answers.push({ kind: "text", text, confidence: sum / Math.max(1, kept) });
  }
  return answers;
}

/**
 * Pools the vectors of tokens as sentence-transformers does: of the tokens under the mask the mean, the first or the last.
 * Truncation comes before scaling to length 1. A text without tokens has a vector of zeros.
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
    const chosen = spec.mode === "mean" ? on : spec.mode === "cls" ? on.slice(0, 1) : on.slice(-1);
    const vector = new Float32Array(Math.min(spec.dims ?? width, width));
    const sums = new Float64Array(vector.length);
    for (const token of chosen)
      for (let i = 0; i < sums.length; i += 1)
        sums[i] = (sums[i] as number) + Number(values[(item * tokens + token) * width + i]);
    const length = spec.normalize === true ? Math.hypot(...sums) : Math.max(1, chosen.length);
    for (let i = 0; i < sums.length; i += 1) vector[i] = length === 0 ? 0 : (sums[i] as number) / length;
    return { kind: "vector", vector };
  });
}

/** Classes of the largest values, in descending order; ties by index, and NaN after all numbers. */
function best(
  scores: Values,
  labels: readonly string[],
  top: number = TOP_DEFAULT,
): { label: string; index: number; score: number }[] {
  const found: number[] = [];
  for (let index = 0; index < scores.length; index += 1) {
    const score = scores[index] as number | bigint;
    let at = found.length;
    for (; at > 0; at -= 1) {
      const before = scores[found[at - 1] as number] as number | bigint;
      if (!(score > before) && !(isNaN(before) && !isNaN(score))) break;
    }
    if (at >= top) continue;
    if (found.length >= top) found.pop();
    found.splice(at, 0, index);
  }
  return found.map((index) => ({ label: labels[index] ?? "", index, score: Number(scores[index]) }));
}

/** Index of the first largest value; NaN never wins over a number. */
function argmax(row: Values): number {
  let index = 0;
  let largest = row[0] as number | bigint;
  for (let i = 1; i < row.length; i++) {
    const value = row[i] as number | bigint;
    if (value > largest || (isNaN(largest) && !isNaN(value))) {
      largest = value;
      index = i;
    }
  }
  return index;
}

/** Whether a value is NaN, the only one that differs from itself; the global `isNaN` throws on a bigint. */
function isNaN(value: number | bigint | undefined): boolean {
  return value !== value;
}

/** Splits [batch, class] or [class] into one row per item; axes of size 1 in between do not count. */
function rows(name: string, output: Tensor): Values[] {
  const { dims } = output;
  const classes = dims.at(-1) ?? 1;
  const items = dims.length > 1 ? (dims[0] ?? 1) : 1;
  if (dims.slice(1, -1).some((dim) => dim !== 1)) {
    throw mismatch(`Output "${name}" must be [batch, class] to be decoded, not [${dims.join(", ")}].`);
  }
  const values = valuesOf(name, output);
  return Array.from({ length: items }, (_, item) => values.subarray(item * classes, (item + 1) * classes));
}

function valuesOf(name: string, { dtype, data }: Tensor): Values & Pick<Float32Array, "subarray"> {
  if (dtype === "string") throw mismatch(`Output "${name}" is text and cannot be decoded.`);
  const values = data as Float32Array;
  return dtype === "float16" ? Float32Array.from(values, float16Value) : values;
}

/** IEEE 754 binary16: 1 bit sign, 5 bits exponent, 10 bits fraction. */
function float16Value(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function linesOf(name: string, asset: string, assets: Readonly<Record<string, string>>): string[] {
  const text = assets[asset];
  if (text === undefined)
    throw mismatch(`Output "${name}" is decoded by "${asset}", which is missing from the bundle.`);
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|\r|\n/);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

function checkTable(name: string, asset: string, known: number, classes: number): void {
  if (classes === known) return;
  throw mismatch(`Output "${name}" has ${classes} classes, "${asset}" is for ${known}.`);
}

function mismatch(message: string): SelvedgeError {
  return new SelvedgeError("bundle-invalid", message);
}
