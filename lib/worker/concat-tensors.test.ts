import fc from "fast-check";
import { expect, test } from "vitest";
import { ARRAY_TYPES, zeros } from "../core/tensor.ts";
import type { Dtype, NumericDtype, Tensor } from "../core/tensor.ts";
import { isSame, joinTensors, padTensor, sliceTensor, splitTensor } from "./concat-tensors.ts";

const DTYPES = [...(Object.keys(ARRAY_TYPES) as NumericDtype[]), "string"] as const;

/** A tensor whose elements are all different, as far as its dtype allows. */
function counted(dtype: Dtype, dims: readonly number[], from: number): Tensor {
  const count = dims.reduce((product, dim) => product * dim, 1);
  const values = Array.from({ length: count }, (_, i) => (from + i) % 100);
  if (dtype === "string") return { dtype, dims, data: values.map(String) };
  const data = zeros(dtype, count);
  for (const [i, value] of values.entries()) data[i] = dtype === "int64" || dtype === "uint64" ? BigInt(value) : value;
  return { dtype, dims, data } as Tensor;
}

test("tensors concatenated along any axis are split into the same again, for every dtype", () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 4 });
  const rows = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(fc.constantFrom(...DTYPES), sizes, fc.nat(), rows, (dtype, dims, pick, counts) => {
      const axis = pick % dims.length;
      const parts = counts.map((count, i) =>
        counted(
          dtype,
          dims.map((dim, at) => (at === axis ? count : dim)),
          i * 7,
        ),
      );
      const joined = joinTensors(parts, axis);
      expect(joined.dims[axis]).toBe(counts.reduce((sum, count) => sum + count, 0));
      expect(splitTensor(joined, axis, counts)).toEqual(parts);
    }),
  );
});

test("rows are concatenated item by item, along an inner axis too", () => {
  const a: Tensor = { dtype: "float32", dims: [2, 1], data: Float32Array.of(1, 2) };
  const b: Tensor = { dtype: "float32", dims: [2, 2], data: Float32Array.of(3, 4, 5, 6) };
  expect(joinTensors([a, b], 1).data).toEqual(Float32Array.of(1, 3, 4, 2, 5, 6));
  const c: Tensor = { dtype: "string", dims: [1, 2], data: ["a", "b"] };
  expect(joinTensors([c, { ...c, data: ["c", "d"] }], 0)).toEqual({
    dtype: "string",
    dims: [2, 2],
    data: ["a", "b", "c", "d"],
  });
});

const buffersOf = (tensors: readonly Tensor[]): ArrayBufferLike[] =>
  tensors.map(({ data }) => (data as Float32Array).buffer);

test("a large part of a split has its own buffer, so that it can be moved; small ones are views of the whole", () => {
  const large = buffersOf(splitTensor(counted("float32", [4, 20_000], 0), 0, [1, 2, 1]) ?? []);
  expect(large.map((buffer) => buffer.byteLength)).toEqual([80_000, 160_000, 80_000]);
  const whole = counted("float32", [4, 2], 0);
  expect(new Set(buffersOf([whole, ...(splitTensor(whole, 0, [1, 2, 1]) ?? [])])).size).toBe(1);
});

test("contiguous tensors of one buffer are concatenated without a copy, and only those", () => {
  const whole = counted("float32", [4, 2], 0);
  const parts = splitTensor(whole, 0, [1, 2, 1]) ?? [];
  const [joined, swapped] = [joinTensors(parts, 0), joinTensors([...parts].reverse(), 0)];
  expect(joined).toEqual(whole);
  expect(swapped.data).toEqual(Float32Array.of(6, 7, 2, 3, 4, 5, 0, 1));
  expect(buffersOf([joined])[0]).toBe(buffersOf([whole])[0]);
  expect(buffersOf([swapped])[0]).not.toBe(buffersOf([whole])[0]);
});

test("an output that has not as many rows as went in is not split", () => {
  expect(splitTensor(counted("float32", [3, 2], 0), 0, [1, 1])).toBeNull();
  expect(splitTensor(counted("float32", [], 0), 0, [1, 1])).toBeNull();
});

test("padding puts the value past the end, and slicing takes it off again, for every numeric dtype", () => {
  for (const dtype of DTYPES) {
    if (dtype === "string") continue;
    const tensor = counted(dtype, [2, 3], 1);
    const padded = padTensor(tensor, 1, 5, 0);
    expect(padded.dims).toEqual([2, 5]);
    expect(Array.from(padded.data, Number).slice(3, 5)).toEqual([0, 0]);
    expect(sliceTensor(padded, 1, 0, 3)).toEqual(tensor);
  }
  expect(padTensor(counted("float16", [1], 0), 0, 2, 1).data).toEqual(Uint16Array.of(0, 0x3c00));
  expect(padTensor(counted("int64", [1], 5), 0, 2, 3).data).toEqual(BigInt64Array.of(5n, 3n));
});

test("answers are the same within rounding of the largest value, and not beyond", () => {
  const y = (...values: number[]): Tensor => ({
    dtype: "float32",
    dims: [values.length],
    data: Float32Array.from(values),
  });
  expect(isSame(y(100, 0.001, NaN, -Infinity), y(100.001, 0.0012, NaN, -Infinity))).toBe(true);
  expect(isSame(y(1, 0), y(1, 0.01))).toBe(false);
  expect(isSame(y(1, NaN), y(1, 1))).toBe(false);
  expect(isSame(y(1), y(1, 1))).toBe(false);
  const n: Tensor = { dtype: "int64", dims: [1], data: BigInt64Array.of(3n) };
  expect(isSame(n, { ...n, data: BigInt64Array.of(4n) })).toBe(false);
});
