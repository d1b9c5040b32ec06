// Converts sample data to tensors of a model's own types. Conversions are lenient only where they are unambiguous: axes
// of 1 item more or less, a flat list of the values, another numeric type. An array with axes in another order is
// refused: its values would be read as if they were in the model's.
import { ARRAY_TYPES } from "../../core/tensor.ts";
import type { Dtype, Port, Tensor } from "../../core/tensor.ts";
import { isText } from "./npy.ts";
import type { ArrayValues } from "./npy.ts";
import { float16Bits } from "../onnx/float16.ts";

/** One sample: a tensor for each input. */
export type Feed = Readonly<Record<string, Tensor>>;

/** An array as given. */
export interface GivenArray {
  readonly dims: readonly number[];
  readonly data: ArrayValues;
}

/**
 * Makes an input's tensor from a given array.
 * @throws TypeError that names the input and the mismatch.
 */
export function tensorOf(input: Port, array: GivenArray | undefined): Tensor {
  if (array === undefined) throw new TypeError(`samples: a sample has no values for the input "${input.name}"`);
  const count = countOf(array.dims);
  if (array.data.length !== count)
    throw new TypeError(`samples: "${input.name}" has ${array.data.length} values, but its dims need ${count}`);
  const dims = fit(input.dims, array.dims);
  if (dims === undefined)
    throw new TypeError(
      `samples: "${input.name}" has dims [${input.dims.join(", ")}], but a sample has [${array.dims.join(", ")}]${orderHint(input.dims, array.dims)}`,
    );
  return { dtype: input.dtype, dims, data: valuesOf(input, array.data) } as Tensor;
}

/** Counts the values of dims. */
export function countOf(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

/** Returns the dims in which values of the dims `given` fit an input, if they do. */
export function fit(wanted: readonly (number | string)[], given: readonly number[]): readonly number[] | undefined {
  const matches = (dims: readonly number[]): boolean =>
    dims.length === wanted.length && wanted.every((x, i) => typeof x === "string" || x === dims[i]);
  if (matches(given)) return given;
  if (matches([1, ...given])) return [1, ...given];
  if (given[0] === 1 && matches(given.slice(1))) return given.slice(1);
  // An array without items has no dims after the one that is 0, where it comes from nested lists.
  if (given.at(-1) === 0 && given.length < wanted.length) {
    const rest = wanted.slice(given.length).map((x) => (typeof x === "number" ? x : 1));
    if (matches([...given, ...rest])) return [...given, ...rest];
  }
  return withOtherOnes(wanted, given) ?? unflattened(wanted, given);
}

/** Returns the dims where they differ from the given ones in axes of 1 item alone. */
function withOtherOnes(wanted: readonly (number | string)[], given: readonly number[]): readonly number[] | undefined {
  const left = given.filter((x) => x !== 1);
  const needed = wanted.filter((x) => x !== 1);
  // An axis of any size may have 1 item: the first such ones, as a batch comes first.
  let spare = needed.length - left.length;
  if (spare < 0 || (spare > 0 && left.length < 2)) return undefined;
  const dims: number[] = [];
  for (const x of wanted) {
    if (x === 1) dims.push(1);
    else if (typeof x === "string" && spare > 0) {
      spare--;
      dims.push(1);
    } else {
      const next = left.shift();
      if (next === undefined || (typeof x === "number" && x !== next)) return undefined;
      dims.push(next);
    }
  }
  return spare === 0 && left.length === 0 ? dims : undefined;
}

/** Returns the dims of a flat list: where at most one axis is free, the count determines its length. */
function unflattened(wanted: readonly (number | string)[], given: readonly number[]): readonly number[] | undefined {
  if (given.filter((x) => x !== 1).length > 1) return undefined;
  const open = wanted.filter((x) => typeof x === "string").length;
  const fixed = wanted.reduce<number>((product, x) => product * (typeof x === "number" ? x : 1), 1);
  const count = countOf(given);
  if (open > 1 || fixed === 0 || count % fixed !== 0 || (open === 0 && count !== fixed)) return undefined;
  return wanted.map((x) => (typeof x === "number" ? x : count / fixed));
}

/** Describes how to bring axes in another order into the model's; "" where they are others. */
export function orderHint(wanted: readonly (number | string)[], given: readonly number[]): string {
  const ones = Math.max(0, wanted.length - given.length);
  const all = [...Array.from({ length: ones }, () => 1), ...given];
  if (all.length !== wanted.length) return "";
  const free = new Set(all.map((_, i) => i));
  const order: number[] = [];
  // Sizes that the model fixes claim their axes first; those of any size take what is left, in order.
  for (const [i, x] of wanted.entries()) {
    if (typeof x === "string") continue;
    const at = [...free].find((j) => all[j] === x);
    if (at === undefined) return "";
    free.delete(at);
    order[i] = at;
  }
  for (const [i, x] of wanted.entries()) {
    if (typeof x !== "string") continue;
    const [at = i] = free;
    free.delete(at);
    order[i] = at;
  }
  const axes = order.slice(ones).map((x) => x - ones);
  if (order.every((x, i) => x === i) || axes.some((x) => x < 0)) return "";
  return `: its axes are in another order; transpose each sample with np.transpose(sample, (${axes.join(", ")}))`;
}

/** Converts values to an input's type. */
export function valuesOf(input: Pick<Port, "name" | "dtype">, values: ArrayValues): Tensor["data"] {
  if (input.dtype === "string") return Array.from<unknown, string>(values, String);
  if (isText(values)) throw new TypeError(`samples: "${input.name}" has type ${input.dtype}, but a sample is text`);
  return numbersOf(input.dtype, values, input.name);
}

function numbersOf(dtype: Exclude<Dtype, "string">, values: ArrayLike<number>, name: string): Tensor["data"] {
  if (dtype === "int64" || dtype === "uint64") {
    const wide = Array.from(values, (x) => {
      if (!Number.isInteger(x)) throw new TypeError(`samples: "${name}" has type ${dtype}, but a sample holds ${x}`);
      return BigInt(x);
    });
    return dtype === "int64" ? BigInt64Array.from(wide) : BigUint64Array.from(wide);
  }
  if (dtype === "float16") return Uint16Array.from(values, float16Bits);
  if (dtype === "bool") return Uint8Array.from(values, (x) => (x ? 1 : 0));
  return (ARRAY_TYPES[dtype] as unknown as { from(x: ArrayLike<number>): Tensor["data"] }).from(values);
}

/**
 * Converts nested lists, a single value, a typed array, or `{ dims, data }`.
 * @throws TypeError naming the input
 */
export function arrayOf(value: unknown, name: string): GivenArray {
  if (typeof value === "object" && value !== null && "data" in value) {
    const { dims, data } = value as { dims?: unknown; data: unknown };
    const inner = arrayOf(data, name);
    return { dims: Array.isArray(dims) ? dims.map(Number) : inner.dims, data: inner.data };
  }
  if (ArrayBuffer.isView(value)) {
    const values = value as unknown as ArrayLike<number | bigint>;
    return { dims: [values.length], data: Array.from(values, Number) };
  }
  const dims: number[] = [];
  for (let at: unknown = value; Array.isArray(at); at = at[0]) dims.push(at.length);
  const flat: unknown[] = Array.isArray(value) ? value.flat(Infinity) : [value];
  if (flat.length !== countOf(dims))
    throw new TypeError(`samples: the lists of "${name}" are not all of the same length`);
  if (flat.some((x) => typeof x === "string")) return { dims, data: flat.map(String) };
  const data = flat.map(Number);
  // NaN itself is refused where the sample's number is known (check-samples.ts).
  const bad = data.findIndex((x, i) => Number.isNaN(x) && typeof flat[i] !== "number");
  if (bad !== -1) throw new TypeError(`samples: "${name}" holds ${JSON.stringify(flat[bad])}, which is not a number`);
  return { dims, data };
}
