// Tensors in JSON, as servers of the Open Inference Protocol read and write them. Triton writes bare NaN and Infinity, which JSON.parse
// refuses, and all write 64-bit integers as digits, which JSON.parse rounds. Loaded where a server lacks the binary
// tensor extension, or does not use it.
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { Dtype, NumericDtype, Tensor } from "../core/tensor.ts";
import { DTYPE_OF } from "./datatypes.ts";
import type { Datatype } from "./datatypes.ts";
import { ReplyError } from "./failure.ts";
import { brief } from "./plain-json.ts";

/** A bare non-finite number, or an integer of 16 digits or more; not a part of another number. */
const SPECIAL = /NaN|-?Infinity|(?<![\d.eE+-])-?\d{16,}(?![\d.eE])/;

/** Most characters of a 64-bit integer: 20 digits and a sign. */
const DIGITS_MAX = 21;

/** An integer of 16 digits or more in an array, as `parseJson` returns it. */
interface LongInteger {
  readonly digits: string;
}

/**
 * Parses JSON with bare NaN (null in the result) and Infinity. An integer of 16 digits or more becomes the text of its
 * digits, and in an array an object with them: there a text is another value.
 * @throws SyntaxError for anything else that is not JSON
 */
export function parseJson(text: string): unknown {
  return JSON.parse(SPECIAL.test(text) ? asStandard(text) : text);
}

/** Rewrites what JSON lacks, outside strings. */
function asStandard(text: string): string {
  const parts: string[] = [];
  const token = new RegExp(`"|${SPECIAL.source}`, "g");
  let from = 0;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [found] = match;
    if (found === '"') {
      token.lastIndex = endOfString(text, match.index);
      continue;
    }
    parts.push(text.slice(from, match.index), standardOf(found, text.slice(0, match.index)));
    from = token.lastIndex;
  }
  return parts.join("") + text.slice(from);
}

/** Writes a number that JSON lacks; `before` is the text in front of it. */
function standardOf(found: string, before: string): string {
  if (found === "NaN") return "null";
  if (found.endsWith("y")) return found.replace("Infinity", "1e999");
  return before.trimEnd().endsWith(":") ? `"${found}"` : `{"digits":"${found}"}`;
}

/** Returns the index after a string's closing quote, or the text's length where it has none. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text[end - 1 - slashes] === "\\") slashes += 1;
    if (slashes % 2 === 0) return end + 1;
  }
  return text.length;
}

/**
 * Returns nested arrays of a shape as one; `flat` takes 100 ns for each element of one that is flat.
 * @throws ReplyError for those nested in another way
 */
export function flatOf(at: string, data: readonly unknown[], dims: readonly unknown[]): readonly unknown[] {
  let values = data;
  for (let axis = 0; values.some(Array.isArray); axis += 1) {
    const size = dims[axis + 1];
    const isOuter = axis > 0 || values.length === dims[0];
    if (!isOuter || !values.every((x) => Array.isArray(x) && x.length === size))
      throw new ReplyError(`${at} is nested otherwise than its shape ${brief(dims)}`);
    values = values.flat();
  }
  return values;
}

/** Returns the elements of a tensor in JSON, flat or nested. @throws ReplyError for others than its type and shape */
export function readData(at: string, datatype: Datatype, data: unknown, dims: readonly number[]): Tensor["data"] {
  const count = dims.reduce((product, dim) => product * dim, 1);
  const values = Array.isArray(data) ? flatOf(at, data, dims) : [];
  if (!Array.isArray(data) || values.length !== count)
    throw new ReplyError(`${at} needs ${count} elements and has ${Array.isArray(data) ? values.length : "no data"}`);
  const wrong = (value: unknown): ReplyError => new ReplyError(`${at} has ${brief(value)} as ${datatype}`);
  if (datatype === "BYTES") {
    for (const value of values) if (typeof value !== "string") throw wrong(value);
    return values as string[];
  }
  const dtype = DTYPE_OF[datatype] as NumericDtype;
  const into = new ARRAY_TYPES[dtype](count) as { [index: number]: number | bigint } & Tensor["data"];
  for (const [i, value] of values.entries()) {
    const number = elementOf(dtype, value);
    if (number === null) throw wrong(value);
    into[i] = number;
    // An array of integers wraps what it can't hold.
    if (!dtype.startsWith("float") && into[i] !== number) throw wrong(value);
    if (isTooLarge(dtype, value, into[i])) throw wrong(value);
  }
  return into;
}

/** Whether a finite number became Infinity as an element. */
function isTooLarge(dtype: NumericDtype, value: unknown, element: unknown): boolean {
  if (!dtype.startsWith("float") || (!Number.isFinite(value) && digitsOf(value) === null)) return false;
  return dtype === "float16" ? ((element as number) & 0x7fff) === 0x7c00 : !Number.isFinite(element);
}

/** Returns the digits of a long integer; null for another value. */
function digitsOf(value: unknown): string | null {
  if (typeof value !== "object" || value === null) return null;
  const { digits } = value as Partial<LongInteger>;
  return typeof digits === "string" && /^-?\d{16,}$/.test(digits) ? digits : null;
}

/** Returns a JSON value as an element; null where it is none. A null is NaN. */
function elementOf(dtype: Dtype, value: unknown): number | bigint | null {
  if (dtype === "bool") return value === true || value === 1 ? 1 : value === false || value === 0 ? 0 : null;
  const digits = digitsOf(value);
  if (dtype === "int64" || dtype === "uint64") {
    // Millions of digits would take seconds to parse.
    if (digits !== null && digits.length <= DIGITS_MAX) return BigInt(digits);
    return Number.isSafeInteger(value) ? BigInt(value as number) : null;
  }
  if (!dtype.startsWith("float")) return Number.isSafeInteger(value) ? (value as number) : null;
  if (typeof value !== "number" && value !== null && digits === null) return null;
  const number = value === null ? NaN : Number(digits ?? value);
  return dtype === "float16" ? toFloat16(number) : number;
}

/** Writes a tensor's elements as a flat JSON array; JSON.stringify would lose 64-bit integers and write null for NaN. */
export function writeData(datatype: Datatype, tensor: Tensor): string {
  const { data } = tensor;
  if (tensor.dtype === "string") return JSON.stringify(data);
  if (datatype === "BOOL") return `[${Array.from(data as Uint8Array, (x) => x !== 0).join()}]`;
  // A Float16Array has the values themselves.
  const values = datatype === "FP16" && data instanceof Uint16Array ? Array.from(data, fromFloat16) : data;
  if (!/^(FP|BF)/.test(datatype)) return `[${values.join()}]`;
  // Servers without the binary extension take the names of numbers that JSON lacks as strings.
  return `[${Array.from(values as Float32Array, (x) => (Number.isFinite(x) ? numberOf(x) : `"${x}"`)).join()}]`;
}

/** Formats a number; a template would drop the sign of -0. */
function numberOf(value: number): string {
  return Object.is(value, -0) ? "-0.0" : String(value);
}

/** Converts the bits of a float16 to its value. */
export function fromFloat16(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** Converts a value to the bits of the nearest float16, ties to even. */
export function toFloat16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(size)) return 0x7e00;
  if (size >= 65_520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  // Steps of this exponent; a sum with 2^52 rounds to a whole one, ties to even.
  const steps = size * 2 ** (10 - exponent) + 2 ** 52 - 2 ** 52;
  // A carry of the rounding moves into the exponent by itself; a subnormal has the exponent field 0.
  return sign | (((exponent + 14) << 10) + steps);
}
