// Integers that shapes are computed from, as ONNX's operators define them.
import { expect, test } from "vitest";
import { FOLDS } from "./fold-integers.ts";
import { NodeView } from "./node-view.ts";
import type { Attribute, Constant, KnownValue } from "./node-view.ts";

const ints = (...values: number[]): KnownValue => ({ type: "int64", dims: [values.length], values });

/** Computes the output of an operator of these inputs; null for an input that is left out. */
function fold(
  opType: string,
  inputs: readonly (KnownValue | null)[],
  attributes: Readonly<Record<string, Attribute>> = {},
  tensor?: Constant,
): readonly number[] | undefined {
  const known = new Map(inputs.flatMap((x, i): [string, KnownValue][] => (x === null ? [] : [[`i${i}`, x]])));
  const input = inputs.map((x, i) => (x === null ? "" : `i${i}`));
  const node = {
    opType,
    domain: "",
    reads: [],
    input,
    output: ["y"],
    attributes: new Map(Object.entries(attributes)),
    tensor,
  };
  return FOLDS.get(opType)?.(new NodeView(node, known));
}

test.each(["Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten"])(
  "%s leaves them as they are",
  (opType) => {
    expect(fold(opType, [ints(2, -1, 0)])).toEqual([2, -1, 0]);
  },
);

test("Shape is all dims, or those from start to end", () => {
  const x = { type: "float32", dims: [2, 3, 5, 7] };
  expect(fold("Shape", [x])).toEqual([2, 3, 5, 7]);
  expect(fold("Shape", [x], { start: [1] })).toEqual([3, 5, 7]);
  expect(fold("Shape", [x], { start: [-2] })).toEqual([5, 7]);
  expect(fold("Shape", [x], { start: [1], end: [3] })).toEqual([3, 5]);
  expect(fold("Shape", [x], { end: [-1] })).toEqual([2, 3, 5]);
  expect(fold("Size", [x])).toEqual([210]);
  expect(() => fold("Shape", [{ type: "float32" }])).toThrow("unknown dims");
});

test("Concat joins its inputs, and is unknown where one is", () => {
  expect(fold("Concat", [ints(1, 2), ints(3), ints()])).toEqual([1, 2, 3]);
  expect(fold("Concat", [ints(1), null, ints(2)])).toEqual([1, 2]);
  expect(() => fold("Concat", [ints(1), { type: "int64", dims: [1] }])).toThrow("unknown dims");
});

test("Gather takes elements by index, from the end where it is negative", () => {
  expect(fold("Gather", [ints(10, 20, 30), ints(2, 0, -1, -3)])).toEqual([30, 10, 30, 10]);
  expect(fold("Gather", [ints(10), ints(5)])).toEqual([0]);
  expect(fold("Gather", [ints(10), null])).toBeUndefined();
  expect(fold("Gather", [null, ints(0)])).toEqual([0]);
});

test("Slice takes a range, by inputs or by the attributes of older operator sets", () => {
  const x = ints(0, 10, 20, 30, 40);
  expect(fold("Slice", [x, ints(1), ints(4)])).toEqual([10, 20, 30]);
  expect(fold("Slice", [x, ints(1), ints(4), ints(0), ints(2)])).toEqual([10, 30]);
  expect(fold("Slice", [x, ints(0), ints(5), ints(0), ints(2)])).toEqual([0, 20, 40]);
  expect(fold("Slice", [x, ints(-2), ints(99)])).toEqual([30, 40]);
  expect(fold("Slice", [x, ints(-1), ints(-99), ints(0), ints(-2)])).toEqual([40, 20, 0]);
  expect(fold("Slice", [x, ints(3), ints(1)])).toEqual([]);
  expect(fold("Slice", [x], { starts: [2], ends: [3] })).toEqual([20]);
  expect(fold("Slice", [x])).toEqual([]);
  expect(fold("Slice", [null, ints(0), ints(3)])).toEqual([]);
  expect(() => fold("Slice", [x, ints(0), ints(1), ints(0), ints(0)])).toThrow("unknown dims");
});

test("arithmetic is by element, and a single element counts for all", () => {
  expect(fold("Add", [ints(1, 2, 3), ints(10, 20, 30)])).toEqual([11, 22, 33]);
  expect(fold("Sub", [ints(1, 2, 3), ints(1)])).toEqual([0, 1, 2]);
  expect(fold("Mul", [ints(2), ints(3, 4)])).toEqual([6, 8]);
  expect(fold("Equal", [ints(1, 2), ints(1)])).toEqual([1, 0]);
  expect(fold("Add", [ints(1, 2, 3), ints(10, 20)])).toEqual([11, 22, 3]);
  expect(fold("Add", [ints(10, 20), ints(1, 2, 3)])).toEqual([11, 22, 3]);
  expect(fold("Add", [null, ints(1, 2)])).toEqual([1, 2]);
  expect(fold("Sub", [ints(1, 2), null])).toEqual([1, 2]);
});

test("a quotient of integers is cut off towards 0, one of floats is not", () => {
  expect(fold("Div", [ints(7, -7, 8), ints(2)])).toEqual([3, -3, 4]);
  expect(fold("Div", [{ type: "float32", dims: [1], values: [7] }, ints(2)])).toEqual([3.5]);
  expect(fold("Div", [{ type: "uint8", dims: [1], values: [7] }, ints(2)])).toEqual([3.5]);
  expect(fold("Floor", [{ type: "float32", dims: [2], values: [3.5, -3.5] }])).toEqual([3, -4]);
  expect(fold("Ceil", [{ type: "float32", dims: [2], values: [3.5, -3.5] }])).toEqual([4, -3]);
  expect(fold("Floor", [null])).toBeUndefined();
  expect(fold("Ceil", [null])).toBeUndefined();
});

test("Where chooses by element, and a single element counts for all", () => {
  expect(fold("Where", [ints(1, 0, 1), ints(1, 2, 3), ints(10, 20, 30)])).toEqual([1, 20, 3]);
  expect(fold("Where", [ints(0), ints(1), ints(10, 20)])).toEqual([10, 20]);
  expect(fold("Where", [ints(1), ints(1, 2), ints(9)])).toEqual([1, 2]);
  expect(fold("Where", [ints(1, 0), ints(5), ints(6)])).toEqual([5, 6]);
  expect(fold("Where", [null, ints(5), ints(6, 7)])).toEqual([6, 7]);
  expect(fold("Where", [ints(1, 1), null, ints(6)])).toEqual([0, 0]);
  expect(fold("Where", [ints(0, 0), ints(6), null])).toEqual([0, 0]);
});

test("ConstantOfShape repeats its element, 0 where it has none, up to 64 times", () => {
  const seven = { type: "int64", dims: [1], values: [7] };
  expect(fold("ConstantOfShape", [ints(2, 2)], {}, seven)).toEqual([7, 7, 7, 7]);
  expect(fold("ConstantOfShape", [ints(2)])).toEqual([0, 0]);
  expect(fold("ConstantOfShape", [ints(2)], {}, { type: "int64", dims: [1] })).toEqual([0, 0]);
  expect(fold("ConstantOfShape", [null])).toEqual([0]);
  expect(fold("ConstantOfShape", [ints(64)])).toHaveLength(64);
  expect(fold("ConstantOfShape", [ints(65)])).toBeUndefined();
});

test("Range counts from start to limit, up to 64 elements", () => {
  expect(fold("Range", [ints(0), ints(5), ints(2)])).toEqual([0, 2, 4]);
  expect(fold("Range", [ints(0), ints(4), ints(2)])).toEqual([0, 2]);
  expect(fold("Range", [ints(3), ints(0), ints(-1)])).toEqual([3, 2, 1]);
  expect(fold("Range", [ints(3), ints(0), ints(1)])).toEqual([]);
  expect(fold("Range", [ints(0), ints(64), ints(1)])).toHaveLength(64);
  expect(fold("Range", [ints(0), ints(65), ints(1)])).toBeUndefined();
  expect(fold("Range", [null, ints(2), ints(1)])).toEqual([0, 1]);
});

test("a slice of more than 64 elements is not followed", () => {
  const x = ints(...Array.from({ length: 65 }, (_, i) => i));
  expect(fold("Slice", [x, ints(0), ints(64)])).toHaveLength(64);
  expect(fold("Slice", [x, ints(0), ints(65)])).toBeUndefined();
});
