import fc from "fast-check";
import { expect, test } from "vitest";
import type { BundleInput } from "./bundle.ts";
import { shapeOf } from "./batch-shape.ts";

const input = (name: string, dims: BundleInput["dims"], more: Partial<BundleInput> = {}): BundleInput => ({
  name,
  dtype: "float32",
  dims,
  batchAxis: 0,
  ...more,
});

test("requests that differ in nothing but their rows have one shape", () => {
  const ports = [input("a", ["n", "w"]), input("b", ["w", "n"], { batchAxis: 1 })];
  const one = shapeOf(ports, { a: [1, 5], b: [5, 1] });
  const three = shapeOf(ports, { a: [3, 5], b: [5, 3] });
  expect([one?.rows, three?.rows]).toEqual([1, 3]);
  expect(one?.key).toBe(three?.key);
  expect(shapeOf(ports, { a: [1, 6], b: [6, 1] })?.key).not.toBe(one?.key);
});

test("sizes that are ambiguous when concatenated are distinguished", () => {
  const ports = [input("a", ["n", "w", "h"])];
  expect(shapeOf(ports, { a: [1, 1, 23] })?.key).not.toBe(shapeOf(ports, { a: [1, 12, 3] })?.key);
});

test("a request whose inputs have unlike rows runs alone", () => {
  expect(shapeOf([input("a", ["n"]), input("b", ["m"])], { a: [1], b: [2] })).toBeNull();
});

test("sizes of one shape never differ by more than may be padded, and exact ones never differ", () => {
  const size = fc.integer({ min: 1, max: 5_000 });
  fc.assert(
    fc.property(size, size, fc.double({ min: 0.01, max: 1, noNaN: true }), (a, b, upTo) => {
      const ports = [input("x", ["n", "w"], { pad: { axis: 1, upTo } })];
      const key = (width: number, exact: boolean) => shapeOf(ports, { x: [1, width] }, exact)?.key;
      if (key(a, false) === key(b, false)) expect(Math.max(a, b) / Math.min(a, b)).toBeLessThanOrEqual(1 + upTo + 1e-9);
      expect(key(a, true) === key(b, true)).toBe(a === b);
    }),
  );
});

test("a request without rows runs alone: its cost per row is no number", () => {
  expect(shapeOf([input("a", ["n", 5])], { a: [0, 5] })).toBeNull();
});
