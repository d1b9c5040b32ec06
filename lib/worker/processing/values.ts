// Arithmetic and checks that decoders have in common.
import { SelvedgeError } from "../../core/errors.ts";
import { halfToNumber } from "../../core/half.ts";
import type { Tensor } from "../../core/tensor.ts";

/** Elements of an output without conversion: int64 and float64 compare exactly. */
export type NumberList = ArrayLike<number | bigint>;

/** Elements of which a part can be taken. */
export type Rows = NumberList & Pick<Float32Array, "subarray">;

/**
 * Softmax, shifted by the largest value so that no exponential overflows. The whole row is NaN if one of its values is
 * NaN or positive infinity: this shows that a model overflowed.
 */
export function softmax(row: NumberList): Float32Array {
  let largest = -Infinity;
  for (let i = 0; i < row.length; i += 1) largest = Math.max(largest, Number(row[i]));
  const result = new Float32Array(row.length);
  let sum = 0;
  for (let i = 0; i < row.length; i += 1) sum += result[i] = Math.fround(Math.exp(Number(row[i]) - largest));
  for (let i = 0; i < row.length; i += 1) result[i] = (result[i] as number) / sum;
  return result;
}

/** The logistic function of each value; NaN stays NaN. */
export function sigmoid(row: NumberList): Float32Array {
  return Float32Array.from(row, (x) => 1 / (1 + Math.exp(-Number(x))));
}

/** Index of the first largest value; NaN never wins over a number. */
export function argmax(row: NumberList): number {
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
export function isNaN(value: number | bigint | undefined): boolean {
  return value !== value;
}

/** Returns the elements of an output; float16 as numbers. */
export function valuesOf(name: string, { dtype, data }: Tensor): Rows {
  if (dtype === "string") throw mismatch(`Output "${name}" is text and cannot be decoded.`);
  const values = data as Float32Array;
  return dtype === "float16" ? Float32Array.from(values, halfToNumber) : values;
}

/** Returns the lines of a table; throws `bundle-invalid` where it is missing. */
export function linesOf(name: string, asset: string, assets: Readonly<Record<string, string>>): string[] {
  const text = assets[asset];
  if (text === undefined)
    throw mismatch(`Output "${name}" is decoded by "${asset}", which is missing from the bundle.`);
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|\r|\n/);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** Throws `bundle-invalid` where a table has another number of lines than there are classes. */
export function checkTable(name: string, asset: string, known: number, classes: number): void {
  if (classes === known) return;
  const message = `Output "${name}" has ${classes} classes, "${asset}" is for ${known}.`;
  throw new SelvedgeError("bundle-invalid", message, { at: name, classes, known });
}

/** The error for an output that does not fit its step. */
export function mismatch(message: string): SelvedgeError {
  return new SelvedgeError("bundle-invalid", message);
}

/**
 * Rejects an output with a value that is NaN, of which no answer can be made: a model that overflowed, as in float16.
 * @throws SelvedgeError `wrong-result`
 */
export function checkNumbers(name: string, values: NumberList): void {
  for (let i = 0; i < values.length; i += 1)
    if (isNaN(values[i]))
      throw new SelvedgeError(
        "wrong-result",
        `Output "${name}" holds NaN, so it can't be decoded: the model overflowed. Load another variant (\`variant\` of load), as one in float32.`,
        { output: name, reason: "nan" },
      );
}
