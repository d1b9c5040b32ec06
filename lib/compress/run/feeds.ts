// Converts sample data to tensors of a model's own types. Conversions are lenient only where they are unambiguous: a
// missing axis of 1 item, another arrangement of the same number of values, another numeric type.
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
      `samples: "${input.name}" has dims [${input.dims.join(", ")}], but a sample has [${array.dims.join(", ")}]`,
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
  // Other arrangements: where at most one axis is free, the count determines its length.
  const open = wanted.filter((x) => typeof x === "string").length;
  const fixed = wanted.reduce<number>((product, x) => product * (typeof x === "number" ? x : 1), 1);
  const count = countOf(given);
  if (open > 1 || fixed === 0 || count % fixed !== 0 || (open === 0 && count !== fixed)) return undefined;
  return wanted.map((x) => (typeof x === "number" ? x : count / fixed));
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
